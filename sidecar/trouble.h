/*
 * When the sync fails: which of the fixed reasons it is, how long to wait, and what to log. A
 * failure is logged when it begins, when its reason changes and when it ends, not at each try; each
 * try is counted. One thread at a time.
 */
#ifndef SIDECAR_TROUBLE_H_
#define SIDECAR_TROUBLE_H_

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/backoff.h"
#include "lib/base/error.h"
#include "sidecar/reasons.h"
#include "sidecar/state.h"

#define TROUBLE_FIRST_MS 100
#define TROUBLE_MOST_MS  3000 /* so that a follower is back soon after its leader */

/* Whose answer failed. */
enum trouble_place { TROUBLE_LEADER, TROUBLE_FEED, TROUBLE_APPLY, TROUBLE_LOCAL };

struct trouble {
	bool on;
	enum sync_reason reason;
	int64_t since_ms;
	unsigned tries;
	struct backoff backoff;
};

void trouble_init(struct trouble *t);

/* Pure: the reason that a code from that place stands for. */
enum sync_reason trouble_reason(enum trouble_place place, int code);

/* A try failed: count it, log it where it is news, and return how long to wait before the next (100 ms to 10 s). */
int64_t trouble_note(struct trouble *t, struct state *state, enum sync_reason reason, const struct sp_error *err);

/* A try succeeded. */
void trouble_over(struct trouble *t, struct state *state);

#endif
