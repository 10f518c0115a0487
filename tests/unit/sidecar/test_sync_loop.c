/* The sync as a thread: woken by what concerns it, stopped in time, and the watch of the server beside it. */
#include "sidecar/sync.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "sidecar/view.h"
#include "sidecar/watch.h"
#include "tests/lib/suite.h"
#include "tests/lib/toy_leader.h"
#include "tests/lib/toy_store.h"

/* How long anything may take on a machine that does other things too, and what says that nobody waited for a long
 * poll's end (5 s) instead of for what the test is about. */
#define DEADLINE_MS 10000
#define SOON_MS     4000

static struct toy_leader leader;
static struct toy_store store;
static struct toy_driver driver, watch_driver;
static struct state *state;
static struct sync *sync_loop;
static struct watch *watch;
static struct conf conf;
static struct view view;
static char seed_path[64];
static atomic_bool reseed_began;

static void
configure(const char *more)
{
	struct sp_error err = { 0 };
	char text[1024];
	int len = snprintf(text, sizeof(text), "[pod]\nname = store-1\npeer_url = %s\n%s", leader.url, more);

	ck_assert_msg(conf_parse("test.ini", text, (size_t)len, NULL, &conf, &err) == 0, "%s", err.text);
}

/* A reseed that never ends by itself. */
static int
endless_reseed(void *arg, const struct reseed_call *call, struct sp_error *err)
{
	(void)arg;
	atomic_store(&reseed_began, true);
	while (call->go_on(call->go_on_arg))
		clock_sleep_ms(5);
	return sp_error_set(err, SP_ECANCELED, "ended");
}

static void
changed(void *arg)
{
	(void)arg;
	sync_wake(sync_loop);
}

static int
toy_metrics(struct driver *d, struct buf *out, struct sp_error *err)
{
	(void)d;
	(void)err;
	return buf_adds(out, "# TYPE toy_total counter\ntoy_total 1\n");
}

static void
begin(const char *more)
{
	struct follower_options o = { .driver = &driver.driver, .reseed = endless_reseed, .recheck_ms = 20 };
	struct watch_options w = {
		.driver = &watch_driver.driver,
		.interval_ms = 20,
		.metrics_every_ms = 20,
		.metrics = toy_metrics,
		.changed = changed,
		.seed_path = seed_path,
	};
	struct sp_error err = { 0 };

	configure(more);
	state = state_new(&conf, clock_mono_ms());
	o.state = state;
	w.state = state;
	sync_loop = sync_new(&o, &err);
	ck_assert_msg(sync_loop != NULL, "%s", err.text);
	watch = watch_new(&w, &err);
	ck_assert_msg(watch != NULL, "%s", err.text);
}

static void
setup(void)
{
	atomic_store(&reseed_began, false);
	toy_pair_start(&leader, &store, &driver);
	toy_driver_init(&watch_driver, &store);
	snprintf(seed_path, sizeof(seed_path), "/tmp/seedpod-test-seed-%d.json", (int)getpid());
}

static void
end_loops(void)
{
	if (watch == NULL)
		return;
	ck_assert(watch_stop(watch, DEADLINE_MS));
	ck_assert(sync_stop(sync_loop, DEADLINE_MS));
	watch_free(watch);
	sync_free(sync_loop);
	watch = NULL;
	sync_loop = NULL;
}

static void
teardown(void)
{
	end_loops();
	state_free(state);
	state = NULL;
	toy_leader_stop(&leader);
	http_teardown();
	unlink(seed_path);
}

/* Wait until `is` says so of a fresh view: false after the deadline. */
static bool
wait_for(bool (*is)(const struct view *v))
{
	int64_t give_up_ms = clock_mono_ms() + DEADLINE_MS;

	do {
		view_take(state, clock_mono_ms(), &view);
		if (is(&view))
			return true;
		clock_sleep_ms(2);
	} while (clock_mono_ms() < give_up_ms);
	return false;
}

static bool
is_ready(const struct view *v)
{
	return v->readiness.ready;
}

static bool
is_not_ready(const struct view *v)
{
	return !v->readiness.ready;
}

static bool
is_stale(const struct view *v)
{
	return v->stale;
}

static bool
is_level(const struct view *v)
{
	return !v->stale && v->own.seq == toy_position(&leader.store).seq;
}

START_TEST(sync_loop__streams_changes_as_they_come)
{
	int64_t began_ms;

	toy_put(&leader.store, "a", "1");
	begin("");
	ck_assert(wait_for(is_ready));
	began_ms = clock_mono_ms();
	for (int i = 0; i < 20; i++) {
		toy_put(&leader.store, "b", "2");
		ck_assert(wait_for(is_level));
	}
	/* Twenty long polls of 5 s each would be a hundred: they were answered by the changes. */
	ck_assert_int_lt(clock_mono_ms() - began_ms, 25000);
}
END_TEST

START_TEST(sync_loop__changed_interval_is_in_force_at_once)
{
	begin("[sync]\nmode = poll\ninterval = 1h\n");
	ck_assert(wait_for(is_ready));
	toy_put(&leader.store, "a", "1");
	configure("[sync]\nmode = poll\ninterval = 100ms\n");
	state_set_conf(state, &conf);
	sync_wake(sync_loop);
	ck_assert(wait_for(is_level));
	toy_put(&leader.store, "b", "1");
	ck_assert(wait_for(is_level));
}
END_TEST

START_TEST(sync_loop__changed_mode_ends_a_long_poll)
{
	int64_t began_ms;
	unsigned asked;

	begin("");
	ck_assert(wait_for(is_ready));
	began_ms = clock_mono_ms();
	configure("[sync]\nmode = poll\ninterval = 100ms\n");
	state_set_conf(state, &conf);
	sync_wake(sync_loop);
	asked = atomic_load(&leader.changes);
	/* The leader may take up the long poll that was ended after those that followed it. */
	while ((atomic_load(&leader.changes) < asked + 3 || atomic_load(&leader.last_wait_ms) != 0) &&
	       clock_mono_ms() - began_ms < DEADLINE_MS)
		clock_sleep_ms(5);
	ck_assert_int_lt(clock_mono_ms() - began_ms, SOON_MS);
}
END_TEST

START_TEST(sync_loop__stops_within_a_long_poll)
{
	int64_t began_ms;

	begin("");
	ck_assert(wait_for(is_ready));
	began_ms = clock_mono_ms();
	end_loops();
	ck_assert_int_lt(clock_mono_ms() - began_ms, SOON_MS);
}
END_TEST

START_TEST(sync_loop__stop_ends_a_reseed)
{
	int64_t began_ms = clock_mono_ms();

	toy_driver_fail(&driver, SP_ENOTFOUND, 0);
	begin("");
	while (!atomic_load(&reseed_began) && clock_mono_ms() - began_ms < DEADLINE_MS)
		clock_sleep_ms(2);
	ck_assert(atomic_load(&reseed_began));
	end_loops();
}
END_TEST

START_TEST(sync_loop__leader_that_goes_and_returns)
{
	unsigned port = leader.port;

	begin("[readiness]\nmax_lag = 300ms\nleader_loss = unready\n");
	ck_assert(wait_for(is_ready));
	toy_leader_stop(&leader);
	ck_assert(wait_for(is_stale));
	ck_assert(wait_for(is_not_ready));
	toy_leader_start(&leader, port);
	toy_put(&leader.store, "a", "1");
	ck_assert(wait_for(is_level));
	ck_assert(wait_for(is_ready));
}
END_TEST

START_TEST(sync_loop__silent_leader_is_noticed)
{
	begin("[readiness]\nmax_lag = 300ms\n[sync]\nstall_timeout = 200ms\n");
	ck_assert(wait_for(is_ready));
	atomic_store(&leader.mood, TOY_SILENT);
	ck_assert(wait_for(is_stale));
	ck_assert(view.readiness.ready);
}
END_TEST

START_TEST(watch_server__that_goes_and_returns_is_proven_anew)
{
	unsigned asked;

	begin("");
	ck_assert(wait_for(is_ready));
	asked = atomic_load(&leader.positions);
	toy_driver_fail(&watch_driver, SP_EUNAVAIL, 0);
	ck_assert(wait_for(is_not_ready));
	toy_driver_fail(&watch_driver, 0, 0);
	ck_assert(wait_for(is_ready));
	ck_assert_uint_gt(atomic_load(&leader.positions), asked);
}
END_TEST

START_TEST(watch_files__brings_metrics_and_seed)
{
	int64_t give_up_ms = clock_mono_ms() + DEADLINE_MS;
	struct buf text;
	FILE *f = fopen(seed_path, "w");
	char *seed = NULL;

	ck_assert_ptr_nonnull(f);
	fputs("{\"bytes\": 5}", f);
	fclose(f);
	begin("");
	buf_init(&text, 1 << 20);
	while ((text.len == 0 || seed == NULL) && clock_mono_ms() < give_up_ms) {
		buf_reset(&text);
		ck_assert_int_eq(view_server_metrics(state, &text), 0);
		free(seed);
		seed = view_seed(state);
		clock_sleep_ms(2);
	}
	ck_assert_str_eq(text.data, "# TYPE toy_total counter\ntoy_total 1\n");
	ck_assert_ptr_nonnull(seed);
	ck_assert_str_eq(seed, "{\"bytes\": 5}");
	free(seed);
	buf_release(&text);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		sync_loop__streams_changes_as_they_come,
		sync_loop__changed_interval_is_in_force_at_once,
		sync_loop__changed_mode_ends_a_long_poll,
		sync_loop__stops_within_a_long_poll,
		sync_loop__stop_ends_a_reseed,
		sync_loop__leader_that_goes_and_returns,
		sync_loop__silent_leader_is_noticed,
		watch_server__that_goes_and_returns_is_proven_anew,
		watch_files__brings_metrics_and_seed,
	};

	return suite_run_fixture("sync loop", tests, sizeof(tests) / sizeof(tests[0]), 60, setup, teardown);
}
