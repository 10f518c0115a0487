/* The change feed of a store with a journal: all that was committed, in its order, wherever it is kept. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store/journal.h"
#include "server/store/store.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

#define KEYS 12

static char dir[TEMPDIR_MAX];
static struct store *store;
static _Thread_local struct sp_error err;

/* What each key holds: its newest seq, and whether that was a delete. */
static uint64_t newest[KEYS];
static bool deleted[KEYS];

static void
setup(void)
{
	struct store_options o = { .map_size = 64u << 20, .log = STORE_LOG_JOURNAL };

	tempdir_make(dir);
	o.dir = tempdir_path(dir, "store");
	store = store_new(&o, &err);
	ck_assert_msg(store != NULL, "%s", err.text);
	ck_assert_msg(store_attach(store, STORE_CREATE, &err) == 0, "%s", err.text);
	memset(newest, 0, sizeof(newest));
	memset(deleted, 0, sizeof(deleted));
}

static void
teardown(void)
{
	store_free(store);
	tempdir_remove(dir);
}

/* A group of n changes of random keys. */
static void
change(unsigned n, unsigned *random)
{
	struct store_txn *t;
	char key[16];
	int rc;

	ck_assert_msg(store_txn_begin_group(store, 100, &t, &err) == 0, "%s", err.text);
	for (unsigned i = 0; i < n; i++) {
		unsigned k = (unsigned)rand_r(random) % KEYS;
		bool is_delete = newest[k] != 0 && !deleted[k] && rand_r(random) % 3 == 0;

		snprintf(key, sizeof(key), "key-%u", k);
		rc = is_delete ? store_txn_delete(t, key, strlen(key), &newest[k], &err)
			       : store_txn_put(t, key, strlen(key), key, strlen(key), &newest[k], &err);
		ck_assert_msg(rc == 0, "%s", err.text);
		deleted[k] = is_delete;
	}
	ck_assert_msg(store_txn_commit(t, &err) == 0, "%s", err.text);
}

/* The key that has its newest change first after `seq`; KEYS: none. */
static unsigned
first_after(uint64_t seq)
{
	unsigned found = KEYS;

	for (unsigned k = 0; k < KEYS; k++)
		if (newest[k] > seq && (found == KEYS || newest[k] < newest[found]))
			found = k;
	return found;
}

static void
expect_changes(struct store_view *v, uint64_t since)
{
	struct store_cursor *c;
	struct store_record r;
	uint64_t at = since;
	unsigned k;
	char key[16];

	ck_assert_int_eq(store_cursor_changes(v, since, &c, &err), 0);
	while ((k = first_after(at)) != KEYS) {
		ck_assert_msg(store_cursor_next(c, &r, &err) == 1, "since %d: nothing after %d: %s", (int)since,
		    (int)at, err.text);
		ck_assert_uint_eq(r.seq, newest[k]);
		ck_assert_int_eq(r.is_delete, deleted[k]);
		snprintf(key, sizeof(key), "key-%u", k);
		ck_assert_uint_eq(r.key_len, strlen(key));
		ck_assert_mem_eq(r.key, key, r.key_len);
		at = r.seq;
	}
	ck_assert_int_eq(store_cursor_next(c, &r, &err), 0);
	ck_assert_int_eq(store_cursor_next(c, &r, &err), 0);
	store_cursor_free(c);
}

START_TEST(store_feed__tells_each_key_once_at_its_newest_seq_flushed_or_not)
{
	struct position p, here;
	struct store_view *v;
	unsigned random = 1;

	for (unsigned i = 0; i < 300; i++) {
		change(1 + (unsigned)rand_r(&random) % 5, &random);
		if (rand_r(&random) % 7 == 0)
			ck_assert_int_eq(store_flush(store, &err), 0);
		ck_assert_int_eq(store_position(store, &p, &err), 0);
		ck_assert_int_eq(store_view_begin_feed(store, &v, &err), 0);
		ck_assert_int_eq(store_view_position(v, &here, &err), 0);
		ck_assert_uint_eq(here.seq, p.seq);
		ck_assert(digest_equal(here.digest, p.digest));
		expect_changes(v, 0);
		expect_changes(v, p.seq);
		expect_changes(v, p.seq - 1);
		expect_changes(v, (uint64_t)rand_r(&random) % p.seq);
		store_view_end(v);
	}
}
END_TEST

/* --- While groups and flushes go on --- */

static atomic_bool over;

static void *
write_on(void *arg)
{
	unsigned random = 2;

	for (unsigned i = 0; i < 1500; i++) {
		change(1 + (unsigned)rand_r(&random) % 40, &random);
		if (i % 3 == 0)
			store_flush_soon(store);
	}
	atomic_store(&over, true);
	return arg;
}

/* What the feed tells from the start must add up to the position that it ends with. */
static void
check_whole(struct store_view *v, const struct position *here)
{
	struct digest sum = { 0, 0 };
	struct store_cursor *c;
	struct store_record r;
	uint64_t at = 0, keys = 0;
	int rc;

	ck_assert_int_eq(store_cursor_changes(v, 0, &c, &err), 0);
	while ((rc = store_cursor_next(c, &r, &err)) == 1) {
		ck_assert_uint_gt(r.seq, at);
		at = r.seq;
		if (r.is_delete)
			continue;
		sum = digest_add(sum, digest_of_record(r.key, r.key_len, r.seq, r.value, r.value_len));
		keys++;
	}
	ck_assert_msg(rc == 0, "%s", err.text);
	store_cursor_free(c);
	ck_assert_uint_eq(at, here->seq);
	ck_assert_uint_eq(keys, here->keys);
	ck_assert(digest_equal(sum, here->digest));
}

/* From a point in between, each record is one of the whole's, up to the same end. */
static void
check_rest(struct store_view *v, const struct position *here, uint64_t since)
{
	struct store_cursor *whole, *rest;
	struct store_record a, b;
	int rc = 1;

	ck_assert_int_eq(store_cursor_changes(v, 0, &whole, &err), 0);
	ck_assert_int_eq(store_cursor_changes(v, since, &rest, &err), 0);
	while (store_cursor_next(whole, &a, &err) == 1) {
		if (a.seq <= since)
			continue;
		rc = store_cursor_next(rest, &b, &err);
		ck_assert_int_eq(rc, 1);
		ck_assert_uint_eq(a.seq, b.seq);
		ck_assert_uint_le(a.seq, here->seq);
	}
	ck_assert_int_eq(store_cursor_next(rest, &b, &err), 0);
	store_cursor_free(whole);
	store_cursor_free(rest);
}

START_TEST(store_feed__is_whole_while_groups_and_flushes_go_on)
{
	uint64_t last = 0;
	struct position here;
	struct store_view *v;
	pthread_t writer;
	unsigned random = 3;

	atomic_store(&over, false);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_on, NULL), 0);
	while (!atomic_load(&over)) {
		ck_assert_int_eq(store_view_begin_feed(store, &v, &err), 0);
		ck_assert_int_eq(store_view_position(v, &here, &err), 0);
		ck_assert_uint_ge(here.seq, last);
		last = here.seq;
		check_whole(v, &here);
		check_rest(v, &here, here.seq < 50 ? 0 : here.seq - (unsigned)rand_r(&random) % 50);
		store_view_end(v);
	}
	pthread_join(writer, NULL);
	ck_assert_int_eq(store_flush(store, &err), 0);
	test_store_verify(store);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { store_feed__tells_each_key_once_at_its_newest_seq_flushed_or_not,
		store_feed__is_whole_while_groups_and_flushes_go_on };

	return suite_run_fixture("store_feed", tests, sizeof(tests) / sizeof(tests[0]), 60, setup, teardown);
}
