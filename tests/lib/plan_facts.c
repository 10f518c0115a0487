#include "tests/lib/plan_facts.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

struct facts facts;
struct plan plan;
struct peer_fact peers[PEERS];

void
pods(unsigned ordinal)
{
	size_t n = 0;

	memset(peers, 0, sizeof(peers));
	facts = (struct facts){ .ordinal = ordinal,
		.leader = ordinal == 0,
		.peers = peers,
		.peer_count = PEERS,
		.donor_auto = true,
		.reseed_ratio = 0.5,
		.grace_over = true };
	for (unsigned i = 0; i <= PEERS; i++) {
		if (i == ordinal)
			continue;
		peers[n].ordinal = i;
		snprintf(peers[n].name, sizeof(peers[n].name), "store-%u", i);
		sp_error_set(&peers[n].answer.err, SP_EUNAVAIL, "connection refused");
		n++;
	}
}

struct peer_fact *
peer(unsigned ordinal)
{
	for (size_t i = 0; i < PEERS; i++)
		if (peers[i].ordinal == ordinal)
			return &peers[i];
	ck_abort_msg("no such peer");
	return NULL;
}

void
is_unclear(unsigned ordinal, int code, const char *text)
{
	peer(ordinal)->answer.unclear = true;
	sp_error_set(&peer(ordinal)->answer.err, code, "%s", text);
}

void
answers(unsigned ordinal, struct position p)
{
	peer(ordinal)->answer.reached = true;
	peer(ordinal)->answer.has_store = true;
	peer(ordinal)->answer.unclear = false;
	peer(ordinal)->answer.position = p;
}

void
expect(enum plan_action action)
{
	plan_make(&facts, &plan);
	ck_assert_msg(plan.action == action, "%s, expected %s: %s", plan_action_name(plan.action),
	    plan_action_name(action), plan.why);
	ck_assert_int_gt((int)strlen(plan.why), 10);
	if (action == PLAN_SEED || action == PLAN_RESTORE)
		ck_assert_ptr_nonnull(plan.donor);
	else
		ck_assert_ptr_null(plan.donor);
	if (action == PLAN_REFUSE || action == PLAN_WAIT)
		ck_assert_int_lt(plan.code, 0);
}

void
expect_donor(enum plan_action action, unsigned ordinal)
{
	expect(action);
	ck_assert_msg(
	    plan.donor->ordinal == ordinal, "donor %s, expected store-%u: %s", plan.donor->name, ordinal, plan.why);
}

void
expect_end(enum plan_action action, int exit_code)
{
	expect(action);
	ck_assert_int_eq(sp_code_exit(plan.code), exit_code);
}
