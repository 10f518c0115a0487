/*
 * The holder of the lead of a cluster in mode static, as a pod's own store records it. The lead is
 * one token: it is held by the pod that acknowledges writes, and passes only by a record that is on
 * disk at the pod that gives it away before the other one begins its epoch. docs/architecture.md,
 * "Moving the leader", has the protocol and its crash points.
 *
 * Pure, any thread.
 */
#ifndef LIB_PROTOCOL_LEAD_H_
#define LIB_PROTOCOL_LEAD_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/protocol/digest.h"

struct json_t;
struct position;

#define LEAD_NOBODY UINT32_MAX /* no pod's ordinal */

enum lead_kind {
	LEAD_NONE,     /* this store has no record: its pod never led, or an older version wrote it */
	LEAD_HELD,     /* its pod leads, also after a restart, until it releases the lead */
	LEAD_RELEASED, /* its pod gave the lead to `to`, and never acknowledges a write in that epoch again */
};

/* The record. A store's image may come to another pod: it counts only for the pod that it names. */
struct lead {
	enum lead_kind kind;
	uint32_t pod; /* ordinal of the pod that wrote it */
	uint32_t to;  /* released: the ordinal that may begin the next epoch; LEAD_NOBODY: only an operator's order */
	uint32_t despite; /* by an operator's order: the leader_ordinal configured then, which does not count until its
			   * value changes; LEAD_NOBODY: as configured */
	uint64_t epoch;   /* released: the last position of that lead */
	uint64_t seq;
	struct digest digest;
};

/* How the last hand-over that a server took part in stands. Not on disk. */
struct lead_report {
	enum { HANDOVER_NONE, HANDOVER_HOLDING, HANDOVER_RELEASED, HANDOVER_DONE, HANDOVER_FAILED } state;
	uint32_t from, to; /* ordinals */
	int64_t pause_ms;  /* writes waited so long; done and failed */
	int64_t wall_ms;   /* when it came to this state */
};

/* "none", "holding", "released", "done", "failed". Static strings. */
const char *lead_report_name(const struct lead_report *r);

/*
 * Whether the pod `ordinal` leads from the store at `p` without asking anybody: its store records that it holds the
 * lead; or it is `named` by the configuration, and the store is one that no pod leads from yet: fresh or an older
 * version's, `unpacked` from a snapshot by this pod's init or an operator, or a former member's of mode raft.
 */
bool lead_is_own(const struct position *p, unsigned ordinal, bool named, bool unpacked);

/* Whether the pod that stands at `p`, and wrote p->lead, gave the lead to `ordinal` and has
 * followed no pod since. */
bool lead_awaits(const struct position *p, unsigned ordinal);

/* Whether `own` is exactly where p->lead was released. */
bool lead_same_place(const struct lead *l, const struct position *own);

/* As JSON (jansson's) and back. NULL when out of memory; false: it is no such object. */
struct json_t *lead_to_json(const struct position *p);
bool lead_from_json(struct json_t *object, struct position *p);

#endif
