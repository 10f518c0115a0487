/*
 * The sidecar's picture of its pod, shared by its threads: the sync loop and the watch of the local server write it,
 * the pages read a copy (view.h), so that no request ever waits for a server or a peer.
 *
 * Any thread may call anything here; one mutex guards all of it and is held for copying alone. Times are
 * clock_mono_ms().
 *
 * The server's life: a number that grows whenever the store that we proved may not be the one that is there now (the
 * server was away, its seq went backwards, its cluster, epoch or role changed by another hand). Whoever proves
 * something says of which life; a proof of an earlier one is dropped.
 */
#ifndef SIDECAR_STATE_H_
#define SIDECAR_STATE_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "lib/error.h"
#include "lib/feed.h"
#include "lib/position.h"
#include "sidecar/reasons.h"

struct state;

/* Ends the process with a message when out of memory. */
struct state *state_new(const struct conf *conf, int64_t now_ms);
void state_free(struct state *s);

/* --- Configuration. The generation grows with each change, from 1. --- */
void state_set_conf(struct state *s, const struct conf *conf);
unsigned state_conf(struct state *s, struct conf *out);
unsigned state_generation(struct state *s);

/* --- The local server. --- */

uint64_t state_life(struct state *s);

/* Ask before a position is asked for and hand it back with the answer: so an answer that was overtaken by what the sync
 * applied meanwhile is known as such. */
uint64_t state_ticket(struct state *s);

/* The watch's look at the server. Returns true where the server's life changed: the sync should look again. */
bool state_server_answered(struct state *s, uint64_t ticket, const struct position *p, int64_t now_ms);
bool state_server_failed(struct state *s, const struct sp_error *err, int64_t now_ms);

/* The sync asked the server itself. Returns the life that this position belongs to. */
uint64_t state_server_told(struct state *s, const struct position *p, int64_t now_ms);

/* The sync is about to have a feed applied: until this is over (or it was applied), the watch may see the store move
 * on. When it moves at another time, it was moved by another hand: that begins a new life. */
void state_set_applying(struct state *s, bool applying);

/* The sync applied a feed of `records` and `bytes`; the server stands at `after`. */
void state_applied(struct state *s, const struct position *after, uint32_t records, size_t bytes, int64_t now_ms);

/* The server's own samples (Prometheus text), and data_dir/seed.json; NULL or empty forgets them. Copied. */
void state_set_server_metrics(struct state *s, const char *text, size_t len);
void state_set_seed(struct state *s, const char *text, size_t len);

/* --- The leader. --- */

void state_set_leader_url(struct state *s, const char *url);

/* It told its position, or a feed; then it may be silent for planned_silence_ms. */
void state_leader_position(struct state *s, const struct position *p, int64_t now_ms, int64_t planned_silence_ms);
void state_leader_feed(struct state *s, const struct feed_info *info, int64_t now_ms, int64_t planned_silence_ms);

/* It answered, but nothing that tells where it stands. It did not answer at all. */
void state_leader_spoke(struct state *s, int64_t now_ms, int64_t planned_silence_ms);
void state_leader_lost(struct state *s);

/* --- Proof. --- */

/* The position that is to be passed, a change's number or in mode raft an index of the log: to be called with the life
 * whose store is compared. The first one of a life stays, but for a leader that goes back to an earlier change (it was
 * restored): what it has now is all that there is. In mode raft nothing that counts is ever taken back. */
void state_set_target(struct state *s, uint64_t life, uint64_t target);

/* The content was shown to be the leader's. Returns true where it was not known before. */
bool state_prove(struct state *s, uint64_t life);
bool state_proven(struct state *s);

/* --- Troubles and their end. --- */

/* Counts one failure and keeps it as the last error. */
void state_count_error(struct state *s, enum sync_reason reason, const struct sp_error *err);
void state_count_digest_mismatch(struct state *s);

/* The sync goes well: the last error is history. */
void state_sync_well(struct state *s);

/* NULL: not (any more). */
void state_set_diverged(struct state *s, const char *why);
void state_set_seeding(struct state *s, bool seeding);

/* A reseed was done: another store is there, nothing is proven of it. */
void state_reseeded(struct state *s);

/* --- Liveness. --- */

enum heart { HEART_SYNC, HEART_WATCH, HEART_COUNT };

/* This loop turned, and turns again by `deadline_ms`, whatever happens. */
void state_beat(struct state *s, enum heart heart, int64_t deadline_ms);

#endif
