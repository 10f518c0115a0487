/* The shared picture, and what follows from it for whoever looks. */
#include "sidecar/state.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sidecar/view.h"
#include "tests/lib/suite.h"

static struct conf conf;
static struct state *state;
static struct position own;
static struct view view;

static void
setup(void)
{
	static const char text[] = "[pod]\nname = store-1\n";
	struct sp_error err = { 0 };

	ck_assert_msg(conf_parse("test.ini", text, strlen(text), NULL, &conf, &err) == 0, "%s", err.text);
	state = state_new(&conf, 1000);
	own = (struct position){ .cluster = "c", .epoch = 1, .seq = 10, .consistent = true, .history_count = 1 };
}

static void
teardown(void)
{
	state_free(state);
}

static const struct view *
look(int64_t now_ms)
{
	view_take(state, now_ms, &view);
	return &view;
}

/* Answer, leader heard, proven: all is well at now_ms. */
static void
make_well(int64_t now_ms)
{
	struct position leader = own;

	leader.role = ROLE_LEADER;
	state_server_answered(state, state_ticket(state), &own, now_ms);
	state_leader_position(state, &leader, now_ms, 5000);
	state_set_target(state, state_life(state), 10);
	state_prove(state, state_life(state));
}

START_TEST(state_start__is_starting_and_not_ready)
{
	look(1000);
	ck_assert_str_eq(view.phase, "starting");
	ck_assert(!view.readiness.ready);
	ck_assert_int_eq(view.role, ROLE_FOLLOWER);
}
END_TEST

START_TEST(state_well__is_ready_until_the_server_is_silent)
{
	make_well(2000);
	ck_assert(look(2000)->readiness.ready);
	ck_assert_str_eq(view.phase, "in sync");
	ck_assert(look(2000 + VIEW_SERVER_FRESH_MS)->readiness.ready);
	ck_assert(!look(2001 + VIEW_SERVER_FRESH_MS)->readiness.ready);
	ck_assert_str_eq(view.phase, "no server");
}
END_TEST

/* local_store.h says what begins a life. */
START_TEST(state_life__a_new_one_is_not_ready_until_it_is_proven_too)
{
	uint64_t life;

	make_well(2000);
	ck_assert(look(2000)->readiness.ready);
	life = state_life(state);
	own.seq++;
	ck_assert(state_server_answered(state, state_ticket(state), &own, 2500));
	ck_assert_uint_eq(state_life(state), life + 1);
	ck_assert(!look(2500)->proven && !view.readiness.ready);
	ck_assert_uint_eq(state_server_told(state, &own, 2600), life + 1);
	state_set_target(state, life + 1, own.seq);
	ck_assert(!state_prove(state, life));
	ck_assert(state_prove(state, life + 1));
	ck_assert(look(2600)->proven && view.readiness.ready);
}
END_TEST

START_TEST(state_role__one_that_leads_no_more_counts_from_there)
{
	struct position leader = own, p = own;

	leader.role = ROLE_LEADER;
	state_server_answered(state, state_ticket(state), &leader, 2000);
	ck_assert_int_eq(look(900000)->lag.ms, 0);
	state_server_answered(state, state_ticket(state), &leader, 900000);
	state_server_answered(state, state_ticket(state), &p, 900500);
	look(900600);
	ck_assert_int_eq(view.lag.ms, 100);
	ck_assert_int_eq(view.contact_age_ms, 100);
	ck_assert(!view.leader_known);
	ck_assert_str_eq(view.phase, "starting");
	look(901500);
	ck_assert_int_eq(view.lag.ms, 1000);
}
END_TEST

START_TEST(state_ticket__overtaken_answer_is_not_taken)
{
	uint64_t ticket;
	struct position after = own;

	make_well(2000);
	ticket = state_ticket(state);
	after.seq = 20;
	state_applied(state, &after, 10, 1000, 2400);
	ck_assert(!state_server_answered(state, ticket, &own, 2500));
	look(2500);
	ck_assert_uint_eq(view.own.seq, 20);
	ck_assert(view.proven);
	ck_assert_uint_eq(view.counters.applied_changes, 10);
	ck_assert_uint_eq(view.counters.applied_bytes, 1000);
}
END_TEST

START_TEST(state_leader__silence_makes_stale_after_what_was_planned)
{
	make_well(2000);
	ck_assert(!look(2000 + 5000 + LAG_GRACE_MS)->stale);
	state_server_answered(state, state_ticket(state), &own, 30000);
	look(30000);
	ck_assert(view.stale);
	ck_assert(view.readiness.ready);
	ck_assert_str_eq(view.phase, "stale");
	ck_assert_int_eq(view.contact_age_ms, 28000);
	ck_assert_int_eq(view.lag.ms, 28000 - 5000 - LAG_GRACE_MS);
}
END_TEST

START_TEST(state_leader__loss_turns_unready_where_that_is_configured)
{
	conf.readiness_leader_loss = CONF_LOSS_UNREADY;
	state_set_conf(state, &conf);
	make_well(2000);
	ck_assert(look(2000)->readiness.ready);
	state_leader_lost(state);
	ck_assert(look(2100)->readiness.ready);
	state_server_answered(state, state_ticket(state), &own, 3100);
	ck_assert(!look(3100)->readiness.ready);
	make_well(3200);
	ck_assert(look(3200)->readiness.ready);
}
END_TEST

START_TEST(state_leader__bad_answers_let_the_lag_grow_but_are_contact)
{
	make_well(2000);
	state_server_answered(state, state_ticket(state), &own, 60000);
	state_leader_spoke(state, 60000, 5000);
	look(60000);
	ck_assert(!view.stale);
	ck_assert_int_eq(view.contact_age_ms, 0);
	ck_assert_int_gt(view.lag.ms, 50000);
}
END_TEST

START_TEST(state_diverged__is_unready_at_once_and_a_reseed_ends_it)
{
	make_well(2000);
	ck_assert(look(2000)->readiness.ready);
	state_set_diverged(state, state_life(state), "expected a, found b");
	ck_assert(!look(2001)->readiness.ready);
	ck_assert_str_eq(view.phase, "diverged");
	state_set_seeding(state, true);
	ck_assert_str_eq(look(2002)->phase, "seeding");
	state_set_seeding(state, false);
	state_reseeded(state);
	make_well(2100);
	ck_assert_str_eq(look(2100)->phase, "in sync");
	ck_assert_uint_eq(view.counters.reseeds, 1);
}
END_TEST

START_TEST(state_live__while_each_loop_keeps_its_own_deadline)
{
	char why[160];

	ck_assert(view_live(state, 1000, why, sizeof(why)));
	state_beat(state, HEART_SYNC, 60000);
	state_beat(state, HEART_WATCH, 70000);
	ck_assert(view_live(state, 60000 + VIEW_HEART_GRACE_MS, why, sizeof(why)));
	ck_assert(!view_live(state, 60001 + VIEW_HEART_GRACE_MS, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, "sync loop"));
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		state_start__is_starting_and_not_ready,
		state_well__is_ready_until_the_server_is_silent,
		state_life__a_new_one_is_not_ready_until_it_is_proven_too,
		state_role__one_that_leads_no_more_counts_from_there,
		state_ticket__overtaken_answer_is_not_taken,
		state_leader__silence_makes_stale_after_what_was_planned,
		state_leader__loss_turns_unready_where_that_is_configured,
		state_leader__bad_answers_let_the_lag_grow_but_are_contact,
		state_diverged__is_unready_at_once_and_a_reseed_ends_it,
		state_live__while_each_loop_keeps_its_own_deadline,
	};

	return suite_run_fixture("sidecar state", tests, sizeof(tests) / sizeof(tests[0]), 30, setup, teardown);
}
