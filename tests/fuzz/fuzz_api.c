/*
 * The server's HTTP interface on a store of its own: whatever is asked, each request gets one answer, never one that
 * says that the server itself failed, and the store is whole afterwards.
 *
 * The input is requests, parted by "%%" on a line of its own: "PUT /v1/kv/a?x=y", headers a line each, an empty line,
 * the body. A "!" in front sends it to the control socket. The listener is replaced by listener.c.
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/http/api.h"
#include "tests/fuzz/listener.h"
#include "tests/fuzz/server.h"

#define SEPARATOR    "\n%%\n"
#define REQUESTS_MAX 6

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_server_new();
	return 0;
}

static void
check_answer(const struct fuzz_answer *a)
{
	json_t *json;

	FUZZ_REQUIRE(a->status >= 200 && a->status <= 599 && a->status != 500);
	if (strcmp(a->type, API_JSON) != 0 && strcmp(a->type, API_PROBLEM) != 0)
		return;
	json = json_loadb(a->body.data, a->body.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	FUZZ_REQUIRE(json != NULL);
	if (strcmp(a->type, API_PROBLEM) == 0) {
		FUZZ_REQUIRE(json_integer_value(json_object_get(json, "status")) == a->status);
		FUZZ_REQUIRE(json_string_length(json_object_get(json, "code")) > 0);
	}
	json_decref(json);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *at = text, *next;
	struct fuzz_answer answer;

	memcpy(text, data, size);
	text[size] = '\0';
	fuzz_server_begin();
	for (unsigned i = 0; at != NULL && i < REQUESTS_MAX; i++, at = next) {
		size_t len = (size_t)(text + size - at);

		next = memmem(at, len, SEPARATOR, strlen(SEPARATOR));
		if (next != NULL) {
			len = (size_t)(next - at);
			*next = '\0';
			next += strlen(SEPARATOR);
		}
		if (!fuzz_listener_ask(at, len, &answer))
			continue;
		check_answer(&answer);
		buf_release(&answer.body);
	}
	fuzz_server_end();
	free(text);
	return 0;
}
