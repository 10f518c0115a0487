#include "lib/base/percent.h"

#include <string.h>

int64_t
percent_decode(const char *src, size_t len, char *out, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = src[i];

		if (n + 1 >= size)
			return -1;
		if (c == '%') {
			const char *high, *low;

			if (len - i < 3 || src[i + 1] == '\0' || src[i + 2] == '\0')
				return -1;
			high = strchr(digits, src[i + 1] | 0x20);
			low = strchr(digits, src[i + 2] | 0x20);
			/* "|0x20" also maps some control characters onto digits: those are no hexadecimal digits. */
			if (high == NULL || low == NULL || (unsigned char)src[i + 1] < '0' ||
			    (unsigned char)src[i + 2] < '0')
				return -1;
			c = (char)((high - digits) << 4 | (low - digits));
			i += 2;
		}
		out[n++] = c;
	}
	if (size == 0)
		return -1;
	out[n] = '\0';
	return (int64_t)n;
}
