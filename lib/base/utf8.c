#include "lib/base/utf8.h"

#include <string.h>

size_t
utf8_length(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t n = 0;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] < 0xf5)
		n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* What is longer than it need be, the surrogates, and what lies beyond Unicode. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] >= 0x90))
		return 0;
	return n;
}

bool
utf8_is_text(const void *data, size_t len)
{
	const char *at = data;
	char last[5];
	size_t n;

	while (len >= 4) {
		n = utf8_length(at);
		if (n == 0)
			return false;
		at += n;
		len -= n;
	}
	/* The rest with an end, which no character goes beyond. */
	memcpy(last, at, len);
	last[len] = '\0';
	for (size_t i = 0; i < len; i += n)
		if ((n = utf8_length(last + i)) == 0)
			return false;
	return true;
}

void
utf8_repair(char *text)
{
	while (*text != '\0') {
		size_t n = utf8_length(text);

		if (n == 0)
			*text = '?';
		text += n > 0 ? n : 1;
	}
}
