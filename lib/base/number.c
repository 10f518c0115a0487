#include "lib/base/number.h"

#include <string.h>

bool
number_from_bytes(const char *text, size_t len, uint64_t most, uint64_t *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned digit = (unsigned)(unsigned char)text[i] - '0';

		if (digit > 9 || n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	if (len == 0 || n > most)
		return false;
	*out = n;
	return true;
}

bool
number_from_text(const char *text, uint64_t most, uint64_t *out)
{
	return text != NULL && number_from_bytes(text, strlen(text), most, out);
}

bool
number_take(const char **text, uint64_t most, uint64_t *out)
{
	size_t len = strspn(*text, "0123456789");

	if (!number_from_bytes(*text, len, most, out))
		return false;
	*text += len;
	return true;
}
