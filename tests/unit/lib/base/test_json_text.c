#include "lib/base/json_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/suite.h"

static size_t allocations, failing;

static void *
allocate(size_t size)
{
	return ++allocations == failing ? NULL : malloc(size);
}

static json_t *
example(void)
{
	return json_pack("{s:s, s:[i, i, {s:b}], s:{s:f, s:n}}", "text", "with \"quotes\" and \\ and \n", "list", 1, 2,
	    "inner", 1, "object", "real", 0.5, "nothing");
}

START_TEST(json_text__is_what_jansson_writes)
{
	static const size_t flags[] = { 0, JSON_COMPACT, JSON_INDENT(2), JSON_ENSURE_ASCII };
	json_t *root = example();

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		char *expected = json_dumps(root, flags[i]), *text = text_of_json(root, flags[i]);

		ck_assert_ptr_nonnull(text);
		ck_assert_str_eq(text, expected);
		free(expected);
		free(text);
	}
	ck_assert_ptr_null(text_of_json(NULL, 0));
	json_decref(root);
}
END_TEST

/* Whichever allocation fails, there is all of the text or none. */
START_TEST(json_text__is_whole_or_nothing)
{
	json_t *root = json_object();
	char key[64], *whole;
	bool complete = false;

	/* Nearly all of it keys, so that some buffer grows at one. */
	for (int i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "a key that is longer than its value: %d", i);
		json_object_set_new(root, key, json_true());
	}
	whole = text_of_json(root, JSON_COMPACT);

	json_set_alloc_funcs(allocate, free);
	for (failing = 1; !complete; failing++) {
		char *text;

		allocations = 0;
		text = text_of_json(root, JSON_COMPACT);
		complete = allocations < failing;
		if (text != NULL)
			ck_assert_str_eq(text, whole);
		else
			ck_assert(!complete);
		free(text);
	}
	json_set_alloc_funcs(malloc, free);
	free(whole);
	json_decref(root);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { json_text__is_what_jansson_writes, json_text__is_whole_or_nothing };

	return suite_run("json_text", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
