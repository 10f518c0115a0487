#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/le.h"
#include "server/store/journal_layout.h"

#define PATH_BYTES 4096

int
journal_next_op(const void *ops, size_t len, size_t *at, struct journal_op *out)
{
	const unsigned char *p = (const unsigned char *)ops + *at;
	size_t left = len - *at, head_len = JOURNAL_OP_HEAD_BYTES;

	if (left == 0)
		return 0;
	if ((p[0] & JOURNAL_OP_SEQ) != 0)
		head_len += JOURNAL_OP_SEQ_BYTES;
	if (left < head_len || p[0] > (JOURNAL_OP_DELETE | JOURNAL_OP_SEQ))
		return SP_EBADDATA;
	*out = (struct journal_op){ .is_delete = (p[0] & JOURNAL_OP_DELETE) != 0, .key = p + head_len };
	if ((p[0] & JOURNAL_OP_SEQ) != 0)
		out->seq = le_get(p + JOURNAL_OP_HEAD_BYTES, JOURNAL_OP_SEQ_BYTES);
	out->key_len = le_get(p + 1, 2);
	out->value_len = le_get(p + 3, 4);
	out->value = p + head_len + out->key_len;
	if (out->key_len == 0 || out->key_len + out->value_len > left - head_len)
		return SP_EBADDATA;
	*at += head_len + out->key_len + out->value_len;
	return 1;
}

/* An area in memory. */
struct area {
	const unsigned char *salt;
	unsigned char *data;
	size_t len;
	uint64_t generation; /* of its first group; 0: it has none */
};

/* The group at a place: its changes' length, or -1 if there is no whole one. */
static int64_t
group_at(const struct area *a, size_t at, uint64_t *generation, uint64_t *index)
{
	unsigned char *p = a->data + at;
	unsigned char said[DIGEST_BYTES];
	size_t len;
	bool ok;

	if (a->len - at < JOURNAL_HEAD_BYTES || memcmp(p, journal_group_magic, sizeof(journal_group_magic)) != 0)
		return -1;
	len = le_get(p + 4, 4);
	if (len > JOURNAL_GROUP_BYTES || len > a->len - at - JOURNAL_HEAD_BYTES)
		return -1;
	memcpy(said, p + JOURNAL_CHECKSUM_AT, sizeof(said));
	memcpy(p + JOURNAL_CHECKSUM_AT, a->salt, DIGEST_BYTES);
	ok = digest_equal(digest_from_bytes(said), digest_of(p, JOURNAL_HEAD_BYTES + len));
	memcpy(p + JOURNAL_CHECKSUM_AT, said, sizeof(said));
	*generation = le_get(p + 8, 8);
	*index = le_get(p + 16, 8);
	return ok ? (int64_t)len : -1;
}

static int
visit_group(const unsigned char *p, size_t len, journal_visit visit, void *arg, struct sp_error *err)
{
	struct journal_group g = { .base_seq = le_get(p + 24, 8),
		.seq = le_get(p + 32, 8),
		.epoch = le_get(p + 40, 8),
		.keys = le_get(p + 48, 8),
		.base_digest = digest_from_bytes(p + 72),
		.digest = digest_from_bytes(p + 88) };

	memcpy(g.cluster, p + 56, sizeof(g.cluster));
	return visit(&g, p + JOURNAL_HEAD_BYTES, len, arg, err);
}

/* Groups are synced one by one, so none can be whole behind one that is not; unless it was damaged since. */
static int
check_rest(const struct area *a, size_t at, uint64_t index, struct sp_error *err)
{
	uint64_t generation, found;

	for (; at + JOURNAL_HEAD_BYTES <= a->len; at += JOURNAL_PAGE)
		if (group_at(a, at, &generation, &found) >= 0 && generation == a->generation && found >= index)
			return sp_error_set(
			    err, SP_EBADDATA, "group %llu is damaged, and others follow it", (unsigned long long)index);
	return 0;
}

/*
 * Of the older area, what is missing is found out by the newer one, which then does not follow the store's state; and
 * its begin may have been overwritten already by the generation after, because the store has all of it.
 */
static int
read_area(const struct area *a, bool check, journal_visit visit, void *arg, struct sp_error *err)
{
	uint64_t generation, index, expected = 0;
	size_t at = 0;
	int64_t len;
	int rc = 0;

	while (rc == 0 && at < a->len) {
		len = group_at(a, at, &generation, &index);
		if (len < 0 || generation != a->generation || index != expected)
			break;
		rc = visit_group(a->data + at, (size_t)len, visit, arg, err);
		at += journal_group_size((size_t)len);
		expected++;
	}
	return rc == 0 && check ? check_rest(a, at, expected, err) : rc;
}

/* The area's generation is that of the newest whole group in it: the first may be damaged. */
static void
find_generation(struct area *a)
{
	uint64_t generation, index;

	for (size_t at = 0; at + JOURNAL_HEAD_BYTES <= a->len; at += JOURNAL_PAGE)
		if (group_at(a, at, &generation, &index) >= 0 && generation > a->generation)
			a->generation = generation;
}

static int
load_area(int fd, unsigned number, struct area *a, struct sp_error *err)
{
	ssize_t n;

	a->data = malloc(JOURNAL_AREA_BYTES);
	if (a->data == NULL)
		return sp_error_set(err, SP_ENOMEM, "read it");
	while (a->len < JOURNAL_AREA_BYTES) {
		n = pread(
		    fd, a->data + a->len, JOURNAL_AREA_BYTES - a->len, journal_area_offset(number) + (off_t)a->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sp_error_errno(err, errno, "read it");
		if (n == 0)
			break;
		a->len += (size_t)n;
	}
	find_generation(a);
	return 0;
}

/* Written with sync_later, and not in this life of the machine. */
static bool
is_in_doubt(const unsigned char head[JOURNAL_FILE_HEAD_BYTES])
{
	char boot[BOOT_ID_SIZE];

	memcpy(boot, head + JOURNAL_BOOT_AT, sizeof(boot));
	boot[sizeof(boot) - 1] = '\0';
	return boot[0] != '\0' && !boot_id_is_present(boot);
}

/* 1: ours; 0: one that was being made when the machine went down, before anything came into it. */
static int
read_file_head(int fd, unsigned char head[JOURNAL_FILE_HEAD_BYTES], struct sp_error *err)
{
	static const unsigned char zeros[JOURNAL_FILE_HEAD_BYTES];
	ssize_t n = pread(fd, head, JOURNAL_FILE_HEAD_BYTES, 0);

	if (n < 0)
		return sp_error_errno(err, errno, "read it");
	if (n == 0 || (n == JOURNAL_FILE_HEAD_BYTES && memcmp(head, zeros, sizeof(zeros)) == 0))
		return 0;
	if (n < JOURNAL_FILE_HEAD_BYTES || memcmp(head, journal_file_magic, sizeof(journal_file_magic)) != 0)
		return sp_error_set(err, SP_EBADDATA, "not a journal");
	if (le_get(head + 8, 4) < 1 || le_get(head + 8, 4) > JOURNAL_FORMAT)
		return sp_error_set(err, SP_EBADDATA, "a journal of format %u; this program knows format %d",
		    (unsigned)le_get(head + 8, 4), JOURNAL_FORMAT);
	return 1;
}

static int
read_file(int fd, journal_visit visit, void *arg, struct sp_error *err)
{
	unsigned char head[JOURNAL_FILE_HEAD_BYTES];
	struct area areas[JOURNAL_AREAS] = { { .salt = head + JOURNAL_SALT_AT }, { .salt = head + JOURNAL_SALT_AT } };
	int rc;

	rc = read_file_head(fd, head, err);
	if (rc <= 0)
		return rc;
	rc = load_area(fd, 0, &areas[0], err);
	if (rc == 0)
		rc = load_area(fd, 1, &areas[1], err);
	if (rc == 0) {
		unsigned older = areas[0].generation <= areas[1].generation ? 0 : 1;

		rc = read_area(&areas[older], false, visit, arg, err);
		if (rc == 0)
			rc = read_area(&areas[1 - older], !is_in_doubt(head), visit, arg, err);
	}
	free(areas[0].data);
	free(areas[1].data);
	return rc;
}

static int
open_journal(const char *dir, char path[PATH_BYTES], struct sp_error *err)
{
	int fd, rc;

	rc = file_join(path, PATH_BYTES, dir, JOURNAL_NAME, err);
	if (rc < 0)
		return rc;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return sp_error_errno(err, errno, "%s", path);
	return fd;
}

int
journal_read(const char *dir, journal_visit visit, void *arg, struct sp_error *err)
{
	char path[PATH_BYTES];
	int fd, rc;

	fd = open_journal(dir, path, err);
	if (fd < 0)
		return fd;
	rc = read_file(fd, visit, arg, err);
	close(fd);
	return rc < 0 ? sp_error_wrap(err, "%s", path) : 0;
}

bool
journal_in_doubt(const char *dir)
{
	unsigned char head[JOURNAL_FILE_HEAD_BYTES];
	char path[PATH_BYTES];
	bool doubt;
	int fd;

	fd = open_journal(dir, path, NULL);
	if (fd < 0)
		return false;
	doubt = read_file_head(fd, head, NULL) == 1 && is_in_doubt(head);
	close(fd);
	return doubt;
}
