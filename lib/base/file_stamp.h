/*
 * Whether files have changed since they were last looked at: by path (device, inode, size, times), so that a Secret or
 * ConfigMap volume, which swaps its `..data` link, and an editor that replaces a file are both seen. Any thread.
 */
#ifndef LIB_BASE_FILE_STAMP_H_
#define LIB_BASE_FILE_STAMP_H_

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct file_stamp {
	bool there;
	struct stat stat;
};

/* What `path` leads to at present. NULL and "" are files that are never there. */
struct file_stamp file_stamp_take(const char *path);

/* Whether two looks found the same bytes, as far as a system call can tell. */
bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);

#endif
