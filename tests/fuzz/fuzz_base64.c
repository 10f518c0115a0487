/* Base64: what is decoded is encoded back to the same bytes, whichever way round, and nothing is written past the room
 * that the header asks for. */
#include <stdlib.h>
#include <string.h>

#include "server/http/base64.h"
#include "tests/fuzz/shared.h"

static void
encode_and_decode(const void *data, size_t size)
{
	struct buf text;
	unsigned char *back;

	buf_init(&text, size * 2 + 8);
	FUZZ_REQUIRE(base64_encode(&text, data, size) == 0);
	FUZZ_REQUIRE(text.len == (size + 2) / 3 * 4);
	back = malloc(text.len / 4 * 3 + (text.len == 0));
	FUZZ_REQUIRE(base64_decode(text.data, text.len, back) == (int64_t)size);
	FUZZ_REQUIRE(size == 0 || memcmp(back, data, size) == 0);
	free(back);
	buf_release(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char *out = malloc(size / 4 * 3 + (size < 4));
	int64_t n = base64_decode((const char *)data, size, out);

	FUZZ_REQUIRE(n == -1 || (n >= 0 && (size_t)n <= size / 4 * 3));
	if (n >= 0)
		encode_and_decode(out, (size_t)n);
	free(out);
	encode_and_decode(data, size);
	return 0;
}
