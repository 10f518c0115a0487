/* A store whose groups are in a log of the caller's, as in mode raft: what LMDB has of it at any time fits the log. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"
#include "server/store/journal.h"
#include "server/store/store.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

#define LARGE_RECORDS 34000 /* two to a page: so large a store is flushed in several transactions */
#define LARGE_BYTES   1900
#define SMALL_RECORDS 30000
#define FIRST_INDEX   1000 /* of the log: its entry FIRST_INDEX + n makes change n */

static char dir[TEMPDIR_MAX], other[TEMPDIR_MAX];
static struct store *store;
static struct sp_error err;
static atomic_uint flushes, unfit;

/* Whatever was flushed, the entries behind "applied" must lead on from that very state. */
static void
flushed(uint64_t seq, void *arg)
{
	struct store_view *v;
	struct position p;

	(void)seq;
	(void)arg;
	if (store_view_begin(store, &v, NULL) < 0)
		return;
	if (store_view_position(v, &p, NULL) < 0 || p.raft.applied != FIRST_INDEX + p.seq)
		atomic_fetch_add(&unfit, 1);
	store_view_end(v);
	atomic_fetch_add(&flushes, 1);
}

static void
setup(void)
{
	struct store_options o = { .map_size = 256u << 20, .log = STORE_LOG_CALLERS, .flushed = flushed };

	tempdir_make(dir);
	tempdir_make(other);
	o.dir = tempdir_path(dir, "store");
	store = store_new(&o, &err);
	ck_assert_msg(store != NULL, "%s", err.text);
	ck_assert_msg(store_attach(store, STORE_CREATE, &err) == 0, "%s", err.text);
}

static void
teardown(void)
{
	store_free(store);
	tempdir_remove(dir);
	tempdir_remove(other);
}

/* The entry `index` of the log; a key of NULL is one that changes nothing. */
static void
apply(uint64_t index, const char *key, const void *value, size_t len)
{
	struct store_txn *t;
	uint64_t seq;

	ck_assert_msg(store_txn_begin_group(store, 100, &t, &err) == 0, "%s", err.text);
	if (key != NULL)
		ck_assert_msg(store_txn_put(t, key, strlen(key), value, len, &seq, &err) == 0, "%s", err.text);
	store_txn_set_applied(t, index, 7);
	ck_assert_msg(store_txn_commit(t, &err) == 0, "%s", err.text);
}

/* The position of LMDB's file as it is on disk now: what the next start finds when the machine goes down. */
static struct position
after_crash(void)
{
	struct position p;
	struct buf image;
	char to[TEMPDIR_MAX + 32];
	struct store *s;

	ck_assert_int_eq(file_remove_tree(tempdir_path(other, "store"), &err), 0);
	ck_assert_int_eq(file_make_dirs(tempdir_path(other, "store"), &err), 0);
	buf_init(&image, SIZE_MAX);
	snprintf(to, sizeof(to), "%s", tempdir_path(other, "store/data.mdb"));
	ck_assert_int_eq(file_read_all(tempdir_path(dir, "store/data.mdb"), &image, &err), 0);
	ck_assert_int_eq(file_write_atomic(to, image.data, image.len, 0600, &err), 0);
	buf_release(&image);
	s = test_store_open(other, STORE_EXISTING, 256u << 20);
	p = test_store_position(s);
	test_store_verify(s);
	store_free(s);
	return p;
}

START_TEST(store_group__in_the_callers_log_is_in_lmdb_after_the_flush)
{
	struct position p;

	apply(FIRST_INDEX, "a", "1", 1);
	p = test_store_position(store);
	ck_assert_uint_eq(p.seq, 1);
	ck_assert_uint_eq(p.raft.applied, FIRST_INDEX);
	ck_assert_int_eq(store_flush(store, &err), 0);
	p = after_crash();
	ck_assert_uint_eq(p.seq, 1);
	ck_assert_uint_eq(p.raft.applied, FIRST_INDEX);
	ck_assert_uint_eq(p.raft.term, 7);
	ck_assert(!file_exists(tempdir_path(dir, "store/" JOURNAL_NAME)));
}
END_TEST

START_TEST(store_flush__takes_entries_along_that_changed_nothing)
{
	apply(FIRST_INDEX, "a", "1", 1);
	apply(FIRST_INDEX + 1, NULL, NULL, 0);
	ck_assert_int_eq(store_flush(store, &err), 0);
	ck_assert_uint_eq(after_crash().raft.applied, FIRST_INDEX + 1);
	apply(FIRST_INDEX + 2, NULL, NULL, 0);
	ck_assert_int_eq(store_flush(store, &err), 0);
	ck_assert_uint_eq(after_crash().raft.applied, FIRST_INDEX + 2);
	ck_assert_uint_eq(after_crash().seq, 1);
	ck_assert_int_eq(store_flush(store, &err), 0);
}
END_TEST

START_TEST(store_flush__in_several_transactions_fits_the_log_after_each)
{
	static char value[LARGE_BYTES];
	uint64_t index = FIRST_INDEX;
	char key[16];

	for (int i = 0; i < LARGE_RECORDS; i++) {
		snprintf(key, sizeof(key), "%05d", (i * 7919) % LARGE_RECORDS);
		apply(++index, key, value, sizeof(value));
	}
	ck_assert_int_eq(store_flush(store, &err), 0);
	atomic_store(&flushes, 0);
	for (int i = 0; i < SMALL_RECORDS; i++) {
		snprintf(key, sizeof(key), "s%05d", (i * 7919) % SMALL_RECORDS);
		apply(++index, key, key, 6);
	}
	ck_assert_int_eq(store_flush(store, &err), 0);
	ck_assert_uint_ge(atomic_load(&flushes), 3);
	ck_assert_uint_eq(atomic_load(&unfit), 0);
	ck_assert_uint_eq(after_crash().raft.applied, index);
	ck_assert_uint_eq(after_crash().seq, LARGE_RECORDS + SMALL_RECORDS);
}
END_TEST

START_TEST(store_txn_begin_epoch__is_no_part_of_a_group)
{
	struct store_txn *t;
	struct position p;

	apply(FIRST_INDEX, "a", "1", 1);
	ck_assert_int_eq(store_txn_begin_group(store, 100, &t, &err), 0);
	ck_assert_int_eq(store_txn_begin_epoch(t, 9, &err), SP_EINTERNAL);
	ck_assert_int_eq(store_txn_broken(t), SP_EINTERNAL);
	store_txn_abort(t);
	/* As a transaction of its own it flushes what was before it, and groups go on after it. */
	ck_assert_int_eq(store_txn_begin(store, &t, &err), 0);
	ck_assert_int_eq(store_txn_begin_epoch(t, 9, &err), 0);
	store_txn_set_applied(t, FIRST_INDEX + 1, 9);
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	p = after_crash();
	ck_assert_uint_eq(p.epoch, 9);
	ck_assert_uint_eq(p.raft.applied, FIRST_INDEX + 1);
	apply(FIRST_INDEX + 2, "b", "2", 1);
	ck_assert_int_eq(store_flush(store, &err), 0);
	p = after_crash();
	ck_assert_uint_eq(p.epoch, 9);
	ck_assert_uint_eq(p.seq, 2);
	ck_assert_uint_eq(p.raft.applied, FIRST_INDEX + 2);
}
END_TEST

START_TEST(store_detach__flushes)
{
	apply(FIRST_INDEX, "a", "1", 1);
	apply(FIRST_INDEX + 1, NULL, NULL, 0);
	ck_assert_int_eq(store_detach(store), 0);
	ck_assert_uint_eq(after_crash().raft.applied, FIRST_INDEX + 1);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		store_group__in_the_callers_log_is_in_lmdb_after_the_flush,
		store_flush__takes_entries_along_that_changed_nothing,
		store_flush__in_several_transactions_fits_the_log_after_each,
		store_txn_begin_epoch__is_no_part_of_a_group,
		store_detach__flushes,
	};

	return suite_run_fixture("store_logged", tests, sizeof(tests) / sizeof(tests[0]), 60, setup, teardown);
}
