/*
 * Changes in memory: those that the log has and LMDB has not yet. A table of records by key, and a
 * list of them in seq order; a key that changes again stands in it twice, and a reader finds the
 * newest that its view may see.
 *
 * One thread changes a table; any may read it meanwhile, without a lock, up to a seq that the
 * writer has published. A record never moves or changes while the table lives, so a reader may keep
 * a record that it found as long as its reference.
 */
#ifndef SERVER_STORE_MEMTABLE_H_
#define SERVER_STORE_MEMTABLE_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/protocol/digest.h"

struct memtable;

struct memtable_entry {
	struct memtable_entry *_Atomic older; /* in the bucket */
	struct memtable_entry *next;          /* in seq order; of the last published one: the writer's alone */
	struct memtable_entry *previous;      /* in seq order; never changes once readers know of the entry */
	uint64_t seq;
	uint64_t newer_seq;                   /* of the record that replaces it in this table; 0: none */
	struct digest hash;                   /* of the record; zeros for a delete */
	uint64_t applied_index, applied_term; /* where it ends a group: the last entry of the caller's log in it */
	uint32_t key_hash;
	uint32_t value_len; /* bytes */
	uint16_t key_len;   /* bytes */
	bool is_delete;
	bool ends_group;       /* with it the store is at a state that was answered for */
	unsigned char bytes[]; /* the key, then the value */
};

/* NULL when out of memory. It begins with one reference. */
struct memtable *memtable_new(void);
struct memtable *memtable_ref(struct memtable *r); /* also of NULL */
void memtable_unref(struct memtable *r);           /* NULL does nothing; the last one frees it */

/* A change, after all others. seq, key and hash are the caller's; NULL when out of memory. The writer alone. */
struct memtable_entry *memtable_add(
    struct memtable *r, uint64_t seq, const void *key, size_t key_len, const void *value, size_t value_len);

/* Take out again what was added after `last` (NULL: everything), which no reader may see yet. The writer alone. */
void memtable_rewind(struct memtable *r, struct memtable_entry *last);

/* The newest record of a key, deletes included, with a seq of at most `most`; NULL if there is none, or no table. */
const struct memtable_entry *memtable_find(const struct memtable *r, const void *key, size_t key_len, uint64_t most);

/* The seq of the store that an empty table's first record follows. The writer alone. */
void memtable_set_base(struct memtable *r, uint64_t seq);
uint64_t memtable_base(const struct memtable *r);

/* The last record that readers know of: noted by the writer when a group is durable, NULL before the first one. The
 * caller has a lock for both. From it, readers reach all earlier ones by `previous`, and from those each other by
 * `next`. */
void memtable_publish(struct memtable *r);
const struct memtable_entry *memtable_published(const struct memtable *r); /* NULL also if there is no table */

struct memtable_entry *memtable_first(const struct memtable *r);
struct memtable_entry *memtable_last(const struct memtable *r);
size_t memtable_count(const struct memtable *r);
size_t memtable_bytes(const struct memtable *r);    /* of memory */
int64_t memtable_made_ms(const struct memtable *r); /* when it was made, monotonic; any thread */

#endif
