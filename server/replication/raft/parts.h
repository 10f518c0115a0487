/*
 * A large entry, passed through the log in parts: so that neither a heartbeat nor another member's answer waits behind
 * it for longer than a part takes, and libraft never sees an entry that is larger than its segments.
 *
 * The parts of an entry are entries of the log that follow one another, all of one term, and the
 * whole takes effect with the last one. An entry that does not continue where the part before it
 * ended, such as one of the next leader's, voids the parts so far. So the log alone decides which
 * entries are whole, and it is the same at each member, wherever in the log it begins: the store's
 * applied index is never that of a part other than the last. Little-endian, padded with zeros to a
 * multiple of 8:
 *
 *	1:u8 kind:u8 (4) 0:u16 len:u32 term:u64 offset:u32 total:u32
 *	then `len` bytes of the whole, from `offset` on; the whole is as in entry.h
 *
 * Pure; any thread.
 */
#ifndef SERVER_REPLICATION_RAFT_PARTS_H_
#define SERVER_REPLICATION_RAFT_PARTS_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"

#define PART_BYTES  (128u << 10) /* an entry that is larger goes in parts of so many bytes */
#define PARTS_TOTAL (256u << 20) /* bytes of the largest whole that is taken; a batch is bounded far below */

struct part {
	uint64_t term;
	uint32_t offset, total, len; /* bytes */
	const void *data;
};

/* Bytes that a part takes which holds so many of the whole's. */
size_t part_size(size_t len);

/* Write exactly part_size(p->len) bytes. */
void part_encode(const struct part *p, void *out);

/* Whether these bytes are a part, and not an entry of another kind. */
bool part_is(const void *data, size_t len);

/* Read a part; it points into `data`. SP_EBADDATA: it reaches beyond its bytes or its whole, or is empty. */
int part_decode(const void *data, size_t len, struct part *out, struct sp_error *err);

/* The parts of a whole so far. Zeros: nothing. */
struct parts {
	unsigned char *whole; /* malloc'ed, `total` bytes of which `len` are there; NULL: none is begun */
	size_t len, total;
	uint64_t term;
};

/*
 * Add the next part. 1: the whole is complete, in p->whole, which the caller may take (set it to
 * NULL); 0: it is not, or this part follows none and was passed over; SP_ENOMEM.
 */
int parts_take(struct parts *p, const struct part *next, struct sp_error *err);

/* Forget what there is. */
void parts_drop(struct parts *p);

#endif
