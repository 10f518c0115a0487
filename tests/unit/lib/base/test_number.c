#include <check.h>
#include <string.h>

#include "lib/base/number.h"
#include "tests/lib/suite.h"

START_TEST(number_from_text__takes_digits_alone)
{
	static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "1a", "0x1", "1.0", "1e0",
		"-18446744073709551615", "18446744073709551616", "99999999999999999999999", "\xd9\xa1" };
	uint64_t n = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!number_from_text(bad[i], UINT64_MAX, &n) && n == 7, "%s", bad[i]);
	ck_assert(!number_from_text(NULL, UINT64_MAX, &n));
	ck_assert(number_from_text("18446744073709551615", UINT64_MAX, &n));
	ck_assert(n == UINT64_MAX);
	ck_assert(number_from_text("000", 0, &n));
	ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(number_from_bytes__a_nul_is_not_the_end)
{
	uint64_t n = 7;

	ck_assert(!number_from_bytes("4\0", 2, 10, &n));
	ck_assert(!number_from_bytes("4", 0, 10, &n));
	ck_assert(!number_from_bytes("11", 2, 10, &n));
	ck_assert_uint_eq(n, 7);
	ck_assert(number_from_bytes("123", 2, 12, &n));
	ck_assert_uint_eq(n, 12);
}
END_TEST

START_TEST(number_take__leaves_what_follows)
{
	const char *text = "15ms", *bad = "-1";
	uint64_t n = 0;

	ck_assert(number_take(&text, 15, &n));
	ck_assert_str_eq(text, "ms");
	ck_assert_uint_eq(n, 15);
	ck_assert(!number_take(&text, 15, &n));
	ck_assert(!number_take(&bad, 15, &n));
	ck_assert_str_eq(bad, "-1");
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		number_from_text__takes_digits_alone,
		number_from_bytes__a_nul_is_not_the_end,
		number_take__leaves_what_follows,
	};

	return suite_run("number", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
