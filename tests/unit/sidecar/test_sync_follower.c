/* The follower's turns against a leader and a store of toys: what it applies, proves, refuses and has replaced. */
#include "sidecar/follower.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "sidecar/view.h"
#include "tests/lib/suite.h"
#include "tests/lib/toy_leader.h"
#include "tests/lib/toy_store.h"

static struct toy_leader leader;
static struct toy_store store;
static struct toy_driver driver;
static struct state *state;
static struct follower *follower;
static struct conf conf;
static struct view view;

/* The reseed that the tests run: a copy of the leader's store, or a failure. */
static struct {
	unsigned calls;
	bool last_force;
	int fail;
} reseeds;

static int
reseed(void *arg, const struct reseed_call *call, struct sp_error *err)
{
	(void)arg;
	reseeds.calls++;
	reseeds.last_force = call->force;
	if (!call->go_on(call->go_on_arg))
		return sp_error_set(err, SP_ECANCELED, "ended");
	if (reseeds.fail < 0)
		return sp_error_set(err, reseeds.fail, "no donor");
	toy_copy(&store, &leader.store);
	toy_driver_fail(&driver, 0, 0);
	return 0;
}

/* Parse sync and readiness settings on top of what finds the toy leader. */
static void
configure(const char *more)
{
	struct sp_error err = { 0 };
	char text[1024];
	int len;

	len = snprintf(text, sizeof(text), "[pod]\nname = store-1\npeer_url = %s\n%s%s", leader.url,
	    strstr(more, "[readiness]") == NULL ? "[readiness]\nmax_lag = 400ms\n" : "", more);
	ck_assert_msg(conf_parse("test.ini", text, (size_t)len, NULL, &conf, &err) == 0, "%s", err.text);
}

static void
begin(const char *more)
{
	struct follower_options o = {
		.driver = &driver.driver,
		.reseed = reseed,
		.recheck_ms = 1,
		.reseed_first_ms = 1,
		.reseed_most_ms = 2,
	};
	struct sp_error err = { 0 };

	configure(more);
	state = state_new(&conf, clock_mono_ms());
	o.state = state;
	follower = follower_new(&o, &err);
	ck_assert_msg(follower != NULL, "%s", err.text);
}

static void
setup(void)
{
	memset(&reseeds, 0, sizeof(reseeds));
	toy_pair_start(&leader, &store, &driver);
}

static void
teardown(void)
{
	follower_free(follower);
	follower = NULL;
	state_free(state);
	state = NULL;
	toy_leader_stop(&leader);
	http_teardown();
}

static const struct view *
look(void)
{
	view_take(state, clock_mono_ms(), &view);
	return &view;
}

static void
turns(unsigned n)
{
	while (n-- > 0)
		follower_turn(follower);
}

static void
fill_leader(unsigned n)
{
	char key[24];

	for (unsigned i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		toy_put(&leader.store, key, "value");
	}
}

static bool
same_content(void)
{
	struct position a = toy_position(&leader.store);
	struct position b = toy_position(&store);

	return a.seq == b.seq && digest_equal(a.digest, b.digest);
}

START_TEST(sync_catch_up__one_feed_brings_everything_and_proves_it)
{
	fill_leader(100);
	toy_delete(&leader.store, "key7");
	begin("");
	turns(1);
	ck_assert(same_content());
	look();
	ck_assert(view.proven);
	ck_assert(view.readiness.ready);
	ck_assert_str_eq(view.phase, "in sync");
	ck_assert_uint_eq(view.counters.applied_changes, 100);
	ck_assert_uint_eq(view.lag.changes, 0);
	ck_assert_str_eq(view.leader_url, leader.url);
	ck_assert_uint_eq(view.leader.seq, 101);
}
END_TEST

START_TEST(sync_catch_up__more_is_followed_at_once_and_proves_only_at_the_cut)
{
	fill_leader(10);
	atomic_store(&leader.batch, 4);
	begin("");
	ck_assert_int_eq(follower_turn(follower), 0);
	look();
	ck_assert(!view.proven);
	ck_assert(!view.readiness.ready);
	ck_assert_str_eq(view.phase, "syncing");
	ck_assert_uint_eq(view.lag.changes, 6);
	ck_assert_int_eq(follower_turn(follower), 0);
	ck_assert(!look()->proven);
	turns(1);
	ck_assert(same_content());
	ck_assert(look()->proven);
	ck_assert_uint_eq(view.counters.applied_batches, 3);
}
END_TEST

START_TEST(sync_equal__is_proven_without_an_apply)
{
	fill_leader(5);
	toy_copy(&store, &leader.store);
	begin("[readiness]\nmax_lag = 200ms\n");
	turns(2);
	ck_assert(look()->proven);
	ck_assert_uint_eq(driver.applies, 0);
	ck_assert_uint_eq(atomic_load(&leader.positions), 1);
}
END_TEST

START_TEST(sync_stream__waits_half_the_lag_limit_and_gets_a_change_meanwhile)
{
	begin("[readiness]\nmax_lag = 4s\n");
	turns(1);
	ck_assert_int_eq(atomic_load(&leader.last_wait_ms), 2000);
	toy_put(&leader.store, "a", "b");
	turns(1);
	ck_assert(same_content());
}
END_TEST

/* That all is well again is not to wait for the next change. */
START_TEST(sync_stream__does_not_wait_while_something_is_wrong)
{
	begin("[readiness]\nmax_lag = 200ms\n");
	turns(1);
	ck_assert(look()->proven);
	atomic_store(&leader.mood, TOY_GARBAGE);
	turns(1);
	ck_assert_int_eq(atomic_load(&leader.last_wait_ms), 100);
	ck_assert_uint_eq(look()->counters.errors[REASON_BAD_FEED], 1);
	atomic_store(&leader.mood, TOY_WELL);
	turns(1);
	ck_assert_int_eq(atomic_load(&leader.last_wait_ms), 0);
	turns(1);
	ck_assert_int_eq(atomic_load(&leader.last_wait_ms), 100);
}
END_TEST

START_TEST(sync_poll__does_not_wait_and_asks_every_interval)
{
	int64_t wait_ms;

	begin("[sync]\nmode = poll\ninterval = 7s\n");
	wait_ms = follower_turn(follower);
	ck_assert_int_eq(atomic_load(&leader.last_wait_ms), 0);
	ck_assert_int_gt(wait_ms, 5000);
	ck_assert_int_le(wait_ms, 7000);
	ck_assert(look()->proven);
}
END_TEST

START_TEST(sync_poll__drains_until_the_cut)
{
	fill_leader(10);
	atomic_store(&leader.batch, 5);
	begin("[sync]\nmode = poll\ninterval = 7s\n");
	ck_assert_int_eq(follower_turn(follower), 0);
	ck_assert_int_gt(follower_turn(follower), 5000);
	ck_assert(same_content());
}
END_TEST

START_TEST(sync_digest__mismatch_at_a_cut_halts_and_is_reported)
{
	fill_leader(5);
	toy_copy(&store, &leader.store);
	store.p.digest.low ^= 1;
	store.p.consistent = false; /* so that the comparison is the apply's */
	toy_put(&leader.store, "new", "value");
	begin("");
	turns(1);
	look();
	ck_assert_str_eq(view.phase, "diverged");
	ck_assert(!view.readiness.ready);
	ck_assert_uint_eq(view.counters.digest_mismatches, 1);
	ck_assert_uint_eq(view.counters.errors[REASON_DIGEST], 1);
	ck_assert_int_eq(view.last_error.code, SP_EDIGEST);
	ck_assert_uint_eq(reseeds.calls, 0);
	/* It stays so: no feed is asked for again. */
	turns(5);
	ck_assert_uint_eq(atomic_load(&leader.changes), 1);
	ck_assert_uint_eq(look()->counters.digest_mismatches, 1);
	ck_assert_str_eq(view.phase, "diverged");
}
END_TEST

START_TEST(sync_digest__mismatch_at_an_equal_seq_halts_without_an_apply)
{
	fill_leader(5);
	toy_copy(&store, &leader.store);
	begin("[readiness]\nmax_lag = 200ms\n");
	turns(1);
	ck_assert(look()->proven);
	pthread_mutex_lock(&leader.store.mutex);
	leader.store.p.digest.high ^= 1;
	pthread_mutex_unlock(&leader.store.mutex);
	turns(1);
	ck_assert_str_eq(look()->phase, "diverged");
	ck_assert_uint_eq(view.counters.digest_mismatches, 1);
	ck_assert_ptr_nonnull(strstr(view.last_error.text, "expected"));
	ck_assert_uint_eq(driver.applies, 0);
}
END_TEST

START_TEST(sync_digest__mismatch_reseeds_where_that_is_configured)
{
	fill_leader(5);
	toy_copy(&store, &leader.store);
	store.p.digest.low ^= 1;
	begin("[sync]\non_divergence = reseed\n");
	turns(3);
	ck_assert_uint_eq(reseeds.calls, 1);
	ck_assert(reseeds.last_force);
	ck_assert(same_content());
	ck_assert_str_eq(look()->phase, "in sync");
	ck_assert_uint_eq(view.counters.reseeds, 1);
}
END_TEST

START_TEST(sync_diverged__own_history_halts_and_goes_on_when_the_leader_fits)
{
	fill_leader(5);
	toy_copy(&store, &leader.store);
	toy_put(&store, "mine", "alone");
	begin("");
	turns(1);
	ck_assert_str_eq(look()->phase, "diverged");
	ck_assert_uint_eq(view.counters.errors[REASON_DIVERGED], 1);
	ck_assert_uint_eq(reseeds.calls, 0);
	ck_assert_uint_eq(driver.applies, 0);
	toy_copy(&store, &leader.store);
	turns(2);
	ck_assert_str_eq(look()->phase, "in sync");
	ck_assert(view.readiness.ready);
}
END_TEST

/* It led for a moment, and took a write. Only the watch has seen it. */
START_TEST(sync_diverged__a_store_that_another_hand_moved_is_compared_again)
{
	struct position p;

	fill_leader(5);
	begin("[readiness]\nmax_lag = 200ms\n");
	turns(1);
	ck_assert(look()->proven);
	toy_put(&store, "mine", "alone");
	p = toy_position(&store);
	ck_assert(state_server_answered(state, state_ticket(state), &p, clock_mono_ms()));
	turns(1);
	ck_assert_str_eq(look()->phase, "diverged");
	ck_assert(!view.proven);
	ck_assert_uint_eq(driver.applies, 1);
}
END_TEST

START_TEST(sync_diverged__other_cluster_halts)
{
	fill_leader(1);
	store.p.cluster[0] = '9';
	begin("");
	turns(1);
	ck_assert_str_eq(look()->phase, "diverged");
	ck_assert_ptr_nonnull(strstr(view.last_error.text, "cluster"));
}
END_TEST

START_TEST(sync_diverged__reseeds_as_soon_as_the_configuration_says_so)
{
	fill_leader(1);
	store.p.cluster[0] = '9';
	begin("");
	turns(2);
	ck_assert_uint_eq(reseeds.calls, 0);
	configure("[sync]\non_divergence = reseed\n");
	state_set_conf(state, &conf);
	turns(3);
	ck_assert_uint_eq(reseeds.calls, 1);
	ck_assert_str_eq(look()->phase, "in sync");
}
END_TEST

START_TEST(sync_refused__as_a_stranger_halts)
{
	fill_leader(1);
	atomic_store(&leader.mood, TOY_STRANGE);
	begin("");
	turns(1);
	ck_assert_str_eq(look()->phase, "diverged");
	ck_assert_uint_eq(view.counters.errors[REASON_DIVERGED], 1);
}
END_TEST

START_TEST(sync_horizon__position_below_it_reseeds)
{
	fill_leader(20);
	pthread_mutex_lock(&leader.store.mutex);
	leader.store.p.horizon = 10;
	pthread_mutex_unlock(&leader.store.mutex);
	begin("");
	turns(3);
	ck_assert_uint_eq(reseeds.calls, 1);
	ck_assert_uint_eq(look()->counters.errors[REASON_HORIZON], 1);
	ck_assert_uint_eq(view.counters.reseeds, 1);
	ck_assert_str_eq(view.phase, "in sync");
}
END_TEST

START_TEST(sync_horizon__refused_feed_reseeds)
{
	fill_leader(20);
	atomic_store(&leader.mood, TOY_HORIZON);
	begin("");
	turns(1);
	ck_assert_uint_eq(reseeds.calls, 1);
	atomic_store(&leader.mood, TOY_WELL);
	turns(1);
	ck_assert_str_eq(look()->phase, "in sync");
}
END_TEST

START_TEST(sync_no_store__is_seeded)
{
	fill_leader(3);
	begin("");
	toy_driver_fail(&driver, SP_ENOTFOUND, 0);
	turns(2);
	ck_assert_uint_eq(reseeds.calls, 1);
	ck_assert(same_content());
	ck_assert(look()->proven);
}
END_TEST

START_TEST(sync_reseed__failure_is_reported_and_tried_again_later)
{
	fill_leader(3);
	begin("");
	toy_driver_fail(&driver, SP_ENOTFOUND, 0);
	reseeds.fail = SP_EUNAVAIL;
	ck_assert_int_gt(follower_turn(follower), 0);
	look();
	ck_assert_uint_eq(view.counters.errors[REASON_RESEED], 1);
	ck_assert_ptr_nonnull(strstr(view.last_error.text, "no donor"));
	ck_assert_uint_eq(view.counters.reseeds, 0);
	reseeds.fail = 0;
	for (int64_t give_up_ms = clock_mono_ms() + 5000; !look()->proven && clock_mono_ms() < give_up_ms;)
		clock_sleep_ms(follower_turn(follower));
	ck_assert(view.proven);
	ck_assert_uint_eq(reseeds.calls, 2);
}
END_TEST

START_TEST(sync_released__store_left_behind_is_finished_not_forced)
{
	int64_t give_up_ms = clock_mono_ms() + 10000;

	fill_leader(3);
	begin("");
	toy_driver_fail(&driver, SP_EAGAIN, 0);
	while (reseeds.calls == 0 && clock_mono_ms() < give_up_ms)
		clock_sleep_ms(follower_turn(follower));
	ck_assert_uint_eq(reseeds.calls, 1);
	ck_assert(!reseeds.last_force);
}
END_TEST

START_TEST(sync_gap__reads_its_own_position_again_and_goes_on)
{
	fill_leader(3);
	begin("");
	toy_driver_fail(&driver, 0, SP_EGAP);
	turns(1);
	ck_assert_uint_eq(look()->counters.errors[REASON_GAP], 1);
	toy_driver_fail(&driver, 0, 0);
	turns(1);
	ck_assert(look()->proven);
	ck_assert_uint_eq(driver.positions, 2);
}
END_TEST

START_TEST(sync_errors__each_has_its_reason)
{
	static const struct {
		int mood;
		int position_error;
		int apply_error;
		enum sync_reason reason;
	} rows[] = {
		{ TOY_DOWN, 0, 0, REASON_UNREACHABLE },
		{ TOY_SILENT, 0, 0, REASON_UNREACHABLE },
		{ TOY_GARBAGE, 0, 0, REASON_BAD_FEED },
		{ TOY_CUT_SHORT, 0, 0, REASON_TRUNCATED },
		{ TOY_WELL, SP_EUNAVAIL, 0, REASON_LOCAL_SERVER },
		{ TOY_WELL, 0, SP_ENOSPACE, REASON_NO_SPACE },
		{ TOY_WELL, 0, SP_EBADDATA, REASON_APPLY },
		{ TOY_WELL, 0, SP_EAGAIN, REASON_LOCAL_SERVER },
		{ TOY_WELL, 0, SP_EDIVERGED, REASON_DIVERGED },
	};
	struct sp_error away = { .code = SP_EUNAVAIL };
	uint64_t before;

	fill_leader(50);
	begin("[sync]\nstall_timeout = 200ms\n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		before = look()->counters.errors[rows[i].reason];
		atomic_store(&leader.mood, rows[i].mood);
		toy_driver_fail(&driver, rows[i].position_error, rows[i].apply_error);
		/* So that each row begins with a look at the store. */
		state_server_failed(state, &away);
		ck_assert_msg(follower_turn(follower) > 0, "row %zu", i);
		/* A leader that says nothing at all has stalled or was not reached: lib/net/http_client.h leaves either
		 * open. */
		look();
		if (rows[i].mood == TOY_SILENT)
			ck_assert_uint_ge(
			    view.counters.errors[REASON_STALLED] + view.counters.errors[REASON_UNREACHABLE], 2);
		else
			ck_assert_msg(
			    view.counters.errors[rows[i].reason] == before + 1, "row %zu: %s", i, view.last_error.text);
		ck_assert(!view.proven);
	}
}
END_TEST

START_TEST(sync_leader_silent__lag_grows_and_ends_when_it_returns)
{
	int64_t now_ms;
	unsigned port = leader.port;

	fill_leader(3);
	begin("[readiness]\nmax_lag = 2s\n");
	turns(1);
	ck_assert(look()->readiness.ready);
	toy_leader_stop(&leader);
	turns(2);
	now_ms = clock_mono_ms();
	view_take(state, now_ms + 60000, &view);
	ck_assert(view.stale);
	ck_assert_str_eq(view.phase, view.server_ok ? "stale" : "no server");
	ck_assert_int_gt(view.lag.ms, 50000);
	ck_assert_int_gt(view.contact_age_ms, 50000);
	toy_leader_start(&leader, port);
	toy_put(&leader.store, "back", "again");
	turns(1);
	ck_assert(!look()->stale);
	ck_assert_int_eq(view.lag.ms, 0);
	ck_assert_str_eq(view.phase, "in sync");
	ck_assert(same_content());
}
END_TEST

START_TEST(sync_leader_silent__is_not_ready_before_it_was_ever_heard)
{
	fill_leader(3);
	toy_copy(&store, &leader.store);
	begin("");
	toy_leader_stop(&leader);
	turns(2);
	look();
	ck_assert(!view.readiness.ready);
	ck_assert(!view.proven);
	ck_assert_str_eq(view.phase, "stale");
}
END_TEST

START_TEST(sync_server_away__is_proven_anew)
{
	struct sp_error err = { .code = SP_EUNAVAIL };
	struct position p;

	fill_leader(3);
	begin("[readiness]\nmax_lag = 200ms\n");
	turns(1);
	ck_assert(look()->proven);
	ck_assert(state_server_failed(state, &err));
	ck_assert(!look()->proven);
	p = toy_position(&store);
	state_server_answered(state, state_ticket(state), &p, clock_mono_ms());
	ck_assert(!look()->proven);
	turns(1);
	ck_assert(look()->proven);
	ck_assert_uint_eq(atomic_load(&leader.positions), 2);
}
END_TEST

/* Its leader lost its volume and was restored from a peer that knew less than the leader once told, and more than we.
 */
START_TEST(sync_leader_restored__to_an_earlier_change_is_what_is_to_be_reached)
{
	static struct toy_store earlier;

	toy_init(&earlier, ROLE_LEADER);
	fill_leader(6);
	toy_copy(&earlier, &leader.store);
	toy_put(&leader.store, "later", "value");
	atomic_store(&leader.batch, 4);
	begin("");
	turns(1);
	ck_assert_uint_eq(toy_position(&store).seq, 4);
	ck_assert_uint_eq(look()->leader_seq, 7);
	toy_copy(&leader.store, &earlier);
	turns(2);
	ck_assert(same_content());
	ck_assert(look()->proven);
	ck_assert(view.readiness.ready);
	toy_release(&earlier);
}
END_TEST

START_TEST(sync_peer__that_does_not_lead_is_not_followed)
{
	fill_leader(3);
	pthread_mutex_lock(&leader.store.mutex);
	leader.store.p.role = ROLE_FOLLOWER;
	pthread_mutex_unlock(&leader.store.mutex);
	begin("");
	turns(1);
	ck_assert_uint_eq(look()->counters.errors[REASON_UNREACHABLE], 1);
	ck_assert_uint_eq(driver.applies, 0);
	ck_assert_ptr_nonnull(strstr(view.last_error.text, "does not lead"));
}
END_TEST

START_TEST(sync_leading__asks_nobody)
{
	struct position p;

	store.p.role = ROLE_LEADER;
	begin("");
	turns(2);
	p = toy_position(&store);
	state_server_answered(state, state_ticket(state), &p, clock_mono_ms());
	ck_assert_uint_eq(atomic_load(&leader.positions) + atomic_load(&leader.changes), 0);
	ck_assert_str_eq(look()->phase, "leading");
	ck_assert(view.readiness.ready);
}
END_TEST

START_TEST(sync_epoch__a_new_one_without_changes_is_taken_over)
{
	fill_leader(3);
	toy_copy(&store, &leader.store);
	pthread_mutex_lock(&leader.store.mutex);
	leader.store.p.epoch = 2;
	leader.store.p.history_count = 2;
	leader.store.p.history[1] = (struct epoch_start){ .epoch = 2, .since = 3 };
	pthread_mutex_unlock(&leader.store.mutex);
	begin("");
	turns(1);
	ck_assert_uint_eq(toy_position(&store).epoch, 2);
	ck_assert(look()->proven);
}
END_TEST

/* Ten changes are applied as ever, and one more has come since. */
static void
begin_busy(const char *more)
{
	fill_leader(10);
	toy_driver_let_pull(&driver, &leader.store);
	begin(more);
	turns(1);
	ck_assert(same_content());
	ck_assert_uint_eq(driver.applies, 1);
	ck_assert_uint_eq(driver.pulls, 0);
	toy_put(&leader.store, "one", "more");
}

START_TEST(sync_pull__is_left_to_the_server_while_changes_come)
{
	unsigned asked;

	begin_busy("");
	asked = atomic_load(&leader.changes);
	turns(1);
	ck_assert_uint_eq(driver.pulls, 1);
	ck_assert_uint_eq(driver.applies, 1);
	ck_assert_uint_eq(atomic_load(&leader.changes), asked);
	ck_assert(same_content());
	look();
	ck_assert(view.proven);
	ck_assert_uint_eq(view.counters.applied_changes, 11);
	ck_assert_uint_eq(view.leader.seq, 11);
	ck_assert_uint_eq(view.own.seq, 11);
	ck_assert_uint_eq(view.lag.changes, 0);
	/* Nothing comes any more: one that finds that out, then the sidecar waits by itself. */
	turns(1);
	ck_assert_uint_eq(driver.pulls, 2);
	ck_assert(look()->proven);
	turns(1);
	ck_assert_uint_eq(driver.pulls, 2);
	ck_assert_uint_eq(atomic_load(&leader.changes), asked + 1);
	ck_assert_int_gt(atomic_load(&leader.last_wait_ms), 0);
	/* A change, and it is left to the server again. */
	toy_put(&leader.store, "yet one", "more");
	turns(2);
	ck_assert_uint_eq(driver.applies, 2);
	ck_assert_uint_eq(driver.pulls, 3);
	ck_assert(same_content());
}
END_TEST

START_TEST(sync_pull__one_that_ended_early_is_gone_on_with_here)
{
	begin_busy("");
	driver.pull_unclean = true;
	turns(1);
	ck_assert_uint_eq(driver.pulls, 1);
	ck_assert(look()->proven);
	turns(1);
	ck_assert_uint_eq(driver.pulls, 1);
	ck_assert_uint_eq(driver.applies, 2);
	ck_assert(same_content());
	ck_assert(look()->proven);
}
END_TEST

START_TEST(sync_pull__one_that_fails_has_the_store_looked_at_again)
{
	unsigned positions;

	begin_busy("");
	driver.pull_error = SP_EUNAVAIL;
	positions = driver.positions;
	turns(2);
	ck_assert_uint_eq(driver.pulls, 1);
	ck_assert_uint_gt(driver.positions, positions);
	ck_assert_uint_eq(driver.applies, 2);
	ck_assert(same_content());
}
END_TEST

START_TEST(sync_pull__what_is_not_the_leaders_content_is_found_out_here)
{
	begin_busy("");
	driver.pull_unclean = true;
	pthread_mutex_lock(&leader.store.mutex);
	leader.store.p.digest.low ^= 1;
	pthread_mutex_unlock(&leader.store.mutex);
	turns(2);
	ck_assert_uint_eq(driver.pulls, 1);
	ck_assert(!look()->proven);
	ck_assert_uint_eq(toy_position(&store).seq, 10);
}
END_TEST

START_TEST(sync_pull__never_in_mode_poll)
{
	begin_busy("[sync]\nmode = poll\n");
	turns(2);
	ck_assert_uint_eq(driver.pulls, 0);
	ck_assert_uint_eq(driver.applies, 2);
	ck_assert(same_content());
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		sync_catch_up__one_feed_brings_everything_and_proves_it,
		sync_catch_up__more_is_followed_at_once_and_proves_only_at_the_cut,
		sync_equal__is_proven_without_an_apply,
		sync_stream__waits_half_the_lag_limit_and_gets_a_change_meanwhile,
		sync_stream__does_not_wait_while_something_is_wrong,
		sync_poll__does_not_wait_and_asks_every_interval,
		sync_poll__drains_until_the_cut,
		sync_digest__mismatch_at_a_cut_halts_and_is_reported,
		sync_digest__mismatch_at_an_equal_seq_halts_without_an_apply,
		sync_digest__mismatch_reseeds_where_that_is_configured,
		sync_diverged__own_history_halts_and_goes_on_when_the_leader_fits,
		sync_diverged__a_store_that_another_hand_moved_is_compared_again,
		sync_diverged__other_cluster_halts,
		sync_diverged__reseeds_as_soon_as_the_configuration_says_so,
		sync_refused__as_a_stranger_halts,
		sync_horizon__position_below_it_reseeds,
		sync_horizon__refused_feed_reseeds,
		sync_no_store__is_seeded,
		sync_reseed__failure_is_reported_and_tried_again_later,
		sync_released__store_left_behind_is_finished_not_forced,
		sync_gap__reads_its_own_position_again_and_goes_on,
		sync_errors__each_has_its_reason,
		sync_leader_silent__lag_grows_and_ends_when_it_returns,
		sync_leader_silent__is_not_ready_before_it_was_ever_heard,
		sync_server_away__is_proven_anew,
		sync_leader_restored__to_an_earlier_change_is_what_is_to_be_reached,
		sync_peer__that_does_not_lead_is_not_followed,
		sync_leading__asks_nobody,
		sync_epoch__a_new_one_without_changes_is_taken_over,
		sync_pull__is_left_to_the_server_while_changes_come,
		sync_pull__one_that_ended_early_is_gone_on_with_here,
		sync_pull__one_that_fails_has_the_store_looked_at_again,
		sync_pull__what_is_not_the_leaders_content_is_found_out_here,
		sync_pull__never_in_mode_poll,
	};

	return suite_run_fixture("sync follower", tests, sizeof(tests) / sizeof(tests[0]), 60, setup, teardown);
}
