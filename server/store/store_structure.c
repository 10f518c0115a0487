/*
 * Whether the pages of a store without a writer are sound.
 *
 * LMDB trusts its pages: a flipped bit in one (a child's number, where a node begins, how long it
 * is) sends it outside of the map, and the process ends by a signal instead of an error. So before
 * a store in doubt is read through LMDB, its trees are walked here with pread(2): each page within
 * the file, used once and of its kind, each node within its page, each list of free pages in order
 * and of pages that nothing uses. store_verify() checks the content of the records.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/le.h"
#include "server/store/store_internal.h"
#include "server/store/store_layout.h"

struct check {
	int fd;
	unsigned page_size;  /* bytes */
	uint64_t end;        /* the first page that is not there */
	unsigned char *used; /* a bit a page */
	bool deep;           /* all of it; else the main tree and the roots of the others */
	const char *dir;
	struct sp_error *err;
};

/* A tree: LMDB's MDB_db. */
struct tree {
	unsigned flags, depth;
	uint64_t root;
	bool is_free_list, is_main;
};

static int
damaged(struct check *c, uint64_t pgno, const char *what)
{
	return sp_error_set(
	    c->err, SP_EBADDATA, "%s/data.mdb: page %llu is damaged: %s", c->dir, (unsigned long long)pgno, what);
}

static int
read_bytes(struct check *c, uint64_t pgno, size_t from, void *out, size_t len)
{
	ssize_t n;

	do
		n = pread(c->fd, out, len, (off_t)(pgno * c->page_size + from));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return sp_error_errno(c->err, errno, "%s/data.mdb: read page %llu", c->dir, (unsigned long long)pgno);
	return (size_t)n == len ? 0 : damaged(c, pgno, "the file ends before it");
}

/* Note that `count` pages from `pgno` are used, by one thing only. */
static int
use(struct check *c, uint64_t by, uint64_t pgno, uint64_t count)
{
	if (pgno < META_PAGES || pgno >= c->end || count > c->end - pgno)
		return damaged(c, by, "it names a page that the store does not have");
	for (uint64_t i = pgno; i < pgno + count; i++) {
		if ((c->used[i / 8] >> (i % 8) & 1) != 0)
			return damaged(c, by, "it names a page that is used elsewhere");
		c->used[i / 8] |= (unsigned char)(1u << (i % 8));
	}
	return 0;
}

static int walk_page(struct check *c, const struct tree *t, uint64_t by, uint64_t pgno, unsigned depth);

static int
walk_tree(struct check *c, const struct tree *t, uint64_t by)
{
	if (t->root == NO_PAGE)
		return 0;
	if (t->depth == 0 || t->depth > TREE_DEPTH_MAX)
		return damaged(c, by, "a tree's depth cannot be");
	return walk_page(c, t, by, t->root, 1);
}

static void
load_tree(const unsigned char *p, struct tree *out)
{
	out->flags = (unsigned)le_get(p + TREE_FLAGS, 2);
	out->depth = (unsigned)le_get(p + TREE_DEPTH, 2);
	out->root = le_get(p + TREE_ROOT, 8);
	out->is_free_list = out->is_main = false;
}

/* A list of free pages: how many, then their numbers, the largest first. */
static int
walk_list(struct check *c, uint64_t by, const unsigned char *list, uint64_t len)
{
	uint64_t count = len >= 8 ? le_get(list, 8) : 0, before = c->end, pgno;
	int rc;

	if (len < 8 || count > len / 8 - 1)
		return damaged(c, by, "a list of free pages is longer than its place");
	for (uint64_t i = 1; i <= count; i++) {
		pgno = le_get(list + i * 8, 8);
		if (pgno >= before)
			return damaged(c, by, "a list of free pages is not in order");
		if ((rc = use(c, by, pgno, 1)) < 0)
			return rc;
		before = pgno;
	}
	return 0;
}

/* A value that has pages of its own. */
static int
walk_overflow(struct check *c, const struct tree *t, uint64_t by, uint64_t pgno, uint64_t len)
{
	uint64_t needed = (PAGE_HEADER_BYTES - 1 + len) / c->page_size + 1, pages;
	unsigned char head[PAGE_HEADER_BYTES], *list;
	int rc;

	if (pgno >= c->end)
		return damaged(c, by, "it names a page that the store does not have");
	if ((rc = read_bytes(c, pgno, 0, head, sizeof(head))) < 0)
		return rc;
	pages = le_get(head + PAGE_OVERFLOW_PAGES, 4);
	if (le_get(head, 8) != pgno || le_get(head + PAGE_FLAGS, 2) != PAGE_OVERFLOW || pages < needed)
		return damaged(c, pgno, "it is not what a large value begins with");
	if ((rc = use(c, by, pgno, pages)) < 0 || !t->is_free_list)
		return rc;
	list = malloc(len);
	if (list == NULL)
		return sp_error_set(c->err, SP_ENOMEM, "check %s", c->dir);
	rc = read_bytes(c, pgno, PAGE_HEADER_BYTES, list, len);
	if (rc == 0)
		rc = walk_list(c, by, list, len);
	free(list);
	return rc;
}

static int
walk_leaf(struct check *c, const struct tree *t, const unsigned char *node, uint64_t pgno, size_t room)
{
	uint64_t len = le_get(node + NODE_LOW, 2) | le_get(node + NODE_HIGH, 2) << 16;
	uint64_t flags = le_get(node + NODE_FLAGS, 2), key_len = le_get(node + NODE_KEY_LEN, 2);
	const unsigned char *data = node + NODE_HEADER_BYTES + key_len;
	struct tree inner;

	if ((flags & ~(uint64_t)(NODE_OVERFLOW | NODE_TREE)) != 0 || ((flags & NODE_TREE) != 0) != t->is_main)
		return damaged(c, pgno, "a node is of no known kind");
	if (key_len == 0 || ((t->flags & TREE_INTEGER_KEY) != 0 && key_len != 8))
		return damaged(c, pgno, "a key's length cannot be");
	if (NODE_HEADER_BYTES + key_len + ((flags & NODE_OVERFLOW) != 0 ? 8 : len) > room)
		return damaged(c, pgno, "a node reaches beyond its page");
	if ((flags & NODE_TREE) != 0) {
		if (len != TREE_BYTES)
			return damaged(c, pgno, "a tree's description has another length");
		load_tree(data, &inner);
		return walk_tree(c, &inner, pgno);
	}
	if ((flags & NODE_OVERFLOW) != 0)
		return walk_overflow(c, t, pgno, le_get(data, 8), len);
	return t->is_free_list ? walk_list(c, pgno, data, len) : 0;
}

static int
walk_node(struct check *c, const struct tree *t, const unsigned char *page, size_t at, unsigned depth)
{
	uint64_t pgno = le_get(page, 8), child;
	const unsigned char *node = page + at;

	if ((le_get(page + PAGE_FLAGS, 2) & PAGE_LEAF) != 0)
		return walk_leaf(c, t, node, pgno, c->page_size - at);
	if (NODE_HEADER_BYTES + le_get(node + NODE_KEY_LEN, 2) > c->page_size - at)
		return damaged(c, pgno, "a node reaches beyond its page");
	child = le_get(node + NODE_LOW, 2) | le_get(node + NODE_HIGH, 2) << 16 | le_get(node + NODE_FLAGS, 2) << 32;
	/* Without depth the roots of the records' trees are enough, whose pages may be many. */
	return c->deep || t->is_main ? walk_page(c, t, pgno, child, depth + 1) : 0;
}

static int
check_page(struct check *c, const struct tree *t, const unsigned char *page, uint64_t pgno, unsigned depth)
{
	uint64_t flags = le_get(page + PAGE_FLAGS, 2), lower = le_get(page + PAGE_LOWER, 2),
		 upper = le_get(page + PAGE_UPPER, 2);

	if (le_get(page, 8) != pgno)
		return damaged(c, pgno, "it bears another page's number");
	if (flags != (depth == t->depth ? PAGE_LEAF : PAGE_BRANCH))
		return damaged(c, pgno, "it is of another kind than its place in the tree");
	if (lower < PAGE_HEADER_BYTES + (depth == t->depth ? 2 : 4) || lower % 2 != 0 || lower > upper ||
	    upper > c->page_size)
		return damaged(c, pgno, "its bounds cannot be");
	return 0;
}

static int
walk_page(struct check *c, const struct tree *t, uint64_t by, uint64_t pgno, unsigned depth)
{
	unsigned char *page;
	size_t at;
	int rc;

	if ((rc = use(c, by, pgno, 1)) < 0)
		return rc;
	page = malloc(c->page_size);
	if (page == NULL)
		return sp_error_set(c->err, SP_ENOMEM, "check %s", c->dir);
	rc = read_bytes(c, pgno, 0, page, c->page_size);
	if (rc == 0)
		rc = check_page(c, t, page, pgno, depth);
	for (size_t i = PAGE_HEADER_BYTES; rc == 0 && i < le_get(page + PAGE_LOWER, 2); i += 2) {
		at = le_get(page + i, 2);
		if (at < le_get(page + PAGE_UPPER, 2) || at % 2 != 0 || at + NODE_HEADER_BYTES > c->page_size)
			rc = damaged(c, pgno, "a node begins outside of it");
		else
			rc = walk_node(c, t, page, at, depth);
	}
	free(page);
	return rc;
}

/* With the newer meta page in `meta`. The free list last: its pages must not be used by anything before. */
static int
walk_all(struct check *c, const unsigned char *meta)
{
	struct tree lists, main_tree;
	int rc;

	c->page_size = (unsigned)le_get(meta + META_PAGE_SIZE, 4);
	c->end = le_get(meta + META_LAST_PG, 8) + 1;
	c->used = calloc(1, c->end / 8 + 1);
	if (c->used == NULL)
		return sp_error_set(c->err, SP_ENOMEM, "check %s", c->dir);
	load_tree(meta + META_FREE_TREE, &lists);
	load_tree(meta + META_MAIN_TREE, &main_tree);
	lists.is_free_list = main_tree.is_main = true;
	lists.flags |= TREE_INTEGER_KEY;
	rc = walk_tree(c, &main_tree, le_get(meta + META_TXNID, 8) & 1);
	if (rc == 0 && c->deep)
		rc = walk_tree(c, &lists, le_get(meta + META_TXNID, 8) & 1);
	free(c->used);
	return rc;
}

int
store_check_structure(const char *dir, bool deep, struct sp_error *err)
{
	struct check c = { .deep = deep, .dir = dir, .err = err };
	unsigned char meta[META_END];
	char path[4200];
	int rc;

	/* That its sizes can be is known then. */
	if ((rc = store_check_head(dir, err)) < 0)
		return rc;
	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	if ((c.fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : sp_error_errno(err, errno, "open %s", path);
	rc = store_newer_meta(c.fd, meta) ? walk_all(&c, meta) : 0;
	close(c.fd);
	return rc;
}
