/*
 * The sidecar's picture of its pod, shared by its threads: the sync loop and the watch of the local server write it,
 * the pages read a copy (view.h), so that no request ever waits for a server or a peer.
 *
 * Any thread may call anything here; one mutex guards all of it and is held for copying alone. Times are
 * clock_mono_ms().
 *
 * What it says of the local store is in local_store.h; here is the lock around it.
 */
#ifndef SIDECAR_STATE_H_
#define SIDECAR_STATE_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "lib/base/error.h"
#include "lib/protocol/feed.h"
#include "lib/protocol/position.h"
#include "sidecar/reasons.h"

struct state;

/* Ends the process with a message when out of memory. */
struct state *state_new(const struct conf *conf, int64_t now_ms);
void state_free(struct state *s);

/* --- Configuration. The generation grows with each change, from 1. --- */
void state_set_conf(struct state *s, const struct conf *conf);
unsigned state_conf(struct state *s, struct conf *out);
unsigned state_generation(struct state *s);

/* --- The local store: see local_store.h for what each of these means. --- */

uint64_t state_life(struct state *s);

/* The watch: a ticket, then the question, then the answer with the ticket. True if a new life began. */
uint64_t state_ticket(struct state *s);
bool state_server_answered(struct state *s, uint64_t ticket, const struct position *p, int64_t now_ms);
bool state_server_failed(struct state *s, const struct sp_error *err);

/* The sync: it asked the server itself; returns the life that this position belongs to. Or it goes on from what is
 * known: where the store stands, and of which life that is. */
uint64_t state_server_told(struct state *s, const struct position *p, int64_t now_ms);
uint64_t state_own(struct state *s, struct position *own);

/* The sync has a feed applied, or had it refused; it was applied, `records` and `bytes` of it. */
void state_set_applying(struct state *s, bool applying);
void state_applied(struct state *s, const struct position *after, uint32_t records, size_t bytes, int64_t now_ms);

void state_set_target(struct state *s, uint64_t life, uint64_t target);
bool state_prove(struct state *s, uint64_t life);
bool state_proven(struct state *s);

/* It has diverged, and `why`. The life in which that was found, 0: it has not. It agrees with its
 * leader. */
void state_set_diverged(struct state *s, uint64_t life, const char *why);
uint64_t state_diverged_life(struct state *s);
void state_agrees(struct state *s);

/* Its store is being replaced; was replaced. */
void state_set_seeding(struct state *s, bool seeding);
void state_reseeded(struct state *s);

/* The server's own samples (Prometheus text), and data_dir/seed.json; NULL or empty forgets them. Copied. */
void state_set_server_metrics(struct state *s, const char *text, size_t len);
void state_set_seed(struct state *s, const char *text, size_t len);

/* --- The leader. --- */

void state_set_leader_url(struct state *s, const char *url);

/* It reported its position, or a feed; then it may be silent for planned_silence_ms. */
void state_leader_position(struct state *s, const struct position *p, int64_t now_ms, int64_t planned_silence_ms);
void state_leader_feed(struct state *s, const struct feed_info *info, int64_t now_ms, int64_t planned_silence_ms);

/* It answered, but nothing that tells where it stands. It did not answer at all. */
void state_leader_spoke(struct state *s, int64_t now_ms, int64_t planned_silence_ms);
void state_leader_lost(struct state *s);

/* Why the lead, which the configuration gives to this pod, was not handed to it yet; "" for no reason. */
void state_set_handover(struct state *s, const char *why);

/* --- Troubles and their end. --- */

/* Counts one failure and keeps it as the last error. */
void state_count_error(struct state *s, enum sync_reason reason, const struct sp_error *err);
void state_count_digest_mismatch(struct state *s);

/* The sync goes well: the last error is history. */
void state_sync_well(struct state *s);

/* --- Liveness. --- */

enum heart { HEART_SYNC, HEART_WATCH, HEART_COUNT };

/* This loop turned, and turns again by `deadline_ms`, whatever happens. */
void state_beat(struct state *s, enum heart heart, int64_t deadline_ms);

#endif
