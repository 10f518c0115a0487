#include "server/http/base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int
base64_encode(struct buf *out, const void *data, size_t len)
{
	const unsigned char *p = data;
	char quad[4];
	int rc;

	rc = buf_reserve(out, (len + 2) / 3 * 4);
	for (size_t i = 0; rc == 0 && i < len; i += 3) {
		uint32_t bits = (uint32_t)p[i] << 16;

		if (i + 1 < len)
			bits |= (uint32_t)p[i + 1] << 8;
		if (i + 2 < len)
			bits |= p[i + 2];
		quad[0] = alphabet[bits >> 18];
		quad[1] = alphabet[bits >> 12 & 63];
		quad[2] = i + 1 < len ? alphabet[bits >> 6 & 63] : '=';
		quad[3] = i + 2 < len ? alphabet[bits & 63] : '=';
		rc = buf_add(out, quad, sizeof(quad));
	}
	return rc;
}

int64_t
base64_decode(const char *text, size_t len, unsigned char *out)
{
	size_t padding = 0, n = 0;

	if (len % 4 != 0)
		return -1;
	while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < len; i += 4) {
		uint32_t bits = 0;

		for (size_t k = 0; k < 4; k++) {
			const char *at = NULL;

			if (i + k >= len - padding)
				at = alphabet; /* padding counts as zero bits */
			else if (text[i + k] != '\0')
				at = strchr(alphabet, text[i + k]);
			if (at == NULL)
				return -1;
			bits = bits << 6 | (uint32_t)(at - alphabet);
		}
		for (size_t k = 0; k < 3 && n < len / 4 * 3 - padding; k++)
			out[n++] = (unsigned char)(bits >> (16 - 8 * k));
	}
	return (int64_t)n;
}
