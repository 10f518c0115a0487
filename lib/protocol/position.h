/*
 * The position: the one number and the one hash from which sync, readiness, bootstrap and fencing are decided.
 *
 * A store's state is (cluster, epoch, seq, digest). `seq` counts changes. `epoch` grows whenever a
 * node takes over writing from another history; the history says at which seq each epoch began, so
 * that a store whose last change is not part of another's history is detected (PostgreSQL's
 * timeline history files and Raft's log matching serve the same end).
 */
#ifndef LIB_PROTOCOL_POSITION_H_
#define LIB_PROTOCOL_POSITION_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"
#include "lib/protocol/digest.h"
#include "lib/protocol/lead.h"
#include "lib/protocol/position_raft.h"

#define POSITION_CLUSTER_SIZE 65 /* a cluster's name, [A-Za-z0-9._-], and NUL; of our own store a UUID */
#define POSITION_HISTORY_MAX  64 /* epochs kept; older ones are forgotten, and a store of one is seeded again */
#define POSITION_URL_MAX      512

enum role { ROLE_FOLLOWER, ROLE_LEADER };

/* Epoch `epoch` wrote the changes after `since`, up to where the next entry begins. */
struct epoch_start {
	uint64_t epoch;
	uint64_t since;
};

struct position {
	char cluster[POSITION_CLUSTER_SIZE]; /* "" if nothing was ever stored */
	uint64_t epoch;
	uint64_t seq;
	struct digest digest;
	uint64_t keys;    /* live records */
	uint64_t horizon; /* changes since a number below this one cannot be told any more */
	bool consistent;  /* the content is a cut of the leader's history, not a catch-up half applied */
	bool writable;    /* writes are stored at present (volume not full, store open) */
	/* It was written with durability = async when its machine went down, so it may lack changes that were answered;
	 * false once a server leads on from it, in an epoch of its own. */
	bool tail_lost;
	enum role role;
	char leader[POSITION_URL_MAX]; /* the leader's base URL; "" if it is not known */
	char mode[8];                  /* static, raft or chain */
	struct position_raft raft;     /* of mode raft; its role is MEMBER_ROLE_NONE elsewhere */
	bool writer;                   /* mode static: the node that had this store open last wrote its present epoch */
	struct lead lead;              /* mode static: the holder of the lead, by this store's own record */
	struct lead_report handover;   /* mode static: the last one that this server took part in */
	size_t history_count;
	struct epoch_start history[POSITION_HISTORY_MAX]; /* oldest first; the last is the present epoch */
};

/* How a follower's store stands to a leader's. */
enum relation {
	RELATION_SAME,          /* equal position, equal digest */
	RELATION_BEHIND,        /* in the leader's history, at or above the horizon: the feed leads on from there */
	RELATION_BELOW_HORIZON, /* in the leader's history, but the feed does not reach back so far */
	RELATION_DIVERGED, /* holds changes that the leader's history does not, or equal position and another digest */
	RELATION_OTHER_CLUSTER,
};

/* Pure. Whether this is a cluster's name: 1 to 64 of [A-Za-z0-9._-]. */
bool position_cluster_valid(const char *cluster);

/* Pure. Mode raft: whether an index of the one's log means the same in the other. A cluster that went back to mode
 * static and was founded again has another log; a store that raft never wrote to is of none, and may go with any of its
 * cluster.
 */
bool position_same_log(const struct position *a, const struct position *b);

/* Pure. `why`, if not NULL, gets a sentence that explains the verdict with the numbers (size bytes at most). */
enum relation position_relate(const struct position *leader, const struct position *follower, char *why, size_t size);

/*
 * The invariant: **a store is never replaced by an older one of its history**. Code that replaces a pod's
 * store checks this first: when the donor is chosen (init/plan_*.c), again when the new store is
 * there and verified (init/seed.c), and before a swap that an earlier run committed is finished
 * (init/run.c). Only COURSE_ONWARD keeps all that the pod has acknowledged. The other two are for a
 * store that is discarded on purpose: `sync.on_divergence = reseed` for one that is not in the
 * leader's history.
 *
 * The digest is not compared: a store of wrong content is replaced by one of right content at the same place.
 */
enum course {
	COURSE_ONWARD, /* `from` is in the history of `to`, at or before it */
	COURSE_BACK,   /* `to` is in the history of `from`, before it; or at the same place, but between two cuts */
	COURSE_ASIDE,  /* neither: they are of different clusters or histories, or too old to tell */
};

/* Pure. The course of a pod that stands at `from` and takes a store at `to`. In one log of mode
 * raft the index decides. */
enum course position_course(const struct position *from, const struct position *to);

/* "same", "behind", … Static strings. */
const char *relation_name(enum relation r);
const char *role_name(enum role r);

/* The history as a JSON array (jansson's), for callers that write a position in another form; the
 * caller's. NULL if out of memory. */
struct json_t *position_history_to_json(const struct position *p);

/* One line of JSON with every field above, as GET /v1/position answers; malloc'ed, or NULL when out of memory. */
char *position_to_json(const struct position *p);

/* The reverse; unknown members are ignored, missing ones (cluster, epoch, seq, digest are required), wrong types and a
 * cluster's name of other characters, and a history that does not lead to (epoch, seq) are SP_EBADDATA and named. `out`
 * is untouched on failure. A missing history becomes the one entry (epoch, 0). */
int position_from_json(const char *json, size_t len, struct position *out, struct sp_error *err);

#endif
