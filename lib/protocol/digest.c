#include "lib/protocol/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>
/* On x86 the library brings, beside the code for every processor, code for what this one has: two to three times as
 * fast for long input. The names of the functions above lead there from here on. */
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#endif

#include "lib/base/error.h"
#include "lib/base/le.h"

struct digest_stream {
	XXH3_state_t *state;
};

static struct digest
from_xxh(XXH128_hash_t h)
{
	return (struct digest){ .high = h.high64, .low = h.low64 };
}

struct digest
digest_of(const void *data, size_t len)
{
	return from_xxh(XXH3_128bits(data, len));
}

/* Records up to this size are hashed in one piece from the stack, which is much faster than a stream for short input.
 */
#define RECORD_ON_STACK 1024

struct digest
digest_of_record(const void *key, size_t key_len, uint64_t seq, const void *value, size_t value_len)
{
	unsigned char flat[12 + RECORD_ON_STACK];
	struct digest_stream *s;
	struct digest d;

	le_put(flat, seq, 8);
	le_put(flat + 8, key_len, 4);
	if (key_len + value_len <= RECORD_ON_STACK) {
		memcpy(flat + 12, key, key_len);
		if (value_len > 0)
			memcpy(flat + 12 + key_len, value, value_len);
		return digest_of(flat, 12 + key_len + value_len);
	}
	s = digest_stream_new();
	digest_stream_add(s, flat, 12);
	digest_stream_add(s, key, key_len);
	digest_stream_add(s, value, value_len);
	d = digest_stream_value(s);
	digest_stream_free(s);
	return d;
}

struct digest
digest_add(struct digest a, struct digest b)
{
	struct digest sum = { .low = a.low + b.low };

	sum.high = a.high + b.high + (sum.low < a.low ? 1 : 0);
	return sum;
}

struct digest
digest_sub(struct digest a, struct digest b)
{
	return (struct digest){ .high = a.high - b.high - (a.low < b.low ? 1 : 0), .low = a.low - b.low };
}

bool
digest_equal(struct digest a, struct digest b)
{
	return a.high == b.high && a.low == b.low;
}

void
digest_to_hex(struct digest d, char out[DIGEST_HEX_SIZE])
{
	snprintf(out, DIGEST_HEX_SIZE, "%016llx%016llx", (unsigned long long)d.high, (unsigned long long)d.low);
}

int
digest_from_hex(const char *hex, struct digest *out)
{
	uint64_t half[2] = { 0, 0 };

	if (strlen(hex) != DIGEST_HEX_SIZE - 1 || strspn(hex, "0123456789abcdefABCDEF") != DIGEST_HEX_SIZE - 1)
		return SP_EBADDATA;
	for (int i = 0; i < 2; i++) {
		char part[17] = { 0 };

		memcpy(part, hex + 16 * i, 16);
		half[i] = strtoull(part, NULL, 16);
	}
	*out = (struct digest){ .high = half[0], .low = half[1] };
	return 0;
}

void
digest_to_bytes(struct digest d, unsigned char out[DIGEST_BYTES])
{
	for (int i = 0; i < 8; i++) {
		out[i] = (unsigned char)(d.high >> (56 - 8 * i));
		out[8 + i] = (unsigned char)(d.low >> (56 - 8 * i));
	}
}

struct digest
digest_from_bytes(const unsigned char in[DIGEST_BYTES])
{
	struct digest d = { 0, 0 };

	for (int i = 0; i < 8; i++) {
		d.high = d.high << 8 | in[i];
		d.low = d.low << 8 | in[8 + i];
	}
	return d;
}

struct digest_stream *
digest_stream_new(void)
{
	struct digest_stream *s = malloc(sizeof(*s));

	if (s != NULL)
		s->state = XXH3_createState();
	if (s == NULL || s->state == NULL) {
		fputs("seedpod: out of memory\n", stderr);
		exit(71);
	}
	XXH3_128bits_reset(s->state);
	return s;
}

void
digest_stream_free(struct digest_stream *s)
{
	if (s == NULL)
		return;
	XXH3_freeState(s->state);
	free(s);
}

void
digest_stream_add(struct digest_stream *s, const void *data, size_t len)
{
	if (len > 0)
		XXH3_128bits_update(s->state, data, len);
}

struct digest
digest_stream_value(const struct digest_stream *s)
{
	return from_xxh(XXH3_128bits_digest(s->state));
}
