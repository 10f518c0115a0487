/*
 * What a client sends, as the HTTP library gets it: the same however it arrives in pieces, and after what was refused
 * nothing more. What passes passes again unchanged, and has no byte that two readers read differently in a head.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/net/listener_input.h"
#include "tests/fuzz/shared.h"

#define OUT_BYTES 65536u

struct pieces {
	const uint8_t *data;
	size_t size, at, piece;
	bool again; /* alternately nothing is there */
};

static ssize_t
read_piece(void *arg, void *buf, size_t size)
{
	struct pieces *p = arg;
	size_t n = p->size - p->at < p->piece ? p->size - p->at : p->piece;

	p->again = !p->again;
	if (p->again && n > 0)
		return -1;
	n = n < size ? n : size;
	memcpy(buf, p->data + p->at, n);
	p->at += n;
	return (ssize_t)n;
}

/* All that passes of data[size], which arrives in pieces and is asked for in others. */
static size_t
pass_all(const uint8_t *data, size_t size, size_t piece, size_t asked, char *out, unsigned *status)
{
	struct pieces p = { .data = data, .size = size, .piece = piece };
	struct input_source source = { .read = read_piece, .again = -1, .arg = &p };
	struct input *in = input_new();
	const struct framing_fault *fault = NULL;
	size_t len = 0, rounds = 0;
	ssize_t n = -1;

	FUZZ_REQUIRE(in != NULL);
	while (n != 0 && rounds++ < 4 * (size + OUT_BYTES)) {
		n = input_receive(in, out + len, asked < OUT_BYTES - len ? asked : OUT_BYTES - len, &source);
		FUZZ_REQUIRE(n >= -1 && n <= (ssize_t)asked);
		len += n > 0 ? (size_t)n : 0;
		FUZZ_REQUIRE(len < OUT_BYTES);
		/* A refused connection never ends by itself: nothing more is read of it. */
		if (n < 0 && p.at == p.size)
			break;
	}
	for (unsigned long i = 0; i <= size && fault == NULL; i++)
		fault = input_fault(in, i);
	*status = fault != NULL ? fault->status : 0;
	input_free(in);
	return len;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char whole[OUT_BYTES], parts[OUT_BYTES], again[OUT_BYTES];
	unsigned whole_status, parts_status, again_status;
	size_t piece = size > 0 ? data[size - 1] % 7 + 1 : 1, len, other;

	if (size > 600)
		return 0; /* byte by byte, more takes too long */
	len = pass_all(data, size, SIZE_MAX, OUT_BYTES, whole, &whole_status);
	other = pass_all(data, size, piece, piece + 3, parts, &parts_status);
	FUZZ_REQUIRE(len == other && memcmp(whole, parts, len) == 0 && whole_status == parts_status);
	if (whole_status == 0) {
		other = pass_all((const uint8_t *)whole, len, SIZE_MAX, OUT_BYTES, again, &again_status);
		FUZZ_REQUIRE(other == len && memcmp(whole, again, len) == 0 && again_status == 0);
	}
	return 0;
}
