/* Shared by the parts of mode static: repl_static.c (batches, feeds, what the API asks), role.c
 * (the role and its record in the store), gate.c (where writes wait while the lead moves),
 * handover.c (the steps of that). */
#ifndef SERVER_REPLICATION_STATIC_INTERNAL_H_
#define SERVER_REPLICATION_STATIC_INTERNAL_H_

#include <pthread.h>
#include <stdatomic.h>

#include "lib/protocol/lead.h"
#include "server/replication/batch.h"
#include "server/replication/static/repl_static.h"

/* Whether writes pass. */
enum gate {
	GATE_OPEN,     /* they do, where this pod leads */
	GATE_HOLDING,  /* this pod leads, and they wait: the successor catches up */
	GATE_RELEASED, /* it does not lead any more, and they wait until the successor does */
};

struct repl_static {
	struct repl repl;
	struct repl_static_options o; /* without the texts */
	char self_url[POSITION_URL_MAX];
	pthread_mutex_t role_lock; /* one change of role at a time */
	bool settled;              /* the role was decided; under role_lock */
	atomic_int role;           /* enum role; written by the writer, and under role_lock */
	atomic_bool holds;         /* the gate is released: writes wait here for the next leader */

	/* The writer's own. */
	enum gate gate;
	uint32_t gate_to; /* the successor's ordinal */
	struct batch_job *held_first, *held_last;
	unsigned held;

	pthread_mutex_t lock;              /* guards what follows; no other lock is taken under it */
	char leader_url[POSITION_URL_MAX]; /* where this pod does not lead; "": not known */
	uint32_t named;                    /* leader_ordinal, live */
	struct lead lead;                  /* the store's record; kind none if it is not this pod's */
	struct lead_report report;
	struct repl_handover_stats stats;
	int64_t hold_began_ms;
	int64_t deadline_ms; /* when the gate opens by itself; 0: it is open */
	bool timer_runs, stopping;
	pthread_cond_t wake;
	pthread_t timer;
};

/* A batch on its way through the writer. */
struct batch_job {
	struct commit_job job; /* first: the two are one address */
	struct repl_static *owner;
	struct repl_batch *batch;
	bool held; /* it was laid aside and not run */
	struct batch_job *next;
};

/* repl_static.c. the outcome is known: tell the submitter. Frees the job. */
void static_finish_batch(struct batch_job *j, int code, const struct sp_error *err);

/* role.c */
int static_opened(struct repl *r, bool unpacked, bool superseded, struct sp_error *err);
int static_attached(struct repl *r, struct sp_error *err);
int static_set_role(struct repl *r, enum role role, struct sp_error *err);
int static_lead_from(struct repl *r, const struct repl_handover *h, int64_t pause_ms, struct sp_error *err);
void static_named(struct repl *r, uint32_t ordinal);

/* gate.c, on the writer's thread: lay a batch aside (false: there are too many); send those that wait to where they are
 * made now; have the gate open by itself later; note the outcome of the hand-over that it was closed for. */
bool static_hold(struct batch_job *j);
void static_open_gate(struct repl_static *r);
void static_gate_until(struct repl_static *r, int64_t wait_ms);
void static_settle(struct repl_static *r, bool done, const char *why);

/* Any thread: what is reported of the last hand-over; whether the gate is to open by itself now; start the thread that
 * sees to that. */
void static_report(struct repl_static *r, int state, uint32_t from, uint32_t to, int64_t pause_ms);
bool static_gate_is_due(struct repl_static *r);
int static_gate_watch(struct repl_static *r, struct sp_error *err);

/* handover.c. stop() opens the gate for good. */
int static_handover(struct repl *r, struct repl_handover *h, struct sp_error *err);
void static_follow(struct repl *r, const char *url);
void static_time_over(struct repl_static *r);
void static_handover_stop(struct repl_static *r);
void static_handover_free(struct repl_static *r);

#endif
