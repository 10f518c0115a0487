#include "init/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "init/volume.h"
#include "init/writer.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"

#define SPARE_BYTES ((uint64_t)1 << 20) /* for directories, seed.json, and the server's first steps */

void
unpack_init(struct unpack *u, const char *dir)
{
	memset(u, 0, sizeof(*u));
	u->dir = dir;
	u->data_fd = -1;
	buf_init(&u->sums, SUMS_BYTES_MAX);
}

void
unpack_release(struct unpack *u)
{
	if (u->data_fd >= 0)
		close(u->data_fd);
	u->data_fd = -1;
	buf_release(&u->sums);
}

int
unpack_check_space(const char *dir, uint64_t bytes, struct sp_error *err)
{
	uint64_t available;
	int rc;

	if ((rc = file_free_bytes(dir, &available, err)) < 0)
		return rc;
	if (available < SPARE_BYTES || available - SPARE_BYTES < bytes)
		return sp_error_set(err, SP_ENOSPACE,
		    "%s has %" PRIu64 " bytes free; the new store takes %" PRIu64 " beside the old one", dir, available,
		    bytes + SPARE_BYTES);
	return 0;
}

/* The next member, which must be `name`. */
static int
expect_member(struct tar_reader *tar, const char *name, struct tar_member *member, struct sp_error *err)
{
	int rc = tar_reader_next(tar, member, err);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return sp_error_set(err, SP_EBADDATA, "the archive ends without %s", name);
	if (strcmp(member->name, name) != 0)
		return sp_error_set(err, SP_EBADDATA, "the archive holds %s where %s must be", member->name, name);
	return 0;
}

/* A small member, whole, into memory. */
static int
read_small(struct tar_reader *tar, const char *name, struct buf *out, struct sp_error *err)
{
	struct tar_member member;
	const void *data;
	size_t len;
	int rc;

	if ((rc = expect_member(tar, name, &member, err)) < 0)
		return rc;
	if (member.size > out->limit)
		return sp_error_set(
		    err, SP_EBADDATA, "%s has %" PRIu64 " bytes, at most %zu are taken", name, member.size, out->limit);
	while ((rc = tar_reader_data(tar, &data, &len, err)) == 1)
		if ((rc = buf_add(out, data, len)) < 0)
			return sp_error_set(err, rc, "keep %s", name);
	return rc;
}

static int
read_manifest(struct unpack *u, struct tar_reader *tar, struct sp_error *err)
{
	struct buf text;
	int rc;

	buf_init(&text, MANIFEST_BYTES_MAX);
	if ((rc = read_small(tar, "seedpod.json", &text, err)) == 0 &&
	    (rc = manifest_parse(text.data, text.len, &u->manifest, err)) == 0)
		u->manifest_hash = digest_of(text.data, text.len);
	buf_release(&text);
	return rc;
}

static int
create_data(struct unpack *u, struct sp_error *err)
{
	int dir = open(u->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return sp_error_errno(err, errno, "open %s", u->dir);
	u->data_fd = openat(dir, "data.mdb", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (u->data_fd < 0)
		sp_error_errno(err, errno, "create %s/data.mdb", u->dir);
	close(dir);
	return u->data_fd < 0 ? err->code : 0;
}

static int
copy_data(struct unpack *u, struct tar_reader *tar, struct digest_stream *hash, struct sp_error *err)
{
	struct writer *w = writer_new(u->data_fd, err);
	uint64_t taken = 0;
	char path[VOLUME_PATH_MAX];
	const void *data;
	size_t len;
	int rc;

	if (w == NULL)
		return SP_ENOMEM;
	snprintf(path, sizeof(path), "%s/data.mdb", u->dir);
	relay_image(u->relay, tar_reader_offset(tar), u->manifest.bytes, path, w);
	while ((rc = tar_reader_data(tar, &data, &len, err)) == 1) {
		digest_stream_add(hash, data, len);
		if ((rc = writer_add(w, data, len, err)) < 0) {
			u->writing = true;
			break;
		}
		taken += len;
		FAULT_POINT("init.piece_taken");
		if (u->progress != NULL)
			progress_show(u->progress, *u->bytes);
	}
	if (rc == 0 && (rc = writer_end(w, err)) < 0)
		u->writing = true;
	if (u->writing)
		sp_error_wrap(err, "write %s/data.mdb after %" PRIu64 " bytes", u->dir, taken);
	relay_image_written(u->relay);
	writer_free(w);
	return rc;
}

static int
read_data(struct unpack *u, struct tar_reader *tar, struct sp_error *err)
{
	struct digest_stream *hash;
	struct tar_member member;
	int rc;

	if ((rc = expect_member(tar, "store/data.mdb", &member, err)) < 0)
		return rc;
	if (member.size != u->manifest.bytes)
		return sp_error_set(err, SP_EBADDATA,
		    "store/data.mdb has %" PRIu64 " bytes, seedpod.json announced %" PRIu64, member.size,
		    u->manifest.bytes);
	u->writing = true;
	if ((rc = unpack_check_space(u->dir, member.size, err)) < 0 || (rc = create_data(u, err)) < 0)
		return rc;
	u->writing = false;
	FAULT_POINT("init.file_made");
	hash = digest_stream_new();
	if ((rc = copy_data(u, tar, hash, err)) == 0)
		u->data_hash = digest_stream_value(hash);
	digest_stream_free(hash);
	return rc;
}

int
unpack_run(struct unpack *u, struct tar_reader *tar, struct sp_error *err)
{
	struct tar_member member;
	int rc;

	if ((rc = read_manifest(u, tar, err)) < 0 || (rc = read_data(u, tar, err)) < 0 ||
	    (rc = read_small(tar, "seedpod.sums", &u->sums, err)) < 0)
		return rc;
	rc = tar_reader_next(tar, &member, err);
	if (rc == 1)
		return sp_error_set(
		    err, SP_EBADDATA, "the archive holds %s after seedpod.sums, where it must end", member.name);
	return rc;
}
