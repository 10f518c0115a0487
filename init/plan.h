/*
 * The decision: facts in, one action out. Pure, so that every row is a test.
 */
#ifndef INIT_PLAN_H_
#define INIT_PLAN_H_

#include <stdbool.h>

#include "init/facts.h"

enum plan_action {
	PLAN_START,   /* the server may start on what is there */
	PLAN_CREATE,  /* the server may start, and make an empty store */
	PLAN_RESTORE, /* seed a leader that lost its volume, from the peer that is furthest ahead */
	PLAN_SEED,    /* seed a follower */
	PLAN_WAIT,    /* nothing can be decided yet: ask again */
	PLAN_REFUSE,  /* a person has to decide */
};

#define PLAN_WHY_MAX 1536

/* A donor may be so many changes behind the leader: the sidecar brings the rest. */
#define PLAN_DONOR_LAG_MAX 10000

/* In mode raft so many entries behind the member that is furthest ahead: raft's log, of which the
 * others keep [raft] trailing entries, brings the rest. */
#define PLAN_MEMBER_LAG_MAX 1000

struct plan {
	enum plan_action action;
	const struct peer_fact *donor; /* of restore and seed; points into the facts */
	/* Of restore and seed: the new store must stand at or beyond this (position_course()): the
	 * store that it replaces, or the donor's answer when a lost one is restored. NULL: there is
	 * none, or it is discarded. Points into the facts. */
	const struct position *floor;
	bool follow; /* mode static: another pod leads, so the server begins as a follower, whatever it has */
	bool warn;   /* `why` is something to look into, although the action continues */
	bool grace;  /* wait: for peers of an empty leader, which is no failed attempt */
	int code;    /* refuse and wait: the SP_E… code where it ends with that */
	char why[PLAN_WHY_MAX]; /* a sentence with the numbers */
};

void plan_make(const struct facts *f, struct plan *out);

/* "start", "create", "restore", "seed", "wait", "refuse". */
const char *plan_action_name(enum plan_action a);

#endif
