/*
 * The store: keys and values, the change index and the position, in one LMDB environment (owner of lmdb.h).
 *
 *	struct store *s = store_new(&options, &err);
 *	store_attach(s, STORE_CREATE, &err);		// the one opener: the caller holds data_dir/lock
 *	…views and transactions…
 *	store_detach(s);				// closed; views and transactions fail with SP_EAGAIN
 *	store_free(s);
 *
 * Four named databases: `kv` (key -> header with seq, flags and the record's hash, then the value), `by_seq` (seq ->
 * key: each key stands once, at its newest seq), `tombstones` (seq -> time of deletion and key, so that expiry finds
 * them without a search) and `meta` (the position, written in the same transaction as the data).
 *
 * With `log`, a group of changes is on disk elsewhere first, in the store's journal (journal.h) or
 * in the caller's own log, and in memory (memtable.h); a thread of the store brings LMDB up to it
 * later: a *flush*. Until then only views of the present (store_view_begin_present()) see those
 * changes; all other views, cursors and pins see the store as it was flushed last, which is a state
 * that it had. store_flush() brings that up to now.
 *
 * Views may be had in any thread, as many as there are; a view is used and ended by the thread that
 * began it, and is to be short: an old one keeps LMDB from using freed pages again. One transaction
 * exists at a time (store_txn_begin() waits). A thread has a view or a transaction, never both: a
 * thread that closes the store waits for either in turn. The store knows nothing of replication:
 * its caller decides who may write, and when.
 */
#ifndef SERVER_STORE_STORE_H_
#define SERVER_STORE_STORE_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/protocol/feed.h"
#include "lib/protocol/position.h"

#define STORE_KEY_MAX FEED_KEY_MAX /* bytes */

struct store;
struct store_view;
struct store_txn;

/* Where a group's changes are on disk when they are committed. */
enum store_log {
	STORE_LOG_NONE,    /* in LMDB: a group is a transaction like any other */
	STORE_LOG_JOURNAL, /* in the store's journal, which the next start reads */
	STORE_LOG_CALLERS, /* in the caller's own log, which brings again, after a crash, whatever lies behind what
			      store_txn_applied() says then; the store syncs nothing */
};

struct store_options {
	const char *dir;    /* data_dir/store; copied */
	uint64_t map_size;  /* bytes of address space to begin with */
	bool sync_later;    /* a group in the journal is on disk only after store_sync(): see there */
	enum store_log log; /* what store_txn_begin_group() uses */
	size_t table_bytes; /* of changes in memory that LMDB does not have; 0: 32 MiB */
	size_t flush_bytes; /* of pages that one flush may change in memory; 0: 64 MiB */

	/* LMDB was brought up to seq: views see it. NULL: no call. On any thread that flushes. */
	void (*flushed)(uint64_t seq, void *arg);
	/* The store cannot be brought up to the journal; the process must end, nothing is lost. On a thread of its own.
	 */
	void (*failed)(const struct sp_error *err, void *arg);
	void *arg;
};

struct store *store_new(const struct store_options *o, struct sp_error *err);
void store_free(struct store *s);

enum store_attach {
	STORE_EXISTING, /* SP_ENOTFOUND if there is none */
	STORE_CREATE,   /* make an empty one of a new cluster if there is none */
	STORE_READONLY, /* for looking at a store that no process has open: no lock, no write, no transaction */
};

/* Open it. SP_EBADDATA if the directory holds something else, a newer format or a damaged store (named); SP_EPERM,
 * SP_EIO, SP_ENOSPACE. Attaching twice is SP_EINTERNAL. */
int store_attach(struct store *s, enum store_attach how, struct sp_error *err);

/* Close it, after the views and the transaction under way have ended. Pins are dead from here on. 0, or SP_EIO if
 * the last commits could not be put on disk: the store is closed all the same. */
int store_detach(struct store *s);

/* --- Reading --- */

/* SP_EAGAIN while released, SP_ENOTFOUND if there never was a store. */
int store_view_begin(struct store *s, struct store_view **out, struct sp_error *err);
void store_view_end(struct store_view *v);

/* A view whose records also are what was committed and not flushed yet; its cursors and its position are not. */
int store_view_begin_present(struct store *s, struct store_view **out, struct sp_error *err);

/* One whose cursor over changes and whose position also have what was committed and not flushed yet. */
int store_view_begin_feed(struct store *s, struct store_view **out, struct sp_error *err);

/* cluster, epoch, seq, digest, keys, horizon, consistent and history; `raft` is that of a stopped member where
 * raft wrote to the store; the rest is zero. SP_EBADDATA. */
int store_view_position(struct store_view *v, struct position *out, struct sp_error *err);

/* A record; the pointers are into the map and die with the view. */
struct store_record {
	const void *key;
	size_t key_len;
	const void *value;
	size_t value_len;
	uint64_t seq;
	bool is_delete;
};

/* The live record of a key, checked against its hash. SP_ENOTFOUND; SP_EBADDATA if it is damaged. */
int store_view_get(
    struct store_view *v, const void *key, size_t key_len, struct store_record *out, struct sp_error *err);

/* Walk the live records in key order after `after` (or from the start: NULL), or the newest change of each key in seq
 * order after `since`, deletes included. next: 1 with a record, 0 at the end, or an error. The cursor ends before its
 * view. */
struct store_cursor;
int store_cursor_keys(
    struct store_view *v, const void *after, size_t after_len, struct store_cursor **out, struct sp_error *err);
int store_cursor_changes(struct store_view *v, uint64_t since, struct store_cursor **out, struct sp_error *err);
int store_cursor_next(struct store_cursor *c, struct store_record *out, struct sp_error *err);
void store_cursor_free(struct store_cursor *c);

/* store_position(): the present position in one call. */
int store_position(struct store *s, struct position *out, struct sp_error *err);

/*
 * Walk everything: each record against its hash, by_seq and tombstones against kv, the sum against the digest. 0, or
 * SP_EBADDATA with the first thing that is wrong; SP_EAGAIN if the store is released meanwhile. *found is the
 * recomputed digest.
 *
 * One version is walked, in short steps: writes continue beside it and the map can grow. As long as
 * it takes, LMDB cannot use the pages again that are freed meanwhile. No view may be open in this
 * thread.
 */
int store_verify(struct store *s, struct digest *found, struct sp_error *err);

/*
 * The same for callers that must not be kept so long: a step takes some milliseconds, and at most
 * so many records. 1: there is more to do; 0: the store is as its position says; or an error, as
 * above. Any thread, one at a time.
 */
#define STORE_WALK_RECORDS 10000
struct store_walk;
int store_walk_new(struct store *s, struct store_walk **out, struct sp_error *err);
int store_walk_step(struct store_walk *w, unsigned records, struct sp_error *err);
const struct position *store_walk_position(const struct store_walk *w); /* of the version that is walked */
void store_walk_free(struct store_walk *w);                             /* NULL does nothing */

/* Walk the pages of the store in `dir`, which no process may be writing, without LMDB: that each is
 * within the file, of its kind and used once, so that reading them through LMDB cannot end the
 * process by a signal. `deep`: all of them, and the free list; else those that opening it reads,
 * which every store_attach() looks at. A directory without a store, or with something else in it,
 * is left to store_attach(). 0, SP_EBADDATA with the first page that is wrong, SP_EIO,
 * SP_ENOMEM. */
int store_check_structure(const char *dir, bool deep, struct sp_error *err);

/* --- Writing --- */

/* Flushes first, if there is something to flush; fails as that does. */
int store_txn_begin(struct store *s, struct store_txn **out, struct sp_error *err);

/*
 * A transaction of puts and deletes that take about so many bytes, for which the log is enough; if there is none, or
 * it does not suit (many bytes, hardly any room on the volume), one as of store_txn_begin(). Its commit is on disk by
 * the log's terms, but SP_EMAPFULL does not come from it. It begins no epoch and writes no note.
 */
int store_txn_begin_group(struct store *s, size_t bytes, struct store_txn **out, struct sp_error *err);

/* A transaction for one feed: as of store_txn_begin_group() where the feed ends on a cut and changes nothing but
 * records, else as of store_txn_begin(). `bytes`: the feed's. */
int store_txn_begin_feed(
    struct store *s, const struct feed_info *info, size_t bytes, struct store_txn **out, struct sp_error *err);

/* Whether something is not flushed yet and was committed in this role, so that the store need not be brought into it,
 * which takes a flush. */
bool store_has_role(struct store *s, bool leader);

/* Bring LMDB, and with it all views, up to what is committed now: at once, waiting for it while
 * writes continue; or soon. SP_ENOSPACE, SP_EIO, SP_EAGAIN. Any thread without view or
 * transaction. */
int store_flush(struct store *s, struct sp_error *err);
void store_flush_soon(struct store *s);

/* Whether views lack something that was committed; *seq is the last change then. And up to which change they have all.
 */
bool store_unflushed(struct store *s, uint64_t *seq);
uint64_t store_flushed_seq(struct store *s);

/* How many changes LMDB has not yet; *age_ms: since the first of them was made, 0 if there is none. Any thread. */
uint64_t store_unflushed_changes(struct store *s, int64_t *age_ms);

/*
 * Publish: on disk when it returns 0. On failure nothing of the transaction is there. SP_EMAPFULL: call store_grow()
 * and do it all again. SP_EIO: what is on disk is not known; the process must end (fail-stop), because a later fsync
 * may lie. Frees the transaction either way.
 */
int store_txn_commit(struct store_txn *t, struct sp_error *err);
void store_txn_abort(struct store_txn *t);

/*
 * Put on disk all that was committed; only with sync_later it is not there yet. Until then a group
 * survives the end of the process but not that of the machine. A machine that goes down in between
 * leaves a store that holds all that was synced, and the first part of what came after it: the next
 * attach finds its journal in doubt, and has a leader that continues from there begin an epoch. 0,
 * SP_EIO as store_txn_commit(), SP_EAGAIN.
 */
int store_sync(struct store *s, struct sp_error *err);

/* Whether the journal was in doubt when the store was attached: changes that were answered may be missing. */
bool store_tail_lost(struct store *s);

/* Whether anything was changed so far, so that committing will write. */
bool store_txn_changed(const struct store_txn *t);

/* Whether a step failed in a way that spoilt the whole transaction (map or volume full, I/O), and with what code. */
int store_txn_broken(const struct store_txn *t);

/* The live record's seq. SP_ENOTFOUND. For preconditions. */
int store_txn_seq(struct store_txn *t, const void *key, size_t key_len, uint64_t *seq, struct sp_error *err);

/* The next change: a put or a delete by the node that leads. *seq is the new number. SP_ENOTFOUND: nothing to delete.
 */
int store_txn_put(struct store_txn *t, const void *key, size_t key_len, const void *value, size_t value_len,
    uint64_t *seq, struct sp_error *err);
int store_txn_delete(struct store_txn *t, const void *key, size_t key_len, uint64_t *seq, struct sp_error *err);

/*
 * A checked feed from the leader: all its records, then its epoch and history, and at a cut the proof that digest and
 * key count are the leader's. SP_EGAP, SP_EDIVERGED, SP_EDIGEST (with expected and found); the caller aborts on each.
 */
int store_txn_apply(
    struct store_txn *t, const void *feed, size_t len, const struct feed_info *info, struct sp_error *err);

/* Drop tombstones older than `before_wall_ms`, at most `most` of them; *dropped says how many. Moves the horizon. */
int store_txn_expire(
    struct store_txn *t, int64_t before_wall_ms, unsigned most, unsigned *dropped, struct sp_error *err);

/* This node leads from here on: where the store was not written by its own node last, a new epoch begins. *began says
 * so. */
int store_txn_lead(struct store_txn *t, bool *began, struct sp_error *err);

/* This node follows: what comes next is another's history. */
int store_txn_follow(struct store_txn *t, struct sp_error *err);

/*
 * Mode raft: each entry of the log is applied in a transaction together with its index and term, so that the store
 * itself says which entries it holds (0: none). An epoch is the term that wrote: store_txn_begin_epoch() before the
 * first change of a term; not above the present epoch does nothing, and a new one spoils a transaction of
 * store_txn_begin_group() with SP_EINTERNAL.
 */
void store_txn_applied(const struct store_txn *t, uint64_t *index, uint64_t *term);
void store_txn_set_applied(struct store_txn *t, uint64_t index, uint64_t term);
int store_txn_begin_epoch(struct store_txn *t, uint64_t epoch, struct sp_error *err);

/* The store belongs to this cluster (UUID), whose log `log` begins on a store at seq `base`: from now on it is an index
 * of that log that store_txn_set_applied() sets. One that holds nothing yet takes the cluster's id; one of another
 * cluster or at another seq spoils the transaction with SP_EDIVERGED. */
int store_txn_found(struct store_txn *t, const char *cluster, uint64_t base, uint64_t log, struct sp_error *err);

/*
 * Notes: small named texts beside the position, replicated by their writer, not part of the digest.
 * Reading appends to `out`; SP_ENOTFOUND. Names are of [a-z]+ and up to 32 bytes; "state" and
 * "applied" are the store's own.
 */
int store_txn_note_get(struct store_txn *t, const char *name, struct buf *out, struct sp_error *err);
int store_txn_note_put(struct store_txn *t, const char *name, const void *data, size_t len, struct sp_error *err);
int store_note(struct store *s, const char *name, struct buf *out, struct sp_error *err);

/* The record of the holder of the lead. Not in a transaction of store_txn_begin_group(). Reading:
 * LEAD_NONE if there is none; SP_EBADDATA, and as store_note(). */
int store_txn_set_lead(struct store_txn *t, const struct lead *lead, struct sp_error *err);
int store_lead(struct store *s, struct lead *out, struct sp_error *err);

/* The position as the transaction would publish it. */
void store_txn_position(const struct store_txn *t, struct position *out);

uint64_t store_txn_last_seq(const struct store_txn *t);

/* Double the map, as far as the volume can hold. SP_ENOSPACE if the volume is full. Waits for the views under way;
 * no transaction may be open in this thread. */
int store_grow(struct store *s, struct sp_error *err);

/* Whether the volume has some room left: less than this is as good as full. True if it cannot be told. */
#define STORE_ROOM_BYTES (4u << 20)
bool store_has_room(struct store *s);

/* Whether the open store's file still is where it was opened: writes to one that was removed, or
 * whose volume was, are lost. True if there is none, or it cannot be told. */
bool store_in_place(struct store *s);

/* Bytes of the map, and of the file. For metrics; 0 while released. */
void store_sizes(struct store *s, uint64_t *map_bytes, uint64_t *file_bytes);

/* --- The image for snapshots (store_pin.c) --- */

/*
 * A pin holds one version of the store and reads the bytes of data.mdb as of then: the same bytes
 * however often, while writes continue. The version's freed pages are read as zeros.
 */
struct store_pin;
int store_pin_new(struct store *s, struct store_pin **out, struct sp_error *err);
void store_pin_free(struct store_pin *p);
uint64_t store_pin_size(const struct store_pin *p);      /* bytes of the image */
uint64_t store_pin_live(const struct store_pin *p);      /* bytes of the pages in use in it */
unsigned store_pin_page_size(const struct store_pin *p); /* bytes */
const struct position *store_pin_position(const struct store_pin *p);

/* Bytes of pages that writers have freed since the version was pinned, and cannot use again before
 * it is released: the file grows by so much if nothing else is free in it. Takes what is new since
 * the last call; one caller at a time. */
uint64_t store_pin_withheld(struct store_pin *p);

/* Read exactly len bytes at offset, within the size. SP_EAGAIN once the store was detached; SP_EIO. Any thread. */
int store_pin_read(struct store_pin *p, uint64_t offset, void *out, size_t len, struct sp_error *err);

#endif
