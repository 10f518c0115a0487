/*
 * A real store in a temporary folder, with the few steps that most of its tests are made of. What fails here fails the
 * test.
 *
 *	struct store *s = test_store_new(dir);		// dir/store, a new cluster
 *	test_store_put(s, "key", "value");
 *	test_store_expect(s, "key", "value");
 *	store_free(s);
 */
#ifndef TESTS_LIB_TEST_STORE_H_
#define TESTS_LIB_TEST_STORE_H_

#include "lib/base/buf.h"
#include "server/store/store.h"

/* The store in `folder`/store, attached as `how`; map_size 0: 64 MiB. */
struct store *test_store_open(const char *folder, enum store_attach how, uint64_t map_size);
struct store *test_store_new(const char *folder);

/* Copy the file of the store in `from`, which nobody has open, to another folder. */
void test_store_copy(const char *from, const char *to);

/* One change in a transaction of its own; its seq. */
uint64_t test_store_put(struct store *s, const char *key, const char *value);
uint64_t test_store_delete(struct store *s, const char *key);

/* The key has this value; NULL: it is not there. */
void test_store_expect(struct store *s, const char *key, const char *value);

struct position test_store_position(struct store *s);

/* It verifies, and the recomputed digest is the position's. */
void test_store_verify(struct store *s);

/* This node leads, or follows, from here on. */
void test_store_lead(struct store *s);
void test_store_follow(struct store *s);

/* The feed of at most `records` records after `since`; `out` is initialised here. */
void test_store_feed(struct store *s, uint64_t since, uint64_t records, struct buf *out);

/* Apply a feed in a transaction of its own: 0, or the code for which it was aborted. */
int test_store_apply(struct store *s, const struct buf *feed, struct sp_error *err);

#endif
