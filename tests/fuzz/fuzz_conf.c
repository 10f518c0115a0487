/* The configuration: what parses is printed, and what is printed parses to the same. Behind "--env--" on a line of its
 * own come variables of the environment, one a line. */
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "tests/fuzz/shared.h"

#define SEPARATOR     "\n--env--\n"
#define VARIABLES_MAX 16

/* Cut the text behind the separator into an environment; `text` ends in NUL and is written to. The file's length. */
static size_t
split(char *text, size_t size, const char *variables[VARIABLES_MAX + 1])
{
	char *separator = memmem(text, size, SEPARATOR, strlen(SEPARATOR)), *at = separator;
	size_t count = 0;

	for (; at != NULL && count < VARIABLES_MAX; at = strchr(at, '\n')) {
		*at = '\0';
		at += at == separator ? strlen(SEPARATOR) : 1;
		variables[count++] = at;
	}
	variables[count] = NULL;
	return separator != NULL ? (size_t)(separator - text) : size;
}

static void
require_equal(const struct conf *a, const struct conf *b)
{
	struct conf merged = *a;
	struct buf changed, restart;

	buf_init(&changed, 1u << 20);
	buf_init(&restart, 1u << 20);
	FUZZ_REQUIRE(conf_merge_live(&merged, b, &changed, &restart) == 0);
	FUZZ_REQUIRE(changed.len == 0 && restart.len == 0);
	buf_release(&changed);
	buf_release(&restart);
}

static void
print_and_parse(const struct conf *c)
{
	struct sp_error err = { 0 };
	struct buf first, second;
	struct conf again;

	buf_init(&first, 1u << 20);
	buf_init(&second, 1u << 20);
	FUZZ_REQUIRE(conf_print(c, &first) == 0);
	if (conf_parse("printed.ini", first.data, first.len, NULL, &again, &err) < 0)
		fuzz_fail("printed.ini", 0, err.text);
	FUZZ_REQUIRE(conf_print(&again, &second) == 0);
	FUZZ_REQUIRE(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	require_equal(c, &again);
	buf_release(&first);
	buf_release(&second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *variables[VARIABLES_MAX + 1];
	struct sp_error err = { 0 };
	char url[CONF_TEXT_MAX], *text = malloc(size + 1), *file;
	struct conf conf;
	size_t len;
	int rc;

	memcpy(text, data, size);
	text[size] = '\0';
	len = split(text, size, variables);
	/* Memory of its own, so that it is seen where the parser reads past the end. */
	file = malloc(len + (len == 0));
	memcpy(file, text, len);
	if ((rc = conf_parse("fuzz.ini", file, len, variables, &conf, &err)) < 0) {
		fuzz_require_error(rc, &err);
	} else {
		print_and_parse(&conf);
		rc = conf_peer_url(&conf, 9999, url, sizeof(url), &err);
		FUZZ_REQUIRE(rc == 0 || rc == SP_ETOOBIG);
	}
	free(file);
	free(text);
	return 0;
}
