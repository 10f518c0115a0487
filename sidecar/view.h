/*
 * A copy of the picture at one moment, with its consequences: lag, checks, readiness, phase. The
 * pages are made of it.
 */
#ifndef SIDECAR_VIEW_H_
#define SIDECAR_VIEW_H_

#include "sidecar/lag.h"
#include "sidecar/readiness.h"
#include "sidecar/state.h"

/* A loop that is so late after its own deadline is stuck. */
#define VIEW_HEART_GRACE_MS 10000

/* The server must have answered within so long to be ok. */
#define VIEW_SERVER_FRESH_MS 3000

struct view_counters {
	uint64_t applied_changes;
	uint64_t applied_batches;
	uint64_t applied_bytes;
	uint64_t digest_mismatches;
	uint64_t reseeds;
	uint64_t errors[SYNC_REASON_COUNT];
};

struct view_error {
	int code; /* 0: none so far */
	enum sync_reason reason;
	char text[SP_ERROR_TEXT_MAX];
	int64_t wall_ms;
};

struct view {
	struct conf conf;
	enum role role;    /* the server's; as configured if it has not said yet */
	const char *phase; /* starting, no server, seeding, leading, diverged, stale, in sync, syncing;
			    * in mode raft also joining, needs_snapshot, no_room, removed, no leader */
	int64_t uptime_ms;
	bool server_ok;
	bool local_store_known;
	struct position own;
	char leader_url[POSITION_URL_MAX];
	bool leader_known; /* its position was learnt */
	struct position leader;
	uint64_t leader_seq; /* its last change that is known of; newer than `leader` within a catch-up */
	struct lag lag;
	int64_t contact_age_ms; /* since the leader's last answer, or since the start */
	bool stale;             /* a follower that does not hear its leader */
	bool proven;
	bool wants_lead; /* mode static: the configuration gives this pod the lead, and it does not lead yet */
	char handover_text[READINESS_TEXT_MAX]; /* why not */
	struct readiness readiness;
	struct view_counters counters;
	struct view_error last_error;
};

/* Take the copy; steps the readiness' hysteresis and logs where readiness changed. Any thread. */
void view_take(struct state *s, int64_t now_ms, struct view *out);

/* Readiness alone, for /readyz: the same, at less cost. */
void view_readiness(struct state *s, int64_t now_ms, struct readiness *out);

/* Whether the sidecar's own loops turn; where not, `why` says which does not. Never depends on a peer. */
bool view_live(struct state *s, int64_t now_ms, char *why, size_t size);

/* Append a copy of what state_set_server_metrics() got; the text of seed.json as malloc'ed text, or NULL. */
int view_server_metrics(struct state *s, struct buf *out);
char *view_seed(struct state *s);

#endif
