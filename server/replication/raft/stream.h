/*
 * Checks the bytes of a member at the raft port before libraft sees them. libraft 0.15 trusts each
 * size, count, index and term that it reads: a header that ends before its entries makes it read
 * past its memory, and one vote in the last term ends every election. So the bytes pass through
 * here, and pass only if no rule is broken up to the last of them.
 *
 *	member_stream_init(&s, id);
 *	while (… read bytes …)
 *		if (member_stream_check(&s, &facts, bytes, len, &err) == 0) … pass them on …
 *		else … close the connection, libraft's end as well …
 *	member_stream_release(&s);
 *
 * libraft acts on a header when its last byte has come, and on a payload likewise. A rule that is broken is found at
 * that byte or before it, so no chunk that holds it is passed on, and the parts before are harmless.
 *
 * The format is libraft 0.15's (src/uv_encoding.c there): type and size of the header, 8 bytes
 * each, little-endian as all numbers; the header; for entries and snapshots a payload. Appends and
 * snapshots have 8 bytes at the end of their headers that are never read. The payload of a command
 * is an entry (entry.h), a snapshot's is a pointer.
 *
 * Pure, but for memory. One thread.
 */
#ifndef SERVER_REPLICATION_RAFT_STREAM_H_
#define SERVER_REPLICATION_RAFT_STREAM_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"

#define MEMBER_STREAM_ENTRIES_MAX                                                                                      \
	(1u << 22)                           /* in one append: more than trailing and snapshot_every can be together   \
					      */
#define MEMBER_STREAM_ENTRY_MAX (256u << 20) /* bytes of one entry; a batch is smaller */
#define MEMBER_STREAM_MESSAGE_MAX                                                                                      \
	(1u << 30) /* bytes of all entries of an append; libraft keeps 64 MiB of log, about                            \
		    */

/* No index and no term is beyond this, so that no sum of two overflows and none is negative where it is printed. */
#define LOG_NUMBER_LIMIT ((uint64_t)1 << 62)

/* The facts that this member knows at the moment. */
struct member_stream_facts {
	bool leads;
	uint64_t term;     /* its own */
	uint64_t term_max; /* the highest that a message may name: term_bound_most() */
	uint64_t commit;   /* index */

	/* The term of the entry with this index in its log; 0 if it is not there. May be NULL: then nothing is
	 * known. */
	uint64_t (*term_of)(void *arg, uint64_t index);
	void *arg;
};

/* The state between two chunks. */
struct member_stream {
	uint64_t sender; /* the member's id, by its greeting */

	/* The unit that is being gathered. */
	unsigned at;         /* which one: enum stream_unit */
	size_t want, have;   /* bytes */
	unsigned char *unit; /* unit_size bytes, malloc'ed */
	size_t unit_size;
	uint64_t skip;  /* bytes that come first and do not matter, */
	unsigned after; /* and what comes then: enum stream_next */

	/* The message. */
	uint64_t type, header_left; /* bytes of the header after this unit */
	uint64_t term, index;       /* of an append: its own, and its first entry's; of a snapshot: its last entry's */
	uint64_t announced;         /* entries */
	uint64_t payload;           /* bytes of those seen */
	struct member_stream_entry *entries; /* entries_size of them, malloc'ed */
	size_t entries_size, count;          /* count: those seen */

	/* The payload. */
	size_t entry;        /* the one under way */
	uint64_t entry_left; /* bytes of it */
	uint32_t ops_left;
};

void member_stream_init(struct member_stream *s, uint64_t sender);
void member_stream_release(struct member_stream *s);

/* The next `len` bytes. SP_EBADDATA: they must not be passed on, and nothing may follow them; SP_ENOMEM the same. */
int member_stream_check(struct member_stream *s, const struct member_stream_facts *facts, const void *bytes, size_t len,
    struct sp_error *err);

/*
 * How far the term may rise. A term is one election. At the shortest timeout (100 ms) and with the
 * most voters (15) there are 150 in a second, and no member leads meanwhile; at the defaults, ten.
 * So a member may hear of 1,000 more for each second that it runs, and of 2^32 at once for the time
 * that it was away: 330 days of such a struggle without an end. A forged term costs that, and is no
 * harm: at 2^32 a message the terms would end after 2^30 of them, but the 2^32 are there once in
 * the life of a process. A member that has no term yet may be new to a cluster that is old.
 */
#define TERM_BOUND_AT_ONCE  ((uint64_t)1 << 32)
#define TERM_BOUND_A_SECOND 1000

/* All zeros to begin with. */
struct term_bound {
	bool seen;
	uint64_t term;      /* seen last */
	uint64_t allowance; /* what it may rise by, */
	int64_t at_ms;      /* as of then; monotonic */
};

/* The highest term that this member, which is in `term`, may hear of now. */
uint64_t term_bound_most(struct term_bound *t, uint64_t term, int64_t now_ms);

#endif
