/*
 * Whether the file holds all its pages.
 *
 * If a file was cut, a read of the map beyond its end kills the process with SIGBUS. But a file
 * that ends before its last page need not be cut: pages that were allocated and freed again within
 * one transaction are counted and never written. Such pages are in the free list. So if the file is
 * short, the free list is read, without the map, and each page that is missing must be in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/le.h"
#include "server/store/store_internal.h"
#include "server/store/store_layout.h"

#define LIST_PIECE    512                 /* page numbers read at once */
#define MAP_BYTES_MAX ((uint64_t)1 << 47) /* the address space that a process has */

struct walk {
	int fd;
	unsigned page_size; /* bytes */
	uint64_t first;     /* the first page that is not whole in the file */
	uint64_t end;       /* the first one that the version does not have */
	uint64_t missing;   /* of those between, how many are not known to be free */
	unsigned char *known;
};

/* Read exactly len bytes. False if the file has them not. */
static bool
read_at(const struct walk *w, uint64_t offset, void *out, size_t len)
{
	ssize_t n;

	if (offset > INT64_MAX - len)
		return false;
	do
		n = pread(w->fd, out, len, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)len;
}

/* A version's list: how many, and then the numbers. */
static bool
mark_list(struct walk *w, uint64_t offset, uint64_t len)
{
	unsigned char numbers[LIST_PIECE * 8];
	uint64_t count, pgno;

	if (len < 8 || !read_at(w, offset, numbers, 8))
		return false;
	count = le_get(numbers, 8);
	if (count > len / 8 - 1)
		return false;
	for (uint64_t at = 0; at < count; at += LIST_PIECE) {
		size_t n = count - at < LIST_PIECE ? (size_t)(count - at) : LIST_PIECE;

		if (!read_at(w, offset + 8 + at * 8, numbers, n * 8))
			return false;
		for (size_t i = 0; i < n; i++) {
			pgno = le_get(numbers + i * 8, 8);
			if (pgno < w->first || pgno >= w->end || w->known[pgno - w->first] != 0)
				continue;
			w->known[pgno - w->first] = 1;
			w->missing--;
		}
	}
	return true;
}

static bool walk_page(struct walk *w, uint64_t pgno, unsigned depth);

/* One node of a tree's page, within its bounds. */
static bool
walk_node(struct walk *w, const unsigned char *page, uint64_t pgno, size_t at, unsigned depth)
{
	bool branch = (le_get(page + PAGE_FLAGS, 2) & PAGE_BRANCH) != 0;
	uint64_t low = le_get(page + at + NODE_LOW, 2) | le_get(page + at + NODE_HIGH, 2) << 16;
	uint64_t flags = le_get(page + at + NODE_FLAGS, 2);
	size_t data = at + NODE_HEADER_BYTES + le_get(page + at + NODE_KEY_LEN, 2);

	if (branch)
		return walk_page(w, low | flags << 32, depth + 1);
	if ((flags & NODE_OVERFLOW) == 0)
		return data + low <= w->page_size && mark_list(w, pgno * w->page_size + data, low);
	if (data + 8 > w->page_size || le_get(page + data, 8) >= w->end)
		return false;
	return mark_list(w, le_get(page + data, 8) * w->page_size + PAGE_HEADER_BYTES, low);
}

/* Mark what the free list's tree names from this page down. False if it is not whole. */
static bool
walk_page(struct walk *w, uint64_t pgno, unsigned depth)
{
	unsigned char *page;
	size_t lower, at;
	bool ok;

	if (depth > TREE_DEPTH_MAX || pgno >= w->first)
		return false;
	page = malloc(w->page_size);
	ok = page != NULL && read_at(w, pgno * w->page_size, page, w->page_size) &&
	     (le_get(page + PAGE_FLAGS, 2) & (PAGE_BRANCH | PAGE_LEAF)) != 0;
	lower = ok ? le_get(page + PAGE_LOWER, 2) : 0;
	ok = ok && lower <= w->page_size;
	for (size_t i = PAGE_HEADER_BYTES; ok && i + 2 <= lower; i += 2) {
		at = le_get(page + i, 2);
		ok = at + NODE_HEADER_BYTES <= w->page_size && walk_node(w, page, pgno, at, depth);
	}
	free(page);
	return ok;
}

/* Whether the version's free list names all pages that the file lacks. */
static bool
free_list_covers(struct walk *w, size_t txnid)
{
	unsigned char meta[META_END];
	uint64_t root;

	if (!read_at(w, (txnid & 1) * w->page_size, meta, sizeof(meta)) || le_get(meta + META_MAGIC, 4) != LMDB_MAGIC ||
	    le_get(meta + META_VERSION, 4) != LMDB_VERSION || le_get(meta + META_TXNID, 8) != txnid)
		return false;
	root = le_get(meta + META_FREE_ROOT, 8);
	return root != NO_PAGE && walk_page(w, root, 1) && w->missing == 0;
}

bool
store_newer_meta(int fd, unsigned char *meta)
{
	unsigned char second[META_END];
	struct walk file = { .fd = fd };
	uint64_t page_size;

	if (!read_at(&file, 0, meta, META_END) || le_get(meta + META_MAGIC, 4) != LMDB_MAGIC)
		return false;
	page_size = le_get(meta + META_PAGE_SIZE, 4);
	if (page_size == 0 || !read_at(&file, page_size, second, sizeof(second)) ||
	    le_get(second + META_MAGIC, 4) != LMDB_MAGIC)
		return false;
	if (le_get(second + META_TXNID, 8) > le_get(meta + META_TXNID, 8))
		memcpy(meta, second, sizeof(second));
	return le_get(meta + META_PAGE_SIZE, 4) != 0;
}

int
store_check_head(const char *dir, struct sp_error *err)
{
	unsigned char meta[META_END];
	uint64_t last, pages, page_size;
	char path[4200];
	struct stat st;
	bool known;
	int fd;

	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	known = fstat(fd, &st) == 0 && store_newer_meta(fd, meta);
	close(fd);
	if (!known)
		return 0;
	/* A page is in the file, or named in its free list, which takes eight bytes. */
	page_size = le_get(meta + META_PAGE_SIZE, 4);
	pages = (uint64_t)st.st_size / page_size + (uint64_t)st.st_size / 8;
	last = le_get(meta + META_LAST_PG, 8);
	if (last < pages && le_get(meta + META_MAP_SIZE, 8) <= MAP_BYTES_MAX)
		return 0;
	return sp_error_set(err, SP_EBADDATA,
	    "%s: is %llu bytes long, but says that its last page is number %llu and its map %llu bytes: damaged, or "
	    "cut "
	    "short",
	    path, (unsigned long long)st.st_size, (unsigned long long)last,
	    (unsigned long long)le_get(meta + META_MAP_SIZE, 8));
}

int
store_check_length(struct store *s, MDB_env *env, struct sp_error *err)
{
	struct walk w = { .first = 0 };
	MDB_envinfo info;
	MDB_stat stat;
	struct stat st;
	bool ok;

	mdb_env_info(env, &info);
	mdb_env_stat(env, &stat);
	mdb_env_get_fd(env, &w.fd);
	if (fstat(w.fd, &st) < 0)
		return sp_error_errno(err, errno, "%s/data.mdb", s->dir);
	w.page_size = stat.ms_psize;
	w.first = (uint64_t)st.st_size / w.page_size;
	w.end = (uint64_t)info.me_last_pgno + 1;
	if (w.first >= w.end)
		return 0;
	w.missing = w.end - w.first;
	w.known = calloc(1, w.missing);
	if (w.known == NULL)
		return sp_error_set(err, SP_ENOMEM, "%s: open", s->dir);
	ok = free_list_covers(&w, info.me_last_txnid);
	free(w.known);
	if (!ok)
		return sp_error_set(err, SP_EBADDATA,
		    "%s/data.mdb: is %llu bytes long, but its last page ends at %llu: cut short", s->dir,
		    (unsigned long long)st.st_size, (unsigned long long)(w.end * w.page_size));
	return 0;
}
