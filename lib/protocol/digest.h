/*
 * Digests: XXH3-128 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md) of byte strings, and the sum of
 * such hashes modulo 2^128 that stands for a store's whole content. They find faults, not attackers.
 */
#ifndef LIB_PROTOCOL_DIGEST_H_
#define LIB_PROTOCOL_DIGEST_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A 128-bit number; zero is the digest of an empty store. */
struct digest {
	uint64_t high;
	uint64_t low;
};

#define DIGEST_HEX_SIZE 33 /* 32 hexadecimal digits, most significant first (as xxh128sum prints), and NUL */
#define DIGEST_BYTES    16 /* canonical big-endian form */

/* XXH3-128 of `len` bytes. */
struct digest digest_of(const void *data, size_t len);

/*
 * The hash of one live record: XXH3-128 over seq (8 bytes, little-endian), the key's length (4 bytes,
 * little-endian), the key and the value.
 */
struct digest digest_of_record(const void *key, size_t key_len, uint64_t seq, const void *value, size_t value_len);

/* Sum and difference modulo 2^128. */
struct digest digest_add(struct digest a, struct digest b);
struct digest digest_sub(struct digest a, struct digest b);
bool digest_equal(struct digest a, struct digest b);

/* To and from text; digest_from_hex takes exactly 32 lower- or upper-case digits, 0 or SP_EBADDATA. */
void digest_to_hex(struct digest d, char out[DIGEST_HEX_SIZE]);
int digest_from_hex(const char *hex, struct digest *out);

/* To and from 16 bytes, big-endian. */
void digest_to_bytes(struct digest d, unsigned char out[DIGEST_BYTES]);
struct digest digest_from_bytes(const unsigned char in[DIGEST_BYTES]);

/* Hash a stream piece by piece. Ends the process with a message when out of memory. digest_stream_value may be asked
 * at any time and does not end the stream. One thread at a time. */
struct digest_stream;
struct digest_stream *digest_stream_new(void);
void digest_stream_free(struct digest_stream *s);
void digest_stream_add(struct digest_stream *s, const void *data, size_t len);
struct digest digest_stream_value(const struct digest_stream *s);

#endif
