#include "lib/protocol/problem.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/error.h"

void
problem_text(const struct buf *body, char out[PROBLEM_TEXT_MAX])
{
	json_t *json = json_loadb(body->data, body->len, 0, NULL);
	const char *text = json_string_value(json_object_get(json, "detail"));

	if (text == NULL)
		text = json_string_value(json_object_get(json, "title"));
	if (text == NULL)
		text = body->data;
	snprintf(out, PROBLEM_TEXT_MAX, "%s", text[0] != '\0' ? text : "no reason given");
	for (size_t i = 0; out[i] != '\0'; i++)
		if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
			out[i] = ' ';
	json_decref(json);
}

int
problem_code(const struct buf *body, int otherwise)
{
	static const struct {
		const char *name;
		int code;
	} codes[] = {
#define X(name, value, exit_code, text) { #name, (value) },
		SP_ERRORS(X)
#undef X
	};
	json_t *json = json_loadb(body->data, body->len, 0, NULL);
	const char *name = json_string_value(json_object_get(json, "code"));
	int code = otherwise;

	for (size_t i = 0; name != NULL && i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(name, codes[i].name) == 0)
			code = codes[i].code;
	json_decref(json);
	return code;
}
