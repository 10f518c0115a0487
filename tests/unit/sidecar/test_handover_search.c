/* Which pod leads, and whether this one is to: the decision from the other pods' answers. */
#include "sidecar/handover.h"
#include "tests/lib/suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define CLUSTER "6f1c2f7e-35a1-4a4c-9f0e-0123456789ab"
#define OTHER   "00000000-35a1-4a4c-9f0e-0123456789ab"
#define PODS    3

static struct peer_answer answers[PODS];
static const unsigned ordinals[PODS] = { 0, 2, 3 }; /* this pod is 1 */
static struct handover_search found;

static struct position
at(const char *cluster, uint64_t epoch, uint64_t seq)
{
	struct position p = { .epoch = epoch, .seq = seq, .consistent = true, .digest = { seq, epoch } };

	snprintf(p.cluster, sizeof(p.cluster), "%s", cluster);
	p.lead = (struct lead){ .kind = LEAD_NONE, .pod = LEAD_NOBODY, .to = LEAD_NOBODY, .despite = LEAD_NOBODY };
	return p;
}

static void
answer(size_t i, struct position p)
{
	answers[i].reached = answers[i].has_store = true;
	answers[i].position = p;
}

static void
setup(void)
{
	struct position p = at(CLUSTER, 3, 70);

	memset(answers, 0, sizeof(answers));
	p.lead.kind = LEAD_RELEASED;
	p.lead.pod = 0;
	p.lead.to = 1;
	p.lead.epoch = p.epoch;
	p.lead.seq = p.seq;
	p.lead.digest = p.digest;
	answer(0, p);
}

static void
weigh(void)
{
	handover_weigh(answers, ordinals, PODS, CLUSTER, 1, &found);
}

START_TEST(handover_search__a_release_to_this_pod_is_awaited)
{
	weigh();
	ck_assert(found.awaited && !found.found);
	ck_assert_uint_eq(found.from, 0);
	ck_assert_uint_eq(found.released.seq, 70);
	/* By pods that stand at it or before it, of another cluster, or that tell nothing, it is not used. */
	answer(1, at(CLUSTER, 3, 70));
	answer(2, at(CLUSTER, 2, 60));
	weigh();
	ck_assert(found.awaited);
	answer(2, at(OTHER, 9, 900));
	weigh();
	ck_assert(found.awaited);
	answer(2, at(CLUSTER, 4, 80));
	answers[2].has_store = false;
	weigh();
	ck_assert(found.awaited);
}
END_TEST

/* This pod led from it, lost its volume, and was seeded from the pod that released: to begin that epoch again loses
 * what the others have of it. */
START_TEST(handover_search__a_release_is_used_up_where_a_pod_is_in_a_later_epoch)
{
	answer(2, at(CLUSTER, 4, 80));
	weigh();
	ck_assert(!found.awaited && !found.found);
	ck_assert_ptr_nonnull(strstr(found.why, "pod 3 is in epoch 4"));
	/* In any order, and without a change in that epoch. */
	answer(1, answers[0].position);
	answers[1].position.lead.pod = 2;
	answer(0, at(CLUSTER, 4, 70));
	answer(2, at(CLUSTER, 3, 70));
	weigh();
	ck_assert(!found.awaited && !found.found);
	ck_assert_ptr_nonnull(strstr(found.why, "pod 0 is in epoch 4"));
	/* A later release to this pod is the one that counts. */
	answers[0].position.lead = (struct lead){ .kind = LEAD_RELEASED,
		.pod = 0,
		.to = 1,
		.despite = LEAD_NOBODY,
		.epoch = 4,
		.seq = 70,
		.digest = answers[0].position.digest };
	weigh();
	ck_assert(found.awaited);
	ck_assert_uint_eq(found.from, 0);
}
END_TEST

START_TEST(handover_search__a_pod_that_leads_is_found_whatever_was_released)
{
	struct position leads = at(CLUSTER, 4, 80);

	leads.role = ROLE_LEADER;
	answer(2, leads);
	weigh();
	ck_assert(found.found && !found.awaited);
	ck_assert_uint_eq(found.ordinal, 3);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		handover_search__a_release_to_this_pod_is_awaited,
		handover_search__a_release_is_used_up_where_a_pod_is_in_a_later_epoch,
		handover_search__a_pod_that_leads_is_found_whatever_was_released,
	};

	return suite_run_fixture("handover_search", tests, sizeof(tests) / sizeof(tests[0]), 30, setup, NULL);
}
