/* Percent-encoding: nothing past the room given, whatever it is, and decoding undoes encoding. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/percent.h"
#include "tests/fuzz/shared.h"

/* Encode every byte and decode it again. */
static void
encode_and_decode(const uint8_t *data, size_t size)
{
	char *text = malloc(3 * size + 1), *back = malloc(size + 1);

	for (size_t i = 0; i < size; i++)
		snprintf(text + 3 * i, 4, i % 2 == 0 ? "%%%02x" : "%%%02X", data[i]);
	FUZZ_REQUIRE(percent_decode(text, 3 * size, back, size + 1) == (int64_t)size);
	FUZZ_REQUIRE(size == 0 || memcmp(back, data, size) == 0);
	FUZZ_REQUIRE(percent_decode(text, 3 * size, back, size) == -1);
	free(text);
	free(back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t escapes = 0, room;
	char *out;
	int64_t n;

	for (size_t i = 0; i < size; i++)
		escapes += data[i] == '%';
	out = malloc(size + 1);
	n = percent_decode((const char *)data, size, out, size + 1);
	FUZZ_REQUIRE(n == -1 || ((size_t)n + 2 * escapes == size && out[n] == '\0'));
	FUZZ_REQUIRE(n >= 0 || escapes > 0);
	free(out);

	/* With less room it says so, and with just enough it is the same. */
	room = size > 0 ? data[0] % (size + 1) : 0;
	out = malloc(room + (room == 0));
	FUZZ_REQUIRE(percent_decode((const char *)data, size, out, room) == (n >= 0 && (size_t)n < room ? n : -1));
	free(out);
	encode_and_decode(data, size);
	return 0;
}
