#include <string.h>
#include <time.h>

#include "lib/base/clock.h"
#include "tests/lib/suite.h"

static const char *
format(int64_t ms)
{
	static char text[CLOCK_RFC3339_SIZE];

	clock_format(ms, text, sizeof(text));
	return text;
}

START_TEST(clock_format__is_rfc3339_in_utc)
{
	ck_assert_str_eq(format(0), "1970-01-01T00:00:00.000Z");
	ck_assert_str_eq(format(1795172523123), "2026-11-20T11:02:03.123Z");
	ck_assert_str_eq(format(951782400007), "2000-02-29T00:00:00.007Z");
	ck_assert_str_eq(format(253402300799999), "9999-12-31T23:59:59.999Z");
	ck_assert_uint_eq(strlen(format(0)), CLOCK_RFC3339_SIZE - 1);
}
END_TEST

START_TEST(clock_mono__never_goes_back)
{
	int64_t before = clock_mono_ns(), ms = clock_mono_ms();

	for (int i = 0; i < 100000; i++) {
		int64_t now = clock_mono_ns();

		ck_assert_int_ge(now, before);
		before = now;
	}
	ck_assert_int_ge(clock_mono_ms(), ms);
	before = clock_mono_ns();
	ms = clock_mono_ms();
	ck_assert_int_ge(ms, before / 1000000);
	ck_assert_int_le(ms, clock_mono_ns() / 1000000);
}
END_TEST

START_TEST(clock_wall__is_the_systems)
{
	int64_t before = (int64_t)time(NULL);

	ck_assert_int_ge(clock_wall_ms() / 1000, before);
	ck_assert_int_le(clock_wall_ms() / 1000, before + 5);
}
END_TEST

START_TEST(clock_sleep__lasts_as_long_as_asked)
{
	int64_t before = clock_mono_ms();

	clock_sleep_ms(30);
	ck_assert_int_ge(clock_mono_ms() - before, 29);
	before = clock_mono_ms();
	clock_sleep_ms(0);
	clock_sleep_ms(-5);
	ck_assert_int_lt(clock_mono_ms() - before, 1000);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		clock_format__is_rfc3339_in_utc,
		clock_mono__never_goes_back,
		clock_wall__is_the_systems,
		clock_sleep__lasts_as_long_as_asked,
	};

	return suite_run("clock", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
