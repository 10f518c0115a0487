/*
 * Spreads a snapshot when several pods are seeded at the same time: a donor sends it to a few of
 * them, and points each further pod to one of those, which pass on the bytes while they receive
 * them. A pod that passes on follows the same rule, so the pods form a tree in which none sends
 * more than `limit` copies at once.
 *
 * Pure, on the caller's memory, under the caller's lock.
 */
#ifndef LIB_PROTOCOL_FANOUT_H_
#define LIB_PROTOCOL_FANOUT_H_

#include <stdbool.h>
#include <stdint.h>

#define FANOUT_LIMIT_MAX 16

/* A smaller archive is sent to everyone: it has arrived before a sibling could pass it on. Bytes. */
#define FANOUT_LEAST_BYTES ((uint64_t)16 << 20)

struct fanout {
	unsigned
	    limit; /* pods that are sent to at once, at most FANOUT_LIMIT_MAX; 0: any number, and no pod passes on */
	unsigned count;
	unsigned pods[FANOUT_LIMIT_MAX]; /* the ordinals of those that are being sent to */
	unsigned turn;
};

/*
 * Whether pod number `pod` is to be sent to directly; it then counts until fanout_leave(). False: *sibling is the pod
 * to point it to. A pod that is being sent to already has begun anew, and is sent to directly.
 */
bool fanout_place(struct fanout *f, unsigned pod, unsigned *sibling);

/* One stream to this pod has ended. A pod that does not count is ignored. */
void fanout_leave(struct fanout *f, unsigned pod);

#endif
