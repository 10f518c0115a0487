#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "server/http/waiters.h"
#include "tests/lib/suite.h"

#define DEADLINE_MS 20000
#define FOR_EVER_MS 600000

static struct waiters *waiters;
static struct listener *listener;
static struct sp_error err;
static atomic_uint answered;

/* /wait?seq=N&ms=M: the answer comes when the wait is over. */
static void
handle(struct request *rq, void *arg)
{
	static char seen[1];
	char seq[24], ms[24];

	(void)arg;
	if (request_state(rq) != NULL) {
		request_reply(rq, 200, "text/plain", "over", 4);
		return;
	}
	request_set_state(rq, seen);
	ck_assert_int_gt(request_query(rq, "seq", seq, sizeof(seq)), 0);
	ck_assert_int_gt(request_query(rq, "ms", ms, sizeof(ms)), 0);
	waiters_add(waiters, rq, strtoull(seq, NULL, 10), clock_mono_ms() + strtoll(ms, NULL, 10));
}

static void
setup(void)
{
	struct listener_options o = { .address = "127.0.0.1:0", .threads = 2, .handle = handle };

	ck_assert_int_eq(http_setup(&err), 0);
	waiters = waiters_new(&err);
	ck_assert_ptr_nonnull(waiters);
	listener = listener_new(&o, &err);
	ck_assert_ptr_nonnull(listener);
}

static void
teardown(void)
{
	waiters_stop(waiters);
	listener_free(listener, DEADLINE_MS);
	waiters_free(waiters);
	http_teardown();
}

struct asker {
	pthread_t thread;
	uint64_t seq;
	int64_t ms;
	int64_t took_ms;
};

static void *
ask(void *arg)
{
	struct asker *a = arg;
	struct sp_error mine = { 0 };
	struct http_client *c =
	    http_client_new(&(struct http_client_options){ .stall_timeout_ms = DEADLINE_MS }, &mine);
	int64_t before = clock_mono_ms();
	struct http_reply reply;
	char url[128];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/wait?seq=%llu&ms=%lld", listener_port(listener),
	    (unsigned long long)a->seq, (long long)a->ms);
	http_reply_init(&reply, 1000);
	ck_assert_msg(http_call(c, &(struct http_request_out){ .url = url }, &reply, &mine) == 0, "%s", mine.text);
	ck_assert_str_eq(reply.body.data, "over");
	http_reply_release(&reply);
	http_client_free(c);
	a->took_ms = clock_mono_ms() - before;
	atomic_fetch_add(&answered, 1);
	return NULL;
}

static void
begin(struct asker *a, uint64_t seq, int64_t ms)
{
	*a = (struct asker){ .seq = seq, .ms = ms };
	ck_assert_int_eq(pthread_create(&a->thread, NULL, ask, a), 0);
}

static void
wait_count(unsigned n)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;

	while (waiters_count(waiters) != n && clock_mono_ms() < deadline)
		clock_sleep_ms(1);
	ck_assert_uint_eq(waiters_count(waiters), n);
}

START_TEST(waiters_notify__wakes_whoever_waits_for_it)
{
	struct asker a, b, c;

	begin(&a, 5, FOR_EVER_MS);
	begin(&b, 6, FOR_EVER_MS);
	begin(&c, 7, FOR_EVER_MS);
	wait_count(3);
	waiters_notify(waiters, 4);
	ck_assert_uint_eq(waiters_count(waiters), 3);
	ck_assert_uint_eq(atomic_load(&answered), 0);
	waiters_notify(waiters, 6);
	pthread_join(a.thread, NULL);
	pthread_join(b.thread, NULL);
	ck_assert_uint_eq(waiters_count(waiters), 1);
	ck_assert_uint_eq(atomic_load(&answered), 2);
	waiters_notify(waiters, 100);
	pthread_join(c.thread, NULL);
	ck_assert_uint_eq(waiters_count(waiters), 0);
}
END_TEST

/* The commit came between the look at the store and the wait. */
START_TEST(waiters_add__what_was_notified_already_is_no_wait)
{
	struct asker a;

	waiters_notify(waiters, 5);
	begin(&a, 5, FOR_EVER_MS);
	pthread_join(a.thread, NULL);
	begin(&a, 1, FOR_EVER_MS);
	pthread_join(a.thread, NULL);
	ck_assert_uint_eq(waiters_count(waiters), 0);
}
END_TEST

/* A store that was seeded again stands where it stands, also where that is further back. */
START_TEST(waiters_notify__the_seq_may_go_back)
{
	struct asker a;

	waiters_notify(waiters, 50);
	waiters_notify(waiters, 10);
	begin(&a, 11, FOR_EVER_MS);
	wait_count(1);
	waiters_notify(waiters, 11);
	pthread_join(a.thread, NULL);
}
END_TEST

START_TEST(waiters_add__the_deadline_ends_it)
{
	struct asker first, second, third, past;

	begin(&third, 5, FOR_EVER_MS);
	wait_count(1);
	begin(&first, 5, 300);
	begin(&second, 5, 100);
	begin(&past, 5, -1000);
	pthread_join(past.thread, NULL);
	pthread_join(second.thread, NULL);
	pthread_join(first.thread, NULL);
	ck_assert_int_ge(second.took_ms, 99);
	ck_assert_int_ge(first.took_ms, 299);
	ck_assert_int_lt(past.took_ms, DEADLINE_MS);
	ck_assert_uint_eq(waiters_count(waiters), 1);
	waiters_notify(waiters, 5);
	pthread_join(third.thread, NULL);
}
END_TEST

START_TEST(waiters_stop__lets_everybody_go_on)
{
	struct asker a, b, late;

	begin(&a, 5, FOR_EVER_MS);
	begin(&b, UINT64_MAX, FOR_EVER_MS);
	wait_count(2);
	waiters_stop(waiters);
	pthread_join(a.thread, NULL);
	pthread_join(b.thread, NULL);
	begin(&late, 5, FOR_EVER_MS);
	pthread_join(late.thread, NULL);
	ck_assert_uint_eq(waiters_count(waiters), 0);
	waiters_stop(waiters);
	waiters_free(NULL);
}
END_TEST

#define MANY 60

START_TEST(waiters__many_wait_without_a_thread_each)
{
	static struct asker askers[MANY];

	for (unsigned i = 0; i < MANY; i++)
		begin(&askers[i], 1 + i % 3, FOR_EVER_MS);
	wait_count(MANY);
	for (uint64_t seq = 1; seq <= 3; seq++)
		waiters_notify(waiters, seq);
	for (unsigned i = 0; i < MANY; i++)
		pthread_join(askers[i].thread, NULL);
	ck_assert_uint_eq(atomic_load(&answered), MANY);
}
END_TEST

static atomic_bool notifying;

static void *
notify_on(void *arg)
{
	(void)arg;
	for (uint64_t seq = 1; atomic_load(&notifying); seq++)
		waiters_notify(waiters, seq);
	return NULL;
}

/* Nobody is left behind, whatever comes first. */
START_TEST(waiters__adding_and_notifying_race)
{
	pthread_t thread;

	atomic_store(&notifying, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, notify_on, NULL), 0);
	for (unsigned round = 0; round < 20; round++) {
		struct asker a, b;

		begin(&a, 1 + round * 100, FOR_EVER_MS);
		begin(&b, 1 + round * 1000, 5);
		pthread_join(a.thread, NULL);
		pthread_join(b.thread, NULL);
	}
	atomic_store(&notifying, false);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(waiters_count(waiters), 0);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		waiters_notify__wakes_whoever_waits_for_it,
		waiters_add__what_was_notified_already_is_no_wait,
		waiters_notify__the_seq_may_go_back,
		waiters_add__the_deadline_ends_it,
		waiters_stop__lets_everybody_go_on,
		waiters__many_wait_without_a_thread_each,
		waiters__adding_and_notifying_race,
	};

	return suite_run_fixture("waiters", tests, sizeof(tests) / sizeof(tests[0]), 60, setup, teardown);
}
