#include <check.h>
#include <errno.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "tests/lib/suite.h"

START_TEST(error_set__formats_and_returns_the_code)
{
	struct sp_error err = { 0 };

	ck_assert_int_eq(sp_error_set(&err, SP_EBADDATA, "member %d", 3), SP_EBADDATA);
	ck_assert_int_eq(err.code, SP_EBADDATA);
	ck_assert_str_eq(err.text, "member 3");
}
END_TEST

START_TEST(error_set__without_an_error_to_fill)
{
	ck_assert_int_eq(sp_error_set(NULL, SP_EIO, "x"), SP_EIO);
	ck_assert_int_eq(sp_error_errno(NULL, ENOSPC, "x"), SP_ENOSPACE);
	ck_assert_int_eq(sp_error_wrap(NULL, "x"), SP_EINTERNAL);
}
END_TEST

START_TEST(error_errno__picks_the_code)
{
	static const struct {
		int errnum, code;
	} cases[] = { { ENOSPC, SP_ENOSPACE }, { EDQUOT, SP_ENOSPACE }, { EACCES, SP_EPERM }, { EPERM, SP_EPERM },
		{ EROFS, SP_EVOLUME }, { ENOTDIR, SP_EVOLUME }, { ENOENT, SP_ENOTFOUND }, { ENOMEM, SP_ENOMEM },
		{ EIO, SP_EIO }, { EBUSY, SP_EIO } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sp_error err = { 0 };

		ck_assert_int_eq(sp_error_errno(&err, cases[i].errnum, "open %s", "f"), cases[i].code);
		ck_assert_int_eq(err.code, cases[i].code);
		ck_assert_int_eq(strncmp(err.text, "open f: ", 8), 0);
		ck_assert_str_eq(err.text + 8, strerror(cases[i].errnum));
	}
}
END_TEST

START_TEST(error_wrap__reads_from_the_outside_in)
{
	struct sp_error err = { 0 };

	sp_error_set(&err, SP_ETRUNCATED, "connection closed after 3 bytes");
	ck_assert_int_eq(sp_error_wrap(&err, "read %s", "seedpod.sums"), SP_ETRUNCATED);
	ck_assert_int_eq(sp_error_wrap(&err, "seed from store-0"), SP_ETRUNCATED);
	ck_assert_str_eq(err.text, "seed from store-0: read seedpod.sums: connection closed after 3 bytes");
}
END_TEST

START_TEST(error_text__is_cut_at_its_size)
{
	struct sp_error err = { 0 };
	char lots[3 * SP_ERROR_TEXT_MAX];

	memset(lots, 'x', sizeof(lots) - 1);
	lots[sizeof(lots) - 1] = '\0';
	sp_error_set(&err, SP_EIO, "%s", lots);
	ck_assert_uint_eq(strlen(err.text), SP_ERROR_TEXT_MAX - 1);
	sp_error_errno(&err, EIO, "%s", lots);
	ck_assert_uint_eq(strlen(err.text), SP_ERROR_TEXT_MAX - 1);
	sp_error_wrap(&err, "%s", lots);
	ck_assert_uint_lt(strlen(err.text), SP_ERROR_TEXT_MAX);
	sp_error_set(&err, SP_EIO, "inner");
	sp_error_wrap(&err, "%s", lots);
	ck_assert_uint_lt(strlen(err.text), SP_ERROR_TEXT_MAX);
}
END_TEST

START_TEST(error_text__is_utf8_whatever_went_in)
{
	struct sp_error err = { 0 };
	char lots[2 * SP_ERROR_TEXT_MAX];

	sp_error_set(&err, SP_EBADDATA, "peer said %s", "\xff\xfe caf\xc3\xa9 \xe2\x82");
	ck_assert_str_eq(err.text, "peer said ?? caf\xc3\xa9 ??");
	sp_error_wrap(&err, "from %s", "\xc0\xaf");
	ck_assert_str_eq(err.text, "from ??: peer said ?? caf\xc3\xa9 ??");
	sp_error_errno(&err, ENOENT, "open \xed\xa0\x80");
	ck_assert_str_eq(err.text, "open ???: No such file or directory");

	/* Cut in the midst of a character of two bytes. */
	for (size_t i = 0; i + 1 < sizeof(lots); i += 2)
		memcpy(lots + i, "\xc3\xa9", 2);
	lots[sizeof(lots) - 1] = '\0';
	sp_error_set(&err, SP_EIO, "%s", lots);
	ck_assert_uint_eq(strlen(err.text), SP_ERROR_TEXT_MAX - 1);
	ck_assert_str_eq(err.text + SP_ERROR_TEXT_MAX - 4, "\xc3\xa9?");
}
END_TEST

START_TEST(utf8_is_text__of_bytes_that_have_no_end)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool text;
	} cases[] = {
		{ "", 0, true },
		{ "plain", 5, true },
		{ "a\0b", 3, true },
		{ "gr\xc3\xbc\xc3\x9f", 6, true },
		{ "gr\xc3\xbc\xc3\x9f", 5, false }, /* cut within a character */
		{ "\xf0\x9f\x8c\xb1", 4, true },
		{ "\xf0\x9f\x8c\xb1", 3, false },
		{ "seeds\xff", 6, false },
		{ "\xc0\x80 is no NUL", 11, false },
		{ "\xed\xa0\x80 is half a pair", 17, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(utf8_is_text(cases[i].bytes, cases[i].len) == cases[i].text, "case %zu", i);
}
END_TEST

START_TEST(error_codes__have_names_texts_and_exit_codes)
{
	ck_assert_str_eq(sp_code_name(SP_EHORIZON), "SP_EHORIZON");
	ck_assert_str_eq(sp_code_text(SP_EHORIZON), "below the horizon");
	ck_assert_str_eq(sp_code_name(0), "SP_OK");
	ck_assert_str_eq(sp_code_text(0), "no error");
	ck_assert_str_eq(sp_code_name(-999), "SP_EUNNAMED");
	ck_assert_str_eq(sp_code_text(-999), "unknown error");
}
END_TEST

START_TEST(error_exit__is_the_contract)
{
	ck_assert_int_eq(sp_code_exit(0), 0);
	ck_assert_int_eq(sp_code_exit(SP_EUSAGE), 64);
	ck_assert_int_eq(sp_code_exit(SP_EBADDATA), 65);
	ck_assert_int_eq(sp_code_exit(SP_ETRUNCATED), 65);
	ck_assert_int_eq(sp_code_exit(SP_EUNAVAIL), 69);
	ck_assert_int_eq(sp_code_exit(SP_ENOSPACE), 73);
	ck_assert_int_eq(sp_code_exit(SP_EVOLUME), 73);
	ck_assert_int_eq(sp_code_exit(SP_EAGAIN), 75);
	ck_assert_int_eq(sp_code_exit(SP_EPERM), 77);
	ck_assert_int_eq(sp_code_exit(SP_ECONF), 78);
	ck_assert_int_eq(sp_code_exit(-999), 70);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		error_set__formats_and_returns_the_code,
		error_set__without_an_error_to_fill,
		error_errno__picks_the_code,
		error_wrap__reads_from_the_outside_in,
		error_text__is_cut_at_its_size,
		error_text__is_utf8_whatever_went_in,
		utf8_is_text__of_bytes_that_have_no_end,
		error_codes__have_names_texts_and_exit_codes,
		error_exit__is_the_contract,
	};

	return suite_run("error", tests, sizeof(tests) / sizeof(tests[0]), 30);
}
