/* The rows of mode raft: what init decides for a member, and what it never does. */
#include "tests/lib/plan_facts.h"
#include "tests/lib/suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define CLUSTER "6f1c2f7e-35a1-4a4c-9f0e-0123456789ab"
#define OTHER   "00000000-35a1-4a4c-9f0e-0123456789ab"

static struct position
at(const char *cluster, enum member_role role, uint64_t applied)
{
	struct position p = { .epoch = 3,
		.seq = applied * 2,
		.keys = 1000,
		.consistent = true,
		.role = role == MEMBER_ROLE_LEADER ? ROLE_LEADER : ROLE_FOLLOWER,
		.raft = { .role = role, .term = 3, .leader_known = true, .applied = applied, .commit = applied } };

	snprintf(p.cluster, sizeof(p.cluster), "%s", cluster);
	return p;
}

/* pods(), of mode raft. */
static void
members(unsigned ordinal)
{
	pods(ordinal);
	facts.mode = CONF_MODE_RAFT;
}

static void
has(struct position p)
{
	facts.store = STORE_PRESENT;
	facts.own = p;
	facts.volume.raft = true;
}

/* --- An empty volume --- */

START_TEST(plan_raft_empty__founder_waits_for_its_peers_then_creates)
{
	members(0);
	facts.grace_over = false;
	expect(PLAN_WAIT);
	ck_assert(plan.grace);
	facts.grace_over = true;
	expect(PLAN_CREATE);
	ck_assert_ptr_nonnull(strstr(plan.why, "none of 4 peers tells of data (4 cannot be reached)"));
}
END_TEST

START_TEST(plan_raft_empty__founder_creates_nothing_while_a_peer_may_have_data)
{
	members(0);
	is_unclear(2, SP_EPERM, "status 401");
	expect_end(PLAN_WAIT, 77);
	ck_assert(!plan.grace);
	members(0);
	is_unclear(3, SP_EUNAVAIL, "no whole answer within 1000 ms");
	expect_end(PLAN_WAIT, 75);
	members(0);
	peer(1)->had_data = true;
	expect_end(PLAN_WAIT, 75);
	ck_assert_ptr_nonnull(strstr(plan.why, "store-1 may have data"));
	answers(1, at(CLUSTER, MEMBER_ROLE_LEADER, 500));
	expect_donor(PLAN_SEED, 1);
}
END_TEST

START_TEST(plan_raft_empty__founder_that_lost_its_volume_is_seeded_and_restores_nothing)
{
	members(0);
	facts.grace_over = false;
	answers(2, at(CLUSTER, MEMBER_ROLE_FOLLOWER, 500));
	expect_donor(PLAN_SEED, 2);
}
END_TEST

START_TEST(plan_raft_empty__nobody_but_the_founder_creates)
{
	for (unsigned ordinal = 1; ordinal <= PEERS; ordinal++) {
		members(ordinal);
		expect_end(PLAN_WAIT, 69);
		ck_assert(!plan.grace);
		ck_assert_ptr_nonnull(strstr(plan.why, "founds"));
	}
}
END_TEST

START_TEST(plan_raft_empty__founder_beside_a_log_without_its_store_creates_nothing)
{
	members(0);
	facts.volume.raft = true;
	expect_end(PLAN_WAIT, 69);
	answers(1, at(CLUSTER, MEMBER_ROLE_LEADER, 500));
	expect_donor(PLAN_SEED, 1);
}
END_TEST

/* A cluster exists, although nobody can give a snapshot of it at present. */
START_TEST(plan_raft_empty__founder_beside_peers_that_cannot_donate_waits)
{
	members(0);
	answers(1, at(CLUSTER, MEMBER_ROLE_NEEDS_SNAPSHOT, 500));
	answers(2, at(CLUSTER, MEMBER_ROLE_REMOVED, 500));
	expect_end(PLAN_WAIT, 69);
	answers(3, at(CLUSTER, MEMBER_ROLE_STANDBY, 400));
	expect_donor(PLAN_SEED, 3);
}
END_TEST

START_TEST(plan_raft_empty__peers_of_different_clusters_are_refused)
{
	for (unsigned ordinal = 0; ordinal <= 1; ordinal++) {
		members(ordinal);
		answers(2, at(CLUSTER, MEMBER_ROLE_LEADER, 500));
		answers(3, at(OTHER, MEMBER_ROLE_LEADER, 5));
		expect_end(PLAN_REFUSE, 65);
		ck_assert_ptr_nonnull(strstr(plan.why, CLUSTER));
		ck_assert_ptr_nonnull(strstr(plan.why, OTHER));
	}
}
END_TEST

/* --- The donor --- */

START_TEST(plan_raft_donor__near_the_furthest_are_spread_and_the_leader_is_spared)
{
	for (unsigned ordinal = 3; ordinal <= 4; ordinal++) {
		members(ordinal);
		answers(0, at(CLUSTER, MEMBER_ROLE_LEADER, 5000));
		answers(1, at(CLUSTER, MEMBER_ROLE_FOLLOWER, 5000));
		answers(2, at(CLUSTER, MEMBER_ROLE_FOLLOWER, 5000 - PLAN_MEMBER_LAG_MAX));
		expect_donor(PLAN_SEED, ordinal == 3 ? 2 : 1);
	}
	answers(2, at(CLUSTER, MEMBER_ROLE_FOLLOWER, 5000 - PLAN_MEMBER_LAG_MAX - 1));
	expect_donor(PLAN_SEED, 1);
	answers(1, at(CLUSTER, MEMBER_ROLE_FOLLOWER, 5000 - PLAN_MEMBER_LAG_MAX - 1));
	expect_donor(PLAN_SEED, 0);
}
END_TEST

START_TEST(plan_raft_donor__leader_alone_where_the_configuration_says_so)
{
	members(3);
	facts.donor_auto = false;
	answers(1, at(CLUSTER, MEMBER_ROLE_FOLLOWER, 5000));
	expect_end(PLAN_WAIT, 69);
	answers(2, at(CLUSTER, MEMBER_ROLE_LEADER, 5000));
	expect_donor(PLAN_SEED, 2);
}
END_TEST

START_TEST(plan_raft_donor__peers_of_another_mode_are_none)
{
	members(3);
	answers(1, at(CLUSTER, MEMBER_ROLE_NONE, 0));
	expect_end(PLAN_WAIT, 69);
}
END_TEST

START_TEST(plan_raft_donor__after_bad_data_others_are_asked_and_after_that_nobody)
{
	members(3);
	answers(1, at(CLUSTER, MEMBER_ROLE_FOLLOWER, 5000));
	answers(2, at(CLUSTER, MEMBER_ROLE_LEADER, 5000));
	expect_donor(PLAN_SEED, 1);
	peer(1)->gave_bad_data = true;
	expect_donor(PLAN_SEED, 2);
	peer(2)->gave_bad_data = true;
	expect_end(PLAN_REFUSE, 65);
}
END_TEST

/* --- A store --- */

START_TEST(plan_raft_store__starts_whoever_answers)
{
	for (unsigned ordinal = 0; ordinal <= 1; ordinal++) {
		members(ordinal);
		has(at(CLUSTER, MEMBER_ROLE_STOPPED, 10));
		expect(PLAN_START);
		answers(2, at(CLUSTER, MEMBER_ROLE_LEADER, 1000000));
		expect(PLAN_START);
		ck_assert(!plan.warn);
		answers(3, at(OTHER, MEMBER_ROLE_LEADER, 5));
		expect(PLAN_START);
		ck_assert(plan.warn);
	}
}
END_TEST

START_TEST(plan_raft_store__among_strangers_alone_is_refused_even_to_be_replaced)
{
	members(1);
	has(at(CLUSTER, MEMBER_ROLE_STOPPED, 10));
	answers(0, at(OTHER, MEMBER_ROLE_LEADER, 5));
	expect_end(PLAN_REFUSE, 65);
	facts.replace = facts.reseed_diverged = true;
	expect_end(PLAN_REFUSE, 65);
}
END_TEST

START_TEST(plan_raft_store__to_be_replaced_takes_a_donor_that_has_applied_what_it_needs)
{
	members(3);
	has(at(CLUSTER, MEMBER_ROLE_STOPPED, 10));
	facts.replace = facts.reseed_diverged = true;
	facts.needs = 900;
	expect_end(PLAN_WAIT, 69);
	answers(1, at(CLUSTER, MEMBER_ROLE_FOLLOWER, 899));
	expect_end(PLAN_WAIT, 69);
	answers(4, at(OTHER, MEMBER_ROLE_FOLLOWER, 99999));
	expect_end(PLAN_WAIT, 69);
	answers(2, at(CLUSTER, MEMBER_ROLE_LEADER, 900));
	expect_donor(PLAN_SEED, 2);
}
END_TEST

START_TEST(plan_raft_store__to_be_replaced_takes_no_donor_that_has_applied_less)
{
	members(3);
	has(at(CLUSTER, MEMBER_ROLE_STOPPED, 950));
	facts.replace = facts.reseed_diverged = true;
	answers(1, at(CLUSTER, MEMBER_ROLE_FOLLOWER, 949));
	expect_end(PLAN_WAIT, 69);
	ck_assert_ptr_nonnull(strstr(plan.why, "index 950"));
	answers(2, at(CLUSTER, MEMBER_ROLE_LEADER, 960));
	expect_donor(PLAN_SEED, 2);
	ck_assert_ptr_eq(plan.floor, &facts.own);
	answers(1, at(CLUSTER, MEMBER_ROLE_FOLLOWER, 950));
	expect_donor(PLAN_SEED, 1);
}
END_TEST

START_TEST(plan_raft_store__damaged_is_refused_or_seeded_as_configured)
{
	members(1);
	facts.store = STORE_DAMAGED;
	facts.volume.raft = true;
	snprintf(facts.damage, sizeof(facts.damage), "no LMDB image");
	answers(0, at(CLUSTER, MEMBER_ROLE_LEADER, 500));
	expect_end(PLAN_REFUSE, 65);
	ck_assert_ptr_nonnull(strstr(plan.why, "no LMDB image"));
	facts.reseed_diverged = true;
	expect_donor(PLAN_SEED, 0);
}
END_TEST

/* One of the same cluster that is in another log of it: a cluster that went by way of mode static has a new one. */
static struct position
of_log(uint64_t log, enum member_role role, uint64_t applied)
{
	struct position p = at(CLUSTER, role, applied);

	p.raft.log = log;
	return p;
}

START_TEST(plan_raft_log__members_of_another_are_strangers)
{
	members(1);
	has(of_log(7, MEMBER_ROLE_STOPPED, 400));
	answers(0, of_log(8, MEMBER_ROLE_LEADER, 500));
	expect_end(PLAN_REFUSE, 65);
	facts.replace = facts.reseed_diverged = true;
	expect_end(PLAN_REFUSE, 65);
	facts.replace = facts.reseed_diverged = false;
	answers(2, of_log(7, MEMBER_ROLE_LEADER, 450));
	expect(PLAN_START);
	ck_assert(plan.warn);
	facts.replace = facts.reseed_diverged = true;
	expect_donor(PLAN_SEED, 2);
	/* Nobody guesses for an empty volume either. */
	members(1);
	answers(0, of_log(8, MEMBER_ROLE_LEADER, 500));
	expect_donor(PLAN_SEED, 0);
	answers(2, of_log(7, MEMBER_ROLE_CANDIDATE, 600));
	expect_end(PLAN_REFUSE, 65);
}
END_TEST

/* A store that was written in mode static, `seq` changes in epoch 1. */
static struct position
written_in_static(uint64_t seq)
{
	struct position p = { .epoch = 1,
		.seq = seq,
		.keys = 1000,
		.consistent = true,
		.digest = { .low = seq },
		.history_count = 1,
		.history = { { .epoch = 1 } } };

	snprintf(p.cluster, sizeof(p.cluster), "%s", CLUSTER);
	return p;
}

/* The same, and a log was founded on it. */
static struct position
member_at(uint64_t seq, bool leader_known)
{
	struct position p = written_in_static(seq);

	p.raft = (struct position_raft){ .role = leader_known ? MEMBER_ROLE_FOLLOWER : MEMBER_ROLE_CANDIDATE,
		.leader_known = leader_known,
		.applied = 5,
		.log = 7 };
	return p;
}

START_TEST(plan_raft_static__founder_does_not_found_beside_members)
{
	members(0);
	has(written_in_static(100));
	facts.volume.raft = false;
	expect(PLAN_START);
	/* A follower of mode static is no member. */
	answers(1, written_in_static(100));
	expect(PLAN_START);
	for (int known = 0; known <= 1; known++) {
		answers(2, member_at(120, known != 0));
		expect_end(PLAN_REFUSE, 65);
		ck_assert_ptr_nonnull(strstr(plan.why, "store-2 is a member of its cluster in mode raft"));
		answers(2, member_at(90, known != 0));
		expect_end(PLAN_REFUSE, 65);
		answers(2, member_at(100, known != 0));
		expect_donor(PLAN_SEED, 2);
	}
	answers(2, member_at(120, true));
	facts.reseed_diverged = true;
	expect_donor(PLAN_SEED, 2);
}
END_TEST

START_TEST(plan_raft_static__store_with_changes_of_its_own_is_not_replaced)
{
	members(3);
	has(written_in_static(100));
	facts.volume.raft = false;
	answers(0, member_at(120, true));
	expect_donor(PLAN_SEED, 0);
	/* One that knows less, which another log's members may be, gives nothing. */
	answers(0, member_at(120, false));
	answers(1, member_at(90, false));
	expect_donor(PLAN_SEED, 0);
	members(3);
	has(written_in_static(100));
	answers(1, member_at(90, true));
	expect_end(PLAN_REFUSE, 65);
	facts.replace = facts.reseed_diverged = true;
	expect_end(PLAN_REFUSE, 65);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		plan_raft_empty__founder_waits_for_its_peers_then_creates,
		plan_raft_empty__founder_creates_nothing_while_a_peer_may_have_data,
		plan_raft_empty__founder_that_lost_its_volume_is_seeded_and_restores_nothing,
		plan_raft_empty__nobody_but_the_founder_creates,
		plan_raft_empty__founder_beside_a_log_without_its_store_creates_nothing,
		plan_raft_empty__founder_beside_peers_that_cannot_donate_waits,
		plan_raft_empty__peers_of_different_clusters_are_refused,
		plan_raft_donor__near_the_furthest_are_spread_and_the_leader_is_spared,
		plan_raft_donor__leader_alone_where_the_configuration_says_so,
		plan_raft_donor__peers_of_another_mode_are_none,
		plan_raft_donor__after_bad_data_others_are_asked_and_after_that_nobody,
		plan_raft_store__starts_whoever_answers,
		plan_raft_store__among_strangers_alone_is_refused_even_to_be_replaced,
		plan_raft_store__to_be_replaced_takes_a_donor_that_has_applied_what_it_needs,
		plan_raft_store__to_be_replaced_takes_no_donor_that_has_applied_less,
		plan_raft_store__damaged_is_refused_or_seeded_as_configured,
		plan_raft_log__members_of_another_are_strangers,
		plan_raft_static__founder_does_not_found_beside_members,
		plan_raft_static__store_with_changes_of_its_own_is_not_replaced,
	};

	return suite_run("init plan of mode raft", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
