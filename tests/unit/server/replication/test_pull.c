/* The server's own pulls: from a toy leader into a real store. */
#include "server/replication/pull.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "server/replication/static/repl_static.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"
#include "tests/lib/toy_leader.h"

static char dir[TEMPDIR_MAX];
static struct toy_leader leader;
static struct store *store;
static struct committer *committer;
static struct repl *repl;
static struct pull *pull;
static struct sp_error err;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool done;

static void
begin(bool leads)
{
	struct repl_static_options o = {
		.committer = committer, .leads = leads, .self_url = "http://store-1.svc:9876", .leader_url = leader.url
	};

	repl = repl_static_new(&o, &err);
	ck_assert_ptr_nonnull(repl);
	ck_assert_int_eq(repl->ops->attached(repl, &err), 0);
	pull = pull_new(repl, store, NULL, &err);
	ck_assert_ptr_nonnull(pull);
}

static void
setup(void)
{
	struct committer_options o = { .store = NULL };
	struct position p;

	tempdir_make(dir);
	memset(&leader, 0, sizeof(leader));
	ck_assert_int_eq(http_setup(NULL), 0);
	o.store = store = test_store_new(dir);
	p = test_store_position(store);
	toy_init(&leader.store, ROLE_LEADER);
	memcpy(leader.store.p.cluster, p.cluster, sizeof(p.cluster));
	toy_leader_start(&leader, 0);
	committer = committer_new(&o, &err);
	ck_assert_ptr_nonnull(committer);
}

static void
teardown(void)
{
	pull_free(pull);
	repl->ops->free(repl);
	committer_free(committer);
	store_free(store);
	toy_leader_stop(&leader);
	http_teardown();
	tempdir_remove(dir);
}

static void
note_done(struct pull_call *call)
{
	ck_assert_ptr_eq(call->arg, dir);
	pthread_mutex_lock(&lock);
	done = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static struct pull_call
start(int64_t for_ms)
{
	struct pull_call call = { .for_ms = for_ms, .done = note_done, .arg = dir };

	snprintf(call.url, sizeof(call.url), "%s", leader.url);
	done = false;
	return call;
}

static void
wait_done(void)
{
	pthread_mutex_lock(&lock);
	while (!done)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static struct pull_call
run(int64_t for_ms)
{
	struct pull_call call = start(for_ms);

	ck_assert_msg(pull_start(pull, &call, &err) == 0, "%s", err.text);
	wait_done();
	return call;
}

static void
expect_equal(void)
{
	struct position l = toy_position(&leader.store), f = test_store_position(store);

	ck_assert_uint_eq(f.seq, l.seq);
	ck_assert(digest_equal(f.digest, l.digest));
	test_store_verify(store);
}

START_TEST(pull__takes_feed_after_feed_until_its_time_is_over)
{
	struct pull_call call;
	int64_t began;

	begin(false);
	atomic_store(&leader.streams, _i == 1);
	toy_put(&leader.store, "a", "1");
	toy_put(&leader.store, "b", "2");
	call = start(600);
	began = clock_mono_ms();
	ck_assert_msg(pull_start(pull, &call, &err) == 0, "%s", err.text);
	while (test_store_position(store).seq < 2)
		clock_sleep_ms(1);
	toy_put(&leader.store, "a", "3");
	while (test_store_position(store).seq < 3)
		clock_sleep_ms(1);
	toy_delete(&leader.store, "b");
	wait_done();
	ck_assert_msg(call.clean, "%s", call.err.text);
	ck_assert_int_ge(clock_mono_ms() - began, 550);
	ck_assert_uint_ge(call.feeds, 3);
	ck_assert_uint_eq(call.records, 4);
	ck_assert_uint_gt(call.bytes, 0);
	/* One request, where the leader keeps its answer open. */
	if (_i == 1)
		ck_assert_uint_eq(atomic_load(&leader.changes), 1);
	else
		ck_assert_uint_ge(atomic_load(&leader.changes), 3);
	expect_equal();
	test_store_expect(store, "a", "3");
	test_store_expect(store, "b", NULL);
	/* And once more, with nothing to take. */
	call = run(50);
	ck_assert(call.clean);
	ck_assert_uint_eq(call.feeds, 1);
	ck_assert_uint_eq(call.records, 0);
}
END_TEST

START_TEST(pull__what_does_not_end_on_a_cut_is_left_alone)
{
	struct pull_call call;

	begin(false);
	for (char key[2] = "a"; key[0] < 'f'; key[0]++)
		toy_put(&leader.store, key, "v");
	atomic_store(&leader.batch, 2);
	call = run(300);
	ck_assert(!call.clean);
	ck_assert_uint_eq(call.feeds, 0);
	ck_assert_uint_eq(test_store_position(store).seq, 0);
	ck_assert(test_store_position(store).consistent);
}
END_TEST

START_TEST(pull__content_that_is_not_the_leaders_ends_it_and_leaves_no_trace)
{
	struct pull_call call;

	begin(false);
	toy_put(&leader.store, "a", "1");
	call = run(50);
	ck_assert(call.clean);
	toy_put(&leader.store, "a", "2");
	pthread_mutex_lock(&leader.store.mutex);
	leader.store.p.digest.low ^= 1;
	pthread_mutex_unlock(&leader.store.mutex);
	call = run(300);
	ck_assert(!call.clean);
	ck_assert_int_eq(call.err.code, SP_EDIGEST);
	ck_assert_uint_eq(call.feeds, 0);
	ck_assert_uint_eq(test_store_position(store).seq, 1);
	test_store_expect(store, "a", "1");
	test_store_verify(store);
}
END_TEST

START_TEST(pull__an_equal_seq_with_another_digest_is_not_clean)
{
	struct pull_call call;

	begin(false);
	toy_put(&leader.store, "a", "1");
	ck_assert(run(50).clean);
	pthread_mutex_lock(&leader.store.mutex);
	leader.store.p.digest.low ^= 1;
	pthread_mutex_unlock(&leader.store.mutex);
	call = run(50);
	ck_assert(!call.clean);
	ck_assert_uint_eq(call.feeds, 0);
}
END_TEST

START_TEST(pull__answers_that_are_no_feeds_end_it)
{
	static const int moods[] = { TOY_DOWN, TOY_HORIZON, TOY_STRANGE, TOY_GARBAGE, TOY_CUT_SHORT, TOY_SILENT };
	struct pull_call call;

	begin(false);
	atomic_store(&leader.streams, _i >= 6);

	toy_put(&leader.store, "a", "1");
	atomic_store(&leader.mood, moods[_i % 6]);
	call = run(100);
	ck_assert(!call.clean);
	ck_assert_int_lt(call.err.code, 0);
	ck_assert_uint_eq(call.feeds, 0);
	ck_assert_uint_eq(test_store_position(store).seq, 0);
	if (moods[_i % 6] == TOY_SILENT)
		return; /* it answers nothing any more */
	atomic_store(&leader.mood, TOY_WELL);
	ck_assert(run(50).clean);
	expect_equal();
}
END_TEST

/* The leader's answer is open, and a change of it was applied. */
static void
open_stream(struct pull_call *call, int64_t for_ms)
{
	begin(false);
	atomic_store(&leader.streams, true);
	*call = start(for_ms);
	ck_assert_int_eq(pull_start(pull, call, &err), 0);
	while (atomic_load(&leader.changes) == 0)
		clock_sleep_ms(1);
	toy_put(&leader.store, "a", "1");
	while (test_store_position(store).seq < 1)
		clock_sleep_ms(1);
}

START_TEST(pull__a_stream_that_stalls_ends_the_pull_in_time)
{
	struct pull_call call;
	int64_t began = clock_mono_ms();

	open_stream(&call, 300);
	atomic_store(&leader.mood, TOY_SILENT);
	toy_put(&leader.store, "a", "2");
	wait_done();
	ck_assert(!call.clean);
	ck_assert_int_lt(clock_mono_ms() - began, 3 * PULL_MS_MAX);
	ck_assert_uint_eq(call.feeds, 1);
	ck_assert_uint_eq(test_store_position(store).seq, 1);
	test_store_verify(store);
}
END_TEST

START_TEST(pull__a_stream_that_goes_wrong_leaves_what_came_before)
{
	static const int moods[] = { TOY_GARBAGE, TOY_CUT_SHORT };
	struct pull_call call;

	open_stream(&call, PULL_MS_MAX);
	atomic_store(&leader.mood, moods[_i]);
	toy_put(&leader.store, "a", "2");
	wait_done();
	ck_assert(!call.clean);
	ck_assert_int_lt(call.err.code, 0);
	ck_assert_uint_eq(call.feeds, 1);
	ck_assert_uint_eq(test_store_position(store).seq, 1);
	test_store_expect(store, "a", "1");
	atomic_store(&leader.mood, TOY_WELL);
	ck_assert(run(50).clean);
	expect_equal();
}
END_TEST

START_TEST(pull__a_leader_that_goes_away_amid_a_stream_ends_the_pull)
{
	struct pull_call call;

	open_stream(&call, PULL_MS_MAX);
	toy_leader_stop(&leader);
	wait_done();
	ck_assert_uint_ge(call.feeds, 1);
	ck_assert_uint_eq(test_store_position(store).seq, 1);
}
END_TEST

/* More changes than are taken at once, while the writer is busy and while it is not. */
START_TEST(pull__many_feeds_at_once_are_applied_in_order)
{
	struct pull_call call;
	char value[16];

	open_stream(&call, PULL_MS_MAX);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(value, sizeof(value), "%u", i);
		toy_put(&leader.store, i % 2 == 0 ? "a" : "b", value);
		if (i % 10 == 0)
			clock_sleep_ms(1);
	}
	wait_done();
	ck_assert_msg(call.clean, "%s", call.err.text);
	expect_equal();
	test_store_expect(store, "a", "198");
	test_store_expect(store, "b", "199");
}
END_TEST

START_TEST(pull__a_pod_that_leads_takes_nothing)
{
	struct pull_call call;

	begin(true);
	toy_put(&leader.store, "a", "1");
	call = run(100);
	ck_assert(!call.clean);
	ck_assert_uint_eq(call.feeds, 0);
	ck_assert_uint_eq(test_store_position(store).seq, 0);
}
END_TEST

START_TEST(pull__one_at_a_time_and_none_after_the_stop)
{
	struct pull_call call, second;
	int64_t began;

	begin(false);
	call = start(PULL_MS_MAX);
	ck_assert_int_eq(pull_start(pull, &call, &err), 0);
	second = call;
	ck_assert_int_eq(pull_start(pull, &second, &err), SP_EAGAIN);
	while (atomic_load(&leader.changes) == 0)
		clock_sleep_ms(1);
	began = clock_mono_ms();
	pull_stop(pull);
	ck_assert_int_lt(clock_mono_ms() - began, PULL_MS_MAX / 2);
	wait_done();
	ck_assert(!call.clean);
	ck_assert_int_eq(pull_start(pull, &second, &err), SP_EAGAIN);
}
END_TEST

static TCase *
cases(void)
{
	TCase *all = tcase_create("pull");

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_set_timeout(all, 60);
	tcase_add_loop_test(all, pull__takes_feed_after_feed_until_its_time_is_over, 0, 2);
	tcase_add_test(all, pull__what_does_not_end_on_a_cut_is_left_alone);
	tcase_add_test(all, pull__content_that_is_not_the_leaders_ends_it_and_leaves_no_trace);
	tcase_add_test(all, pull__an_equal_seq_with_another_digest_is_not_clean);
	tcase_add_loop_test(all, pull__answers_that_are_no_feeds_end_it, 0, 12);
	tcase_add_test(all, pull__a_stream_that_stalls_ends_the_pull_in_time);
	tcase_add_loop_test(all, pull__a_stream_that_goes_wrong_leaves_what_came_before, 0, 2);
	tcase_add_test(all, pull__a_leader_that_goes_away_amid_a_stream_ends_the_pull);
	tcase_add_test(all, pull__many_feeds_at_once_are_applied_in_order);
	tcase_add_test(all, pull__a_pod_that_leads_takes_nothing);
	tcase_add_test(all, pull__one_at_a_time_and_none_after_the_stop);
	return all;
}

int
main(void)
{
	return suite_run_case("pull", cases());
}
