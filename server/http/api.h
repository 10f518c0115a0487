/*
 * The HTTP handlers: each takes a call, looks at the store through a view or hands a batch to the replication, and
 * answers.
 *
 * A handler may run several times for one request: it suspends (a write under way, a wait for a
 * seq) and is called again when that is over; `stage` says how far it is. Handlers never block.
 */
#ifndef SERVER_HTTP_API_H_
#define SERVER_HTTP_API_H_

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/memory.h"
#include "lib/net/listener.h"
#include "server/http/waiters.h"
#include "server/replication/pull.h"
#include "server/replication/repl.h"
#include "server/snapshot/snapshot.h"
#include "server/store/counters.h"
#include "server/store/store.h"

#define API_JSON        "application/json"
#define API_NDJSON      "application/x-ndjson"
#define API_PROBLEM     "application/problem+json"
#define API_BYTES       "application/octet-stream"
#define API_TEXT        "text/plain; charset=utf-8"
#define API_BATCH_BYTES (16u << 20) /* the largest body of a batch, where max_value does not ask for more */

struct access_control;

/* Shared by all handlers; filled by server.c and constant but for the atomics. */
struct api;
struct route;

/* A listener's view of the world: filled by router.c when the listener is made. */
struct listener_settings {
	struct api *api;
	const struct route *routes;
};

struct api {
	struct listener_settings at_network, at_control; /* constant once served */
	struct store *store;
	struct repl *repl;
	struct committer *committer;   /* for its figures alone */
	struct pull *pull;             /* NULL in a mode whose followers do not pull */
	struct waiters *waiters;       /* for a commit */
	struct waiters *flush_waiters; /* for a commit to be seen by views, cursors and pins */
	struct snapshots *snapshots;
	struct counters counters;
	struct listener *_Atomic network; /* for its figures alone; NULL until it serves */
	size_t max_value;                 /* bytes */
	struct memory_budgets budgets;
	struct access_control *access_control; /* NULL: HTTP, and anyone may do anything */
	atomic_bool stopping;

	/* Live configuration. */
	atomic_bool reject_writes; /* follower_writes = reject */
	atomic_int_fast64_t min_seq_wait_ms;

	/* The control socket's verbs that reach beyond the store (data_directory.h). Blocking. */
	int (*release)(void *arg, struct sp_error *err);
	int (*open)(void *arg, struct sp_error *err);
	void *arg;
};

/* One request on its way through a handler. */
struct call {
	struct api *api;
	struct request *rq;
	void (*handler)(struct call *c);
	enum { CALL_NEW, CALL_CURRENT, CALL_WAITED, CALL_WRITTEN } stage;
	uint64_t flush_seq; /* api_flushed() waits for it; 0: it was not asked yet */
	int64_t flush_until_ms;
	unsigned char key[STORE_KEY_MAX + 1]; /* decoded from the path, where the route has one */
	size_t key_len;

	/* Under way: a write, a feed, a read, or a change of members. One at most; each holds the
	 * text of an error, and a call is made for every GET. */
	union {
		struct repl_batch batch;
		struct repl_feed feed;
		struct repl_read read;
		struct repl_change change;
		struct repl_handover *handover; /* malloc'ed: its position is large */
	};
	struct store_walk *walk; /* of /digest, or NULL */
	struct pull_call *pull;  /* of /pull, malloc'ed, or NULL */
	struct repl_op op;       /* the one op of a single write */
	struct repl_op *ops;     /* a batch's, malloc'ed */
	struct buf arena;        /* what they point to */
	bool plain;              /* answer as the mehdb API does: plain text */
};

/* --- Answers (reply.c) --- */

/* The status that stands for a failure of the store or the replication. */
unsigned api_status(int code);

/* application/problem+json (RFC 9457) with code, or plain text where c->plain. Adds Retry-After to 503. */
void api_problem(struct call *c, unsigned status, const char *code, const char *detail);
void api_error(struct call *c, const struct sp_error *err);
/* 401 or 403 with WWW-Authenticate (RFC 6750). */
void api_challenge(struct call *c, unsigned status, const char *detail);
void api_method(struct call *c, const char *allow); /* 405 */

/* Whether writes are taken here: a pod that has just given the lead away holds them until the next leader has begun. */
bool api_takes_writes(struct api *api);

/* Whether writes are not taken here: then the call has been answered (307 to the leader, 403 or 503). */
bool api_sent_to_leader(struct call *c);
void api_redirect(struct call *c); /* 307 to the leader's same path; 503 if there is none to go to */

/* Whether views have all that was committed when the call came. False: the call was laid aside until they have, or
 * answered. For a handler to begin with that looks at more than one record. */
bool api_flushed(struct call *c);

void api_seq_headers(struct call *c, uint64_t seq); /* Seedpod-Seq and ETag */

/* Seedpod-Seq of an answer that is not about one record: a position that has all that the answer shows, or more. Call
 * it when the view was read. */
void api_present_seq(struct call *c);

/* Hand a batch over and suspend; the handler is called again with stage CALL_WRITTEN. */
void api_submit(struct call *c, const struct repl_op *ops, size_t count);

/*
 * ?consistency=local|linearizable: whether the read may continue. If not, it waits (the handler is
 * called again with stage CALL_CURRENT), or it was answered: 400, 307 to the leader, 503.
 */
bool api_is_current(struct call *c);

/*
 * Seedpod-Min-Seq: read your writes. True if the read may continue, with a view that is begun
 * afterwards; else it waits (stage CALL_WAITED), or was answered. A catch-up half applied does not
 * count, since it may hold a later seq and an earlier value.
 */
bool api_reached_min_seq(struct call *c);

/* A whole number from the query: `otherwise` where it is absent; false, and answered 400, if it is not one. */
bool api_query_number(struct call *c, const char *name, uint64_t otherwise, uint64_t most, uint64_t *out);

/* A duration from the query ("30s", "500ms"), in milliseconds, cut to `most`. */
bool api_query_duration(struct call *c, const char *name, int64_t most, int64_t *out);

/* The position with role, leader, mode and writable filled in. */
int api_position_of(struct api *api, struct position *out, struct sp_error *err);

/* A write was not made: send it to the pod that leads by now, or say why. */
void api_not_written(struct call *c);

/* --- Handlers --- */

void api_set(struct call *c);          /* PUT /set/{key} */
void api_get(struct call *c);          /* GET /get/{key} */
void api_keys(struct call *c);         /* GET /keys */
void api_mehdb_status(struct call *c); /* GET /status */

void api_kv_get(struct call *c);
void api_kv_put(struct call *c);
void api_kv_delete(struct call *c);
void api_kv_list(struct call *c);
void api_batch(struct call *c);

void api_read_index(struct call *c);     /* GET /v1/read-index */
void api_members(struct call *c);        /* GET /v1/members */
void api_members_add(struct call *c);    /* POST /v1/members */
void api_members_remove(struct call *c); /* DELETE /v1/members/{number} and /{number} */
void api_root_add(struct call *c);       /* POST /{number} */

void api_position(struct call *c);
void api_changes(struct call *c);
void api_snapshot(struct call *c);

void api_handover(struct call *c); /* POST /v1/handover, and on the control socket /handover */

void api_control_position(struct call *c);
void api_control_apply(struct call *c);
void api_control_pull(struct call *c);
void api_control_role(struct call *c);
void api_control_leader(struct call *c);
void api_control_release(struct call *c);
void api_control_open(struct call *c);
void api_control_metrics(struct call *c);
void api_control_digest(struct call *c);

#endif
