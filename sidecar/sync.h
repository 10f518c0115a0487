/*
 * The follower's loop in a thread of its own: turn, wait, turn; and calls that make it turn
 * earlier.
 *
 *	struct sync *s = sync_new(&options, &err);
 *	sync_wake(s);	// the configuration changed, the server was away: look now
 *	sync_stop(s, 1500) ? sync_free(s) : …;
 */
#ifndef SIDECAR_SYNC_H_
#define SIDECAR_SYNC_H_

#include "sidecar/follower.h"

struct sync;

/* Starts the thread. The driver must last until it has ended. */
struct sync *sync_new(const struct follower_options *o, struct sp_error *err);

/* End the wait, or the call to the leader, that is under way. Any thread. */
void sync_wake(struct sync *s);

/* follower_guard(). Any thread. */
void sync_guard(struct sync *s, int64_t now_ms);

/* Stop and wait for the thread; false if it had not ended within the time: then it must not be freed. */
bool sync_stop(struct sync *s, int64_t timeout_ms);

/* After sync_stop() returned true. NULL does nothing. */
void sync_free(struct sync *s);

#endif
