#include "server/store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/le.h"
#include "server/store/journal_layout.h"

/* Zeros are written ahead in such steps, so that a group changes no metadata of the file system. */
#define PREPARE_BYTES (4u << 20)
#define PATH_BYTES    4096

struct journal {
	int fd;
	bool sync_later;
	unsigned char salt[DIGEST_BYTES];
	unsigned area;                  /* 0 or 1 */
	uint64_t generation;            /* of the area that is written */
	uint64_t index;                 /* of the next group in it */
	size_t at;                      /* bytes of the area in use */
	size_t prepared[JOURNAL_AREAS]; /* bytes of each that hold data or zeros on disk */
	unsigned char *page;            /* room for a group */
	size_t page_size;               /* bytes */
};

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
	unsigned char head[JOURNAL_OP_HEAD_BYTES + JOURNAL_OP_SEQ_BYTES];
	size_t head_len = JOURNAL_OP_HEAD_BYTES;
	size_t before = ops->len;
	int rc;

	head[0] = op->is_delete ? JOURNAL_OP_DELETE : 0;
	le_put(head + 1, op->key_len, 2);
	le_put(head + 3, op->value_len, 4);
	if (op->seq != 0) {
		head[0] |= JOURNAL_OP_SEQ;
		le_put(head + head_len, op->seq, JOURNAL_OP_SEQ_BYTES);
		head_len += JOURNAL_OP_SEQ_BYTES;
	}
	rc = buf_add(ops, head, head_len);
	if (rc == 0)
		rc = buf_add(ops, op->key, op->key_len);
	if (rc == 0 && op->value_len > 0)
		rc = buf_add(ops, op->value, op->value_len);
	if (rc < 0)
		ops->len = before;
	return rc;
}

/* --- Writing --- */

/* It is unknown what a failed sync has put on disk, and the next one may not say so: readers must
 * learn of it. */
static int
sync_file(struct journal *j, struct sp_error *err)
{
	static const char failed[BOOT_ID_SIZE] = "a sync failed";
	int code;

	if (fdatasync(j->fd) == 0)
		return 0;
	code = errno;
	if (j->sync_later)
		write_at(j->fd, failed, sizeof(failed), JOURNAL_BOOT_AT, NULL);
	return sp_error_set(err, SP_EIO, "sync the journal: %s", strerror(code));
}

int
journal_sync(struct journal *j, struct sp_error *err)
{
	return sync_file(j, err);
}

static int
write_file_head(struct journal *j, struct sp_error *err)
{
	unsigned char page[JOURNAL_PAGE] = { 0 };

	if (getrandom(j->salt, sizeof(j->salt), 0) != (ssize_t)sizeof(j->salt))
		return sp_error_errno(err, errno, "random numbers");
	memcpy(page, journal_file_magic, sizeof(journal_file_magic));
	le_put(page + 8, JOURNAL_FORMAT, 4);
	memcpy(page + JOURNAL_SALT_AT, j->salt, sizeof(j->salt));
	if (j->sync_later)
		boot_id_get((char *)page + JOURNAL_BOOT_AT);
	if (write_at(j->fd, page, sizeof(page), 0, err) < 0)
		return err->code;
	return sync_file(j, err);
}

int
journal_create(const char *dir, bool sync_later, struct journal **out, struct sp_error *err)
{
	struct journal *j = calloc(1, sizeof(*j));
	char path[PATH_BYTES];
	int rc;

	if (j == NULL)
		return sp_error_set(err, SP_ENOMEM, "journal");
	j->sync_later = sync_later;
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
	return (JOURNAL_HEAD_BYTES + len + JOURNAL_PAGE - 1) / JOURNAL_PAGE * JOURNAL_PAGE;
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
	int rc;

	if (end <= *prepared)
		return 0;
	for (; at < target; at += sizeof(zeros))
		if (write_at(j->fd, zeros, sizeof(zeros), journal_area_offset(j->area) + (off_t)at, err) < 0)
			return err->code;
	rc = sync_file(j, err);
	if (rc == 0)
		*prepared = target;
	return rc;
}

static void
pack_head(const struct journal *j, const struct journal_group *g, size_t len, unsigned char *p)
{
	memcpy(p, journal_group_magic, sizeof(journal_group_magic));
	le_put(p + 4, len, 4);
	le_put(p + 8, j->generation, 8);
	le_put(p + 16, j->index, 8);
	le_put(p + 24, g->base_seq, 8);
	le_put(p + 32, g->seq, 8);
	le_put(p + 40, g->epoch, 8);
	le_put(p + 48, g->keys, 8);
	memcpy(p + 56, g->cluster, 16);
	digest_to_bytes(g->base_digest, p + 72);
	digest_to_bytes(g->digest, p + 88);
	memcpy(p + JOURNAL_CHECKSUM_AT, j->salt, sizeof(j->salt));
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
	off_t at = journal_area_offset(j->area) + (off_t)j->at;
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
	memcpy(j->page + JOURNAL_HEAD_BYTES, ops, len);
	memset(j->page + JOURNAL_HEAD_BYTES + len, 0, size - JOURNAL_HEAD_BYTES - len);
	digest_to_bytes(digest_of(j->page, JOURNAL_HEAD_BYTES + len), j->page + JOURNAL_CHECKSUM_AT);
	/* The head last: what could not be written to its end has none, and is not taken for a group, even if only
	 * zeros are missing. */
	rc = write_at(j->fd, j->page + JOURNAL_HEAD_BYTES, size - JOURNAL_HEAD_BYTES, at + JOURNAL_HEAD_BYTES, err);
	if (rc == 0)
		rc = write_at(j->fd, j->page, JOURNAL_HEAD_BYTES, at, err);
	if (rc < 0)
		return rc;
	FAULT_POINT("journal.written");
	/* It is unknown what a failed one left behind; see fail-stop in committer.c. */
	if (!j->sync_later && (rc = sync_file(j, err)) < 0)
		return rc;
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
