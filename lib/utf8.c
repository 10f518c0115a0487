#include "lib/utf8.h"

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
