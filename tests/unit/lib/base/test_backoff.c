#include <check.h>

#include "lib/base/backoff.h"
#include "tests/lib/suite.h"

START_TEST(backoff_next__doubles_within_half_and_whole)
{
	struct backoff b;
	int64_t whole = 100;

	backoff_init(&b, 100, 3000);
	for (int i = 0; i < 20; i++) {
		int64_t wait = backoff_next_ms(&b);

		ck_assert_int_ge(wait, whole / 2);
		ck_assert_int_le(wait, whole);
		whole = whole * 2 > 3000 ? 3000 : whole * 2;
	}
	ck_assert_uint_eq(b.tries, 20);
}
END_TEST

START_TEST(backoff_reset__starts_again)
{
	struct backoff b;

	backoff_init(&b, 100, 100000);
	for (int i = 0; i < 8; i++)
		backoff_next_ms(&b);
	backoff_reset(&b);
	ck_assert_uint_eq(b.tries, 0);
	ck_assert_int_le(backoff_next_ms(&b), 100);
}
END_TEST

START_TEST(backoff_next__spreads_over_its_range)
{
	struct backoff b;
	int seen[51] = { 0 }, distinct = 0;

	backoff_init(&b, 100, 100);
	for (int i = 0; i < 2000; i++)
		seen[backoff_next_ms(&b) - 50]++;
	for (int i = 0; i < 51; i++)
		distinct += seen[i] > 0;
	/* Of 51 values 2000 draws miss one with a chance below 1e-15. */
	ck_assert_int_eq(distinct, 51);
}
END_TEST

START_TEST(backoff_init__two_do_not_draw_the_same)
{
	struct backoff a, b;
	int equal = 0;

	backoff_init(&a, 1000000, 1000000);
	backoff_init(&b, 1000000, 1000000);
	for (int i = 0; i < 10; i++)
		equal += backoff_next_ms(&a) == backoff_next_ms(&b);
	ck_assert_int_lt(equal, 10);
}
END_TEST

START_TEST(backoff_next__extremes_do_not_overflow)
{
	struct backoff b;

	backoff_init(&b, INT64_MAX / 3, INT64_MAX);
	for (int i = 0; i < 100; i++)
		ck_assert_int_gt(backoff_next_ms(&b), 0);
	b.tries = UINT32_MAX;
	ck_assert_int_gt(backoff_next_ms(&b), 0);
	ck_assert_uint_eq(b.tries, UINT32_MAX);
	backoff_init(&b, 500, 20);
	ck_assert_int_le(backoff_next_ms(&b), 20);
	backoff_init(&b, 0, 0);
	ck_assert_int_eq(backoff_next_ms(&b), 0);
	backoff_init(&b, 1, 1);
	ck_assert_int_eq(backoff_next_ms(&b), 1);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		backoff_next__doubles_within_half_and_whole,
		backoff_reset__starts_again,
		backoff_next__spreads_over_its_range,
		backoff_init__two_do_not_draw_the_same,
		backoff_next__extremes_do_not_overflow,
	};

	return suite_run("backoff", tests, sizeof(tests) / sizeof(tests[0]), 30);
}
