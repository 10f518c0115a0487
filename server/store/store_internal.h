/* Shared by the parts of the store: the environment, the on-disk records, and LMDB's errors in our
 * terms. */
#ifndef SERVER_STORE_STORE_INTERNAL_H_
#define SERVER_STORE_STORE_INTERNAL_H_

#include <pthread.h>
#include <stdatomic.h>

#include <lmdb.h>

#include "server/store/journal.h"
#include "server/store/memtable.h"
#include "server/store/store.h"

#define STORE_FORMAT         1    /* of the records below */
#define STORE_READERS_MAX    1024 /* views and pins at once */
#define STORE_FLUSH_EVERY_MS 1000 /* how long a change stays out of LMDB at most */
#define STORE_POOL_MAX       64   /* read transactions kept for later views */

/* kv: this header, little-endian, before each value. */
#define RECORD_HEADER_BYTES 32 /* seq:u64 flags:u32 reserved:u32 hash[16] */
#define RECORD_TOMBSTONE    1u /* flag: deleted at seq; no value follows */

struct record_header {
	uint64_t seq;
	uint32_t flags;
	struct digest hash;
};

/* by_seq: one byte, then the key. tombstones: the time of deletion (u64, milliseconds, little-endian), then the key. */
#define BY_SEQ_PUT           'P'
#define BY_SEQ_DELETE        'D'
#define TOMBSTONE_TIME_BYTES 8

/* meta's record "state", and "applied" if there is one, in memory. */
struct meta {
	unsigned char cluster[16];
	uint64_t epoch;
	uint64_t seq;
	struct digest digest;
	uint64_t keys;
	uint64_t horizon;
	bool consistent;                      /* a cut, not a catch-up half applied */
	bool writer;                          /* this node wrote the present epoch */
	bool tail_lost;                       /* and may have lost the last of it: it leads on in another one */
	uint64_t applied_index, applied_term; /* "applied": the last raft entry in here; 0 if there was none */
	uint64_t applied_log;                 /* and which log that is of */
	size_t history_count;
	struct epoch_start history[POSITION_HISTORY_MAX];
};

struct store_view {
	struct store *store;
	MDB_txn *txn;
	struct store_view *next; /* in the pool */

	/* A view of the present also sees these, up to `visible`. NULL in others. */
	struct memtable *active, *frozen;
	uint64_t visible;

	/* One for the feed: the state at `visible`, the last records of the tables, and the last change in LMDB's part.
	 */
	bool for_feed;
	struct meta now;
	const struct memtable_entry *active_last, *frozen_last;
	uint64_t flushed_seq;
};

/* A version that is kept readable between two steps of a walk (store_verify.c). */
struct store_hold {
	MDB_txn *txn; /* NULL once the store was closed. Touched with env_lock held alone */
	struct store_hold *next;
};

struct store {
	char dir[4096];
	uint64_t map_size;
	bool sync_later;
	enum store_log log;
	size_t table_bytes, flush_bytes; /* as in the options */
	void (*flushed)(uint64_t seq, void *arg);
	void (*failed)(const struct sp_error *err, void *arg);
	void *arg;

	/* Views hold it for reading; attach, detach and grow for writing. */
	pthread_rwlock_t env_lock;
	MDB_env *env; /* NULL while detached */
	MDB_dbi kv, by_seq, tombstones, meta;
	unsigned page_size; /* bytes */
	bool readonly;
	bool tail_lost; /* the journal that was found is in doubt: changes that were answered may be missing */
	bool known;     /* was attached before: detached means released, not missing */

	/* One writer: from store_txn_begin() to its end. Taken before env_lock. */
	pthread_mutex_t write_lock;
	struct journal *journal; /* NULL until the first group, and without one; under write_lock */

	/* One flush at a time. Taken after write_lock, before env_lock. */
	pthread_mutex_t flush_lock;

	/*
	 * Changes that are in the log and not in LMDB yet. The writer adds its groups to `active`;
	 * store_freeze() makes that `frozen`, from which the flush brings LMDB up to the log, piece
	 * by piece, and which goes when that is done:
	 *
	 *	LMDB, on disk   1 to flushed_seq
	 *	frozen          to frozen_meta.seq; it may begin below flushed_seq, where a piece of it is flushed
	 *	active          from there (or flushed_seq) to latest.seq
	 *
	 * Readers look into active, frozen and LMDB, in this order. Either table may be NULL;
	 * without both LMDB has all there is, and `latest` means nothing. The pointers, and what
	 * follows, under memtable_lock, taken last; changed under write_lock, but for frozen, which
	 * the flush takes away.
	 */
	pthread_mutex_t memtable_lock;
	pthread_cond_t flush_wake;
	struct memtable *active, *frozen;
	struct meta latest;        /* of the last group */
	struct meta frozen_meta;   /* of the last group in frozen */
	uint64_t flushed_seq;      /* of the last change that LMDB has on disk, */
	uint64_t flushed_applied;  /* and of the last entry of the caller's log */
	uint64_t flush_wanted_seq; /* a caller waits for this change to be flushed */
	int64_t flush_at_ms;       /* the next flush, monotonic; 0: there is nothing to flush; 1: at once */
	atomic_bool flush_failed;  /* the last one */
	atomic_bool in_memory;     /* there is a table: to be looked at without the lock */
	bool flusher_runs, flusher_stops;
	pthread_t flusher;

	/* Read transactions to use again, under pool_lock. */
	pthread_mutex_t pool_lock;
	struct store_view *pool;
	unsigned pool_count;

	/* Pins, so that detaching can kill them. Under pins_lock, taken last. */
	pthread_mutex_t pins_lock;
	struct store_pin *pins;
	struct store_hold *holds;
};

struct store_txn {
	struct store *store;
	MDB_txn *txn; /* NULL if the changes go to the log */
	struct meta meta;
	bool changed; /* meta is to be written */
	int broken;   /* 0, or the code that spoilt the transaction */

	/* A transaction for the log. */
	struct meta before;
	struct memtable *active, *frozen;
	struct memtable_entry *last; /* of active, before the first change */
	struct store_view *view;     /* of LMDB, for the records that are in neither table */
	struct buf ops;              /* for the journal */
};

/* Open s->dir, or make it first, and set s->env and what goes with it. With env_lock held for writing (store_open.c).
 */
int store_open(struct store *s, enum store_attach how, struct sp_error *err);

/* LMDB's return code (or errno) as one of ours, with "what: reason". */
int store_error(struct sp_error *err, int mdb_code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

void record_header_pack(const struct record_header *h, unsigned char out[RECORD_HEADER_BYTES]);

/* SP_EBADDATA if the bytes are too few. */
int record_header_unpack(const MDB_val *v, struct record_header *out);

/* Read and write meta's records. SP_ENOTFOUND: there is none; SP_EBADDATA. meta_put returns LMDB's code. */
int meta_get(struct store *s, MDB_txn *txn, struct meta *out, struct sp_error *err);
int meta_put(struct store *s, MDB_txn *txn, const struct meta *m);

/* The store is at no index of raft's log any more. LMDB's code; there may be no record of one. */
int meta_forget_applied(struct store *s, MDB_txn *txn, struct meta *m);
void meta_position(const struct meta *m, struct position *out);

/* Whether what the head of dir/data.mdb says of its size can be: asked before LMDB maps as much as stands there. A file
 * that is missing or none of LMDB's is left to LMDB. 0, SP_EBADDATA (store_length.c). */
int store_check_head(const char *dir, struct sp_error *err);

/* The newer meta page into meta[META_END] (store_layout.h), as LMDB picks it; false if neither is one. */
bool store_newer_meta(int fd, unsigned char *meta);

/* Whether the file of an environment that was just opened, and not read yet, holds all its pages (store_length.c). 0,
 * SP_EBADDATA, SP_EIO, SP_ENOMEM. */
int store_check_length(struct store *s, MDB_env *env, struct sp_error *err);

/* A key's present header in LMDB, live or tombstone: 1, 0 if there is none, or an error, which spoils t. */
int store_find_record(
    struct store_txn *t, MDB_txn *txn, const MDB_val *key, struct record_header *out, struct sp_error *err);

/* Write meta and commit LMDB's transaction; the struct is the caller's. */
int store_commit_lmdb(struct store_txn *t, struct sp_error *err);

/* Sum up the change of a key in meta: take its old record (NULL: none) out, count the new one in. */
void meta_count(struct meta *m, uint64_t seq, const struct record_header *old, const struct record_header *new_record);

/* --- The log's side of a store (store_memtable.c, store_flush.c) --- */

/* The record of a key as a transaction for the log finds it: 1, 0, or an error. */
int memtable_txn_find(struct store_txn *t, const MDB_val *key, struct record_header *out, struct sp_error *err);

/* Take a change up: into the table, where no reader sees it yet, and the group. */
int memtable_txn_change(struct store_txn *t, const struct record_header *h, const MDB_val *key, const void *value,
    size_t value_len, struct sp_error *err);
int memtable_txn_commit(struct store_txn *t, struct sp_error *err);
void memtable_txn_abort(struct store_txn *t);

/* Read the journal that an earlier process left into `frozen`. With env_lock held for writing, the environment just
 * opened. 0 also if there is none; SP_EBADDATA if it does not fit. */
int store_memtable_load(struct store *s, struct sp_error *err);

/* Bring LMDB up to all that was committed. With write_lock held, and no transaction. 0, SP_ENOSPACE, SP_EIO, … */
int store_flush_locked(struct store *s, struct sp_error *err);

/* Make the active table the frozen one, and go over to the journal's other area. False if one is frozen already, or
 * there is nothing to flush. With write_lock held. */
bool store_freeze(struct store *s);

/* Flush the frozen table, if there is one. With write_lock held, or without. */
int store_flush_frozen(struct store *s, struct sp_error *err);

/* LMDB has all up to m's seq on disk: note it and tell. */
void store_flushed(struct store *s, const struct meta *m);

/* Close the journal, and delete it where LMDB has all of it; let the tables go. With write_lock held. */
int store_memtable_end(struct store *s, bool keep, struct sp_error *err);

int store_flusher_start(struct store *s, struct sp_error *err);
void store_flusher_stop(struct store *s);

/* Whether there is anything that LMDB does not have. */
bool store_has_memtable(struct store *s);

/* Store a value under the given seq; leave a tombstone under it, also for a key that is not here (it was made and
 * deleted since the last feed). */
int store_put_at(struct store_txn *t, uint64_t seq, const void *key, size_t key_len, const void *value,
    size_t value_len, struct sp_error *err);
int store_delete_at(struct store_txn *t, uint64_t seq, const void *key, size_t key_len, struct sp_error *err);

/* End what the walks under way hold; with env_lock held for writing. */
void store_holds_end(struct store *s);

/* Kill all pins and empty the pool; with env_lock held for writing. */
void store_pins_kill(struct store *s);
void store_pool_drain(struct store *s);

#endif
