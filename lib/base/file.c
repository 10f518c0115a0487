#include "lib/base/file.h"
#include "lib/base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define READ_PIECE (64u << 10)

int
file_join(char *out, size_t size, const char *dir, const char *name, struct sp_error *err)
{
	size_t dir_len = strlen(dir), name_len = strlen(name);
	const char *slash = dir_len > 0 && dir[dir_len - 1] == '/' ? "" : "/";

	if (dir_len + strlen(slash) + name_len >= size)
		return sp_error_set(
		    err, SP_ETOOBIG, "path %.200s/%.100s is longer than %zu bytes", dir, name, size - 1);
	snprintf(out, size, "%s%s%s", dir, slash, name);
	return 0;
}

/* Append what comes from `fd` until its end; on failure `out` is as it was. */
static int
read_to_end(int fd, const char *path, struct buf *out, struct sp_error *err)
{
	size_t before = out->len;
	char *piece = malloc(READ_PIECE);
	ssize_t n;
	int rc = 0;

	if (piece == NULL)
		return sp_error_set(err, SP_ENOMEM, "read %s: out of memory", path);
	while ((n = read(fd, piece, READ_PIECE)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = sp_error_errno(err, errno, "read %s", path);
			break;
		}
		rc = buf_add(out, piece, (size_t)n);
		if (rc == SP_ETOOBIG)
			sp_error_set(err, rc, "read %s: larger than %zu bytes", path, out->limit - before);
		else if (rc < 0)
			sp_error_set(err, rc, "read %s: out of memory", path);
		if (rc < 0)
			break;
	}
	if (rc < 0 && out->len > before) {
		out->len = before;
		out->data[before] = '\0';
	}
	free(piece);
	return rc;
}

int
file_read_all(const char *path, struct buf *out, struct sp_error *err)
{
	int fd, rc;

	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return sp_error_errno(err, errno, "open %s", path);
	rc = read_to_end(fd, path, out, err);
	close(fd);
	return rc;
}

/* The folder of `path` into out[size], "." if it has none. */
static int
folder_of(const char *path, char *out, size_t size, struct sp_error *err)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);

	if (len == 0) {
		snprintf(out, size, ".");
		return 0;
	}
	if (len >= size)
		return sp_error_set(err, SP_ETOOBIG, "path %.200s is too long", path);
	memcpy(out, path, len);
	out[len] = '\0';
	return 0;
}

/* Fill the fresh temporary file and put it on disk. */
static int
write_and_sync(int fd, const char *path, const void *data, size_t len, mode_t mode, struct sp_error *err)
{
	if (fchmod(fd, mode) < 0)
		return sp_error_errno(err, errno, "chmod %s", path);
	if (file_write_full(fd, data, len, err) < 0)
		return sp_error_wrap(err, "write %s", path);
	if (fsync(fd) < 0)
		return sp_error_errno(err, errno, "fsync %s", path);
	return 0;
}

int
file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct sp_error *err)
{
	char temporary[PATH_MAX];
	int fd, rc;

	/* A name of its own each time would leave a file behind with each kill. A file of that name
	 * is a leftover; O_EXCL, so that nothing is written through a link. */
	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary))
		return sp_error_set(err, SP_ETOOBIG, "path %.200s is too long", path);
	if (unlink(temporary) < 0 && errno != ENOENT)
		return sp_error_errno(err, errno, "remove %s", temporary);
	if ((fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
		return sp_error_errno(err, errno, "create %s", temporary);
	rc = write_and_sync(fd, temporary, data, len, mode, err);
	if (close(fd) < 0 && rc == 0)
		rc = sp_error_errno(err, errno, "close %s", temporary);
	FAULT_POINT("file.written");
	if (rc == 0)
		rc = file_rename_sync(temporary, path, err);
	if (rc < 0)
		unlink(temporary);
	return rc;
}

int
file_sync_dir(const char *path, struct sp_error *err)
{
	int fd, rc = 0;

	if ((fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return sp_error_errno(err, errno, "open directory %s", path);
	/* EINVAL: this file system cannot sync a directory, and there is nothing better to be had from it. */
	if (fsync(fd) < 0 && errno != EINVAL)
		rc = sp_error_errno(err, errno, "fsync directory %s", path);
	close(fd);
	return rc;
}

int
file_rename_sync(const char *from, const char *to, struct sp_error *err)
{
	char folder[PATH_MAX];
	int rc;

	if ((rc = folder_of(to, folder, sizeof(folder), err)) < 0)
		return rc;
	if (rename(from, to) < 0)
		return sp_error_errno(err, errno, "rename %s to %s", from, to);
	FAULT_POINT("file.renamed");
	return file_sync_dir(folder, err);
}

static int
sync_parent(const char *path, struct sp_error *err)
{
	char parent[PATH_MAX];
	int rc = folder_of(path, parent, sizeof(parent), err);

	return rc < 0 ? rc : file_sync_dir(parent, err);
}

/* mkdir of one directory: 1 and on disk, or 0 if it is there already. Anything else in its place is an error. */
static int
make_dir(const char *path, struct sp_error *err)
{
	struct stat st;
	int errnum, rc;

	if (mkdir(path, 0700) == 0) {
		rc = sync_parent(path, err);
		return rc < 0 ? rc : 1;
	}
	errnum = errno;
	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		errnum = ENOTDIR;
	}
	return sp_error_errno(err, errnum, "make directory %s", path);
}

int
file_make_dirs(const char *path, struct sp_error *err)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	int rc;

	if (len == 0 || len >= sizeof(part))
		return sp_error_set(err, SP_ETOOBIG, "directory \"%.200s\": empty or too long a path", path);
	memcpy(part, path, len + 1);
	for (char *p = part + 1; *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if ((rc = make_dir(part, err)) < 0)
			return rc;
		*p = '/';
	}
	rc = make_dir(part, err);
	/* One that is there may have been made by a process that was killed before it synced. */
	if (rc == 0)
		sync_parent(part, NULL);
	return rc < 0 ? rc : 0;
}

int
file_free_bytes(const char *path, uint64_t *out, struct sp_error *err)
{
	struct statvfs fs;

	if (statvfs(path, &fs) < 0)
		return sp_error_errno(err, errno, "free space of %s", path);
	*out = (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize;
	return 0;
}

bool
file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

int
file_write_full(int fd, const void *data, size_t len, struct sp_error *err)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return sp_error_errno(err, n < 0 ? errno : EIO, "%zu bytes left to write", len);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int
file_lock(const char *path, struct sp_error *err)
{
	int fd, errnum;

	if ((fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
		return sp_error_errno(err, errno, "open lock %s", path);
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		errnum = errno;
		if (errnum == EINTR)
			continue;
		close(fd);
		if (errnum == EWOULDBLOCK)
			return sp_error_set(err, SP_EAGAIN, "%s is locked by another process", path);
		return sp_error_errno(err, errnum, "lock %s", path);
	}
	return fd;
}
