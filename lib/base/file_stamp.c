#include "lib/base/file_stamp.h"

#include <string.h>

struct file_stamp
file_stamp_take(const char *path)
{
	struct file_stamp s;

	memset(&s, 0, sizeof(s));
	s.there = path != NULL && path[0] != '\0' && stat(path, &s.stat) == 0;
	return s;
}

bool
file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
	const struct stat *x = &a->stat, *y = &b->stat;

	if (!a->there || !b->there)
		return a->there == b->there;
	return x->st_dev == y->st_dev && x->st_ino == y->st_ino && x->st_size == y->st_size &&
	       x->st_mtim.tv_sec == y->st_mtim.tv_sec && x->st_mtim.tv_nsec == y->st_mtim.tv_nsec &&
	       x->st_ctim.tv_sec == y->st_ctim.tv_sec && x->st_ctim.tv_nsec == y->st_ctim.tv_nsec;
}
