/*
 * How far a follower is behind, in changes and in time. Pure: the caller brings the clock (clock_mono_ms()).
 *
 * Time is measured on this side alone: how long ago this pod first learnt of the oldest change that
 * it does not have yet. If it has all that it knows of, the lag is zero only as long as the leader
 * answers when expected: from then on, silence counts, so that a follower whose leader is gone does
 * not pass for up to date.
 *
 *	struct lag_tracker t;
 *	lag_init(&t, now_ms);
 *	lag_heard(&t, leader_seq, local_store_seq, now_ms, planned_silence_ms);	// with each answer of the leader
 *	lag_at(&t, local_store_seq, now_ms);					// at any time
 */
#ifndef SIDECAR_LAG_H_
#define SIDECAR_LAG_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAG_MARKS    32   /* moments that are remembered */
#define LAG_GRACE_MS 1000 /* how late an expected answer may be before silence counts */

/* "At learnt_ms we first knew that the leader is at seq." */
struct lag_mark {
	uint64_t seq;
	int64_t learnt_ms;
};

struct lag_tracker {
	bool known;             /* the leader has spoken */
	uint64_t leader_seq;    /* its last change that we know of */
	int64_t silent_from_ms; /* silence counts from here on, unless it speaks before */
	size_t count;
	struct lag_mark marks[LAG_MARKS]; /* seq and learnt_ms both grow */
};

struct lag {
	bool known;       /* the leader has spoken: `changes` means something */
	uint64_t changes; /* that the leader has and we do not */
	int64_t ms;
};

void lag_init(struct lag_tracker *t, int64_t now_ms);

/* The leader said where it stands; it will not necessarily speak again for planned_silence_ms (a poll's interval, a
 * long poll's wait). A leader that went backwards (another history) makes the marks start anew. */
void lag_heard(
    struct lag_tracker *t, uint64_t leader_seq, uint64_t local_store_seq, int64_t now_ms, int64_t planned_silence_ms);

struct lag lag_at(const struct lag_tracker *t, uint64_t local_store_seq, int64_t now_ms);

#endif
