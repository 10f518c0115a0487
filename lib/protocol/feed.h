/*
 * The change feed's binary form, `application/vnd.seedpod.changes` (docs/api.md has it byte by byte).
 *
 *	feed    := header record* (cut | more) end
 *	header  := "SPFEED1\n" cluster[16] epoch:u64 since:u64 horizon:u64 count:u16 (epoch:u64 since:u64){count}
 *	record  := 'P' key_len:u16 value_len:u32 seq:u64 key value	a key's newest value
 *	         | 'D' key_len:u16 seq:u64 key				its deletion
 *	cut     := 'C' seq:u64 digest[16] keys:u64		here the content is the leader's: its digest and keys
 *	more    := 'M' seq:u64					ends short of a cut; the leader is at seq
 *	end     := 'E' records:u32 xxh3_128[16]			of every byte before the 'E'
 *
 * Numbers are little-endian; digests big-endian, as they are printed. Each key stands once, at its newest seq; seqs
 * grow. A feed without its end, or with a wrong hash there, is never applied.
 */
#ifndef LIB_PROTOCOL_FEED_H_
#define LIB_PROTOCOL_FEED_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/protocol/position.h"

#define FEED_CONTENT_TYPE "application/vnd.seedpod.changes"
#define FEED_KEY_MAX      480          /* bytes */
#define FEED_VALUE_MAX    (32u << 20)  /* bytes; the most that max_value can be */
#define FEED_BYTES_MAX    (128u << 20) /* the largest feed that is made or taken */

/* Writing: header, records, then exactly one of cut and more, then end. Each returns 0, SP_ETOOBIG or SP_ENOMEM. */
int feed_write_header(struct buf *out, const struct position *leader, uint64_t since);
int feed_write_put(struct buf *out, uint64_t seq, const void *key, size_t key_len, const void *value, size_t value_len);
int feed_write_delete(struct buf *out, uint64_t seq, const void *key, size_t key_len);
int feed_write_cut(struct buf *out, const struct position *leader);
int feed_write_more(struct buf *out, uint64_t leader_seq);
int feed_write_end(struct buf *out, uint32_t records);

/* What a feed says apart from its records. */
struct feed_info {
	char cluster[POSITION_CLUSTER_SIZE];
	uint64_t epoch;
	uint64_t since;
	uint64_t horizon;
	size_t history_count;
	struct epoch_start history[POSITION_HISTORY_MAX];
	bool cut;             /* ends on a cut: seq, digest and keys are the leader's there */
	uint64_t seq;         /* the leader's last change when the feed was made */
	struct digest digest; /* with cut */
	uint64_t keys;        /* with cut */
	uint32_t records;
	uint64_t last_seq; /* of the last record; `since` if there is none */
};

struct feed_record {
	bool is_delete;
	uint64_t seq;
	const void *key; /* points into the feed */
	size_t key_len;
	const void *value;
	size_t value_len;
};

/*
 * Check a whole feed (structure, bounds, growing seqs, end, hash) and return what it says. 0;
 * SP_ETRUNCATED or SP_EBADDATA with the byte offset and what was wrong there. A feed that passes
 * can be walked without further checks.
 */
int feed_check(const void *data, size_t len, struct feed_info *out, struct sp_error *err);

/*
 * Find the end of the feed that begins at data[0], of which more may be on its way: 1 with its length in *length, 0 if
 * its end is not there yet, SP_EBADDATA if these bytes do not begin a feed. *cursor is 0 at first, and kept by the
 * caller while bytes are added. Looks at lengths alone: feed_check() follows.
 */
int feed_measure(const void *data, size_t len, size_t *cursor, size_t *length, struct sp_error *err);

/* Walk the records of a feed that passed feed_check(): start with *cursor = 0; 1 with a record, 0 after the last. */
int feed_next(const void *data, size_t len, size_t *cursor, struct feed_record *out);

#endif
