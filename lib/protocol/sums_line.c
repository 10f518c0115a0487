#include "lib/protocol/sums_line.h"

#include <string.h>

#define HEX_LEN (DIGEST_HEX_SIZE - 1)

bool
sums_line_word(const char **at, const char *end, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(end - *at) < len || memcmp(*at, word, len) != 0)
		return false;
	*at += len;
	return true;
}

bool
sums_line_hash(const char **at, const char *end, struct digest *out)
{
	char hex[DIGEST_HEX_SIZE];

	if ((size_t)(end - *at) < HEX_LEN)
		return false;
	memcpy(hex, *at, HEX_LEN);
	hex[HEX_LEN] = '\0';
	if (digest_from_hex(hex, out) < 0)
		return false;
	*at += HEX_LEN;
	return true;
}

int
sums_line_compare(const char *what, struct digest expected, struct digest found, struct sp_error *err)
{
	char a[DIGEST_HEX_SIZE], b[DIGEST_HEX_SIZE];

	if (digest_equal(expected, found))
		return 0;
	digest_to_hex(expected, a);
	digest_to_hex(found, b);
	return sp_error_set(err, SP_EBADDATA, "%s is not what was sent: expected XXH3-128 %s, found %s", what, a, b);
}
