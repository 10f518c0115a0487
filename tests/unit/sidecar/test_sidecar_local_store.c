/* What is known of the local store: what begins a new life, what proves, and what is dropped. */
#include "sidecar/local_store.h"

#include <check.h>

#include "tests/lib/suite.h"

static struct local_store o;
static struct position own;

static const struct sp_error refused = { .code = SP_EUNAVAIL, .text = "refused" };

static void
setup(void)
{
	local_store_init(&o);
	own = (struct position){ .cluster = "c", .epoch = 1, .seq = 10, .consistent = true, .history_count = 1 };
	own.history[0] = (struct epoch_start){ .epoch = 1, .since = 0 };
}

static void
teardown(void)
{
}

/* A follower at `own` whose content was proven. */
static void
make_proven(void)
{
	local_store_init(&o);
	local_store_told(&o, &own, 1);
	local_store_set_target(&o, o.life, 10);
	ck_assert(local_store_prove(&o, o.life));
}

/* The watch's look, not overtaken by anything. */
static bool
watch(const struct position *p)
{
	return local_store_answered(&o, o.ticket, p, 1);
}

START_TEST(local_store_answers__say_when_the_server_was_there)
{
	ck_assert(!o.asked && !o.ok && !o.known);
	ck_assert(!local_store_failed(&o, &refused));
	ck_assert(o.asked && !o.ok);
	ck_assert_str_eq(o.error.text, "refused");
	ck_assert(!local_store_answered(&o, o.ticket, &own, 5));
	ck_assert(o.ok && o.known);
	ck_assert_int_eq(o.seen_ms, 5);
	local_store_told(&o, &own, 6);
	ck_assert_int_eq(o.seen_ms, 6);
	local_store_applied(&o, &own, 7);
	ck_assert_int_eq(o.seen_ms, 7);
}
END_TEST

START_TEST(local_store_life__same_store_keeps_the_proof)
{
	make_proven();
	ck_assert(!watch(&own));
	local_store_told(&o, &own, 2);
	local_store_set_applying(&o, true);
	own.seq++;
	ck_assert(!watch(&own));
	local_store_applied(&o, &own, 3);
	ck_assert(!watch(&own));
	ck_assert(o.proven);
	ck_assert_uint_eq(o.life, 1);
}
END_TEST

/* Nobody but the sync moves a follower's store on, unless it led for a moment, or was handed a feed by hand: whoever
 * looks first, and also after a feed that was refused or applied. */
START_TEST(local_store_life__a_store_that_moves_while_nothing_is_applied_drops_the_proof)
{
	enum { NO_FEED, REFUSED, APPLIED, CASES };

	for (int i = 0; i < 2 * CASES; i++) {
		struct position p = own;

		make_proven();
		local_store_set_applying(&o, i % CASES != NO_FEED);
		if (i % CASES == REFUSED)
			local_store_set_applying(&o, false);
		if (i % CASES == APPLIED)
			local_store_applied(&o, &p, 2);
		p.seq++;
		if (i < CASES)
			local_store_told(&o, &p, 2);
		else
			ck_assert(watch(&p));
		ck_assert(!o.proven && !o.target_known);
		ck_assert_uint_eq(o.life, 2);
	}
}
END_TEST

START_TEST(local_store_life__whatever_may_be_another_store_drops_the_proof)
{
	struct position p[5];

	for (size_t i = 0; i < 5; i++)
		p[i] = own;
	p[0].seq--;
	p[1].cluster[0] = 'd';
	p[2].epoch++;
	p[3].role = ROLE_LEADER;
	p[4].digest.low++;
	for (size_t i = 0; i < 5; i++) {
		make_proven();
		ck_assert(watch(&p[i]));
		ck_assert_msg(!o.proven, "row %zu", i);
		make_proven();
		local_store_told(&o, &p[i], 2);
		ck_assert_msg(!o.proven, "row %zu", i);
	}
}
END_TEST

START_TEST(local_store_life__of_a_server_that_was_away_ends_once)
{
	make_proven();
	ck_assert(local_store_failed(&o, &refused));
	ck_assert(!local_store_failed(&o, &refused));
	ck_assert(!watch(&own));
	ck_assert(!o.proven);
	ck_assert_uint_eq(o.life, 2);
}
END_TEST

/* The watch may see an epoch that the sync has applied and not noted yet. */
START_TEST(local_store_life__a_later_epoch_that_goes_on_from_here_keeps_the_proof)
{
	struct position p = own;

	make_proven();
	local_store_set_applying(&o, true);
	p.epoch = 2;
	p.history_count = 2;
	p.history[1] = (struct epoch_start){ .epoch = 2, .since = 10 };
	ck_assert(!watch(&p));
	p.epoch = 4;
	p.seq = 30;
	p.digest.low++;
	p.history_count = 3;
	p.history[2] = (struct epoch_start){ .epoch = 4, .since = 12 };
	ck_assert(!watch(&p));
	ck_assert(o.proven);

	/* One that parted before is another store. */
	p.epoch = 5;
	p.seq = 40;
	p.history[2] = (struct epoch_start){ .epoch = 5, .since = 12 };
	ck_assert(watch(&p));
	ck_assert(!o.proven);
}
END_TEST

START_TEST(local_store_life__of_a_leader_goes_on_with_its_writes)
{
	own.role = ROLE_LEADER;
	local_store_told(&o, &own, 1);
	ck_assert(local_store_leads(&o));
	own.seq += 5;
	ck_assert(!watch(&own));
	own.role = ROLE_FOLLOWER;
	ck_assert(watch(&own));
	ck_assert(!local_store_leads(&o));
}
END_TEST

/* Its log moves it and gives it its role; another id is another volume. */
START_TEST(local_store_life__of_a_member_goes_on_with_its_log)
{
	own.raft = (struct position_raft){ .role = MEMBER_ROLE_FOLLOWER, .id = 7, .applied = 10 };
	make_proven();
	own.role = ROLE_LEADER;
	own.raft.role = MEMBER_ROLE_LEADER;
	own.raft.applied = 20;
	own.epoch = 3;
	own.seq = 5;
	ck_assert(!watch(&own));
	ck_assert(o.proven);
	own.raft.applied = 19;
	ck_assert(watch(&own));
	own.raft.id = 8;
	ck_assert(watch(&own));
	ck_assert(!o.proven);
}
END_TEST

START_TEST(local_store_ticket__overtaken_answer_is_not_taken)
{
	struct position after = own;
	uint64_t ticket;

	make_proven();
	ticket = o.ticket;
	after.seq = 20;
	local_store_applied(&o, &after, 2);
	ck_assert(!local_store_answered(&o, ticket, &own, 3));
	ck_assert_uint_eq(o.at.seq, 20);
	ck_assert(o.proven);
	ck_assert_int_eq(o.seen_ms, 3);
	ticket = o.ticket;
	local_store_told(&o, &after, 4);
	ck_assert(!local_store_answered(&o, ticket, &own, 5));
	ticket = o.ticket;
	local_store_reseeded(&o);
	ck_assert(!local_store_answered(&o, ticket, &own, 6));
	ck_assert(!o.known);
}
END_TEST

START_TEST(local_store_prove__needs_the_target_a_whole_cut_and_the_same_life)
{
	local_store_told(&o, &own, 1);
	ck_assert(!local_store_prove(&o, o.life));
	local_store_set_target(&o, o.life + 1, 5);
	ck_assert(!local_store_prove(&o, o.life));
	local_store_set_target(&o, o.life, 11);
	ck_assert(!local_store_prove(&o, o.life));
	own.seq = 11;
	own.consistent = false;
	local_store_applied(&o, &own, 2);
	ck_assert(!local_store_prove(&o, o.life));
	own.consistent = true;
	local_store_applied(&o, &own, 3);
	ck_assert(!local_store_prove(&o, o.life - 1));
	ck_assert(local_store_prove(&o, o.life));
	ck_assert(!local_store_prove(&o, o.life));
	ck_assert(o.proven);
}
END_TEST

/* A leader may go back, and is the leader then; raft's log takes nothing back that counts. */
START_TEST(local_store_target__goes_down_with_the_leader_but_not_in_mode_raft)
{
	for (int member = 0; member <= 1; member++) {
		local_store_init(&o);
		own.raft =
		    (struct position_raft){ .role = member ? MEMBER_ROLE_FOLLOWER : MEMBER_ROLE_NONE, .applied = 10 };
		local_store_told(&o, &own, 1);
		local_store_set_target(&o, o.life, 12);
		local_store_set_target(&o, o.life, 13);
		ck_assert_uint_eq(o.target, 12);
		ck_assert(!local_store_prove(&o, o.life));
		local_store_set_target(&o, o.life, 10);
		ck_assert_int_eq(local_store_prove(&o, o.life), !member);
	}
}
END_TEST

START_TEST(local_store_target__of_a_member_is_an_index_of_the_log)
{
	own.raft = (struct position_raft){ .role = MEMBER_ROLE_FOLLOWER, .id = 7, .applied = 99 };
	own.seq = 500;
	local_store_told(&o, &own, 1);
	local_store_set_target(&o, o.life, 100);
	ck_assert(!local_store_prove(&o, o.life));
	own.raft.applied = 100;
	local_store_told(&o, &own, 2);
	ck_assert(local_store_prove(&o, o.life));
}
END_TEST

START_TEST(local_store_diverged__is_not_proven_until_it_agrees_or_is_replaced)
{
	make_proven();
	local_store_diverged(&o, o.life);
	ck_assert(!o.proven);
	ck_assert(!local_store_prove(&o, o.life));
	/* It is the first finding's life that counts, and a new one alone puts nothing right. */
	ck_assert(local_store_failed(&o, &refused));
	local_store_diverged(&o, o.life);
	ck_assert_uint_eq(o.diverged_life, 1);
	local_store_told(&o, &own, 2);
	local_store_set_target(&o, o.life, 10);
	ck_assert(!local_store_prove(&o, o.life));
	local_store_agrees(&o);
	ck_assert(local_store_prove(&o, o.life));

	local_store_diverged(&o, o.life);
	local_store_reseeded(&o);
	ck_assert(!o.known);
	ck_assert_uint_eq(o.diverged_life, 0);
	local_store_told(&o, &own, 3);
	local_store_set_target(&o, o.life, 10);
	ck_assert(local_store_prove(&o, o.life));
}
END_TEST

/* Any event after any other, a hundred thousand times. */
START_TEST(local_store_any_order__keeps_what_it_promises)
{
	uint32_t random = 12345;
	bool applying = false;

	for (int i = 0; i < 100000; i++) {
		struct local_store before = o;
		uint64_t life = o.life;
		bool news = false;
		unsigned what;

		random = random * 1103515245 + 12345;
		what = random >> 16 & 0xfff;
		/* Seldom of the life before; now and then at another place, or as a leader. */
		if (what >> 4 == 0)
			life--;
		own.seq += (what >> 4 & 7) == 1;
		own.seq -= (what >> 4) == 2;
		own.role = (what >> 4 & 31) == 3 ? ROLE_LEADER : ROLE_FOLLOWER;
		own.consistent = (what >> 4 & 15) != 4;
		switch (what & 15) {
		case 0:
			watch(&own);
			break;
		case 1:
			local_store_answered(&o, o.ticket - 1, &own, i);
			ck_assert(o.life == before.life && o.at.seq == before.at.seq && o.at.role == before.at.role);
			break;
		case 2:
			if ((what >> 4 & 7) == 5)
				local_store_failed(&o, &refused);
			break;
		case 3:
			local_store_told(&o, &own, i);
			break;
		case 4:
			applying = !applying;
			local_store_set_applying(&o, applying);
			break;
		case 5:
			local_store_applied(&o, &own, i);
			applying = false;
			break;
		case 6:
			if ((what >> 4 & 7) == 6)
				local_store_diverged(&o, life);
			break;
		case 7:
			local_store_agrees(&o);
			break;
		case 8:
			if ((what >> 4 & 31) == 7)
				local_store_reseeded(&o);
			break;
		case 9:
		case 10:
			local_store_set_target(&o, life, o.at.seq + (what >> 4 & 1));
			break;
		default:
			news = local_store_prove(&o, life);
			break;
		}
		ck_assert_uint_ge(o.life, before.life);
		ck_assert_uint_ge(o.ticket, before.ticket);
		ck_assert(o.proven == before.proven || news == o.proven);
		ck_assert(!o.proven || (o.target_known && o.diverged_life == 0));
		ck_assert(!o.proven || o.life == before.life || news);
		if (news) {
			ck_assert_uint_eq(life, o.life);
			ck_assert(o.known && o.at.consistent && o.at.seq >= o.target);
		}
		if (o.life != before.life)
			ck_assert(!o.proven && !o.target_known);
	}
	ck_assert_uint_gt(o.life, 100);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		local_store_answers__say_when_the_server_was_there,
		local_store_life__same_store_keeps_the_proof,
		local_store_life__a_store_that_moves_while_nothing_is_applied_drops_the_proof,
		local_store_life__whatever_may_be_another_store_drops_the_proof,
		local_store_life__of_a_server_that_was_away_ends_once,
		local_store_life__a_later_epoch_that_goes_on_from_here_keeps_the_proof,
		local_store_life__of_a_leader_goes_on_with_its_writes,
		local_store_life__of_a_member_goes_on_with_its_log,
		local_store_ticket__overtaken_answer_is_not_taken,
		local_store_prove__needs_the_target_a_whole_cut_and_the_same_life,
		local_store_target__goes_down_with_the_leader_but_not_in_mode_raft,
		local_store_target__of_a_member_is_an_index_of_the_log,
		local_store_diverged__is_not_proven_until_it_agrees_or_is_replaced,
		local_store_any_order__keeps_what_it_promises,
	};

	return suite_run_fixture("sidecar own", tests, sizeof(tests) / sizeof(tests[0]), 30, setup, teardown);
}
