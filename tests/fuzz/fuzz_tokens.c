/*
 * The files of tokens, and the header that shows one: what is taken has the length and the characters that it must have
 * and gives the roles of the files that hold it; what is refused is said without any of it; and no header gives more.
 *
 * The input is four files parted by a byte 1, then, behind another, an Authorization header.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/net/tokens.h"
#include "tests/fuzz/shared.h"

#define PARTS 5

static const char *const names[PARTS - 1] = { "read", "write", "peer", "metrics" };

struct part {
	const uint8_t *data;
	size_t len;
};

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	log_configure(LOG_ERROR, LOG_LOGFMT);
	return 0;
}

/* Whether one of a file's lines, less the spaces at its end, is this token. */
static bool
file_holds(const struct part *file, const char *token)
{
	const uint8_t *at = file->data, *end = file->data + file->len;

	while (at < end) {
		const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
		const uint8_t *stop = newline != NULL ? newline : end;
		size_t len = (size_t)(stop - at);

		while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t' || at[len - 1] == '\r'))
			len--;
		if (len == strlen(token) && memcmp(at, token, len) == 0)
			return true;
		at = stop + 1;
	}
	return false;
}

static void
require_roles(const struct part *parts, const char *token, unsigned roles)
{
	for (int i = 0; i < PARTS - 1; i++)
		FUZZ_REQUIRE(file_holds(&parts[i], token) == ((roles & 1u << i) != 0));
}

static void
ask(struct tokens *t, const struct part *parts)
{
	char token[TOKEN_LENGTH_MAX + 1], header[TOKEN_LENGTH_MAX + 16], *shown;
	unsigned roles;

	for (int i = 0; i < PARTS - 1; i++) {
		if (!tokens_first(t, 1u << i, token, sizeof(token)))
			continue;
		FUZZ_REQUIRE(tokens_has(t, 1u << i));
		FUZZ_REQUIRE(strlen(token) >= TOKEN_LENGTH_MIN && token[0] != '#');
		snprintf(header, sizeof(header), "Bearer %s", token);
		require_roles(parts, token, tokens_roles(t, header));
	}
	shown = strndup((const char *)parts[PARTS - 1].data, parts[PARTS - 1].len);
	FUZZ_REQUIRE(shown != NULL);
	roles = tokens_roles(t, shown);
	if (roles != 0) {
		size_t start = strlen("Bearer");

		start += strspn(shown + start, " ");
		shown[start + strcspn(shown + start, " \t")] = '\0';
		require_roles(parts, shown + start, roles);
	}
	free(shown);
}

/* A line of eight or more characters of a file must not be found in what is said of it. */
static void
require_unsaid(const struct part *parts, const char *text)
{
	for (int i = 0; i < PARTS - 1; i++)
		for (size_t at = 0; at + 16 <= parts[i].len; at++)
			FUZZ_REQUIRE(memchr(parts[i].data + at, '\0', 16) != NULL ||
				     memmem(text, strlen(text), parts[i].data + at, 16) == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct part parts[PARTS] = { 0 };
	const char *dir = fuzz_folder();
	struct sp_error err = { 0 };
	struct tokens *t;
	size_t at = 0;

	for (int i = 0; i < PARTS; i++) {
		const uint8_t *end = at < size && i < PARTS - 1 ? memchr(data + at, 1, size - at) : NULL;

		parts[i].data = data + at;
		parts[i].len = end != NULL ? (size_t)(end - (data + at)) : size - at;
		at += parts[i].len + (end != NULL);
	}
	for (int i = 0; i < PARTS - 1; i++) {
		FILE *f = fopen(tempdir_path(dir, names[i]), "w");

		FUZZ_REQUIRE(f != NULL && fwrite(parts[i].data, 1, parts[i].len, f) == parts[i].len);
		fclose(f);
	}
	t = tokens_new(dir, &err);
	if (t == NULL) {
		fuzz_require_error(err.code, &err);
		FUZZ_REQUIRE(err.code == SP_ECONF);
		require_unsaid(parts, err.text);
		return 0;
	}
	ask(t, parts);
	tokens_free(t);
	return 0;
}
