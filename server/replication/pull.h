/*
 * Pulling for the sidecar: while a follower is well and changes keep coming, its sidecar has the
 * server itself ask the leader for the feeds and apply them, for some hundred milliseconds at a
 * time. A change then passes through one process less. The sidecar alone decides from which server
 * to pull, when and for how long; and any answer but a feed that ends on a cut and is applied at
 * once ends the pull, so that the sidecar sees it for itself.
 *
 *	p = pull_new(repl, store, &err);
 *	pull_start(p, &call, &err);	// any thread; call.done(&call) comes later, on the puller's
 *	pull_stop(p);			// ends the one under way
 *	pull_free(p);
 *
 * The leader keeps its answer open and sends a feed with each of its commits (lib/protocol/peer.h), so that no request
 * is between two changes. The puller applies them on its own thread if no other write is under way; those that came
 * while the disk was at work are applied together.
 */
#ifndef SERVER_REPLICATION_PULL_H_
#define SERVER_REPLICATION_PULL_H_

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/error.h"
#include "server/replication/repl.h"
#include "server/store/store.h"

#define PULL_MS_MAX 1000 /* the longest that one may last; the leader may be silent for as long once more */

struct http_access;
struct pull;

/* The caller owns it until done() is called. */
struct pull_call {
	char url[POSITION_URL_MAX]; /* the leader's */
	int64_t for_ms;             /* 1 to PULL_MS_MAX */
	void (*done)(struct pull_call *call);
	void *arg; /* the caller's */

	/* The result. */
	bool clean; /* it ended for the time alone, and the store stands where the last feed said that the leader did */
	uint64_t feeds;      /* applied, and the empty one that may have ended it */
	uint64_t records;    /* applied */
	uint64_t bytes;      /* of the feeds */
	uint64_t horizon;    /* the leader's, with feeds > 0 */
	struct sp_error err; /* without `clean`: what ended it */
};

/* `access` (or NULL) are the rules for the leader that is asked; all three outlive the pull. */
struct pull *pull_new(struct repl *repl, struct store *store, const struct http_access *access, struct sp_error *err);

/* 0 when done() will be called. SP_EAGAIN: one is under way, or it is stopped. The first one starts the thread. */
int pull_start(struct pull *p, struct pull_call *call, struct sp_error *err);

void pull_stop(struct pull *p);
void pull_free(struct pull *p); /* NULL does nothing */

#endif
