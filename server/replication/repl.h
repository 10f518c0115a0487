/*
 * Replication as the HTTP handlers know it: submit a batch, learn when it is committed, find the
 * leader. One struct of functions for each mode ([replication] mode): `static` (repl_static.h) and
 * `raft` (repl_raft.h). The store knows none of them.
 *
 *	r = repl_…_new(&options, &err);
 *	r->ops->attached(r, &err);	// the store is open: take up the role
 *	…submit, apply, read…
 *	r->ops->stop(r);		// the server is about to end: hand over what others are to take on
 *	r->ops->detach(r);		// the store is about to be closed; attached() may follow again
 *	r->ops->free(r);
 */
#ifndef SERVER_REPLICATION_REPL_H_
#define SERVER_REPLICATION_REPL_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/protocol/feed.h"
#include "lib/protocol/position.h"

struct repl;

struct repl_op {
	enum { REPL_PUT, REPL_DELETE } kind;
	const void *key;
	size_t key_len;
	const void *value;
	size_t value_len;
};

/* The condition on the first op's key for the batch to be made. */
enum repl_condition {
	REPL_ALWAYS,
	REPL_IF_ABSENT,  /* If-None-Match: * */
	REPL_IF_PRESENT, /* If-Match: * */
	REPL_IF_SEQ,     /* If-Match: "<seq>" */
};

/* All or nothing. The caller owns it and all it points to until done() is called. */
struct repl_batch {
	const struct repl_op *ops;
	size_t count;
	enum repl_condition condition;
	uint64_t if_seq;

	/* It is committed (code 0: durable by this mode's terms, `seq` is its last change) or it is not (code, err):
	 * SP_EPRECOND, SP_ENOTFOUND (a single delete of what is not there), SP_EAGAIN (not leading, overloaded),
	 * SP_ENOSPACE; or that is not known (SP_EUNKNOWN: the lead was lost on the way). On a thread of the
	 * replication's own; must not block. */
	void (*done)(struct repl_batch *b);
	void *arg; /* the caller's */

	int code;
	struct sp_error err;
	uint64_t seq;
	bool moved; /* SP_EAGAIN, because the lead was handed over while it waited: ask the leader */
};

/* A feed from the leader, checked, to be applied whole or not at all (lib/driver/driver.h says the errors). */
struct repl_feed {
	const void *data;
	size_t len;
	struct feed_info info;
	void (*done)(struct repl_feed *f);
	void *arg;
	struct repl_feed *next; /* continues from this one, and is applied after it; or NULL */
	bool here;              /* on the caller's thread, which may block, if no other write is under way */

	int code;
	struct sp_error err;
};

/* A read that must see whatever any client was told before it was asked for. */
struct repl_read {
	/* The store holds all of that now (code 0), or it cannot be had here (SP_EAGAIN: ask the leader, or later). As
	 * for a batch. */
	void (*done)(struct repl_read *rd);
	void *arg;

	int code;
	struct sp_error err;
	struct repl_read *next; /* the mode's own */
};

/* A change of the cluster's members, in modes that have such. */
struct repl_change {
	enum { REPL_ADD, REPL_REMOVE } kind;
	const char *text; /* add: the member as JSON (docs/api.md) */
	size_t len;
	unsigned number; /* remove */

	/* It is made (code 0), or it is not: SP_EUSAGE, SP_ENOTFOUND, SP_EPRECOND, SP_EAGAIN (another is under way, not
	 * leading). As for a batch. */
	void (*done)(struct repl_change *c);
	void *arg;

	int code;
	struct sp_error err;
};

/* A step of a planned hand-over, asked for by the pod that is to lead (docs/architecture.md, "Moving the leader"). */
struct repl_handover {
	enum repl_step {
		REPL_PREPARE, /* hold new writes; `at` becomes the last position of this lead */
		REPL_COMMIT,  /* release the lead at `at`, on disk; done already is fine */
		REPL_CANCEL,  /* take writes again */
		REPL_LED,     /* the pod `to` leads now: send the held writes there */
	} step;
	uint32_t to;  /* the ordinal of the pod that is to lead */
	bool by_hand; /* on an operator's order, whatever the configuration says */
	struct position at;

	/* It is done (code 0), or it is not: SP_EPRECOND (not the one that the configuration names; its time is over),
	 * SP_EDIVERGED (`at` is not where this store stands), SP_EAGAIN (does not lead; too far behind; another is
	 * under way). As for a batch. */
	void (*done)(struct repl_handover *h);
	void *arg;

	int code;
	struct sp_error err;
};

/* Figures of hand-overs that this server gave the lead away in, or would have. */
struct repl_handover_stats {
	uint64_t done, failed;
	int64_t pause_ms; /* of the last one */
};

struct repl_ops {
	const char *mode;

	/* These three, and change(): 0 when done() will be called, or was, else it will not be. apply() takes a list,
	 * and calls done() for each. Any thread. */
	int (*submit)(struct repl *r, struct repl_batch *b, struct sp_error *err);
	int (*apply)(struct repl *r, struct repl_feed *f, struct sp_error *err);
	int (*read)(struct repl *r, struct repl_read *rd, struct sp_error *err);

	enum role (*role)(struct repl *r);

	/* The leader's base URL; "" if it is not known. */
	void (*leader)(struct repl *r, char *out, size_t size);

	/* Fill what a position says of the mode: `raft`. */
	void (*describe)(struct repl *r, struct position *p);

	/* Append what the mode measures, as Prometheus text. NULL in a mode that measures nothing. Any thread. */
	void (*metrics)(struct repl *r, struct buf *out);

	/* Whether this pod makes a store if there is none. */
	bool (*founds)(struct repl *r);

	/* The members as GET /v1/members lists them, and a change of them. NULL in a mode without
	 * members. */
	int (*members)(struct repl *r, struct buf *json, struct sp_error *err);
	int (*change)(struct repl *r, struct repl_change *c, struct sp_error *err);

	/* Take over or hand over writing on an operator's word; returns when it is on disk. Blocks: not on a listener's
	 * thread that others wait for. */
	int (*set_role)(struct repl *r, enum role role, struct sp_error *err);

	/*
	 * Planned hand-overs, all NULL in a mode that elects its leader. handover(): as submit().
	 * lead_from(): begin to lead, in a new epoch, from exactly this position (SP_EDIVERGED: the
	 * store is not there); `from` gave the lead away, pause_ms ago. Blocks. named(): the
	 * configuration names this leader now. May block. follow(): the sidecar found the leader
	 * there; "": no pod leads. opened(): the store was attached and is not in its role yet:
	 * decides the role at the first call. `unpacked`: from a snapshot, by init or an operator.
	 * `superseded`: init saw that another pod leads.
	 */
	int (*handover)(struct repl *r, struct repl_handover *h, struct sp_error *err);
	int (*lead_from)(struct repl *r, const struct repl_handover *h, int64_t pause_ms, struct sp_error *err);
	void (*handover_stats)(struct repl *r, struct repl_handover_stats *out);
	void (*named)(struct repl *r, uint32_t ordinal);
	void (*follow)(struct repl *r, const char *url);
	int (*opened)(struct repl *r, bool unpacked, bool superseded, struct sp_error *err);

	/* Whether writes are taken here: this pod leads, or holds them until the next leader has begun. NULL: a
	 * leader's are. */
	bool (*takes_writes)(struct repl *r);

	/* The store was attached again: bring it into the role. */
	int (*attached)(struct repl *r, struct sp_error *err);

	/* The store is about to be closed: leave it alone when this returns. Blocks. */
	void (*detach)(struct repl *r);

	/* The server is about to end: let another lead, within two seconds. Blocks. */
	void (*stop)(struct repl *r);

	void (*free)(struct repl *r);
};

struct repl {
	const struct repl_ops *ops;
};

#endif
