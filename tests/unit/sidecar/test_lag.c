/* Lag: measured on this side, and never zero because nobody speaks. */
#include "sidecar/lag.h"
#include "tests/lib/suite.h"

#include <check.h>
#include <stdlib.h>

static struct lag_tracker t;

static void
setup(void)
{
	lag_init(&t, 1000);
}

START_TEST(lag_start__leader_never_heard_grows_from_the_start)
{
	struct lag lag = lag_at(&t, 0, 6000);

	ck_assert(!lag.known);
	ck_assert_uint_eq(lag.changes, 0);
	ck_assert_int_eq(lag.ms, 5000);
}
END_TEST

START_TEST(lag_equal__is_zero_while_the_leader_is_heard_in_time)
{
	lag_heard(&t, 10, 10, 2000, 5000);
	ck_assert_int_eq(lag_at(&t, 10, 2000).ms, 0);
	ck_assert_int_eq(lag_at(&t, 10, 7000 + LAG_GRACE_MS).ms, 0);
	ck_assert(lag_at(&t, 10, 2000).known);
}
END_TEST

START_TEST(lag_equal__grows_when_the_leader_falls_silent)
{
	lag_heard(&t, 10, 10, 2000, 5000);
	ck_assert_int_eq(lag_at(&t, 10, 7000 + LAG_GRACE_MS + 12000).ms, 12000);
	lag_heard(&t, 10, 10, 30000, 5000);
	ck_assert_int_eq(lag_at(&t, 10, 30001).ms, 0);
}
END_TEST

START_TEST(lag_behind__counts_from_when_it_was_first_learnt)
{
	lag_heard(&t, 15, 10, 2000, 100);
	lag_heard(&t, 15, 10, 2500, 100);
	ck_assert_uint_eq(lag_at(&t, 10, 3000).changes, 5);
	ck_assert_int_eq(lag_at(&t, 10, 3000).ms, 1000);
	ck_assert_uint_eq(lag_at(&t, 15, 3000).changes, 0);
	ck_assert_int_eq(lag_at(&t, 15, 3000).ms, 0);
}
END_TEST

START_TEST(lag_behind__the_oldest_change_not_yet_here_counts)
{
	/* A catch-up that never quite ends, because the leader goes on, is not ever more behind. */
	lag_heard(&t, 20, 10, 2000, 100);
	lag_heard(&t, 30, 10, 3000, 100);
	lag_heard(&t, 40, 10, 4000, 100);
	ck_assert_int_eq(lag_at(&t, 10, 4500).ms, 2500);
	ck_assert_int_eq(lag_at(&t, 20, 4500).ms, 1500);
	ck_assert_int_eq(lag_at(&t, 30, 4500).ms, 500);
	ck_assert_int_eq(lag_at(&t, 40, 4500).ms, 0);
}
END_TEST

START_TEST(lag_behind__silence_does_not_hide_it)
{
	lag_heard(&t, 20, 10, 2000, 100000);
	ck_assert_int_eq(lag_at(&t, 10, 12000).ms, 10000);
}
END_TEST

START_TEST(lag_behind__more_marks_than_room_never_tell_too_little)
{
	for (uint64_t i = 0; i < 4 * LAG_MARKS; i++)
		lag_heard(&t, 11 + i, 10, 2000 + (int64_t)i * 10, 100000);
	ck_assert_int_eq(lag_at(&t, 10, 9000).ms, 7000);
	ck_assert_int_ge(lag_at(&t, 10 + 4 * LAG_MARKS - 1, 9000).ms, 9000 - (2000 + 4 * LAG_MARKS * 10));
	ck_assert_int_eq(lag_at(&t, 10 + 4 * LAG_MARKS, 9000).ms, 0);
}
END_TEST

START_TEST(lag_leader_goes_back__old_marks_are_forgotten)
{
	lag_heard(&t, 100, 50, 2000, 100);
	lag_heard(&t, 50, 50, 3000, 100);
	ck_assert_uint_eq(lag_at(&t, 50, 3000).changes, 0);
	ck_assert_int_eq(lag_at(&t, 50, 3000).ms, 0);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		lag_start__leader_never_heard_grows_from_the_start,
		lag_equal__is_zero_while_the_leader_is_heard_in_time,
		lag_equal__grows_when_the_leader_falls_silent,
		lag_behind__counts_from_when_it_was_first_learnt,
		lag_behind__the_oldest_change_not_yet_here_counts,
		lag_behind__silence_does_not_hide_it,
		lag_behind__more_marks_than_room_never_tell_too_little,
		lag_leader_goes_back__old_marks_are_forgotten,
	};

	return suite_run_fixture("lag", tests, sizeof(tests) / sizeof(tests[0]), 30, setup, NULL);
}
