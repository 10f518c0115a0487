/*
 * Snapshots as tar streams (docs/api.md has the format): made from a pinned version of the store, shared by the
 * followers that ask at the same time, resumable while they are held. A snapshot's bytes are a pure function of its
 * pin, so any part of it can be read again; memory does not depend on its size.
 *
 *	snapshots_acquire(list, NULL, &snapshot, &err);			// or by id, to resume
 *	stream = snapshot_stream_new(snapshot, offset, zstd, &err);	// takes the reference over
 *	n = snapshot_stream_read(stream, out, max);
 *	snapshot_stream_free(stream);
 */
#ifndef SERVER_SNAPSHOT_SNAPSHOT_H_
#define SERVER_SNAPSHOT_SNAPSHOT_H_

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/error.h"
#include "server/store/counters.h"
#include "server/store/store.h"

#define SNAPSHOT_ID_SIZE 37 /* a UUID as text, and NUL */

struct snapshots;
struct snapshot;
struct snapshot_stream;

/* `donor` is this pod's name, for seedpod.json; copied. hold_ms: how long a snapshot stays after its last reader. */
struct snapshots *snapshots_new(
    struct store *s, struct counters *counters, const char *donor, int64_t hold_ms, struct sp_error *err);
void snapshots_free(struct snapshots *l);

/* Change hold_ms. Any thread. */
void snapshots_configure(struct snapshots *l, int64_t hold_ms);

/* How many pods that pass on what they get are sent a snapshot at once; 0, the default, is any number. Before the first
 * snapshot. */
void snapshots_set_fan_out(struct snapshots *l, unsigned fan_out);

/* Release snapshots that were held for too long, and those without readers that cost too much; call
 * about once a second. */
void snapshots_expire(struct snapshots *l);

/* Bytes of the store's file that writers have freed and cannot use again because of the snapshots held, as of the last
 * snapshots_expire(). Any thread. */
uint64_t snapshots_withheld(struct snapshots *l);

/* The store is about to be released: hand out none of the present ones any more. Streams under way will break. */
void snapshots_drop(struct snapshots *l);

/* Snapshots held at present. */
unsigned snapshots_count(struct snapshots *l);

/*
 * A reference to the snapshot with that id, or, with NULL, to a fresh one or one that was made just
 * now for another reader. SP_ENOTFOUND: no such id is held. SP_EAGAIN, SP_EIO, SP_ENOMEM as
 * store_pin_new(). Any thread.
 */
int snapshots_acquire(struct snapshots *l, const char *id, struct snapshot **out, struct sp_error *err);
void snapshot_release(struct snapshot *s);

/*
 * A reference to a snapshot that is being sent to pods which pass it on, or NULL: of the present epoch, on a cut, at
 * `min_seq` or beyond, and at most `lag` changes behind the store. Any thread.
 */
struct snapshot *snapshots_find_passed_on(struct snapshots *l, uint64_t lag, uint64_t min_seq);

const char *snapshot_id(const struct snapshot *s);
const struct position *snapshot_position(const struct snapshot *s);
uint64_t snapshot_length(const struct snapshot *s); /* bytes of tar */

/*
 * Read from `offset` (bytes of tar) on; with zstd the output is a sequence of independent frames. The reference goes
 * over to the stream, also on failure. SP_EUSAGE: the offset lies beyond what anybody was sent yet.
 */
struct snapshot_stream *snapshot_stream_new(struct snapshot *s, uint64_t offset, bool zstd, struct sp_error *err);

/*
 * The stream is wanted by pod number `pod`, which passes on what it gets. True: the pod counts as one that is being
 * sent to as long as the stream lives. False: enough others are, and *sibling passes the snapshot on; free the stream.
 */
bool snapshot_stream_place(struct snapshot_stream *t, unsigned pod, unsigned *sibling);

/* Up to max bytes: how many, 0 at the end, -1 if the store cannot be read (logged). One thread at a time. */
int64_t snapshot_stream_read(struct snapshot_stream *t, char *out, size_t max);
void snapshot_stream_free(struct snapshot_stream *t);

#endif
