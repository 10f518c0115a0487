#include <string.h>

#include "lib/base/percent.h"
#include "tests/lib/suite.h"

static int64_t
decode(const char *text, char out[16])
{
	memset(out, '#', 16);
	return percent_decode(text, strlen(text), out, 16);
}

START_TEST(percent_decode__turns_escapes_into_bytes)
{
	char out[16];

	ck_assert_int_eq(decode("", out), 0);
	ck_assert_str_eq(out, "");
	ck_assert_int_eq(decode("a%2Fb%2fc", out), 5);
	ck_assert_str_eq(out, "a/b/c");
	ck_assert_int_eq(decode("%41%5a%61%7A", out), 4);
	ck_assert_str_eq(out, "AZaz");
	ck_assert_int_eq(decode("a%00b", out), 3);
	ck_assert_mem_eq(out, "a\0b", 4);
	ck_assert_int_eq(decode("%ff%FE%80", out), 3);
	ck_assert_mem_eq(out, "\xff\xfe\x80", 4);
	ck_assert_int_eq(decode("%2541", out), 3);
	ck_assert_str_eq(out, "%41");
	ck_assert_int_eq(decode("a+b", out), 3);
	ck_assert_str_eq(out, "a+b");
}
END_TEST

START_TEST(percent_decode__every_byte_comes_back)
{
	for (unsigned i = 0; i < 256; i++) {
		static const char digits[] = "0123456789abcdef0123456789ABCDEF";
		char text[3] = { '%', digits[i >> 4], digits[16 + (i & 15)] };
		char out[2];

		ck_assert_int_eq(percent_decode(text, 3, out, sizeof(out)), 1);
		ck_assert_uint_eq((unsigned char)out[0], i);
		ck_assert_int_eq(out[1], '\0');
	}
}
END_TEST

START_TEST(percent_decode__broken_escapes_are_refused)
{
	static const char *const bad[] = { "%", "a%", "%4", "a%4", "%zz", "%4g", "%g4", "%%41", "% 1", "%-1", "%+1",
		"%4%31", "%\x10\x11", "%\x1f\x10", "%0x1" };
	char out[16];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(decode(bad[i], out) == -1, "\"%s\" was taken", bad[i]);
	/* No byte beyond the length is looked at. */
	ck_assert_int_eq(percent_decode("%41", 2, out, sizeof(out)), -1);
	ck_assert_int_eq(percent_decode("%4\0", 3, out, sizeof(out)), -1);
}
END_TEST

START_TEST(percent_decode__what_does_not_fit_is_refused)
{
	char out[4] = "###";

	ck_assert_int_eq(percent_decode("abc", 3, out, 4), 3);
	ck_assert_int_eq(percent_decode("abcd", 4, out, 4), -1);
	ck_assert_int_eq(percent_decode("%61%62%63", 9, out, 4), 3);
	ck_assert_int_eq(percent_decode("", 0, out, 1), 0);
	ck_assert_int_eq(percent_decode("", 0, out, 0), -1);
	ck_assert_int_eq(percent_decode("a", 1, out, 0), -1);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		percent_decode__turns_escapes_into_bytes,
		percent_decode__every_byte_comes_back,
		percent_decode__broken_escapes_are_refused,
		percent_decode__what_does_not_fit_is_refused,
	};

	return suite_run("percent", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
