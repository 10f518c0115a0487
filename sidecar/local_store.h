/*
 * The facts about the local store: which one it is, where it stands, what it has to reach, and
 * whether its content was shown to be the leader's. They are kept here alone; state.h keeps it
 * under its mutex. Pure: no lock, no clock.
 *
 * Its life is a number that grows whenever the store behind the server may be another one than the one that was looked
 * at before. Of one life these are learnt in turn:
 *
 *	(nothing) --answered, told--> known --set_target--> target_known --prove--> proven
 *
 * and a new one begins with neither target nor proof:
 *
 *	failed		the server was there and is away: what comes back is looked at anew
 *	answered, told	it is another store, or one that was moved by another hand: its cluster or role changed, it went
 *			back or parted, or went on while no feed was being applied. In mode raft, where the log
 *			moves it and gives it its role: another member, or one whose applied index went back
 *	reseeded	it was replaced; it is not known either until the next look
 *
 * A caller that sets a target or proves something says of which life; calls about an earlier one
 * are dropped. Apart from this the store may have been found to differ: then it is not proven,
 * whatever happens, until it was shown to agree or was replaced.
 *
 * Two threads look at the server. The sync moves the store on, so its news (told, applied) are
 * taken as they are. The watch only looks: its news (answered) may be outdated by then, so it draws
 * a ticket first and its news count only if that ticket is still the newest.
 */
#ifndef SIDECAR_LOCAL_STORE_H_
#define SIDECAR_LOCAL_STORE_H_

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/error.h"
#include "lib/protocol/position.h"

struct local_store {
	/* The server that has it open. */
	bool asked;            /* it was asked at least once */
	bool ok;               /* the last time there was an answer with a position */
	int64_t seen_ms;       /* when the last such answer came */
	struct sp_error error; /* if not ok */

	/* Which store it is, and where it stands. */
	uint64_t life; /* from 1 */
	bool known;    /* `at` is filled */
	struct position at;
	uint64_t ticket; /* grows with each position that the sync brought */
	bool applying;   /* the sync is having a feed applied: it may go on meanwhile */

	/* Its content. */
	bool target_known;
	uint64_t target; /* what is to be passed: a change's number, in mode raft an index of the log */
	bool proven;
	uint64_t diverged_life; /* the life in which it was found to differ from the leader; 0: it was not */
};

void local_store_init(struct local_store *o);

/* The watch's look, with the ticket (o->ticket) from before it asked. True if a new life began: the sync should look
 * again. */
bool local_store_answered(struct local_store *o, uint64_t ticket, const struct position *p, int64_t now_ms);
bool local_store_failed(struct local_store *o, const struct sp_error *err);

/* The sync's own look. */
void local_store_told(struct local_store *o, const struct position *p, int64_t now_ms);

/* The sync hands the server a feed, or had it refused. It was applied, and the store stands at `after`. */
void local_store_set_applying(struct local_store *o, bool applying);
void local_store_applied(struct local_store *o, const struct position *after, int64_t now_ms);

/* The first target of a life stays, but for a leader that goes back to an earlier change (it was restored): what it has
 * now is all that there is. In mode raft nothing that counts is ever taken back. */
void local_store_set_target(struct local_store *o, uint64_t life, uint64_t target);

/* Its content, where it stands, is the leader's: that proves it, where it is a cut at or above the target. True if
 * it was not proven before. */
bool local_store_prove(struct local_store *o, uint64_t life);

/* It was found to differ, in this life or, where it was before, in that one; it agrees. */
void local_store_diverged(struct local_store *o, uint64_t life);
void local_store_agrees(struct local_store *o);

void local_store_reseeded(struct local_store *o);

/* Whether it is known to lead. */
bool local_store_leads(const struct local_store *o);

#endif
