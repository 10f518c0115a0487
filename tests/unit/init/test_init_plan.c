/* Every row of the table in which init decides, and the edges between the rows. */
#include "lib/base/utf8.h"
#include "tests/lib/plan_facts.h"
#include "tests/lib/suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define CLUSTER "6f1c2f7e-35a1-4a4c-9f0e-0123456789ab"
#define OTHER   "00000000-35a1-4a4c-9f0e-0123456789ab"

static struct position
at(const char *cluster, uint64_t epoch, uint64_t seq)
{
	struct position p = { .epoch = epoch, .seq = seq, .keys = 1000, .consistent = true, .digest = { seq, epoch } };

	snprintf(p.cluster, sizeof(p.cluster), "%s", cluster);
	for (uint64_t i = 1; i <= epoch; i++)
		p.history[p.history_count++] = (struct epoch_start){ .epoch = i, .since = (i - 1) * 100 };
	return p;
}

static void
has(struct position p)
{
	facts.store = STORE_PRESENT;
	facts.own = p;
	facts.own.writer = facts.leader; /* it led here before, by an older version's store */
}

/* It answers, and leads from `p`. */
static void
leads(unsigned ordinal, struct position p)
{
	p.role = ROLE_LEADER;
	answers(ordinal, p);
}

static void
damaged(void)
{
	facts.store = STORE_DAMAGED;
	snprintf(facts.damage, sizeof(facts.damage), "no LMDB image");
}

/* --- Leaders --- */

START_TEST(plan_leader__with_store_starts)
{
	pods(0);
	has(at(CLUSTER, 1, 50));
	expect(PLAN_START);
	answers(1, at(CLUSTER, 1, 50));
	answers(2, at(OTHER, 9, 900));
	expect(PLAN_START);
	ck_assert(!plan.warn);
}
END_TEST

START_TEST(plan_leader__with_store_behind_a_peer_starts_and_warns)
{
	pods(0);
	has(at(CLUSTER, 1, 50));
	answers(1, at(CLUSTER, 1, 51));
	expect(PLAN_START);
	ck_assert(plan.warn);
	ck_assert_ptr_nonnull(strstr(plan.why, "store-1 is ahead"));
	answers(3, at(CLUSTER, 2, 10));
	expect(PLAN_START);
	ck_assert_ptr_nonnull(strstr(plan.why, "store-3 is ahead"));
}
END_TEST

/* durability = async, and the machine went down: what it has answered, a follower may have. */
START_TEST(plan_leader__that_lost_its_last_changes_takes_them_from_a_follower)
{
	struct position own = at(CLUSTER, 2, 150), other = at(CLUSTER, 2, 190);

	own.tail_lost = true;
	pods(0);
	has(own);
	answers(1, at(CLUSTER, 2, 160));
	facts.grace_over = false;
	expect_end(PLAN_WAIT, 75);
	ck_assert(plan.grace);
	facts.grace_over = true;
	expect_donor(PLAN_RESTORE, 1);
	ck_assert_ptr_nonnull(strstr(plan.why, "before its last changes were on disk"));
	answers(2, at(CLUSTER, 2, 170));
	expect_donor(PLAN_RESTORE, 2);
	ck_assert_ptr_eq(plan.floor, &peer(2)->answer.position);
	/* Not one that has what this pod never had. */
	other.history[1].since = 160;
	answers(3, other);
	answers(4, at(OTHER, 9, 900));
	expect_donor(PLAN_RESTORE, 2);
	peer(2)->gave_bad_data = true;
	expect_end(PLAN_REFUSE, 65);
}
END_TEST

/* It holds the lead, and pod 0 is named: a store that it restored would be pod 0's to lead from. */
START_TEST(plan_leader__that_lost_its_last_changes_and_is_not_named_does_not_lead_on_without_them)
{
	struct position own = at(CLUSTER, 2, 150);

	own.tail_lost = own.writer = true;
	own.lead = (struct lead){ .kind = LEAD_HELD, .pod = 1, .to = LEAD_NOBODY, .despite = LEAD_NOBODY };
	pods(1);
	facts.store = STORE_PRESENT;
	facts.own = own;
	answers(0, at(CLUSTER, 2, 160));
	answers(2, at(CLUSTER, 2, 149));
	facts.grace_over = false;
	expect_end(PLAN_WAIT, 75);
	ck_assert(plan.grace);
	facts.grace_over = true;
	expect_end(PLAN_REFUSE, 65);
	ck_assert_ptr_nonnull(strstr(plan.why, "store-0 has them: epoch 2 seq 160 there, epoch 2 seq 150 here"));
	ck_assert_ptr_nonnull(strstr(plan.why, "set replication.leader_ordinal to 1"));
	/* As it says. */
	facts.leader = true;
	facts.leader_ordinal = 1;
	expect_donor(PLAN_RESTORE, 0);
	facts.leader = false;
	facts.leader_ordinal = 0;
	/* Nobody has more, or has it in a history of its own: there is nothing to wait for. */
	answers(0, at(CLUSTER, 2, 150));
	expect(PLAN_START);
	answers(0, at(OTHER, 2, 160));
	expect(PLAN_START);
}
END_TEST

START_TEST(plan_leader__that_lost_its_last_changes_goes_on_where_nobody_has_them)
{
	struct position own = at(CLUSTER, 2, 150);

	own.tail_lost = true;
	pods(0);
	has(own);
	expect(PLAN_START);
	answers(1, at(CLUSTER, 2, 150));
	answers(2, at(CLUSTER, 2, 149));
	expect(PLAN_START);
	/* All have told, so there is nobody to wait for. */
	answers(3, at(CLUSTER, 2, 140));
	answers(4, at(CLUSTER, 2, 140));
	facts.grace_over = false;
	expect(PLAN_START);
	/* One that has lost nothing asks for none of this. */
	facts.own.tail_lost = false;
	answers(1, at(CLUSTER, 2, 160));
	expect(PLAN_START);
	ck_assert(plan.warn);
}
END_TEST

START_TEST(plan_leader__with_damaged_store_refuses_whatever_is_configured)
{
	pods(0);
	damaged();
	facts.reseed_diverged = true;
	answers(1, at(CLUSTER, 1, 51));
	expect_end(PLAN_REFUSE, 65);
	ck_assert_ptr_nonnull(strstr(plan.why, "no LMDB image"));
}
END_TEST

START_TEST(plan_leader__empty_waits_out_the_grace_then_creates)
{
	pods(0);
	facts.grace_over = false;
	expect_end(PLAN_WAIT, 75);
	ck_assert(plan.grace);
	facts.grace_over = true;
	peer(1)->answer.reached = true;
	expect(PLAN_CREATE);
	/* A store that is begun beside pods that nobody could ask is not told as one of pods that said no. */
	ck_assert_ptr_nonnull(strstr(plan.why, "none of 4 peers tells of data (3 cannot be reached)"));
}
END_TEST

START_TEST(plan_leader__empty_creates_nothing_while_a_peer_lets_nobody_in)
{
	pods(0);
	is_unclear(2, SP_EPERM, "status 401");
	expect_end(PLAN_WAIT, 77);
	ck_assert(!plan.grace);
	ck_assert_ptr_nonnull(strstr(plan.why, "store-2"));
	/* One who tells a position may know less than one who does not. */
	answers(1, at(CLUSTER, 1, 50));
	expect_end(PLAN_WAIT, 77);
	answers(2, at(CLUSTER, 1, 60));
	expect_donor(PLAN_RESTORE, 2);
}
END_TEST

START_TEST(plan_leader__empty_creates_nothing_while_a_peer_leaves_open_what_it_has)
{
	pods(0);
	is_unclear(3, SP_EUNAVAIL, "no whole answer within 1000 ms");
	expect_end(PLAN_WAIT, 75);
	ck_assert(!plan.grace);
	ck_assert_ptr_nonnull(strstr(plan.why, "store-3 may have data"));
	answers(1, at(CLUSTER, 1, 50));
	expect_end(PLAN_WAIT, 75);
	peer(3)->answer.unclear = false;
	expect_donor(PLAN_RESTORE, 1);
}
END_TEST

START_TEST(plan_leader__empty_takes_no_less_than_what_a_peer_that_fell_silent_had)
{
	pods(0);
	peer(3)->had_data = true;
	peer(3)->answer.position = at(CLUSTER, 1, 60);
	expect_end(PLAN_WAIT, 75);
	ck_assert_ptr_nonnull(strstr(plan.why, "store-3 may have data"));
	answers(1, at(CLUSTER, 1, 50));
	expect_end(PLAN_WAIT, 75);
	answers(2, at(CLUSTER, 1, 60));
	expect_donor(PLAN_RESTORE, 2);
}
END_TEST

START_TEST(plan_follower__empty_and_not_let_in_waits_for_permission)
{
	pods(1);
	sp_error_set(&peer(0)->answer.err, SP_EPERM, "status 403");
	expect_end(PLAN_WAIT, 77);
}
END_TEST

START_TEST(plan_leader__alone_in_the_world_creates_at_once)
{
	pods(0);
	facts.grace_over = false;
	facts.peer_count = 0;
	expect(PLAN_CREATE);
}
END_TEST

START_TEST(plan_leader__empty_restores_from_the_most_advanced)
{
	pods(0);
	answers(1, at(CLUSTER, 1, 300));
	answers(2, at(CLUSTER, 2, 200));
	answers(3, at(CLUSTER, 2, 150));
	expect_donor(PLAN_RESTORE, 2);
	answers(4, at(CLUSTER, 2, 201));
	expect_donor(PLAN_RESTORE, 4);
}
END_TEST

/* Two that lead lose one's writes: whoever is to lead by the configuration waits for whoever was promoted by hand. */
START_TEST(plan_leader__follows_while_another_pod_leads)
{
	struct position promoted = at(CLUSTER, 2, 60), other = at(OTHER, 9, 900);

	promoted.role = ROLE_LEADER;
	other.role = ROLE_LEADER;
	pods(0);
	facts.grace_over = true;
	/* With a store of before. */
	has(at(CLUSTER, 1, 50));
	promoted.history_count = 2;
	promoted.history[0] = (struct epoch_start){ .epoch = 1, .since = 0 };
	promoted.history[1] = (struct epoch_start){ .epoch = 2, .since = 55 };
	answers(1, promoted);
	answers(2, other);
	expect(PLAN_START);
	ck_assert(plan.follow);
	ck_assert_ptr_nonnull(strstr(plan.why, "in the leader's history, 10 changes behind"));
	/* What the other one does not have is not led on from either. */
	has(at(CLUSTER, 1, 56));
	expect_end(PLAN_REFUSE, 65);
	/* One that this pod's own epoch has left behind takes nothing away from it, nor does another cluster's. */
	has(at(CLUSTER, 3, 70));
	expect(PLAN_START);
	ck_assert(!plan.follow);
	/* With none: two clusters are for a person; in one, who writes it has the data. */
	facts.store = STORE_EMPTY;
	expect_end(PLAN_REFUSE, 65);
	answers(2, at(CLUSTER, 1, 50));
	expect_donor(PLAN_SEED, 1);
	ck_assert(plan.follow);
	promoted.role = ROLE_FOLLOWER;
	answers(1, promoted);
	expect_donor(PLAN_RESTORE, 1);
	ck_assert(!plan.follow);
}
END_TEST

START_TEST(plan_leader__leads_on_by_its_own_record_and_not_by_the_name)
{
	struct position p = at(CLUSTER, 2, 160), theirs = at(CLUSTER, 2, 160);

	/* Another pod is named, and does not lead: this one has not handed over yet. */
	pods(1);
	facts.grace_over = true;
	p.writer = true;
	p.lead = (struct lead){ .kind = LEAD_HELD, .pod = 1, .to = LEAD_NOBODY, .despite = LEAD_NOBODY };
	has(p);
	facts.own.writer = true;
	answers(0, theirs);
	expect(PLAN_START);
	ck_assert_ptr_nonnull(strstr(plan.why, "this pod leads and has its store"));
	/* The named one leads, in an epoch that this pod was promoted beside: two that lead are one too many. */
	theirs = at(CLUSTER, 1, 160);
	theirs.role = ROLE_LEADER;
	answers(0, theirs);
	plan_make(&facts, &plan);
	ck_assert(plan.follow);
	ck_assert_int_eq(plan.action, PLAN_REFUSE);
	answers(0, at(CLUSTER, 2, 160));
	theirs = at(CLUSTER, 2, 160);
	/* The record is another pod's: an image. */
	facts.own.lead.pod = 0;
	expect(PLAN_START);
	ck_assert_ptr_null(strstr(plan.why, "this pod leads"));
	/* Named, but the lead is another pod's, or was given away: it waits, and follows. */
	pods(0);
	has(at(CLUSTER, 2, 160));
	facts.own.writer = false;
	expect(PLAN_START);
	ck_assert_ptr_nonnull(strstr(plan.why, "until the pod that holds it hands it over"));
	has(p);
	facts.own.lead =
	    (struct lead){ .kind = LEAD_RELEASED, .pod = 0, .to = 1, .epoch = 2, .seq = 160, .digest = p.digest };
	expect(PLAN_START);
	ck_assert_ptr_nonnull(strstr(plan.why, "until the pod that holds it hands it over"));
	/* It is this one that was given it. */
	theirs.lead = facts.own.lead;
	theirs.lead.pod = 1;
	theirs.lead.to = 0;
	answers(1, theirs);
	expect(PLAN_START);
	ck_assert_ptr_nonnull(strstr(plan.why, "store-1 released the lead to this pod"));
}
END_TEST

/* Nor while a majority in mode raft takes the writes, whatever epoch it is in. */
START_TEST(plan_leader__waits_while_a_majority_in_mode_raft_goes_on)
{
	struct position member = at(CLUSTER, 1, 60), other = at(OTHER, 1, 60);

	other.raft = (struct position_raft){ .role = MEMBER_ROLE_LEADER, .leader_known = true };
	pods(0);
	facts.grace_over = true;
	has(at(CLUSTER, 3, 70));
	for (int role = MEMBER_ROLE_JOINING; role <= MEMBER_ROLE_REMOVED; role++)
		for (int known = 0; known <= 1; known++) {
			member.raft =
			    (struct position_raft){ .role = (enum member_role)role, .leader_known = known != 0 };
			answers(1, member);
			answers(2, other);
			if (role == MEMBER_ROLE_LEADER || (role == MEMBER_ROLE_FOLLOWER && known)) {
				expect_end(PLAN_WAIT, 65);
				ck_assert_ptr_nonnull(strstr(plan.why, "store-1 is a member of mode raft"));
			} else {
				expect(PLAN_START);
			}
		}
}
END_TEST

START_TEST(plan_leader__empty_prefers_a_clean_cut_at_the_same_place)
{
	struct position torn = at(CLUSTER, 1, 300);

	pods(0);
	torn.consistent = false;
	answers(1, torn);
	answers(2, at(CLUSTER, 1, 300));
	expect_donor(PLAN_RESTORE, 2);
	ck_assert(!plan.warn);
	peer(2)->answer.has_store = false;
	expect_donor(PLAN_RESTORE, 1);
	ck_assert(plan.warn);
}
END_TEST

START_TEST(plan_leader__empty_with_data_at_a_peer_waits_for_the_others_or_the_grace)
{
	pods(0);
	facts.grace_over = false;
	answers(1, at(CLUSTER, 1, 300));
	expect(PLAN_WAIT);
	answers(2, at(CLUSTER, 1, 300));
	answers(3, at(CLUSTER, 1, 301));
	answers(4, at(CLUSTER, 1, 300));
	expect_donor(PLAN_RESTORE, 3);
}
END_TEST

START_TEST(plan_leader__empty_with_peers_of_two_clusters_refuses)
{
	pods(0);
	answers(1, at(CLUSTER, 1, 300));
	answers(3, at(OTHER, 1, 5));
	expect_end(PLAN_REFUSE, 65);
	ck_assert_ptr_nonnull(strstr(plan.why, CLUSTER));
	ck_assert_ptr_nonnull(strstr(plan.why, OTHER));
}
END_TEST

START_TEST(plan_leader__bad_snapshot_is_replaced_only_by_an_equal_one)
{
	pods(0);
	answers(1, at(CLUSTER, 1, 300));
	answers(2, at(CLUSTER, 1, 299));
	peer(1)->gave_bad_data = true;
	expect_end(PLAN_REFUSE, 65);
	answers(3, at(CLUSTER, 1, 300));
	expect_donor(PLAN_RESTORE, 3);
}
END_TEST

/* --- Followers --- */

START_TEST(plan_follower__empty_is_seeded_from_the_leader)
{
	pods(2);
	answers(0, at(CLUSTER, 1, 300));
	expect_donor(PLAN_SEED, 0);
}
END_TEST

START_TEST(plan_follower__empty_is_seeded_from_the_freshest_follower)
{
	pods(2);
	answers(0, at(CLUSTER, 1, 300));
	answers(1, at(CLUSTER, 1, 290));
	answers(3, at(CLUSTER, 1, 295));
	expect_donor(PLAN_SEED, 3);
	facts.donor_auto = false;
	expect_donor(PLAN_SEED, 0);
}
END_TEST

START_TEST(plan_follower__equally_fresh_donors_are_spread_by_ordinal)
{
	for (unsigned ordinal = 3; ordinal <= 4; ordinal++) {
		pods(ordinal);
		answers(0, at(CLUSTER, 1, 300));
		answers(1, at(CLUSTER, 1, 300));
		answers(2, at(CLUSTER, 1, 300));
		expect_donor(PLAN_SEED, ordinal == 3 ? 2 : 1);
	}
}
END_TEST

START_TEST(plan_follower__unfit_followers_do_not_donate)
{
	struct position leader = at(CLUSTER, 2, 20000), torn = at(CLUSTER, 2, 20000), altered = at(CLUSTER, 2, 20000);

	leader.horizon = 15000;
	torn.consistent = false;
	altered.digest.low++;
	pods(2);
	answers(0, leader);
	answers(1, torn);
	expect_donor(PLAN_SEED, 0);
	answers(1, altered);
	expect_donor(PLAN_SEED, 0);
	answers(1, at(OTHER, 2, 20000));
	expect_donor(PLAN_SEED, 0);
	answers(1, at(CLUSTER, 1, 90)); /* of an older epoch */
	expect_donor(PLAN_SEED, 0);
	answers(1, at(CLUSTER, 2, 14999)); /* below the horizon */
	expect_donor(PLAN_SEED, 0);
	answers(1, at(CLUSTER, 2, 15000));
	expect_donor(PLAN_SEED, 1);
	peers[0].answer.position.horizon = 0;
	answers(1, at(CLUSTER, 2, 20000 - PLAN_DONOR_LAG_MAX));
	expect_donor(PLAN_SEED, 1);
	answers(1, at(CLUSTER, 2, 20000 - PLAN_DONOR_LAG_MAX - 1));
	expect_donor(PLAN_SEED, 0);
}
END_TEST

START_TEST(plan_follower__after_bad_data_the_leader_is_asked_and_after_that_nobody)
{
	pods(2);
	answers(0, at(CLUSTER, 1, 300));
	answers(1, at(CLUSTER, 1, 300));
	expect_donor(PLAN_SEED, 1);
	peer(1)->gave_bad_data = true;
	expect_donor(PLAN_SEED, 0);
	peer(0)->gave_bad_data = true;
	expect_end(PLAN_REFUSE, 65);
}
END_TEST

START_TEST(plan_follower__in_the_leaders_history_starts)
{
	pods(1);
	leads(0, at(CLUSTER, 1, 300));
	has(at(CLUSTER, 1, 300));
	expect(PLAN_START);
	has(at(CLUSTER, 1, 299));
	expect(PLAN_START);
	leads(0, at(CLUSTER, 2, 300)); /* epoch 2 began at 100: epoch 1 up to there is its history */
	has(at(CLUSTER, 1, 100));
	expect(PLAN_START);
}
END_TEST

START_TEST(plan_follower__at_the_horizon_starts_below_it_is_seeded)
{
	struct position leader = at(CLUSTER, 1, 300);

	pods(1);
	leader.horizon = 100;
	leads(0, leader);
	has(at(CLUSTER, 1, 100));
	expect(PLAN_START);
	has(at(CLUSTER, 1, 99));
	expect_donor(PLAN_SEED, 0);
	ck_assert_ptr_nonnull(strstr(plan.why, "horizon"));
}
END_TEST

START_TEST(plan_follower__far_behind_is_seeded_by_the_ratio)
{
	pods(1);
	leads(0, at(CLUSTER, 1, 1000)); /* 1000 keys: half of them is 500 changes */
	has(at(CLUSTER, 1, 500));
	expect(PLAN_START);
	has(at(CLUSTER, 1, 499));
	expect_donor(PLAN_SEED, 0);
	facts.reseed_ratio = 0.6;
	expect(PLAN_START);
	facts.reseed_ratio = 0;
	has(at(CLUSTER, 1, 999));
	expect(PLAN_SEED);
	has(at(CLUSTER, 1, 1000));
	expect(PLAN_START);
}
END_TEST

START_TEST(plan_follower__diverged_refuses_unless_told_to_reseed)
{
	struct position altered = at(CLUSTER, 1, 300);
	struct position ours[] = { at(OTHER, 1, 100), at(CLUSTER, 1, 301), at(CLUSTER, 3, 300), altered };

	ours[3].digest.low++;
	for (size_t i = 0; i < 4; i++) {
		pods(1);
		leads(0, at(CLUSTER, 1, 300));
		has(ours[i]);
		expect_end(PLAN_REFUSE, 65);
		ck_assert_ptr_nonnull(strstr(plan.why, "on_divergence"));
		facts.reseed_diverged = true;
		expect_donor(PLAN_SEED, 0);
	}
}
END_TEST

START_TEST(plan_follower__replaces_what_is_not_equal_where_asked_to)
{
	pods(1);
	facts.reseed_diverged = facts.replace = true;
	leads(0, at(CLUSTER, 1, 300));
	has(at(CLUSTER, 1, 299));
	expect_donor(PLAN_SEED, 0);
	has(at(CLUSTER, 1, 300));
	expect(PLAN_START);
	peer(0)->answer.has_store = false;
	has(at(CLUSTER, 1, 299));
	expect(PLAN_START);
}
END_TEST

/* What it has was acknowledged and replicated: it is not given up for a donor's that has less. */
START_TEST(plan_follower__in_the_leaders_history_is_not_seeded_from_one_that_has_less)
{
	struct position leader = at(CLUSTER, 1, 350), torn = at(CLUSTER, 1, 150);

	leader.keys = 100;
	pods(1);
	leads(0, leader);
	answers(2, at(CLUSTER, 1, 100));
	has(at(CLUSTER, 1, 150));
	expect_donor(PLAN_SEED, 0);
	ck_assert_ptr_eq(plan.floor, &facts.own);
	answers(2, at(CLUSTER, 1, 149));
	expect_donor(PLAN_SEED, 0);
	answers(2, at(CLUSTER, 1, 150));
	expect_donor(PLAN_SEED, 2);
	/* A catch-up that was not finished has changes that its last cut has not. */
	torn.consistent = false;
	has(torn);
	answers(2, at(CLUSTER, 1, 149));
	expect_donor(PLAN_SEED, 0);
	answers(2, at(CLUSTER, 1, 150));
	expect_donor(PLAN_SEED, 2);
	/* Nor below the horizon, nor where the store is to be replaced. */
	leader.horizon = 120;
	leads(0, leader);
	has(at(CLUSTER, 1, 110));
	answers(2, at(CLUSTER, 1, 109));
	expect_donor(PLAN_SEED, 0);
	facts.replace = true;
	has(at(CLUSTER, 1, 340));
	answers(2, at(CLUSTER, 1, 339));
	expect_donor(PLAN_SEED, 0);
	/* Better none than that. */
	peer(0)->gave_bad_data = true;
	expect_end(PLAN_REFUSE, 65);
	answers(2, at(CLUSTER, 1, 345));
	expect_donor(PLAN_SEED, 2);
}
END_TEST

/* What is given up on purpose, or cannot be read, has no position that could go back. */
START_TEST(plan_follower__a_store_that_is_given_up_does_not_bound_the_donor)
{
	pods(1);
	facts.reseed_diverged = true;
	leads(0, at(CLUSTER, 1, 300));
	answers(2, at(CLUSTER, 1, 290));
	has(at(CLUSTER, 1, 301));
	expect_donor(PLAN_SEED, 2);
	ck_assert_ptr_null(plan.floor);
	has(at(OTHER, 1, 400));
	expect_donor(PLAN_SEED, 2);
	ck_assert_ptr_null(plan.floor);
	damaged();
	expect_donor(PLAN_SEED, 2);
	ck_assert_ptr_null(plan.floor);
}
END_TEST

START_TEST(plan_follower__damaged_refuses_unless_told_to_reseed)
{
	pods(1);
	answers(0, at(CLUSTER, 1, 300));
	damaged();
	expect_end(PLAN_REFUSE, 65);
	facts.reseed_diverged = true;
	expect_donor(PLAN_SEED, 0);
	peer(0)->answer.has_store = peer(0)->answer.reached = false;
	expect_end(PLAN_WAIT, 69);
	facts.reseed_diverged = false;
	expect_end(PLAN_REFUSE, 65);
}
END_TEST

START_TEST(plan_follower__without_a_leader_starts_on_its_store)
{
	pods(1);
	has(at(CLUSTER, 1, 300));
	answers(2, at(CLUSTER, 1, 900));
	expect(PLAN_START);
	ck_assert_ptr_nonnull(strstr(plan.why, "stale"));
	peer(0)->answer.reached = true; /* and has no store */
	expect(PLAN_START);
}
END_TEST

/* The key moved to pod 0, which follows, or was handed over and came back; the pod that leads does not answer yet. */
START_TEST(plan_follower__ahead_of_a_named_pod_that_follows_starts_and_keeps_its_store)
{
	struct position own[] = { at(CLUSTER, 1, 100), at(CLUSTER, 2, 160), at(CLUSTER, 1, 100) };
	struct position named[] = { at(CLUSTER, 1, 90), at(CLUSTER, 1, 120), at(CLUSTER, 1, 5000) };

	named[2].horizon = 4000;
	for (size_t i = 0; i < 3; i++)
		for (int reseed = 0; reseed <= 1; reseed++) {
			pods(2);
			facts.reseed_diverged = facts.replace = reseed != 0;
			answers(0, named[i]);
			answers(1, at(CLUSTER, 1, 80));
			has(own[i]);
			expect(PLAN_START);
			ck_assert(!plan.follow);
			ck_assert_ptr_nonnull(strstr(plan.why, "store-0, which is named as the leader, does not lead"));
			ck_assert_ptr_nonnull(strstr(plan.why, "stale"));
		}
	/* One that leads decides: the named pod, or another. */
	facts.donor_auto = false;
	leads(0, named[0]);
	expect_donor(PLAN_SEED, 0);
	answers(0, named[0]);
	leads(1, at(CLUSTER, 1, 80));
	expect_donor(PLAN_SEED, 1);
	facts.reseed_diverged = facts.replace = false;
	expect_end(PLAN_REFUSE, 65);
	/* A store of another cluster is not ahead of anything. */
	answers(1, at(CLUSTER, 1, 80));
	has(at(OTHER, 1, 100));
	expect_end(PLAN_REFUSE, 65);
}
END_TEST

START_TEST(plan_follower__tells_a_long_silence_in_utf8)
{
	char story[600] = "";

	for (size_t shift = 0; shift < 2; shift++) {
		memset(story, 'x', shift);
		for (size_t i = shift; i + 2 < sizeof(story); i += 2)
			memcpy(story + i, "\xc3\xa9", 3);
		pods(1);
		sp_error_set(&peer(0)->answer.err, SP_EUNAVAIL, "%s", story);
		plan_make(&facts, &plan);
		ck_assert_ptr_nonnull(strstr(plan.why, "\xc3\xa9"));
		for (const char *at = plan.why; *at != '\0'; at += utf8_length(at))
			ck_assert_uint_gt(utf8_length(at), 0);
	}
}
END_TEST

START_TEST(plan_follower__without_a_leader_and_empty_waits)
{
	pods(1);
	answers(2, at(CLUSTER, 1, 900));
	expect_end(PLAN_WAIT, 69);
	ck_assert(!plan.grace);
	ck_assert_ptr_nonnull(strstr(plan.why, "connection refused"));
	peer(0)->answer.reached = true;
	expect_end(PLAN_WAIT, 75);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		plan_leader__with_store_starts,
		plan_leader__with_store_behind_a_peer_starts_and_warns,
		plan_leader__that_lost_its_last_changes_takes_them_from_a_follower,
		plan_leader__that_lost_its_last_changes_and_is_not_named_does_not_lead_on_without_them,
		plan_leader__that_lost_its_last_changes_goes_on_where_nobody_has_them,
		plan_leader__with_damaged_store_refuses_whatever_is_configured,
		plan_leader__empty_waits_out_the_grace_then_creates,
		plan_leader__alone_in_the_world_creates_at_once,
		plan_leader__empty_creates_nothing_while_a_peer_lets_nobody_in,
		plan_leader__empty_creates_nothing_while_a_peer_leaves_open_what_it_has,
		plan_leader__empty_takes_no_less_than_what_a_peer_that_fell_silent_had,
		plan_follower__empty_and_not_let_in_waits_for_permission,
		plan_leader__empty_restores_from_the_most_advanced,
		plan_leader__follows_while_another_pod_leads,
		plan_leader__leads_on_by_its_own_record_and_not_by_the_name,
		plan_leader__waits_while_a_majority_in_mode_raft_goes_on,
		plan_leader__empty_prefers_a_clean_cut_at_the_same_place,
		plan_leader__empty_with_data_at_a_peer_waits_for_the_others_or_the_grace,
		plan_leader__empty_with_peers_of_two_clusters_refuses,
		plan_leader__bad_snapshot_is_replaced_only_by_an_equal_one,
		plan_follower__empty_is_seeded_from_the_leader,
		plan_follower__empty_is_seeded_from_the_freshest_follower,
		plan_follower__equally_fresh_donors_are_spread_by_ordinal,
		plan_follower__unfit_followers_do_not_donate,
		plan_follower__after_bad_data_the_leader_is_asked_and_after_that_nobody,
		plan_follower__in_the_leaders_history_starts,
		plan_follower__at_the_horizon_starts_below_it_is_seeded,
		plan_follower__far_behind_is_seeded_by_the_ratio,
		plan_follower__diverged_refuses_unless_told_to_reseed,
		plan_follower__replaces_what_is_not_equal_where_asked_to,
		plan_follower__in_the_leaders_history_is_not_seeded_from_one_that_has_less,
		plan_follower__a_store_that_is_given_up_does_not_bound_the_donor,
		plan_follower__damaged_refuses_unless_told_to_reseed,
		plan_follower__without_a_leader_starts_on_its_store,
		plan_follower__ahead_of_a_named_pod_that_follows_starts_and_keeps_its_store,
		plan_follower__tells_a_long_silence_in_utf8,
		plan_follower__without_a_leader_and_empty_waits,
	};

	return suite_run("init_plan", tests, sizeof(tests) / sizeof(tests[0]), 30);
}
