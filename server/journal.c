#include "server/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/fault.h"
#include "lib/file.h"

#define FORMAT 1
#define AREAS  2
#define PREPARE_BYTES                                                                                                  \
	(4u << 20) /* zeros are written ahead in steps, so that a group changes no file system metadata                \
		    */
#define PATH_BYTES 4096

/*
 * The file's first page: magic[8] format:u32 salt[16] (random). A group's head, all numbers little-endian, digests
 * big-endian: magic[4] len:u32 generation:u64 index:u64 base_seq:u64 seq:u64 epoch:u64 keys:u64 cluster[16]
 * base_digest[16] digest[16] checksum[16]; the checksum is XXH3-128 of the head, with the salt in the checksum's place,
 * and the changes. Changes follow, and zeros up to the page's end. `generation` grows by one with each switch of areas,
 * `index` with each group from 0. The salt sees to it that no value that somebody stores can look like a group.
 */
#define FILE_HEAD_BYTES 28
#define SALT_AT         12
#define HEAD_CHECKSUM   104
#define HEAD_BYTES      120
/* A change: kind:u8 key_len:u16 value_len:u32, key, value. */
#define OP_HEAD_BYTES 7

static const unsigned char file_magic[8] = { 's', 'p', 'j', 'o', 'u', 'r', 'n', 'l' };
static const unsigned char group_magic[4] = { 's', 'p', 'j', 'g' };

struct journal {
	int fd;
	unsigned char salt[DIGEST_BYTES];
	unsigned area;          /* 0 or 1 */
	uint64_t generation;    /* of the area that is written */
	uint64_t index;         /* of the next group in it */
	size_t at;              /* bytes of the area in use */
	size_t prepared[AREAS]; /* bytes of each that hold data or zeros on disk */
	unsigned char *page;    /* room for a group */
	size_t page_size;       /* bytes */
};

static void
put_le(unsigned char *out, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		out[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t
get_le(const unsigned char *in, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = bytes; i > 0; i--)
		value = value << 8 | in[i - 1];
	return value;
}

static off_t
area_offset(unsigned area)
{
	return JOURNAL_PAGE + (off_t)area * JOURNAL_AREA_BYTES;
}

static int
write_at(int fd, const void *data, size_t len, off_t at, struct sp_error *err)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return sp_error_errno(err, n < 0 ? errno : ENOSPC, "write the journal");
		data = (const char *)data + n;
		len -= (size_t)n;
		at += n;
	}
	return 0;
}

/* --- Changes --- */

int
journal_add_op(struct buf *ops, const struct journal_op *op)
{
	unsigned char head[OP_HEAD_BYTES];
	size_t before = ops->len;
	int rc;

	head[0] = op->is_delete;
	put_le(head + 1, op->key_len, 2);
	put_le(head + 3, op->value_len, 4);
	rc = buf_add(ops, head, sizeof(head));
	if (rc == 0)
		rc = buf_add(ops, op->key, op->key_len);
	if (rc == 0 && op->value_len > 0)
		rc = buf_add(ops, op->value, op->value_len);
	if (rc < 0)
		ops->len = before;
	return rc;
}

int
journal_next_op(const void *ops, size_t len, size_t *at, struct journal_op *out)
{
	const unsigned char *p = (const unsigned char *)ops + *at;
	size_t left = len - *at;

	if (left == 0)
		return 0;
	if (left < OP_HEAD_BYTES || p[0] > 1)
		return SP_EBADDATA;
	*out = (struct journal_op){ .is_delete = p[0] == 1, .key = p + OP_HEAD_BYTES };
	out->key_len = (size_t)get_le(p + 1, 2);
	out->value_len = (size_t)get_le(p + 3, 4);
	out->value = p + OP_HEAD_BYTES + out->key_len;
	if (out->key_len == 0 || out->key_len + out->value_len > left - OP_HEAD_BYTES)
		return SP_EBADDATA;
	*at += OP_HEAD_BYTES + out->key_len + out->value_len;
	return 1;
}

/* --- Writing --- */

static int
write_file_head(struct journal *j, struct sp_error *err)
{
	unsigned char page[JOURNAL_PAGE] = { 0 };

	if (getrandom(j->salt, sizeof(j->salt), 0) != (ssize_t)sizeof(j->salt))
		return sp_error_errno(err, errno, "random numbers");
	memcpy(page, file_magic, sizeof(file_magic));
	put_le(page + 8, FORMAT, 4);
	memcpy(page + SALT_AT, j->salt, sizeof(j->salt));
	if (write_at(j->fd, page, sizeof(page), 0, err) < 0)
		return err->code;
	return fdatasync(j->fd) == 0 ? 0 : sp_error_set(err, SP_EIO, "sync the journal: %s", strerror(errno));
}

int
journal_create(const char *dir, struct journal **out, struct sp_error *err)
{
	struct journal *j = calloc(1, sizeof(*j));
	char path[PATH_BYTES];
	int rc;

	if (j == NULL)
		return sp_error_set(err, SP_ENOMEM, "journal");
	rc = file_join(path, sizeof(path), dir, JOURNAL_NAME, err);
	if (rc < 0)
		goto fail;
	j->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (j->fd < 0) {
		rc = sp_error_errno(err, errno, "create %s", path);
		goto fail;
	}
	rc = write_file_head(j, err);
	if (rc == 0)
		rc = file_sync_dir(dir, err);
	if (rc < 0) {
		close(j->fd);
		unlink(path);
		goto fail;
	}
	j->generation = 1;
	FAULT_POINT("journal.created");
	*out = j;
	return 0;
fail:
	free(j);
	return rc;
}

void
journal_close(struct journal *j)
{
	if (j == NULL)
		return;
	close(j->fd);
	free(j->page);
	free(j);
}

int
journal_remove(const char *dir, struct sp_error *err)
{
	char path[PATH_BYTES];
	int rc;

	rc = file_join(path, sizeof(path), dir, JOURNAL_NAME, err);
	if (rc < 0)
		return rc;
	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : sp_error_errno(err, errno, "remove %s", path);
	FAULT_POINT("journal.removed");
	return file_sync_dir(dir, err);
}

size_t
journal_group_size(size_t len)
{
	return (HEAD_BYTES + len + JOURNAL_PAGE - 1) / JOURNAL_PAGE * JOURNAL_PAGE;
}

size_t
journal_room(const struct journal *j)
{
	return JOURNAL_AREA_BYTES - j->at;
}

/* Have the file's blocks up to `end` of the area on disk before they are needed. */
static int
prepare(struct journal *j, size_t end, struct sp_error *err)
{
	static unsigned char zeros[64 << 10]; /* never written: not const, so that the program does not carry them */
	size_t *prepared = &j->prepared[j->area];
	size_t target = (end + PREPARE_BYTES - 1) / PREPARE_BYTES * PREPARE_BYTES;
	size_t at = *prepared;

	if (end <= *prepared)
		return 0;
	for (; at < target; at += sizeof(zeros))
		if (write_at(j->fd, zeros, sizeof(zeros), area_offset(j->area) + (off_t)at, err) < 0)
			return err->code;
	if (fdatasync(j->fd) < 0)
		return sp_error_set(err, SP_EIO, "sync the journal: %s", strerror(errno));
	*prepared = target;
	return 0;
}

static void
pack_head(const struct journal *j, const struct journal_group *g, size_t len, unsigned char *p)
{
	memcpy(p, group_magic, sizeof(group_magic));
	put_le(p + 4, len, 4);
	put_le(p + 8, j->generation, 8);
	put_le(p + 16, j->index, 8);
	put_le(p + 24, g->base_seq, 8);
	put_le(p + 32, g->seq, 8);
	put_le(p + 40, g->epoch, 8);
	put_le(p + 48, g->keys, 8);
	memcpy(p + 56, g->cluster, 16);
	digest_to_bytes(g->base_digest, p + 72);
	digest_to_bytes(g->digest, p + 88);
	memcpy(p + HEAD_CHECKSUM, j->salt, sizeof(j->salt));
}

static int
make_room(struct journal *j, size_t size, struct sp_error *err)
{
	unsigned char *bigger;

	if (size <= j->page_size)
		return 0;
	bigger = realloc(j->page, size);
	if (bigger == NULL)
		return sp_error_set(err, SP_ENOMEM, "journal");
	j->page = bigger;
	j->page_size = size;
	return 0;
}

int
journal_append(struct journal *j, const struct journal_group *group, const void *ops, size_t len, struct sp_error *err)
{
	size_t size = journal_group_size(len);
	int rc;

	if (len > JOURNAL_GROUP_BYTES || size > journal_room(j))
		return sp_error_set(err, SP_ETOOBIG, "the journal has no room for %zu bytes", len);
	rc = make_room(j, size, err);
	if (rc == 0)
		rc = prepare(j, j->at + size, err);
	if (rc < 0)
		return rc;
	pack_head(j, group, len, j->page);
	memcpy(j->page + HEAD_BYTES, ops, len);
	memset(j->page + HEAD_BYTES + len, 0, size - HEAD_BYTES - len);
	digest_to_bytes(digest_of(j->page, HEAD_BYTES + len), j->page + HEAD_CHECKSUM);
	rc = write_at(j->fd, j->page, size, area_offset(j->area) + (off_t)j->at, err);
	if (rc < 0)
		return rc;
	FAULT_POINT("journal.written");
	/* What a failed one left behind cannot be told; see fail-stop in committer.c. */
	if (fdatasync(j->fd) < 0)
		return sp_error_set(err, SP_EIO, "sync the journal: %s", strerror(errno));
	j->at += size;
	j->index++;
	return 0;
}

void
journal_switch(struct journal *j)
{
	j->area = 1 - j->area;
	j->generation++;
	j->index = 0;
	j->at = 0;
}

/* --- Reading --- */

/* An area in memory. */
struct area {
	const unsigned char *salt;
	unsigned char *data;
	size_t len;
	uint64_t generation; /* of its first group; 0: it has none */
};

/* The group at a place: its changes' length, or -1 where there is no whole one. */
static int64_t
group_at(const struct area *a, size_t at, uint64_t *generation, uint64_t *index)
{
	unsigned char *p = a->data + at;
	unsigned char said[DIGEST_BYTES];
	size_t len;
	bool ok;

	if (a->len - at < HEAD_BYTES || memcmp(p, group_magic, sizeof(group_magic)) != 0)
		return -1;
	len = (size_t)get_le(p + 4, 4);
	if (len > JOURNAL_GROUP_BYTES || len > a->len - at - HEAD_BYTES)
		return -1;
	memcpy(said, p + HEAD_CHECKSUM, sizeof(said));
	memcpy(p + HEAD_CHECKSUM, a->salt, DIGEST_BYTES);
	ok = digest_equal(digest_from_bytes(said), digest_of(p, HEAD_BYTES + len));
	memcpy(p + HEAD_CHECKSUM, said, sizeof(said));
	*generation = get_le(p + 8, 8);
	*index = get_le(p + 16, 8);
	return ok ? (int64_t)len : -1;
}

static int
visit_group(const unsigned char *p, size_t len, journal_visit visit, void *arg, struct sp_error *err)
{
	struct journal_group g = { .base_seq = get_le(p + 24, 8),
		.seq = get_le(p + 32, 8),
		.epoch = get_le(p + 40, 8),
		.keys = get_le(p + 48, 8),
		.base_digest = digest_from_bytes(p + 72),
		.digest = digest_from_bytes(p + 88) };

	memcpy(g.cluster, p + 56, sizeof(g.cluster));
	return visit(&g, p + HEAD_BYTES, len, arg, err);
}

/* Groups are synced one by one, so none can be whole behind one that is not; unless it was damaged since. */
static int
check_rest(const struct area *a, size_t at, uint64_t index, struct sp_error *err)
{
	uint64_t generation, found;

	for (; at + HEAD_BYTES <= a->len; at += JOURNAL_PAGE)
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
read_area(const struct area *a, bool newest, journal_visit visit, void *arg, struct sp_error *err)
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
	return rc == 0 && newest ? check_rest(a, at, expected, err) : rc;
}

/* The area's generation is that of the newest whole group in it: the first may be damaged. */
static void
find_generation(struct area *a)
{
	uint64_t generation, index;

	for (size_t at = 0; at + HEAD_BYTES <= a->len; at += JOURNAL_PAGE)
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
		n = pread(fd, a->data + a->len, JOURNAL_AREA_BYTES - a->len, area_offset(number) + (off_t)a->len);
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

/* 1: ours; 0: one that was being made when the machine went down, before anything came into it. */
static int
read_file_head(int fd, unsigned char head[FILE_HEAD_BYTES], struct sp_error *err)
{
	static const unsigned char zeros[FILE_HEAD_BYTES];
	ssize_t n = pread(fd, head, FILE_HEAD_BYTES, 0);

	if (n < 0)
		return sp_error_errno(err, errno, "read it");
	if (n == 0 || (n == FILE_HEAD_BYTES && memcmp(head, zeros, sizeof(zeros)) == 0))
		return 0;
	if (n < FILE_HEAD_BYTES || memcmp(head, file_magic, sizeof(file_magic)) != 0)
		return sp_error_set(err, SP_EBADDATA, "not a journal");
	if (get_le(head + 8, 4) != FORMAT)
		return sp_error_set(err, SP_EBADDATA, "a journal of format %u; this program knows format %d",
		    (unsigned)get_le(head + 8, 4), FORMAT);
	return 1;
}

static int
read_file(int fd, journal_visit visit, void *arg, struct sp_error *err)
{
	unsigned char head[FILE_HEAD_BYTES];
	struct area areas[AREAS] = { { .salt = head + SALT_AT }, { .salt = head + SALT_AT } };
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
			rc = read_area(&areas[1 - older], true, visit, arg, err);
	}
	free(areas[0].data);
	free(areas[1].data);
	return rc;
}

int
journal_read(const char *dir, journal_visit visit, void *arg, struct sp_error *err)
{
	char path[PATH_BYTES];
	int fd, rc;

	rc = file_join(path, sizeof(path), dir, JOURNAL_NAME, err);
	if (rc < 0)
		return rc;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return sp_error_errno(err, errno, "%s", path);
	rc = read_file(fd, visit, arg, err);
	close(fd);
	return rc < 0 ? sp_error_wrap(err, "%s", path) : 0;
}
