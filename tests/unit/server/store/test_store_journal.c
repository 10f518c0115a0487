/* A store with a journal: who sees what before and after a flush, and what is there after the machine went down. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "server/store/journal.h"
#include "server/store/store.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

static char dir[TEMPDIR_MAX], other[TEMPDIR_MAX];
static struct store *store;
static struct sp_error err;

static struct store *
open_store(const char *folder, enum store_attach how)
{
	struct store_options o = {
		.dir = tempdir_path(folder, "store"), .map_size = 64u << 20, .log = STORE_LOG_JOURNAL
	};
	struct store *s = store_new(&o, &err);

	ck_assert_msg(s != NULL, "%s", err.text);
	ck_assert_msg(store_attach(s, how, &err) == 0, "%s", err.text);
	return s;
}

static void
setup(void)
{
	tempdir_make(dir);
	tempdir_make(other);
	store = open_store(dir, STORE_CREATE);
}

static void
teardown(void)
{
	store_free(store);
	tempdir_remove(dir);
	tempdir_remove(other);
}

/* One group of one change; a value of NULL deletes. */
static void
change(const char *key, const char *value)
{
	struct store_txn *t;
	uint64_t seq;
	int rc;

	ck_assert_msg(store_txn_begin_group(store, 100, &t, &err) == 0, "%s", err.text);
	rc = value != NULL ? store_txn_put(t, key, strlen(key), value, strlen(value), &seq, &err)
			   : store_txn_delete(t, key, strlen(key), &seq, &err);
	ck_assert_msg(rc == 0, "%s: %s", key, err.text);
	ck_assert_msg(store_txn_commit(t, &err) == 0, "%s", err.text);
}

/* What a view, of the present or of LMDB alone, finds under a key; "" where it finds nothing. */
static const char *
look(struct store *s, const char *key, bool present)
{
	static char value[1024];
	struct store_record r;
	struct store_view *v;
	int rc;

	rc = present ? store_view_begin_present(s, &v, &err) : store_view_begin(s, &v, &err);
	ck_assert_msg(rc == 0, "%s", err.text);
	rc = store_view_get(v, key, strlen(key), &r, &err);
	if (rc == 0)
		snprintf(value, sizeof(value), "%.*s", (int)r.value_len, (const char *)r.value);
	store_view_end(v);
	return rc == 0 ? value : "";
}

static void
copy_file(const char *name)
{
	struct buf image;
	char to[TEMPDIR_MAX + 32];

	buf_init(&image, SIZE_MAX);
	snprintf(to, sizeof(to), "%s", tempdir_path(other, name));
	ck_assert_msg(file_read_all(tempdir_path(dir, name), &image, &err) == 0, "%s", err.text);
	ck_assert_msg(file_write_atomic(to, image.data, image.len, 0600, &err) == 0, "%s", err.text);
	buf_release(&image);
}

/* The store's files as they are on disk now, in another place: what a machine that goes down leaves. LMDB syncs what it
 * commits, and the journal each group. */
static void
crash(void)
{
	ck_assert_int_eq(file_remove_tree(tempdir_path(other, "store"), &err), 0);
	ck_assert_int_eq(file_make_dirs(tempdir_path(other, "store"), &err), 0);
	copy_file("store/data.mdb");
	copy_file("store/" JOURNAL_NAME);
}

static void
same_position(const struct position *a, const struct position *b)
{
	ck_assert_uint_eq(a->seq, b->seq);
	ck_assert_uint_eq(a->keys, b->keys);
	ck_assert_uint_eq(a->epoch, b->epoch);
	ck_assert(digest_equal(a->digest, b->digest));
}

START_TEST(store_group__is_seen_at_present_at_once_and_by_all_after_a_flush)
{
	struct position p;
	uint64_t seq = 0;
	int64_t age_ms;

	change("a", "1");
	ck_assert_str_eq(look(store, "a", true), "1");
	ck_assert_str_eq(look(store, "a", false), "");
	ck_assert(store_unflushed(store, &seq));
	ck_assert_uint_eq(store_unflushed_changes(store, &age_ms), 1);
	ck_assert_int_ge(age_ms, 0);
	ck_assert_uint_eq(seq, 1);
	ck_assert_uint_eq(store_flushed_seq(store), 0);
	ck_assert_int_eq(store_position(store, &p, &err), 0);
	ck_assert_uint_eq(p.seq, 1);
	ck_assert_uint_eq(p.keys, 1);
	ck_assert_int_eq(store_flush(store, &err), 0);
	ck_assert(!store_unflushed(store, &seq));
	ck_assert_uint_eq(store_unflushed_changes(store, &age_ms), 0);
	ck_assert_int_eq(age_ms, 0);
	ck_assert_uint_eq(store_flushed_seq(store), 1);
	ck_assert_str_eq(look(store, "a", true), "1");
	ck_assert_str_eq(look(store, "a", false), "1");
	change("a", NULL);
	ck_assert_str_eq(look(store, "a", true), "");
	ck_assert_str_eq(look(store, "a", false), "1");
	change("a", "2");
	ck_assert_str_eq(look(store, "a", true), "2");
	ck_assert_int_eq(store_flush(store, &err), 0);
	ck_assert_str_eq(look(store, "a", false), "2");
	test_store_verify(store);
}
END_TEST

START_TEST(store_group__is_flushed_by_itself)
{
	uint64_t seq;

	change("a", "1");
	for (int i = 0; i < 500 && store_unflushed(store, &seq); i++)
		usleep(10000);
	ck_assert_str_eq(look(store, "a", false), "1");
}
END_TEST

START_TEST(store_group__soon_is_sooner)
{
	uint64_t seq;

	for (int i = 0; i < 20; i++) {
		change("a", "1");
		store_flush_soon(store);
		for (int n = 0; n < 50 && store_unflushed(store, &seq); n++)
			usleep(10000);
		ck_assert(!store_unflushed(store, &seq));
	}
}
END_TEST

START_TEST(store_group__one_that_is_given_up_leaves_nothing)
{
	struct position before, after;
	struct store_view *v;
	struct store_record r;
	struct store_txn *t;
	uint64_t seq;

	change("a", "1");
	change("b", "1");
	ck_assert_int_eq(store_position(store, &before, &err), 0);
	ck_assert_int_eq(store_txn_begin_group(store, 100, &t, &err), 0);
	ck_assert_int_eq(store_txn_put(t, "a", 1, "2", 1, &seq, &err), 0);
	ck_assert_int_eq(store_txn_put(t, "a", 1, "3", 1, &seq, &err), 0);
	ck_assert_int_eq(store_txn_delete(t, "b", 1, &seq, &err), 0);
	ck_assert_int_eq(store_txn_delete(t, "b", 1, &seq, &err), SP_ENOTFOUND);
	ck_assert_int_eq(store_txn_seq(t, "a", 1, &seq, &err), 0);
	ck_assert_uint_eq(seq, 4);
	store_txn_abort(t);
	ck_assert_int_eq(store_view_begin_present(store, &v, &err), 0);
	ck_assert_int_eq(store_view_get(v, "a", 1, &r, &err), 0);
	ck_assert_uint_eq(r.seq, 1);
	/* What a view has seen, it goes on seeing. */
	store_view_end(v);
	ck_assert_str_eq(look(store, "b", true), "1");
	ck_assert_int_eq(store_position(store, &after, &err), 0);
	same_position(&before, &after);
	change("a", "4");
	ck_assert_int_eq(store_flush(store, &err), 0);
	ck_assert_str_eq(look(store, "a", false), "4");
	test_store_verify(store);
}
END_TEST

static void *
change_two(void *arg)
{
	change("a", "2");
	change("b", "2");
	return arg;
}

START_TEST(store_group__a_view_keeps_what_it_began_with)
{
	struct store_record before, r;
	struct store_view *v;
	pthread_t writer;

	change("a", "1");
	ck_assert_int_eq(store_view_begin_present(store, &v, &err), 0);
	ck_assert_int_eq(store_view_get(v, "a", 1, &before, &err), 0);
	/* A thread has a view or a transaction, never both. */
	ck_assert_int_eq(pthread_create(&writer, NULL, change_two, NULL), 0);
	pthread_join(writer, NULL);
	ck_assert_int_eq(store_view_get(v, "a", 1, &r, &err), 0);
	ck_assert_mem_eq(r.value, "1", 1);
	ck_assert_mem_eq(before.value, "1", 1);
	ck_assert_int_eq(store_view_get(v, "b", 1, &r, &err), SP_ENOTFOUND);
	store_view_end(v);
	ck_assert_str_eq(look(store, "b", true), "2");
}
END_TEST

/* A reader that goes by the position finds in its view what that says. */
START_TEST(store_group__a_view_tells_no_position_beyond_what_it_shows)
{
	struct store_record r;
	struct store_view *v;
	struct position p;
	pthread_t writer;

	change("a", "1");
	ck_assert_int_eq(store_view_begin_present(store, &v, &err), 0);
	ck_assert_int_eq(pthread_create(&writer, NULL, change_two, NULL), 0);
	pthread_join(writer, NULL);
	ck_assert_int_eq(store_view_position(v, &p, &err), 0);
	ck_assert_int_eq(store_view_get(v, "a", 1, &r, &err), 0);
	ck_assert_uint_eq(r.seq, 1);
	ck_assert_uint_le(p.seq, 1);
	store_view_end(v);
	ck_assert_uint_eq(test_store_position(store).seq, 3);
}
END_TEST

/* Groups that fail one after another, as on a volume whose quota is used up. */
START_TEST(store_group__those_that_are_given_up_take_no_memory)
{
	size_t len = 1 << 20;
	char *value = calloc(1, len);
	struct mallinfo2 before = mallinfo2(), after;
	struct store_txn *t;
	uint64_t seq;

	for (unsigned i = 0; i < 100; i++) {
		ck_assert_int_eq(store_txn_begin_group(store, len, &t, &err), 0);
		ck_assert_int_eq(store_txn_put(t, "large", 5, value, len, &seq, &err), 0);
		store_txn_abort(t);
	}
	after = mallinfo2();
	ck_assert_uint_lt(after.uordblks + after.hblkhd, before.uordblks + before.hblkhd + 10 * len);
	change("a", "1");
	ck_assert_str_eq(look(store, "a", true), "1");
	ck_assert_int_eq(store_flush(store, &err), 0);
	ck_assert_str_eq(look(store, "a", false), "1");
	free(value);
}
END_TEST

START_TEST(store_group__what_does_not_suit_the_journal_goes_to_lmdb)
{
	size_t len = 3 << 20;
	char *value = calloc(1, len);
	struct store_txn *t;
	uint64_t seq;

	change("a", "1");
	ck_assert_int_eq(store_txn_begin_group(store, len, &t, &err), 0);
	ck_assert_int_eq(store_txn_put(t, "large", 5, value, len, &seq, &err), 0);
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	ck_assert(!store_unflushed(store, &seq));
	ck_assert_uint_eq(store_flushed_seq(store), 2);
	ck_assert_str_eq(look(store, "a", false), "1");
	change("a", "2");
	free(value);
	ck_assert_str_eq(look(store, "a", true), "2");
}
END_TEST

START_TEST(store_detach__leaves_no_journal)
{
	change("a", "1");
	ck_assert(file_exists(tempdir_path(dir, "store/" JOURNAL_NAME)));
	ck_assert_int_eq(store_detach(store), 0);
	ck_assert(!file_exists(tempdir_path(dir, "store/" JOURNAL_NAME)));
	ck_assert_int_eq(store_attach(store, STORE_EXISTING, &err), 0);
	ck_assert_str_eq(look(store, "a", false), "1");
}
END_TEST

/* At random: groups of several changes, groups that are given up, flushes, and the machine going down at any moment,
 * against a table of what must be there. */
#define MODEL_KEYS 40

static void
check_model(struct store *s, char expected[MODEL_KEYS][16], bool present)
{
	char key[16];

	for (int i = 0; i < MODEL_KEYS; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		ck_assert_str_eq(look(s, key, present), expected[i]);
	}
}

static void
random_group(char expected[MODEL_KEYS][16], unsigned *number)
{
	char fresh[MODEL_KEYS][16], key[16];
	struct store_txn *t;
	uint64_t seq;
	int changes = rand() % 6;

	memcpy(fresh, expected, sizeof(fresh));
	ck_assert_int_eq(store_txn_begin_group(store, 100, &t, &err), 0);
	for (int i = 0; i < changes; i++) {
		int k = rand() % MODEL_KEYS;

		snprintf(key, sizeof(key), "key-%d", k);
		if (rand() % 4 == 0) {
			ck_assert_int_eq(
			    store_txn_delete(t, key, strlen(key), &seq, &err), fresh[k][0] != '\0' ? 0 : SP_ENOTFOUND);
			fresh[k][0] = '\0';
		} else {
			snprintf(fresh[k], sizeof(fresh[k]), "%u", ++*number);
			ck_assert_int_eq(store_txn_put(t, key, strlen(key), fresh[k], strlen(fresh[k]), &seq, &err), 0);
		}
	}
	if (rand() % 5 == 0) {
		store_txn_abort(t);
		return;
	}
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	memcpy(expected, fresh, sizeof(fresh));
}

START_TEST(store_attach__after_a_crash_all_that_was_committed_is_there)
{
	static char expected[MODEL_KEYS][16];
	struct position here, there;
	struct store *after;
	unsigned number = 0;

	srand((unsigned)_i + 1);
	change("first", "1");
	for (int step = 0; step < 200; step++) {
		random_group(expected, &number);
		if (rand() % 20 == 0)
			ck_assert_int_eq(store_flush(store, &err), 0);
		if (rand() % 30 != 0)
			continue;
		check_model(store, expected, true);
		ck_assert_int_eq(store_position(store, &here, &err), 0);
		crash();
		/* As one that only looks sees it, and then as the next server does. */
		after = open_store(other, STORE_READONLY);
		ck_assert_int_eq(store_position(after, &there, &err), 0);
		same_position(&here, &there);
		check_model(after, expected, true);
		store_free(after);
		ck_assert(file_exists(tempdir_path(other, "store/" JOURNAL_NAME)));
		after = open_store(other, STORE_EXISTING);
		ck_assert(!file_exists(tempdir_path(other, "store/" JOURNAL_NAME)));
		ck_assert_int_eq(store_position(after, &there, &err), 0);
		same_position(&here, &there);
		check_model(after, expected, false);
		test_store_verify(after);
		store_free(after);
	}
	ck_assert_int_eq(store_flush(store, &err), 0);
	check_model(store, expected, false);
	test_store_verify(store);
}
END_TEST

/* A group that was given up leaves its table; what then changed without the journal is what the next group follows. */
START_TEST(store_attach__after_a_crash_groups_of_a_new_epoch_are_there)
{
	struct position before;
	struct store_txn *t;
	struct store *s;
	bool began;

	ck_assert_int_eq(store_txn_begin_group(store, 100, &t, &err), 0);
	store_txn_abort(t);
	ck_assert_int_eq(store_txn_begin(store, &t, &err), 0);
	ck_assert_int_eq(store_txn_follow(t, &err), 0);
	ck_assert_int_eq(store_txn_lead(t, &began, &err), 0);
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	change("a", "1");
	before = test_store_position(store);
	crash();
	s = open_store(other, STORE_EXISTING);
	same_position(&before, &(struct position){ .seq = 1, .keys = 1, .epoch = 2, .digest = before.digest });
	ck_assert_str_eq(look(s, "a", true), "1");
	store_free(s);
}
END_TEST

START_TEST(store_attach__a_group_that_was_cut_is_not_there_and_all_before_it_are)
{
	struct position p;
	struct store *after;

	change("a", "1");
	change("b", "2");
	change("a", "3");
	crash();
	/* The third group's page is not whole. */
	ck_assert_int_eq(truncate(tempdir_path(other, "store/" JOURNAL_NAME), 3 * JOURNAL_PAGE + 100), 0);
	after = open_store(other, STORE_EXISTING);
	ck_assert_int_eq(store_position(after, &p, &err), 0);
	ck_assert_uint_eq(p.seq, 2);
	ck_assert_str_eq(look(after, "a", false), "1");
	ck_assert_str_eq(look(after, "b", false), "2");
	test_store_verify(after);
	store_free(after);
}
END_TEST

START_TEST(store_attach__a_journal_of_another_state_is_refused)
{
	struct store_options o = { .map_size = 64u << 20, .log = STORE_LOG_JOURNAL };
	char theirs[TEMPDIR_MAX], place[TEMPDIR_MAX + 16];
	struct store *after;

	change("a", "1");
	crash();
	/* Another store's data under it. */
	tempdir_make(theirs);
	store_free(test_store_new(theirs));
	test_store_copy(theirs, other);
	tempdir_remove(theirs);
	snprintf(place, sizeof(place), "%s/store", other);
	o.dir = place;
	after = store_new(&o, &err);
	ck_assert_int_eq(store_attach(after, STORE_EXISTING, &err), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "delete the journal"));
	ck_assert_int_eq(store_attach(after, STORE_READONLY, &err), SP_EBADDATA);
	ck_assert(file_exists(tempdir_path(other, "store/" JOURNAL_NAME)));
	ck_assert_int_eq(unlink(tempdir_path(other, "store/" JOURNAL_NAME)), 0);
	ck_assert_int_eq(store_attach(after, STORE_EXISTING, &err), 0);
	store_free(after);
}
END_TEST

START_TEST(store_attach__without_the_option_the_journal_is_read_all_the_same)
{
	struct store *after;

	change("a", "1");
	crash();
	after = test_store_open(other, STORE_EXISTING, 0);
	ck_assert_str_eq(look(after, "a", false), "1");
	ck_assert(!file_exists(tempdir_path(other, "store/" JOURNAL_NAME)));
	store_free(after);
}
END_TEST

/* More than the journal's areas hold at once, while others read. */
START_TEST(store_group__many_go_round_the_areas)
{
	char key[16], value[20000];
	struct store_txn *t;
	uint64_t seq;

	memset(value, 'x', sizeof(value));
	for (unsigned i = 0; i < 2500; i++) {
		snprintf(key, sizeof(key), "key-%u", i % 100);
		snprintf(value, sizeof(value), "%u", i);
		ck_assert_int_eq(store_txn_begin_group(store, sizeof(value), &t, &err), 0);
		ck_assert_int_eq(store_txn_put(t, key, strlen(key), value, sizeof(value), &seq, &err), 0);
		ck_assert_msg(store_txn_commit(t, &err) == 0, "%s", err.text);
		if (i % 100 == 0)
			ck_assert_uint_eq(strtoul(look(store, key, true), NULL, 10), i);
	}
	crash();
	ck_assert_int_eq(store_detach(store), 0);
	ck_assert_int_eq(store_attach(store, STORE_EXISTING, &err), 0);
	test_store_verify(store);
	ck_assert_uint_eq(test_store_position(store).seq, 2500);
}
END_TEST

static TCase *
cases(void)
{
	TCase *all = tcase_create("store_journal");

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_set_timeout(all, 60);
	tcase_add_test(all, store_group__is_seen_at_present_at_once_and_by_all_after_a_flush);
	tcase_add_test(all, store_group__is_flushed_by_itself);
	tcase_add_test(all, store_group__soon_is_sooner);
	tcase_add_test(all, store_group__one_that_is_given_up_leaves_nothing);
	tcase_add_test(all, store_group__a_view_keeps_what_it_began_with);
	tcase_add_test(all, store_group__a_view_tells_no_position_beyond_what_it_shows);
	tcase_add_test(all, store_group__those_that_are_given_up_take_no_memory);
	tcase_add_test(all, store_group__what_does_not_suit_the_journal_goes_to_lmdb);
	tcase_add_test(all, store_group__many_go_round_the_areas);
	tcase_add_test(all, store_detach__leaves_no_journal);
	tcase_add_loop_test(all, store_attach__after_a_crash_all_that_was_committed_is_there, 0, 2);
	tcase_add_test(all, store_attach__after_a_crash_groups_of_a_new_epoch_are_there);
	tcase_add_test(all, store_attach__a_group_that_was_cut_is_not_there_and_all_before_it_are);
	tcase_add_test(all, store_attach__a_journal_of_another_state_is_refused);
	tcase_add_test(all, store_attach__without_the_option_the_journal_is_read_all_the_same);
	return all;
}

int
main(void)
{
	return suite_run_case("store_journal", cases());
}
