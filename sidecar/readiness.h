/*
 * Whether a pod is ready, and why: facts in, checks out. Pure; the caller brings the facts and the clock.
 *
 *	readiness_check(&facts, &r);		// each check with its verdict and its sentence
 *	readiness_settle(&h, now_ms, &r);	// the hysteresis: r.ready is the published verdict
 *
 * Ready is proven, not assumed: a follower is ready only after its content was shown to be the
 * leader's.
 */
#ifndef SIDECAR_READINESS_H_
#define SIDECAR_READINESS_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "lib/protocol/position.h"

#define READINESS_CHECKS_MAX  11
#define READINESS_TEXT_MAX    640
#define READINESS_PATIENCE_MS 1000 /* how long lag and leader loss may last before they turn a ready pod unready */

struct readiness_facts {
	bool server_ok;          /* the local server answered lately, and has a store */
	const char *server_text; /* if it is not: why */
	enum role role;
	bool writable;             /* the server stores writes */
	bool seeding;              /* its store is being replaced */
	bool wants_lead;           /* mode static: the configuration gives this follower the lead */
	const char *handover_text; /* why it was not handed over yet; "" for no reason */
	bool diverged;
	const char *diverged_text; /* expected and found */
	bool proven;               /* content was shown to be the leader's at or above target */
	bool target_known;         /* the leader's position was learnt since the server's process began */
	uint64_t target;           /* a seq; of a member of mode raft an index of the log */
	uint64_t local_store_seq;
	const struct position_raft *member; /* NULL, or its role is MEMBER_ROLE_NONE: not in mode raft */
	const char *last_error;             /* of the sync; "" for none */
	bool leader_lost;
	int64_t contact_age_ms; /* since the leader last answered (or since the start) */
	uint64_t lag_changes;
	int64_t lag_ms;
	int64_t max_lag_ms;
	uint64_t max_lag_changes; /* 0: not looked at */
	enum conf_leader_loss leader_loss;
};

struct readiness_check {
	const char *name; /* static */
	bool ok;
	char text[READINESS_TEXT_MAX];
};

enum readiness_verdict {
	READINESS_GOOD,
	READINESS_MARGINAL, /* within the limits, but not below half of them: stays as it was */
	READINESS_POOR,     /* lag or leader loss: unready if it lasts */
	READINESS_BAD,      /* unready at once */
};

struct readiness {
	enum readiness_verdict verdict;
	bool ready;
	size_t count;
	struct readiness_check checks[READINESS_CHECKS_MAX];
};

/* Remembers between two looks; zero it at the start. */
struct readiness_hysteresis {
	bool ready;
	bool poor;             /* the last look was poor, */
	int64_t poor_since_ms; /* without a break since then */
};

/* Fills everything but `ready`. */
void readiness_check(const struct readiness_facts *f, struct readiness *out);

/* One look: sets r->ready, and if that differs from the checks' own verdicts, has the checks say
 * so. */
void readiness_settle(struct readiness_hysteresis *h, int64_t now_ms, struct readiness *r);

/* "10s", "500ms", "12.4s": whole seconds without a fraction, less than a second in milliseconds. */
void readiness_format_limit(int64_t ms, char *out, size_t size);

#endif
