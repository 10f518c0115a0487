#include <check.h>
#include <math.h>
#include <stdio.h>

#include "lib/base/error.h"
#include "lib/protocol/metrics.h"
#include "tests/lib/suite.h"

static struct buf out;

static void
setup(void)
{
	buf_init(&out, 4096);
}

static void
teardown(void)
{
	buf_release(&out);
}

START_TEST(metrics_single__is_help_type_and_sample)
{
	ck_assert_int_eq(metrics_single(&out, "seedpod_seq", "gauge", "Newest change.", 42), 0);
	ck_assert_str_eq(out.data, "# HELP seedpod_seq Newest change.\n# TYPE seedpod_seq gauge\nseedpod_seq 42\n");
}
END_TEST

START_TEST(metrics_head__escapes_help)
{
	ck_assert_int_eq(metrics_head(&out, "m", "counter", "a\\b\nc \"d\""), 0);
	ck_assert_str_eq(out.data, "# HELP m a\\\\b\\nc \"d\"\n# TYPE m counter\n");
}
END_TEST

START_TEST(metrics_value__numbers_are_shown_shortly_and_exactly)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = { { 0, "0" }, { 3, "3" }, { -7, "-7" }, { 1e15, "1000000000000000" },
		{ 9007199254740993.0, "9007199254740992" }, { 0.1, "0.1" }, { 12.345, "12.345" }, { 1e-9, "1e-09" },
		{ 1e300, "1e+300" }, { 1.0 / 3, "0.3333333333333333" } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char expected[80];

		buf_reset(&out);
		ck_assert_int_eq(metrics_value(&out, "m", NULL, cases[i].value), 0);
		snprintf(expected, sizeof(expected), "m %s\n", cases[i].text);
		ck_assert_str_eq(out.data, expected);
	}
}
END_TEST

START_TEST(metrics_value__not_a_number_and_infinite)
{
	metrics_value(&out, "m", NULL, NAN);
	metrics_value(&out, "m", NULL, INFINITY);
	metrics_value(&out, "m", "", -INFINITY);
	ck_assert_str_eq(out.data, "m NaN\nm +Inf\nm -Inf\n");
}
END_TEST

START_TEST(metrics_label__escapes_and_parts_with_commas)
{
	struct buf labels;

	buf_init(&labels, 1000);
	ck_assert_int_eq(metrics_label(&labels, "peer", "a\"b\\c\nd"), 0);
	ck_assert_int_eq(metrics_label(&labels, "reason", ""), 0);
	ck_assert_int_eq(metrics_value(&out, "m", labels.data, 1), 0);
	ck_assert_str_eq(out.data, "m{peer=\"a\\\"b\\\\c\\nd\",reason=\"\"} 1\n");
	buf_release(&labels);
}
END_TEST

START_TEST(metrics__full_buffer_keeps_its_content)
{
	struct buf small;

	buf_init(&small, 30);
	ck_assert_int_eq(metrics_value(&small, "m", NULL, 1), 0);
	ck_assert_int_eq(metrics_head(&small, "m", "counter", "Some words of help."), SP_ETOOBIG);
	ck_assert_str_eq(small.data, "m 1\n");
	ck_assert_int_eq(metrics_single(&small, "m", "x", "h", 12345678), SP_ETOOBIG);
	ck_assert_str_eq(small.data, "m 1\n");
	ck_assert_int_eq(metrics_label(&small, "l", "0123456789012345678901234567890"), SP_ETOOBIG);
	ck_assert_str_eq(small.data, "m 1\n");
	ck_assert_int_eq(metrics_label(&small, "l", "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"), SP_ETOOBIG);
	ck_assert_str_eq(small.data, "m 1\n");
	buf_release(&small);
	buf_init(&small, 5);
	ck_assert_int_eq(metrics_head(&small, "m", "counter", "h"), SP_ETOOBIG);
	ck_assert_str_eq(small.data, "");
	buf_release(&small);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		metrics_single__is_help_type_and_sample,
		metrics_head__escapes_help,
		metrics_value__numbers_are_shown_shortly_and_exactly,
		metrics_value__not_a_number_and_infinite,
		metrics_label__escapes_and_parts_with_commas,
		metrics__full_buffer_keeps_its_content,
	};

	return suite_run_fixture("metrics", tests, sizeof(tests) / sizeof(tests[0]), 30, setup, teardown);
}
