/* Refusals: whatever the body, one line of text comes of it, and a code that there is. */
#include <string.h>

#include "lib/protocol/problem.h"
#include "tests/fuzz/shared.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[PROBLEM_TEXT_MAX];
	struct sp_error err = { 0 };
	struct buf body;
	int code;

	buf_init(&body, size);
	FUZZ_REQUIRE(buf_add(&body, data, size) == 0);
	memset(text, 'x', sizeof(text));
	problem_text(&body, text);
	FUZZ_REQUIRE(text[0] != '\0' && strnlen(text, sizeof(text)) < sizeof(text));
	for (const char *at = text; *at != '\0'; at++)
		FUZZ_REQUIRE((unsigned char)*at >= 0x20 && *at != 0x7f);
	code = problem_code(&body, SP_EBADDATA);
	FUZZ_REQUIRE(code < 0 && strcmp(sp_code_name(code), "SP_EUNNAMED") != 0);
	fuzz_require_error(sp_error_set(&err, code, "peer: %s", text), &err);
	buf_release(&body);
	return 0;
}
