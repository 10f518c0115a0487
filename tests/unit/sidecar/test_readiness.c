/* Readiness: facts in, checks out, and a hysteresis that does not hide what is wrong. */
#include "sidecar/readiness.h"
#include "tests/lib/suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct readiness r;

/* A follower with which all is well. */
static struct readiness_facts
well(void)
{
	return (struct readiness_facts){
		.server_ok = true,
		.server_text = "",
		.role = ROLE_FOLLOWER,
		.writable = true,
		.diverged_text = "",
		.proven = true,
		.target_known = true,
		.target = 5,
		.local_store_seq = 7,
		.last_error = "",
		.contact_age_ms = 400,
		.max_lag_ms = 10000,
		.leader_loss = CONF_LOSS_SERVE,
	};
}

static enum readiness_verdict
verdict(const struct readiness_facts *f)
{
	readiness_check(f, &r);
	return r.verdict;
}

/* The text of the check with that name, or "". */
static const char *
text_of(const char *name)
{
	for (size_t i = 0; i < r.count; i++)
		if (strcmp(r.checks[i].name, name) == 0)
			return r.checks[i].text;
	return "";
}

START_TEST(readiness_follower__proven_and_near_is_good)
{
	struct readiness_facts f = well();

	ck_assert_int_eq(verdict(&f), READINESS_GOOD);
	ck_assert_str_eq(r.checks[0].text, "server ok");
	ck_assert_str_eq(text_of("leader"), "leader heard 0.4s ago");
	ck_assert_str_eq(text_of("lag"), "lag 0.0s <= 10s");
}
END_TEST

START_TEST(readiness_server__that_does_not_answer_is_bad_and_nothing_else_is_said)
{
	struct readiness_facts f = well();

	f.server_ok = false;
	f.server_text = "does not answer: refused\nagain";
	ck_assert_int_eq(verdict(&f), READINESS_BAD);
	ck_assert_uint_eq(r.count, 1);
	ck_assert_str_eq(r.checks[0].text, "server does not answer: refused again");
}
END_TEST

START_TEST(readiness_seeding__is_bad)
{
	struct readiness_facts f = well();

	f.seeding = true;
	f.last_error = "below the horizon";
	ck_assert_int_eq(verdict(&f), READINESS_BAD);
	ck_assert_str_eq(text_of("seed"), "seed under way: below the horizon");
}
END_TEST

START_TEST(readiness_leader__needs_no_proof_but_must_take_writes)
{
	struct readiness_facts f = well();

	f.role = ROLE_LEADER;
	f.proven = false;
	f.lag_ms = 99999;
	ck_assert_int_eq(verdict(&f), READINESS_GOOD);
	f.writable = false;
	ck_assert_int_eq(verdict(&f), READINESS_BAD);
}
END_TEST

START_TEST(readiness_proof__missing_is_bad_and_says_what_it_waits_for)
{
	struct readiness_facts f = well();

	f.proven = false;
	f.target = 12;
	ck_assert_int_eq(verdict(&f), READINESS_BAD);
	ck_assert_ptr_nonnull(strstr(text_of("proof"), "at seq 7, to be shown equal to the leader at seq 12"));
	f.target_known = false;
	f.last_error = "connection refused";
	ck_assert_int_eq(verdict(&f), READINESS_BAD);
	ck_assert_ptr_nonnull(strstr(text_of("proof"), "position is not known: connection refused"));
}
END_TEST

START_TEST(readiness_diverged__is_bad_and_says_expected_and_found)
{
	struct readiness_facts f = well();

	f.diverged = true;
	f.diverged_text = "expected a, found b";
	ck_assert_int_eq(verdict(&f), READINESS_BAD);
	ck_assert_str_eq(text_of("history"), "history diverged: expected a, found b");
}
END_TEST

START_TEST(readiness_lag__above_limit_is_poor_above_half_marginal)
{
	struct readiness_facts f = well();

	f.lag_ms = 5000;
	ck_assert_int_eq(verdict(&f), READINESS_GOOD);
	f.lag_ms = 5001;
	ck_assert_int_eq(verdict(&f), READINESS_MARGINAL);
	f.lag_ms = 12400;
	ck_assert_int_eq(verdict(&f), READINESS_POOR);
	ck_assert_str_eq(text_of("lag"), "lag 12.4s > 10s");
}
END_TEST

START_TEST(readiness_lag_changes__looked_at_only_when_limited)
{
	struct readiness_facts f = well();

	f.lag_changes = 1000;
	ck_assert_int_eq(verdict(&f), READINESS_GOOD);
	f.max_lag_changes = 999;
	ck_assert_int_eq(verdict(&f), READINESS_POOR);
	ck_assert_str_eq(text_of("lag_changes"), "lag 1000 changes > 999");
	f.max_lag_changes = 1500;
	ck_assert_int_eq(verdict(&f), READINESS_MARGINAL);
	f.lag_changes = 1;
	ck_assert_int_eq(verdict(&f), READINESS_GOOD);
	ck_assert_str_eq(text_of("lag_changes"), "lag 1 change <= 1500");
}
END_TEST

START_TEST(readiness_leader_lost__serve_stays_good_and_says_so)
{
	struct readiness_facts f = well();

	f.leader_lost = true;
	f.contact_age_ms = 34100;
	f.lag_ms = 30000;
	f.lag_changes = 1000;
	f.max_lag_changes = 10;
	ck_assert_int_eq(verdict(&f), READINESS_GOOD);
	ck_assert_str_eq(text_of("leader"), "leader unreachable for 34.1s, serving stale (leader_loss = serve)");
}
END_TEST

START_TEST(readiness_leader_lost__unready_is_poor)
{
	struct readiness_facts f = well();

	f.leader_lost = true;
	f.leader_loss = CONF_LOSS_UNREADY;
	ck_assert_int_eq(verdict(&f), READINESS_POOR);
	ck_assert_str_eq(text_of("leader"), "leader unreachable for 0.4s (leader_loss = unready)");
}
END_TEST

/* Settle one look with that lag at that moment. */
static bool
look(struct readiness_hysteresis *h, int64_t now_ms, int64_t lag_ms)
{
	struct readiness_facts f = well();

	f.lag_ms = lag_ms;
	readiness_check(&f, &r);
	readiness_settle(h, now_ms, &r);
	return r.ready;
}

START_TEST(readiness_hysteresis__short_excess_is_forgiven)
{
	struct readiness_hysteresis h = { 0 };

	ck_assert(look(&h, 0, 0));
	ck_assert(look(&h, 1000, 11000));
	ck_assert_ptr_nonnull(strstr(text_of("lag"), "lag 11.0s > 10s for 0.0s"));
	ck_assert(look(&h, 1999, 11900));
	ck_assert(look(&h, 2100, 9000));
	ck_assert(look(&h, 2200, 11000));
	ck_assert(look(&h, 3100, 11000));
}
END_TEST

START_TEST(readiness_hysteresis__lasting_excess_turns_unready_until_half_the_limit)
{
	struct readiness_hysteresis h = { 0 };

	ck_assert(look(&h, 0, 0));
	ck_assert(look(&h, 1000, 11000));
	ck_assert(!look(&h, 2000, 12000));
	ck_assert_str_eq(text_of("lag"), "lag 12.0s > 10s");
	ck_assert(!look(&h, 2100, 9000));
	ck_assert_ptr_nonnull(strstr(text_of("hysteresis"), "half its limit"));
	ck_assert(!look(&h, 2200, 5001));
	ck_assert(look(&h, 2300, 5000));
}
END_TEST

START_TEST(readiness_hysteresis__what_is_bad_turns_unready_at_once)
{
	struct readiness_hysteresis h = { 0 };
	struct readiness_facts f = well();

	ck_assert(look(&h, 0, 0));
	f.diverged = true;
	readiness_check(&f, &r);
	readiness_settle(&h, 1, &r);
	ck_assert(!r.ready);
	ck_assert(look(&h, 2, 0));
}
END_TEST

START_TEST(readiness_limit__is_short)
{
	char text[32];

	readiness_format_limit(500, text, sizeof(text));
	ck_assert_str_eq(text, "500ms");
	readiness_format_limit(10000, text, sizeof(text));
	ck_assert_str_eq(text, "10s");
	readiness_format_limit(1500, text, sizeof(text));
	ck_assert_str_eq(text, "1.5s");
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		readiness_follower__proven_and_near_is_good,
		readiness_server__that_does_not_answer_is_bad_and_nothing_else_is_said,
		readiness_seeding__is_bad,
		readiness_leader__needs_no_proof_but_must_take_writes,
		readiness_proof__missing_is_bad_and_says_what_it_waits_for,
		readiness_diverged__is_bad_and_says_expected_and_found,
		readiness_lag__above_limit_is_poor_above_half_marginal,
		readiness_lag_changes__looked_at_only_when_limited,
		readiness_leader_lost__serve_stays_good_and_says_so,
		readiness_leader_lost__unready_is_poor,
		readiness_hysteresis__short_excess_is_forgiven,
		readiness_hysteresis__lasting_excess_turns_unready_until_half_the_limit,
		readiness_hysteresis__what_is_bad_turns_unready_at_once,
		readiness_limit__is_short,
	};

	return suite_run("readiness", tests, sizeof(tests) / sizeof(tests[0]), 30);
}
