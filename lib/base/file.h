/*
 * Files on a volume: durable publication and bounded reading. Any thread. Paths are absolute or relative to
 * the working directory; nothing here changes it.
 */
#ifndef LIB_BASE_FILE_H_
#define LIB_BASE_FILE_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"

/* Join two path parts into out[size]: 0, or SP_ETOOBIG. */
int file_join(char *out, size_t size, const char *dir, const char *name, struct sp_error *err);

/* Append the whole file to `out`; its limit bounds the size (SP_ETOOBIG names it). SP_ENOTFOUND, SP_EPERM, SP_EIO. */
int file_read_all(const char *path, struct buf *out, struct sp_error *err);

/* Write a file so that it is there whole or not at all, and on disk when this returns: temporary file, fsync, rename,
 * fsync of the directory. */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct sp_error *err);

/* fsync a directory, so that renames and new names in it are on disk. */
int file_sync_dir(const char *path, struct sp_error *err);

/* rename(2) within one directory, then fsync of that directory. */
int file_rename_sync(const char *from, const char *to, struct sp_error *err);

/* mkdir -p with mode 0700 & umask; existing directories are fine. Each that is made is on disk when this returns. A
 * slash at the end of the path is ignored. */
int file_make_dirs(const char *path, struct sp_error *err);

/* rm -r. Does not follow symbolic links and does not leave the file system of `path`. Missing is fine. */
int file_remove_tree(const char *path, struct sp_error *err);

/* Bytes that an unprivileged writer may still store on the file system of `path`. */
int file_free_bytes(const char *path, uint64_t *out, struct sp_error *err);

bool file_exists(const char *path);

/* Write all of it, through short writes and EINTR. */
int file_write_full(int fd, const void *data, size_t len, struct sp_error *err);

/*
 * Take the exclusive lock that says "this process owns this data directory" (flock(2) on `path`, made if it is not
 * there; it holds between containers that share a volume on one node, and dies with the process).
 * Returns the descriptor (close-on-exec), which holds the lock until it is closed; SP_EAGAIN if another holds it.
 */
int file_lock(const char *path, struct sp_error *err);

#endif
