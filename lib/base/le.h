/* Whole numbers as bytes, the lowest first, as they stand in feeds, in the store, in the journal and in raft's log. */
#ifndef LIB_BASE_LE_H_
#define LIB_BASE_LE_H_

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The lowest `bytes` bytes of a number, at most 8; the others are lost. */
static inline void
le_put(unsigned char *out, uint64_t value, size_t bytes)
{
	const uint64_t le = htole64(value);

	memcpy(out, &le, bytes);
}

static inline uint64_t
le_get(const unsigned char *in, size_t bytes)
{
	uint64_t le = 0;

	memcpy(&le, in, bytes);
	return le64toh(le);
}

#endif
