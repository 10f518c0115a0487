/* What a store holds and how it is opened and closed; the rest is in test_store_{model,apply,damage,pin}.c. */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

static char dir[TEMPDIR_MAX];
static struct store *store;
static struct sp_error err;

static void
setup(void)
{
	tempdir_make(dir);
	store = test_store_new(dir);
}

static void
teardown(void)
{
	store_free(store);
	tempdir_remove(dir);
}

START_TEST(store_create__is_an_empty_cluster_of_its_own)
{
	struct position p = test_store_position(store), other;
	struct store *second;
	char folder[TEMPDIR_MAX];

	ck_assert_uint_eq(strlen(p.cluster), 36);
	ck_assert_uint_eq(p.epoch, 1);
	ck_assert_uint_eq(p.seq, 0);
	ck_assert_uint_eq(p.keys, 0);
	ck_assert_uint_eq(p.horizon, 0);
	ck_assert(p.consistent);
	ck_assert(digest_equal(p.digest, (struct digest){ 0, 0 }));
	ck_assert_uint_eq(p.history_count, 1);
	ck_assert_uint_eq(p.history[0].epoch, 1);
	ck_assert_uint_eq(p.history[0].since, 0);
	test_store_verify(store);
	tempdir_make(folder);
	second = test_store_new(folder);
	other = test_store_position(second);
	ck_assert_str_ne(p.cluster, other.cluster);
	store_free(second);
	tempdir_remove(folder);
}
END_TEST

START_TEST(store_put__is_read_back_with_its_seq)
{
	struct store_record r;
	struct store_view *v;

	ck_assert_uint_eq(test_store_put(store, "apple", "red"), 1);
	ck_assert_uint_eq(test_store_put(store, "berry", ""), 2);
	ck_assert_int_eq(store_view_begin(store, &v, &err), 0);
	ck_assert_int_eq(store_view_get(v, "apple", 5, &r, &err), 0);
	ck_assert_uint_eq(r.seq, 1);
	ck_assert_uint_eq(r.key_len, 5);
	ck_assert_mem_eq(r.key, "apple", 5);
	ck_assert(!r.is_delete);
	ck_assert_int_eq(store_view_get(v, "berry", 5, &r, &err), 0);
	ck_assert_uint_eq(r.value_len, 0);
	ck_assert_int_eq(store_view_get(v, "appl", 4, &r, &err), SP_ENOTFOUND);
	ck_assert_int_eq(store_view_get(v, "", 0, &r, &err), SP_ENOTFOUND);
	store_view_end(v);
	store_view_end(NULL);
	ck_assert(digest_equal(test_store_position(store).digest,
	    digest_add(digest_of_record("apple", 5, 1, "red", 3), digest_of_record("berry", 5, 2, "", 0))));
	test_store_verify(store);
}
END_TEST

START_TEST(store_put__an_overwrite_takes_the_old_place)
{
	test_store_put(store, "a", "1");
	test_store_put(store, "b", "2");
	ck_assert_uint_eq(test_store_put(store, "a", "3"), 3);
	test_store_expect(store, "a", "3");
	ck_assert_uint_eq(test_store_position(store).keys, 2);
	ck_assert(digest_equal(test_store_position(store).digest,
	    digest_add(digest_of_record("b", 1, 2, "2", 1), digest_of_record("a", 1, 3, "3", 1))));
	test_store_verify(store);
}
END_TEST

START_TEST(store_delete__leaves_a_tombstone_and_no_key)
{
	struct store_txn *t;
	uint64_t seq = 77;

	test_store_put(store, "a", "1");
	ck_assert_uint_eq(test_store_delete(store, "a"), 2);
	test_store_expect(store, "a", NULL);
	ck_assert_uint_eq(test_store_position(store).keys, 0);
	ck_assert(digest_equal(test_store_position(store).digest, (struct digest){ 0, 0 }));
	test_store_verify(store);
	/* What is gone, or never was, cannot be deleted; nothing changes. */
	ck_assert_int_eq(store_txn_begin(store, &t, &err), 0);
	ck_assert_int_eq(store_txn_delete(t, "a", 1, &seq, &err), SP_ENOTFOUND);
	ck_assert_int_eq(store_txn_delete(t, "b", 1, &seq, &err), SP_ENOTFOUND);
	ck_assert_int_eq(store_txn_seq(t, "a", 1, &seq, &err), SP_ENOTFOUND);
	ck_assert_uint_eq(seq, 77);
	ck_assert_int_eq(store_txn_broken(t), 0);
	ck_assert_uint_eq(store_txn_last_seq(t), 2);
	store_txn_abort(t);
	ck_assert_uint_eq(test_store_put(store, "a", "again"), 3);
	test_store_expect(store, "a", "again");
	test_store_verify(store);
}
END_TEST

/* A key that is none is the request's mistake: the transaction goes on for the others. */
START_TEST(store_txn__keys_out_of_bounds_do_no_harm)
{
	char key[STORE_KEY_MAX + 200];
	static const size_t bad[] = { 0, STORE_KEY_MAX + 1, 511, 512, sizeof(key) };
	struct store_txn *t;
	uint64_t seq = 77;

	memset(key, 'k', sizeof(key));
	ck_assert_int_eq(store_txn_begin(store, &t, &err), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(store_txn_put(t, key, bad[i], "1", 1, &seq, &err), SP_ETOOBIG);
		ck_assert_int_lt(store_txn_delete(t, key, bad[i], &seq, &err), 0);
		ck_assert_int_eq(store_txn_seq(t, key, bad[i], &seq, &err), SP_ENOTFOUND);
		ck_assert_int_eq(store_txn_broken(t), 0);
	}
	ck_assert_uint_eq(seq, 77);
	ck_assert_int_eq(store_txn_put(t, key, STORE_KEY_MAX, "1", 1, &seq, &err), 0);
	ck_assert_int_eq(store_txn_put(t, "\0", 1, "2", 1, &seq, &err), 0);
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	ck_assert_uint_eq(test_store_position(store).keys, 2);
	test_store_verify(store);
}
END_TEST

static void *
see_the_first_state(void *arg)
{
	test_store_expect(arg, "a", "1");
	test_store_expect(arg, "b", NULL);
	ck_assert_uint_eq(test_store_position(arg).seq, 1);
	return NULL;
}

START_TEST(store_txn__is_seen_whole_or_not_at_all)
{
	pthread_t thread;
	struct store_txn *t;
	struct position p;
	uint64_t seq;

	test_store_put(store, "a", "1");
	ck_assert_int_eq(store_txn_begin(store, &t, &err), 0);
	ck_assert_int_eq(store_txn_put(t, "a", 1, "2", 1, &seq, &err), 0);
	ck_assert_int_eq(store_txn_put(t, "b", 1, "2", 1, &seq, &err), 0);
	ck_assert_int_eq(store_txn_seq(t, "b", 1, &seq, &err), 0);
	ck_assert_uint_eq(seq, 3);
	store_txn_position(t, &p);
	ck_assert_uint_eq(p.seq, 3);
	ck_assert_uint_eq(p.keys, 2);
	/* Others see none of it. */
	ck_assert_int_eq(pthread_create(&thread, NULL, see_the_first_state, store), 0);
	pthread_join(thread, NULL);
	store_txn_abort(t);
	store_txn_abort(NULL);
	test_store_expect(store, "a", "1");
	ck_assert_uint_eq(test_store_position(store).seq, 1);
	ck_assert_uint_eq(test_store_put(store, "b", "3"), 2);
	test_store_verify(store);
}
END_TEST

static void *
put_and_delete(void *arg)
{
	test_store_put(arg, "a", "2");
	test_store_delete(arg, "a");
	return NULL;
}

START_TEST(store_view__stays_what_it_was)
{
	pthread_t thread;
	struct store_record r;
	struct store_view *v;
	struct position p;

	test_store_put(store, "a", "1");
	ck_assert_int_eq(store_view_begin(store, &v, &err), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, put_and_delete, store), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(store_view_get(v, "a", 1, &r, &err), 0);
	ck_assert_mem_eq(r.value, "1", 1);
	ck_assert_int_eq(store_view_position(v, &p, &err), 0);
	ck_assert_uint_eq(p.seq, 1);
	store_view_end(v);
	/* The next one, which may use the same transaction again, sees the present. */
	test_store_expect(store, "a", NULL);
}
END_TEST

START_TEST(store_cursor_keys__goes_on_after_a_key)
{
	/* After a key that is there, one that was deleted, one that never was, and the last. */
	static const struct {
		const char *after, *next;
	} cases[] = { { "", "a" }, { "a", "ab" }, { "ab", "ba" }, { "b", "ba" }, { "aa", "ab" }, { "bb", "c" },
		{ "c", NULL }, { "zz", NULL } };
	static const char *const keys[] = { "a", "ab", "b", "ba", "c" };
	struct store_record r;
	struct store_cursor *c;
	struct store_view *v;

	for (size_t i = 0; i < 5; i++)
		test_store_put(store, keys[4 - i], "v");
	test_store_delete(store, "b");
	ck_assert_int_eq(store_view_begin(store, &v, &err), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(store_cursor_keys(v, cases[i].after, strlen(cases[i].after), &c, &err), 0);
		ck_assert_int_eq(store_cursor_next(c, &r, &err), cases[i].next != NULL);
		if (cases[i].next != NULL) {
			ck_assert_uint_eq(r.key_len, strlen(cases[i].next));
			ck_assert_mem_eq(r.key, cases[i].next, r.key_len);
			ck_assert_mem_eq(r.value, "v", 1);
		}
		store_cursor_free(c);
	}
	store_cursor_free(NULL);
	ck_assert_int_eq(store_cursor_keys(v, keys, STORE_KEY_MAX + 1, &c, &err), SP_ETOOBIG);
	store_view_end(v);
}
END_TEST

START_TEST(store_cursor_changes__goes_on_after_a_seq)
{
	static const uint64_t expected[] = { 2, 4, 5 };
	struct store_record r;
	struct store_cursor *c;
	struct store_view *v;

	test_store_put(store, "a", "1");
	test_store_put(store, "b", "2");
	test_store_put(store, "c", "3");
	test_store_put(store, "a", "4");
	test_store_delete(store, "c");
	ck_assert_int_eq(store_view_begin(store, &v, &err), 0);
	for (uint64_t since = 0; since < 8; since++) {
		ck_assert_int_eq(store_cursor_changes(v, since, &c, &err), 0);
		for (size_t i = 0; i < 3; i++) {
			if (expected[i] <= since)
				continue;
			ck_assert_int_eq(store_cursor_next(c, &r, &err), 1);
			ck_assert_uint_eq(r.seq, expected[i]);
			ck_assert_int_eq(r.is_delete, expected[i] == 5);
		}
		ck_assert_int_eq(store_cursor_next(c, &r, &err), 0);
		store_cursor_free(c);
	}
	ck_assert_int_eq(store_cursor_changes(v, UINT64_MAX - 1, &c, &err), 0);
	ck_assert_int_eq(store_cursor_next(c, &r, &err), 0);
	store_cursor_free(c);
	store_view_end(v);
}
END_TEST

START_TEST(store_attach__finds_what_was_committed)
{
	struct position before, after;

	test_store_put(store, "a", "1");
	before = test_store_position(store);
	store_detach(store);
	ck_assert_int_eq(store_attach(store, STORE_CREATE, &err), 0);
	after = test_store_position(store);
	ck_assert_str_eq(before.cluster, after.cluster);
	ck_assert(digest_equal(before.digest, after.digest));
	test_store_expect(store, "a", "1");
	ck_assert_int_eq(store_attach(store, STORE_EXISTING, &err), SP_EINTERNAL);
	test_store_expect(store, "a", "1");
}
END_TEST

START_TEST(store_detached__everything_says_so)
{
	uint64_t map, file;
	struct position p;
	struct digest d;
	struct store_view *v;
	struct store_txn *t;
	struct store_pin *pin;

	store_detach(store);
	store_detach(store);
	ck_assert_int_eq(store_view_begin(store, &v, &err), SP_EAGAIN);
	ck_assert_int_eq(store_txn_begin(store, &t, &err), SP_EAGAIN);
	ck_assert_int_eq(store_position(store, &p, &err), SP_EAGAIN);
	ck_assert_int_eq(store_verify(store, &d, &err), SP_EAGAIN);
	ck_assert_int_eq(store_pin_new(store, &pin, &err), SP_EAGAIN);
	ck_assert_int_eq(store_grow(store, &err), SP_EAGAIN);
	store_sizes(store, &map, &file);
	ck_assert_uint_eq(map, 0);
	ck_assert_uint_eq(file, 0);
}
END_TEST

START_TEST(store_that_never_was__is_not_found)
{
	struct store_options o = { .dir = tempdir_path(dir, "none"), .map_size = 1 << 20 };
	struct store *s = store_new(&o, &err);
	struct store_view *v;
	struct store_txn *t;
	struct store_pin *pin;

	ck_assert_int_eq(store_attach(s, STORE_EXISTING, &err), SP_ENOTFOUND);
	ck_assert_int_eq(store_attach(s, STORE_READONLY, &err), SP_ENOTFOUND);
	ck_assert(!file_exists(tempdir_path(dir, "none")));
	ck_assert_int_eq(store_view_begin(s, &v, &err), SP_ENOTFOUND);
	ck_assert_int_eq(store_txn_begin(s, &t, &err), SP_ENOTFOUND);
	ck_assert_int_eq(store_pin_new(s, &pin, &err), SP_ENOTFOUND);
	ck_assert(store_has_room(s));
	store_free(s);
	store_free(NULL);
}
END_TEST

START_TEST(store_new__a_path_too_long_is_refused)
{
	char path[5000];
	struct store_options o = { .dir = path, .map_size = 1 << 20 };

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	ck_assert_ptr_null(store_new(&o, &err));
	ck_assert_int_eq(err.code, SP_ETOOBIG);
}
END_TEST

static unsigned
count_files(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	ck_assert_ptr_nonnull(d);
	for (const struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* Also where looking is all that the file system allows. */
START_TEST(store_readonly__leaves_nothing_behind)
{
	const char *path = tempdir_path(dir, "store"), *data = tempdir_path(dir, "store/data.mdb");
	struct buf before, after;
	struct store_txn *t;
	struct store *s;

	test_store_put(store, "a", "1");
	store_detach(store);
	ck_assert_int_eq(file_remove_tree(tempdir_path(dir, "store/lock.mdb"), &err), 0);
	buf_init(&before, 64 << 20);
	buf_init(&after, 64 << 20);
	ck_assert_int_eq(file_read_all(data, &before, &err), 0);
	ck_assert_int_eq(chmod(data, 0400), 0);
	ck_assert_int_eq(chmod(path, 0500), 0);
	s = test_store_open(dir, STORE_READONLY, 0);
	test_store_expect(s, "a", "1");
	test_store_verify(s);
	ck_assert_int_lt(store_txn_begin(s, &t, &err), 0);
	store_free(s);
	ck_assert_uint_eq(count_files(path), 1);
	ck_assert_int_eq(file_read_all(data, &after, &err), 0);
	ck_assert_uint_eq(before.len, after.len);
	ck_assert_mem_eq(before.data, after.data, before.len);
	ck_assert_int_eq(chmod(path, 0700), 0);
	buf_release(&before);
	buf_release(&after);
}
END_TEST

START_TEST(store_grow__makes_room_for_what_did_not_fit)
{
	static char value[3 << 20];
	struct store *s;
	struct store_txn *t;
	uint64_t seq, map, file, before;
	int rc;

	store_free(store);
	store = NULL;
	tempdir_remove(dir);
	tempdir_make(dir);
	s = store = test_store_open(dir, STORE_CREATE, 1 << 20);
	test_store_put(s, "a", "1");
	memset(value, 'v', sizeof(value));
	for (unsigned tries = 0;; tries++) {
		ck_assert_uint_lt(tries, 5);
		ck_assert_int_eq(store_txn_begin(s, &t, &err), 0);
		rc = store_txn_put(t, "big", 3, value, sizeof(value), &seq, &err);
		if (rc == 0) {
			ck_assert_int_eq(store_txn_broken(t), 0);
			ck_assert_int_eq(store_txn_commit(t, &err), 0);
			break;
		}
		ck_assert_int_eq(rc, SP_EMAPFULL);
		ck_assert_int_eq(store_txn_broken(t), SP_EMAPFULL);
		store_txn_abort(t);
		store_sizes(s, &before, &file);
		ck_assert_int_eq(store_grow(s, &err), 0);
		store_sizes(s, &map, &file);
		ck_assert_uint_eq(map, before * 2);
	}
	ck_assert_uint_eq(seq, 2);
	store_sizes(s, &map, &file);
	ck_assert_uint_ge(file, sizeof(value));
	test_store_verify(s);
	/* It opens again, though the options still say 1 MiB. */
	store_free(s);
	store = test_store_open(dir, STORE_EXISTING, 1 << 20);
	test_store_verify(store);
	ck_assert_int_eq(store_grow(store, &err), 0);
	test_store_put(store, "b", "2");
}
END_TEST

static atomic_bool grown;

static void *
grow(void *arg)
{
	struct sp_error mine = { 0 };

	ck_assert_int_eq(store_grow(arg, &mine), 0);
	atomic_store(&grown, true);
	return NULL;
}

START_TEST(store_grow__waits_for_views)
{
	struct store_record r;
	struct store_view *v;
	pthread_t thread;

	test_store_put(store, "a", "1");
	ck_assert_int_eq(store_view_begin(store, &v, &err), 0);
	ck_assert_int_eq(store_view_get(v, "a", 1, &r, &err), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, grow, store), 0);
	clock_sleep_ms(50);
	ck_assert(!atomic_load(&grown));
	ck_assert_mem_eq(r.value, "1", 1);
	store_view_end(v);
	pthread_join(thread, NULL);
	ck_assert(atomic_load(&grown));
	test_store_expect(store, "a", "1");
}
END_TEST

#define HORIZON_KEYS 10

START_TEST(store_expire__drops_old_tombstones_and_moves_the_horizon)
{
	struct store_txn *t;
	unsigned dropped = 99;
	char key[2] = "a";
	int64_t before;

	for (unsigned i = 0; i < HORIZON_KEYS; i++, key[0]++)
		test_store_put(store, key, "v");
	for (key[0] = 'a'; key[0] < 'e'; key[0]++)
		test_store_delete(store, key);
	/* One comes back: its tombstone is gone already. */
	test_store_put(store, "b", "again");
	/* None is so old yet. */
	before = clock_wall_ms() - 3600000;
	ck_assert_int_eq(store_txn_begin(store, &t, &err), 0);
	ck_assert_int_eq(store_txn_expire(t, before, 100, &dropped, &err), 0);
	ck_assert_uint_eq(dropped, 0);
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	ck_assert_uint_eq(test_store_position(store).horizon, 0);
	/* Oldest first, and no more than asked. a, c, d were deleted at 11, 13, 14. */
	ck_assert_int_eq(store_txn_begin(store, &t, &err), 0);
	ck_assert_int_eq(store_txn_expire(t, INT64_MAX, 2, &dropped, &err), 0);
	ck_assert_uint_eq(dropped, 2);
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	ck_assert_uint_eq(test_store_position(store).horizon, 13);
	test_store_verify(store);
	ck_assert_int_eq(store_txn_begin(store, &t, &err), 0);
	ck_assert_int_eq(store_txn_expire(t, INT64_MAX, 100, &dropped, &err), 0);
	ck_assert_uint_eq(dropped, 1);
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	ck_assert_uint_eq(test_store_position(store).horizon, 14);
	ck_assert_uint_eq(test_store_position(store).keys, HORIZON_KEYS - 3);
	ck_assert_uint_eq(test_store_position(store).seq, 15);
	test_store_verify(store);
	test_store_expect(store, "a", NULL);
	test_store_expect(store, "b", "again");
	ck_assert_uint_eq(test_store_put(store, "a", "anew"), 16);
	test_store_verify(store);
}
END_TEST

/* In the midst of a walk the store is written and its map moves; what is walked is what was there at the beginning. */
START_TEST(store_verify__lets_others_write_and_the_map_grow)
{
	char key[16], value[32];
	struct store_walk *w;
	unsigned steps = 0;
	struct position before;
	int rc;

	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "a%02u", i);
		test_store_put(store, key, "value");
	}
	test_store_delete(store, "a07");
	before = test_store_position(store);
	ck_assert_int_eq(store_walk_new(store, &w, &err), 0);
	while ((rc = store_walk_step(w, 1, &err)) == 1) {
		snprintf(value, sizeof(value), "of step %u", ++steps);
		test_store_put(store, "b", value);
		test_store_delete(store, "b");
		if (steps % 10 == 1)
			ck_assert_int_eq(store_grow(store, &err), 0);
	}
	ck_assert_msg(rc == 0, "%s", err.text);
	ck_assert_uint_ge(steps, 38);
	ck_assert_uint_eq(store_walk_position(w)->seq, before.seq);
	ck_assert(digest_equal(store_walk_position(w)->digest, before.digest));
	store_walk_free(w);
	ck_assert_uint_gt(test_store_position(store).seq, before.seq);
	test_store_verify(store);
}
END_TEST

/* Closed, and, the second time round, opened again: as that may hold another store, it is not gone on with. */
START_TEST(store_verify__ends_when_the_store_is_released)
{
	struct store_walk *w;
	char key[16];

	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "a%02u", i);
		test_store_put(store, key, "value");
	}
	for (int reopen = 0; reopen < 2; reopen++) {
		ck_assert_int_eq(store_walk_new(store, &w, &err), 0);
		ck_assert_int_eq(store_walk_step(w, 1, &err), 1);
		store_detach(store);
		if (reopen == 1)
			ck_assert_int_eq(store_attach(store, STORE_EXISTING, &err), 0);
		ck_assert_int_eq(store_walk_step(w, 1, &err), SP_EAGAIN);
		store_walk_free(w);
		if (reopen == 0)
			ck_assert_int_eq(store_attach(store, STORE_EXISTING, &err), 0);
	}
	test_store_verify(store);
}
END_TEST

#define READERS 3

static atomic_bool writing;

/* Whatever is read at any time is a whole state: its digest is the sum of its records. */
static void *
read_on(void *arg)
{
	unsigned rounds = 0;

	while (atomic_load(&writing) || rounds == 0) {
		struct sp_error mine = { 0 };
		struct digest found;

		ck_assert_msg(store_verify(arg, &found, &mine) == 0, "%s", mine.text);
		rounds++;
	}
	return NULL;
}

START_TEST(store__readers_see_whole_states_while_it_is_written_and_grows)
{
	pthread_t threads[READERS];
	char key[16];

	atomic_store(&writing, true);
	for (int i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, store), 0);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "key-%u", i % 40);
		test_store_put(store, key, "some value or other");
		if (i % 7 == 0)
			test_store_delete(store, key);
		if (i % 100 == 50)
			ck_assert_int_eq(store_grow(store, &err), 0);
	}
	atomic_store(&writing, false);
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	test_store_verify(store);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		store_create__is_an_empty_cluster_of_its_own,
		store_put__is_read_back_with_its_seq,
		store_put__an_overwrite_takes_the_old_place,
		store_delete__leaves_a_tombstone_and_no_key,
		store_txn__keys_out_of_bounds_do_no_harm,
		store_txn__is_seen_whole_or_not_at_all,
		store_view__stays_what_it_was,
		store_cursor_keys__goes_on_after_a_key,
		store_cursor_changes__goes_on_after_a_seq,
		store_attach__finds_what_was_committed,
		store_detached__everything_says_so,
		store_that_never_was__is_not_found,
		store_new__a_path_too_long_is_refused,
		store_readonly__leaves_nothing_behind,
		store_grow__makes_room_for_what_did_not_fit,
		store_grow__waits_for_views,
		store_expire__drops_old_tombstones_and_moves_the_horizon,
		store_verify__lets_others_write_and_the_map_grow,
		store_verify__ends_when_the_store_is_released,
		store__readers_see_whole_states_while_it_is_written_and_grows,
	};

	return suite_run_fixture("store", tests, sizeof(tests) / sizeof(tests[0]), 30, setup, teardown);
}
