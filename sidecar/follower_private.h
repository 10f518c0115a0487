/* The fields of struct follower, for its parts: follower.c (the turn), follower_pull.c (feeds), follower_raft.c
 * (mode raft, where there are none), follower_halt.c (divergence and reseeding). */
#ifndef SIDECAR_FOLLOWER_PRIVATE_H_
#define SIDECAR_FOLLOWER_PRIVATE_H_

#include <stdatomic.h>
#include <stdbool.h>

#include "conf/conf.h"
#include "lib/base/backoff.h"
#include "lib/base/buf.h"
#include "lib/net/http_client.h"
#include "lib/protocol/position.h"
#include "sidecar/follower.h"
#include "sidecar/trouble.h"

/* A step's answer if the turn continues; else the milliseconds to wait. */
#define STEP_ON (-1)

/* The two that did not fit together when the sync halted: where either is another one now, it is worth a new try. */
struct halt {
	bool for_content; /* a digest or a refusal said so, which position_relate() cannot see */
	struct position leader;
	struct position own;
};

struct follower {
	struct follower_options o;
	struct http_client *client; /* to the leader */
	struct conf conf;
	unsigned generation;
	struct buf feed;
	struct trouble trouble;
	struct backoff reseed_backoff;
	int64_t reseed_not_before_ms;
	int64_t released_since_ms; /* the server has had no store open since then; 0: it has */

	/* The basis of this turn. The state knows later changes, and all else about the store. */
	uint64_t life;       /* of the store, when it was looked at */
	struct position own; /* where it stood */
	bool related;        /* the store of this life is in the leader's history: its feeds lead on from there */

	char leader_url[POSITION_URL_MAX];
	struct position leader;          /* as it last told */
	struct halt halt;                /* where the store has diverged */
	bool frozen;                     /* leader_url gave the lead to this pod, and does not lead any more */
	bool catching_up;                /* within a hand-over: feeds do not wait */
	int64_t ask_lead_ms;             /* not before: the next try to take over the lead, as configured */
	int64_t search_ms;               /* not before: the next question to all pods which one leads */
	char told_url[POSITION_URL_MAX]; /* the leader that the server was told of */
	char refused[SP_ERROR_TEXT_MAX]; /* why the last hand-over was, for the log to tell once */
	bool draining;                   /* poll: between its first feed and the cut */
	bool busy;                       /* stream: changes come, so the server may pull by itself */
	int64_t drain_began_ms;

	atomic_bool ending;
	atomic_bool overdue;           /* follower_guard() ended the call */
	_Atomic int64_t call_until_ms; /* when the call to the leader under way has taken too long; 0: none is */
};

/* follower.c */
int64_t follower_ask_leader(struct follower *f);
bool follower_begin_call(struct follower *f, int64_t longest_ms);
void follower_end_call(struct follower *f, int rc, struct sp_error *err);
int64_t follower_trouble(struct follower *f, enum sync_reason reason, const struct sp_error *err);
int64_t follower_leader_failed(struct follower *f, struct sp_error *err);
int64_t follower_planned_silence_ms(const struct follower *f);

/* The leader is at this URL now. */
void follower_follow(struct follower *f, const char *url);

/* follower_lead.c, mode static: ask all pods which one leads. STEP_ON: none was found, and *err
 * says more of it. Tell the server which pod leads, or that it is not the one that it thinks.
 * Whether this pod is to lead by the configuration; the hand-over to it. */
int64_t follower_search(struct follower *f, struct sp_error *err);
void follower_tell_leader(struct follower *f, const char *url);
bool follower_wants_lead(const struct follower *f);
int64_t follower_take_lead(struct follower *f);

/* follower_raft.c */
int64_t follower_raft(struct follower *f);

/* follower_pull.c */
int64_t follower_pull(struct follower *f);
void follower_prove(struct follower *f);

/* follower_halt.c */
int64_t follower_halt(struct follower *f, enum sync_reason reason, bool for_content, const struct sp_error *err);
int64_t follower_digest_mismatch(struct follower *f, const struct sp_error *err);
int64_t follower_recheck(struct follower *f);
void follower_halt_over(struct follower *f, const char *relation);

/* `force` and `min_applied` as in struct reseed_call. */
int64_t follower_reseed(struct follower *f, bool force, uint64_t min_applied, const char *why);

#endif
