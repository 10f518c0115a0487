#include <stdint.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "tests/lib/suite.h"

/* A sanitizer's allocator is to say no as the C library's does. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *
__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

const char *
__tsan_default_options(void)
{
	return "allocator_may_return_null=1";
}

START_TEST(buf_init__is_an_empty_text)
{
	struct buf b;

	buf_init(&b, 10);
	ck_assert_str_eq(b.data, "");
	ck_assert_uint_eq(b.len, 0);
	buf_release(&b);
	ck_assert_str_eq(b.data, "");
}
END_TEST

START_TEST(buf_add__appends_and_terminates)
{
	struct buf b;

	buf_init(&b, 1000);
	ck_assert_int_eq(buf_add(&b, "ab\0c", 4), 0);
	ck_assert_int_eq(buf_adds(&b, "de"), 0);
	ck_assert_int_eq(buf_add(&b, NULL, 0), 0);
	ck_assert_int_eq(buf_printf(&b, "%d%s", 7, "!"), 0);
	ck_assert_uint_eq(b.len, 8);
	ck_assert_mem_eq(b.data, "ab\0cde7!", 9);
	buf_release(&b);
}
END_TEST

START_TEST(buf_add__keeps_the_content_while_it_grows)
{
	struct buf b;

	buf_init(&b, 100000);
	for (unsigned i = 0; i < 100000; i++)
		ck_assert_int_eq(buf_add(&b, &"0123456789"[i % 10], 1), 0);
	ck_assert_uint_eq(b.len, 100000);
	for (unsigned i = 0; i < 100000; i++)
		ck_assert_int_eq(b.data[i], '0' + (char)(i % 10));
	ck_assert_int_eq(b.data[b.len], '\0');
	buf_release(&b);
}
END_TEST

START_TEST(buf_add__past_the_limit_changes_nothing)
{
	struct buf b;

	buf_init(&b, 4);
	ck_assert_int_eq(buf_adds(&b, "abcd"), 0);
	ck_assert_int_eq(buf_adds(&b, "e"), SP_ETOOBIG);
	ck_assert_int_eq(buf_printf(&b, "%s", "e"), SP_ETOOBIG);
	ck_assert_int_eq(buf_reserve(&b, 1), SP_ETOOBIG);
	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX), SP_ETOOBIG);
	ck_assert_str_eq(b.data, "abcd");
	ck_assert_int_eq(buf_printf(&b, "%s", ""), 0);
	buf_reset(&b);
	ck_assert_str_eq(b.data, "");
	ck_assert_int_eq(buf_adds(&b, "wxyz"), 0);
	buf_release(&b);
	buf_init(&b, 0);
	ck_assert_int_eq(buf_adds(&b, "a"), SP_ETOOBIG);
	ck_assert_int_eq(buf_adds(&b, ""), 0);
}
END_TEST

START_TEST(buf_reserve__what_cannot_be_had_is_nomem)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	ck_assert_int_eq(buf_adds(&b, "abc"), 0);
	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX / 4), SP_ENOMEM);
	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX - 4), SP_ENOMEM);
	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX - 3), SP_ENOMEM);
	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX - 2), SP_ETOOBIG);
	ck_assert_str_eq(b.data, "abc");
	buf_release(&b);
}
END_TEST

START_TEST(buf_detach__hands_the_memory_over)
{
	struct buf b;
	char *text;

	buf_init(&b, 10);
	text = buf_detach(&b);
	ck_assert_str_eq(text, "");
	free(text);
	buf_adds(&b, "abc");
	text = buf_detach(&b);
	ck_assert_str_eq(text, "abc");
	ck_assert_uint_eq(b.len, 0);
	ck_assert_str_eq(b.data, "");
	free(text);
	ck_assert_int_eq(buf_adds(&b, "0123456789"), 0);
	ck_assert_int_eq(buf_adds(&b, "x"), SP_ETOOBIG);
	buf_release(&b);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		buf_init__is_an_empty_text,
		buf_add__appends_and_terminates,
		buf_add__keeps_the_content_while_it_grows,
		buf_add__past_the_limit_changes_nothing,
		buf_reserve__what_cannot_be_had_is_nomem,
		buf_detach__hands_the_memory_over,
	};

	return suite_run("buf", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
