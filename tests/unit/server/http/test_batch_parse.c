#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/http/batch_parse.h"
#include "tests/lib/suite.h"

#define VALUE_MAX 8

/* Parse a text that must be taken. */
static struct batch
parse(const char *body)
{
	struct sp_error err = { 0 };
	struct batch b;

	ck_assert_msg(batch_parse(body, strlen(body), VALUE_MAX, &b, &err) == 0, "%s", err.text);
	return b;
}

/* Parse bytes that must be refused with this text. */
static void
refuse_as(int code, const char *body, size_t len, const char *why)
{
	struct batch untouched, b;
	struct sp_error err = { 0 };

	memset(&b, 0x5a, sizeof(b));
	memcpy(&untouched, &b, sizeof(b));
	ck_assert_int_eq(batch_parse(body, len, VALUE_MAX, &b, &err), code);
	ck_assert_msg(strstr(err.text, why) != NULL, "\"%s\" is not in \"%s\"", why, err.text);
	ck_assert_mem_eq(&b, &untouched, sizeof(b));
}

static void
refuse_bytes(const char *body, size_t len, const char *why)
{
	refuse_as(SP_EUSAGE, body, len, why);
}

static void
refuse(const char *body, const char *why)
{
	refuse_bytes(body, strlen(body), why);
}

START_TEST(batch_parse__takes_puts_and_deletes_in_order)
{
	struct batch b = parse("{\"op\":\"put\",\"key\":\"a\",\"value\":\"one\"}\r\n"
			       "\n \t\n"
			       "{\"op\":\"delete\",\"key\":\"b\"}\n"
			       "{\"op\":\"put\",\"key64\":\"/wA=\",\"value64\":\"\"}");

	ck_assert_uint_eq(b.count, 3);
	ck_assert_int_eq(b.ops[0].kind, REPL_PUT);
	ck_assert_uint_eq(b.ops[0].key_len, 1);
	ck_assert_mem_eq(b.ops[0].key, "a", 1);
	ck_assert_uint_eq(b.ops[0].value_len, 3);
	ck_assert_mem_eq(b.ops[0].value, "one", 3);
	ck_assert_int_eq(b.ops[1].kind, REPL_DELETE);
	ck_assert_mem_eq(b.ops[1].key, "b", 1);
	ck_assert_uint_eq(b.ops[2].key_len, 2);
	ck_assert_mem_eq(b.ops[2].key, "\xff\0", 2);
	ck_assert_uint_eq(b.ops[2].value_len, 0);
	batch_release(&b);
}
END_TEST

START_TEST(batch_parse__keeps_nul_bytes)
{
	struct batch b = parse("{\"op\":\"put\",\"key\":\"a\\u0000b\",\"value\":\"\\u0000\"}");

	ck_assert_uint_eq(b.ops[0].key_len, 3);
	ck_assert_mem_eq(b.ops[0].key, "a\0b", 3);
	ck_assert_uint_eq(b.ops[0].value_len, 1);
	batch_release(&b);
}
END_TEST

START_TEST(batch_parse__names_the_line_that_is_wrong)
{
	const char *large = "{\"op\":\"put\",\"key\":\"a\",\"value\":\"123456789\"}";

	refuse("", "holds no change");
	refuse("\n \n", "holds no change");
	refuse("{\"op\":\"put\",\"key\":\"a\",\"value\":\"\"}\nnonsense", "line 2: not a JSON object: ");
	refuse("[]", "line 1: not a JSON object");
	refuse("{}", "line 1: \"op\"");
	refuse("{\"op\":\"get\",\"key\":\"a\"}", "line 1: \"op\"");
	refuse("{\"op\":1,\"key\":\"a\"}", "line 1: \"op\"");
	refuse("{\"op\":\"delete\"}", "line 1: either \"key\" or");
	refuse("{\"op\":\"delete\",\"key\":\"\"}", "line 1: either \"key\" or");
	refuse("{\"op\":\"delete\",\"key64\":\"????\"}", "line 1: either \"key\" or");
	refuse("{\"op\":\"put\",\"key\":\"a\"}", "line 1: either \"value\" must");
	refuse("{\"op\":\"put\",\"key\":\"a\",\"value64\":\"A\"}", "line 1: either \"value\" must");
	refuse("{\"op\":\"delete\",\"key\":\"a\",\"key64\":\"YQ==\"}", "line 1: either \"key\" or");
	refuse("{\"op\":\"delete\",\"key\":\"a\",\"key64\":null}", "line 1: either \"key\" or");
	refuse("{\"op\":\"put\",\"key\":\"a\",\"value\":\"\",\"value64\":\"\"}", "line 1: either \"value\" must");
	refuse_as(SP_ETOOBIG, large, strlen(large), "9 bytes, 8 are allowed");
	refuse("{\"op\":\"put\",\"op\":\"delete\",\"key\":\"a\"}", "line 1: not a JSON object");
	refuse_bytes("\0", 1, "line 1: not a JSON object");
}
END_TEST

START_TEST(batch_parse__bounds_the_key)
{
	char body[1024];

	snprintf(body, sizeof(body), "{\"op\":\"delete\",\"key\":\"%0480d\"}", 0);
	batch_release(&(struct batch[]){ parse(body) }[0]);
	snprintf(body, sizeof(body), "{\"op\":\"delete\",\"key\":\"%0481d\"}", 0);
	refuse(body, "a key of 1 to 480 bytes");
}
END_TEST

START_TEST(batch_parse__bounds_the_changes)
{
	static const char line[] = "{\"op\":\"delete\",\"key\":\"a\"}\n";
	size_t line_len = sizeof(line) - 1, len = line_len * (BATCH_OPS_MAX + 1);
	char *body = malloc(len + 1);
	struct sp_error err = { 0 };
	struct batch b;

	ck_assert_ptr_nonnull(body);
	for (size_t at = 0; at < len; at += line_len)
		memcpy(body + at, line, line_len);
	body[len] = '\0';
	ck_assert_msg(batch_parse(body, len - line_len, VALUE_MAX, &b, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(b.count, BATCH_OPS_MAX);
	batch_release(&b);
	refuse_bytes(body, len, "line 1000001: more than 1000000 changes");
	free(body);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		batch_parse__takes_puts_and_deletes_in_order,
		batch_parse__keeps_nul_bytes,
		batch_parse__names_the_line_that_is_wrong,
		batch_parse__bounds_the_key,
		batch_parse__bounds_the_changes,
	};

	return suite_run("batch_parse", tests, sizeof(tests) / sizeof(tests[0]), 60);
}
