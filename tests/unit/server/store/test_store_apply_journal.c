/* A follower with a journal: feeds that change records alone are on disk, and seen, without LMDB. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/protocol/feed.h"
#include "server/store/journal.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

#define JOURNAL "store/" JOURNAL_NAME
#define KEYS    10

static char leader_dir[TEMPDIR_MAX], follower_dir[TEMPDIR_MAX], other[TEMPDIR_MAX];
static struct store *leader, *follower;
static _Thread_local struct sp_error err;
static struct buf data, journal; /* the follower's files, as keep_files() found them */

static struct store *
open_with_journal(const char *folder)
{
	struct store_options o = {
		.dir = tempdir_path(folder, "store"), .map_size = 64u << 20, .log = STORE_LOG_JOURNAL
	};
	struct store *s = store_new(&o, &err);

	ck_assert_msg(s != NULL, "%s", err.text);
	ck_assert_msg(store_attach(s, STORE_EXISTING, &err) == 0, "%s", err.text);
	return s;
}

/* --- A disk that takes its time --- */

static atomic_int disk; /* DISK_... */
enum { DISK_WELL, DISK_HOLDS, DISK_BUSY };

int fdatasync(int fd);
int
fdatasync(int fd)
{
	int expected = DISK_HOLDS;

	if (atomic_compare_exchange_strong(&disk, &expected, DISK_BUSY))
		while (atomic_load(&disk) == DISK_BUSY)
			clock_sleep_ms(1);
	return (int)syscall(SYS_fdatasync, fd);
}

/* A leader with two keys, and a follower that is a copy of it. */
static void
setup(void)
{
	tempdir_make(leader_dir);
	tempdir_make(follower_dir);
	tempdir_make(other);
	leader = test_store_new(leader_dir);
	test_store_put(leader, "a", "1");
	test_store_put(leader, "b", "2");
	store_detach(leader);
	test_store_copy(leader_dir, follower_dir);
	ck_assert_int_eq(store_attach(leader, STORE_EXISTING, &err), 0);
	follower = open_with_journal(follower_dir);
	test_store_follow(follower);
}

static void
teardown(void)
{
	store_free(leader);
	store_free(follower);
	tempdir_remove(leader_dir);
	tempdir_remove(follower_dir);
	buf_release(&data);
	buf_release(&journal);
	tempdir_remove(other);
}

static int
apply(uint64_t records)
{
	struct buf feed;
	int rc;

	test_store_feed(leader, test_store_position(follower).seq, records, &feed);
	rc = test_store_apply(follower, &feed, &err);
	buf_release(&feed);
	return rc;
}

static void
same(const struct position *a, const struct position *b)
{
	ck_assert_uint_eq(a->seq, b->seq);
	ck_assert_uint_eq(a->keys, b->keys);
	ck_assert_uint_eq(a->epoch, b->epoch);
	ck_assert_int_eq(a->consistent, b->consistent);
	ck_assert(digest_equal(a->digest, b->digest));
}

static void
expect_equal(void)
{
	struct position l = test_store_position(leader), f = test_store_position(follower);

	same(&l, &f);
}

/* The follower's files as they are on disk now. */
static void
keep_files(void)
{
	buf_release(&data);
	buf_release(&journal);
	buf_init(&data, SIZE_MAX);
	buf_init(&journal, SIZE_MAX);
	ck_assert_msg(file_read_all(tempdir_path(follower_dir, "store/data.mdb"), &data, &err) == 0, "%s", err.text);
	ck_assert_msg(file_read_all(tempdir_path(follower_dir, JOURNAL), &journal, &err) == 0, "%s", err.text);
}

/* Those, with so much of the journal, opened in another place: what a machine that goes down leaves. */
static struct store *
crash(size_t journal_bytes)
{
	char to[TEMPDIR_MAX + 32];

	ck_assert_int_eq(file_remove_tree(tempdir_path(other, "store"), &err), 0);
	ck_assert_int_eq(file_make_dirs(tempdir_path(other, "store"), &err), 0);
	snprintf(to, sizeof(to), "%s", tempdir_path(other, "store/data.mdb"));
	ck_assert_msg(file_write_atomic(to, data.data, data.len, 0600, &err) == 0, "%s", err.text);
	snprintf(to, sizeof(to), "%s", tempdir_path(other, JOURNAL));
	if (journal_bytes > journal.len)
		journal_bytes = journal.len;
	ck_assert_msg(file_write_atomic(to, journal.data, journal_bytes, 0600, &err) == 0, "%s", err.text);
	return open_with_journal(other);
}

static const char *
look(struct store *s, const char *key)
{
	static char value[64];
	struct store_record r;
	struct store_view *v;
	int rc;

	ck_assert_int_eq(store_view_begin_present(s, &v, &err), 0);
	rc = store_view_get(v, key, strlen(key), &r, &err);
	if (rc == 0)
		snprintf(value, sizeof(value), "%.*s", (int)r.value_len, (const char *)r.value);
	store_view_end(v);
	return rc == 0 ? value : "";
}

START_TEST(store_apply_journal__a_feed_is_seen_before_lmdb_has_it)
{
	uint64_t seq;

	/* The feed has holes: what was written first under `a`, and that `x` was ever there. */
	test_store_put(leader, "a", "3");
	test_store_put(leader, "x", "4");
	test_store_put(leader, "a", "5");
	test_store_delete(leader, "x");
	ck_assert_msg(apply(UINT64_MAX) == 0, "%s", err.text);
	expect_equal();
	ck_assert(store_unflushed(follower, &seq));
	ck_assert_uint_eq(seq, 6);
	ck_assert_uint_eq(store_flushed_seq(follower), 2);
	ck_assert_str_eq(look(follower, "a"), "5");
	ck_assert_str_eq(look(follower, "x"), "");
	ck_assert_int_eq(store_flush(follower, &err), 0);
	ck_assert_uint_eq(store_flushed_seq(follower), 6);
	test_store_expect(follower, "a", "5");
	test_store_expect(follower, "x", NULL);
	test_store_verify(follower);
	expect_equal();
}
END_TEST

static void *
apply_all(void *arg)
{
	ck_assert_int_eq(apply(UINT64_MAX), 0);
	return arg;
}

START_TEST(store_apply_journal__nothing_is_seen_before_it_is_on_disk)
{
	pthread_t applier;

	/* The journal's file is there already. */
	test_store_put(leader, "a", "3");
	ck_assert_int_eq(apply(UINT64_MAX), 0);
	ck_assert_int_eq(store_flush(follower, &err), 0);
	test_store_put(leader, "a", "4");
	atomic_store(&disk, DISK_HOLDS);
	ck_assert_int_eq(pthread_create(&applier, NULL, apply_all, NULL), 0);
	while (atomic_load(&disk) != DISK_BUSY)
		clock_sleep_ms(1);
	ck_assert_str_eq(look(follower, "a"), "3");
	ck_assert_uint_eq(test_store_position(follower).seq, 3);
	atomic_store(&disk, DISK_WELL);
	pthread_join(applier, NULL);
	ck_assert_str_eq(look(follower, "a"), "4");
	ck_assert_uint_eq(test_store_position(follower).seq, 4);
}
END_TEST

START_TEST(store_apply_journal__a_digest_that_differs_leaves_no_trace)
{
	struct position before, says;
	struct buf feed, was, after;
	uint64_t seq;

	test_store_put(leader, "a", "3");
	ck_assert_int_eq(apply(UINT64_MAX), 0);
	before = test_store_position(follower);
	buf_init(&was, SIZE_MAX);
	buf_init(&after, SIZE_MAX);
	ck_assert_int_eq(file_read_all(tempdir_path(follower_dir, JOURNAL), &was, &err), 0);
	buf_init(&feed, FEED_BYTES_MAX);
	says = before;
	says.seq++;
	feed_write_header(&feed, &says, before.seq);
	feed_write_put(&feed, says.seq, "a", 1, "wrong", 5);
	feed_write_cut(&feed, &says);
	feed_write_end(&feed, 1);
	ck_assert_int_eq(test_store_apply(follower, &feed, &err), SP_EDIGEST);
	says = test_store_position(follower);
	same(&before, &says);
	ck_assert_str_eq(look(follower, "a"), "3");
	ck_assert_int_eq(file_read_all(tempdir_path(follower_dir, JOURNAL), &after, &err), 0);
	ck_assert_uint_eq(was.len, after.len);
	ck_assert_mem_eq(was.data, after.data, was.len);
	/* And the true one goes on from there. */
	test_store_put(leader, "a", "4");
	ck_assert_int_eq(apply(UINT64_MAX), 0);
	ck_assert(store_unflushed(follower, &seq));
	ck_assert_str_eq(look(follower, "a"), "4");
	expect_equal();
	ck_assert_int_eq(store_flush(follower, &err), 0);
	test_store_verify(follower);
	buf_release(&feed);
	buf_release(&was);
	buf_release(&after);
}
END_TEST

/* What says more than records is a transaction of LMDB. */
START_TEST(store_apply_journal__more_and_what_ends_it_go_to_lmdb)
{
	uint64_t seq;

	test_store_put(leader, "c", "3");
	test_store_put(leader, "d", "4");
	ck_assert_int_eq(apply(1), 0);
	ck_assert(!store_unflushed(follower, &seq));
	ck_assert(!test_store_position(follower).consistent);
	ck_assert_int_eq(apply(UINT64_MAX), 0);
	ck_assert(!store_unflushed(follower, &seq));
	ck_assert(test_store_position(follower).consistent);
	test_store_put(leader, "e", "5");
	ck_assert_int_eq(apply(UINT64_MAX), 0);
	ck_assert(store_unflushed(follower, &seq));
	expect_equal();
}
END_TEST

START_TEST(store_apply_journal__a_new_epoch_goes_to_lmdb)
{
	uint64_t seq;

	test_store_put(leader, "c", "3");
	ck_assert_int_eq(apply(UINT64_MAX), 0);
	ck_assert(store_unflushed(follower, &seq));
	test_store_follow(leader);
	test_store_lead(leader);
	test_store_put(leader, "d", "4");
	ck_assert_int_eq(apply(UINT64_MAX), 0);
	ck_assert(!store_unflushed(follower, &seq));
	ck_assert_uint_eq(test_store_position(follower).epoch, 2);
	expect_equal();
	test_store_put(leader, "e", "5");
	ck_assert_int_eq(apply(UINT64_MAX), 0);
	ck_assert(store_unflushed(follower, &seq));
	expect_equal();
	test_store_verify(leader);
}
END_TEST

START_TEST(store_apply_journal__a_cut_beyond_its_last_change_goes_to_lmdb)
{
	struct position says = test_store_position(follower);
	struct buf feed;
	uint64_t seq;

	buf_init(&feed, FEED_BYTES_MAX);
	seq = says.seq + 1;
	says.seq += 3;
	says.keys++;
	says.digest = digest_add(says.digest, digest_of_record("y", 1, seq, "v", 1));
	feed_write_header(&feed, &says, seq - 1);
	feed_write_put(&feed, seq, "y", 1, "v", 1);
	feed_write_cut(&feed, &says);
	feed_write_end(&feed, 1);
	ck_assert_msg(test_store_apply(follower, &feed, &err) == 0, "%s", err.text);
	ck_assert(!store_unflushed(follower, &seq));
	ck_assert_uint_eq(test_store_position(follower).seq, says.seq);
	test_store_verify(follower);
	buf_release(&feed);
}
END_TEST

/* A promotion with changes that LMDB does not have yet, and what the new leader then writes. */
START_TEST(store_apply_journal__a_promotion_holds_all_that_was_applied)
{
	struct store_txn *t;
	struct store *after;
	struct position p, q;
	uint64_t seq;

	test_store_put(leader, "c", "3");
	ck_assert_int_eq(apply(UINT64_MAX), 0);
	ck_assert(store_unflushed(follower, &seq));
	ck_assert(store_has_role(follower, false));
	ck_assert(!store_has_role(follower, true));
	test_store_lead(follower);
	ck_assert(!store_has_role(follower, true));
	test_store_expect(follower, "c", "3");
	ck_assert_int_eq(store_txn_begin_group(follower, 100, &t, &err), 0);
	ck_assert_int_eq(store_txn_put(t, "d", 1, "4", 1, &seq, &err), 0);
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	ck_assert_uint_eq(seq, 4);
	ck_assert(store_has_role(follower, true));
	p = test_store_position(follower);
	ck_assert_uint_eq(p.epoch, 2);
	keep_files();
	after = crash(SIZE_MAX);
	q = test_store_position(after);
	same(&p, &q);
	test_store_verify(after);
	store_free(after);
}
END_TEST

/* --- At random: what a power cut leaves --- */

struct past {
	struct position position;
	char values[KEYS][16];
};

static void
random_changes(unsigned *number)
{
	char key[16], value[16];

	for (int n = 1 + rand() % 8; n > 0; n--) {
		snprintf(key, sizeof(key), "key-%d", rand() % KEYS);
		snprintf(value, sizeof(value), "%u", ++*number);
		if (rand() % 4 == 0) {
			/* Also of keys that the follower never sees. */
			test_store_put(leader, key, value);
			test_store_delete(leader, key);
		} else {
			test_store_put(leader, key, value);
		}
	}
}

static void
note_past(struct past *p)
{
	char key[16];

	p->position = test_store_position(follower);
	for (int k = 0; k < KEYS; k++) {
		snprintf(key, sizeof(key), "key-%d", k);
		snprintf(p->values[k], sizeof(p->values[k]), "%s", look(follower, key));
	}
}

static void
expect_past(struct store *s, const struct past *p)
{
	struct position now = test_store_position(s);
	char key[16];

	same(&p->position, &now);
	for (int k = 0; k < KEYS; k++) {
		snprintf(key, sizeof(key), "key-%d", k);
		ck_assert_str_eq(look(s, key), p->values[k]);
	}
	test_store_verify(s);
}

/* So many feeds in a fresh journal. False where LMDB was brought up to some of them meanwhile. */
static bool
apply_feeds(struct past *pasts, int feeds, unsigned *number)
{
	uint64_t flushed;

	ck_assert_int_eq(store_detach(follower), 0);
	ck_assert_int_eq(store_attach(follower, STORE_EXISTING, &err), 0);
	flushed = store_flushed_seq(follower);
	note_past(&pasts[0]);
	for (int i = 1; i <= feeds; i++) {
		random_changes(number);
		ck_assert_msg(apply(UINT64_MAX) == 0, "%s", err.text);
		expect_equal();
		note_past(&pasts[i]);
	}
	keep_files();
	return store_flushed_seq(follower) == flushed;
}

/* Three feeds, of which the last two change the same key, in one transaction: one group, in the log or not at all. */
START_TEST(store_apply_journal__feeds_that_share_a_group_are_there_after_a_crash)
{
	static struct past past;
	uint64_t since = test_store_position(follower).seq;
	struct feed_info info;
	struct store_txn *t;
	struct store *after;
	struct buf feeds[3];

	for (int i = 0; i < 3; i++) {
		test_store_put(leader, i == 0 ? "a" : "b", i == 2 ? "last" : "first");
		test_store_feed(leader, since, UINT64_MAX, &feeds[i]);
		since++;
	}
	ck_assert_int_eq(feed_check(feeds[0].data, feeds[0].len, &info, &err), 0);
	ck_assert_int_eq(store_txn_begin_feed(follower, &info, 3 * feeds[0].len, &t, &err), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(feed_check(feeds[i].data, feeds[i].len, &info, &err), 0);
		ck_assert_msg(store_txn_apply(t, feeds[i].data, feeds[i].len, &info, &err) == 0, "%s", err.text);
		buf_release(&feeds[i]);
	}
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	expect_equal();
	ck_assert_str_eq(look(follower, "b"), "last");
	note_past(&past);
	keep_files();
	after = crash(SIZE_MAX);
	expect_past(after, &past);
	store_free(after);
	/* Without its end it was never there. */
	after = crash(JOURNAL_PAGE + 100);
	ck_assert_uint_eq(test_store_position(after).seq, since - 3);
	store_free(after);
	ck_assert_int_eq(store_flush(follower, &err), 0);
	test_store_verify(follower);
}
END_TEST

/* The journal cut within each of its groups: the state after each feed in turn, and with all of it the last one. */
START_TEST(store_apply_journal__a_power_cut_leaves_the_state_after_a_feed)
{
	enum { FEEDS = 6 };
	static struct past pasts[FEEDS + 1];
	unsigned number = 0;
	struct store *after;

	srand((unsigned)_i + 1);
	while (!apply_feeds(pasts, FEEDS, &number))
		continue;
	/* Small groups: a page each, after the file's head. */
	for (int i = 0; i <= FEEDS; i++) {
		after = crash((size_t)(1 + i) * JOURNAL_PAGE + 100);
		expect_past(after, &pasts[i]);
		store_free(after);
	}
}
END_TEST

/* Feeds, flushes, feeds that go to LMDB, and the machine going down at any moment. */
START_TEST(store_apply_journal__after_a_crash_all_that_was_applied_is_there)
{
	struct past past;
	unsigned number = 0;
	struct store *after;

	srand((unsigned)_i + 100);
	test_store_put(leader, "first", "1");
	ck_assert_int_eq(apply(UINT64_MAX), 0);
	for (int step = 0; step < 60; step++) {
		random_changes(&number);
		if (rand() % 10 == 0)
			ck_assert_int_eq(apply(1), 0);
		ck_assert_msg(apply(UINT64_MAX) == 0, "%s", err.text);
		expect_equal();
		if (rand() % 15 == 0)
			ck_assert_int_eq(store_flush(follower, &err), 0);
		if (rand() % 20 == 0) {
			note_past(&past);
			keep_files();
			after = crash(SIZE_MAX);
			expect_past(after, &past);
			store_free(after);
		}
	}
	ck_assert_int_eq(store_detach(follower), 0);
	ck_assert(!file_exists(tempdir_path(follower_dir, JOURNAL)));
	ck_assert_int_eq(store_attach(follower, STORE_EXISTING, &err), 0);
	expect_equal();
	test_store_verify(follower);
}
END_TEST

static TCase *
cases(void)
{
	TCase *all = tcase_create("store_apply_journal");

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_set_timeout(all, 60);
	tcase_add_test(all, store_apply_journal__a_feed_is_seen_before_lmdb_has_it);
	tcase_add_test(all, store_apply_journal__nothing_is_seen_before_it_is_on_disk);
	tcase_add_test(all, store_apply_journal__a_digest_that_differs_leaves_no_trace);
	tcase_add_test(all, store_apply_journal__more_and_what_ends_it_go_to_lmdb);
	tcase_add_test(all, store_apply_journal__a_new_epoch_goes_to_lmdb);
	tcase_add_test(all, store_apply_journal__a_cut_beyond_its_last_change_goes_to_lmdb);
	tcase_add_test(all, store_apply_journal__a_promotion_holds_all_that_was_applied);
	tcase_add_test(all, store_apply_journal__feeds_that_share_a_group_are_there_after_a_crash);
	tcase_add_loop_test(all, store_apply_journal__a_power_cut_leaves_the_state_after_a_feed, 0, 3);
	tcase_add_loop_test(all, store_apply_journal__after_a_crash_all_that_was_applied_is_there, 0, 3);
	return all;
}

int
main(void)
{
	return suite_run_case("store_apply_journal", cases());
}
