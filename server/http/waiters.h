/*
 * Requests that wait for the store to reach a seq: long polls of the change feed, and reads with Seedpod-Min-Seq. They
 * are suspended and cost no thread.
 */
#ifndef SERVER_HTTP_WAITERS_H_
#define SERVER_HTTP_WAITERS_H_

#include <stdint.h>

#include "lib/base/error.h"
#include "lib/net/listener.h"

struct waiters;

struct waiters *waiters_new(struct sp_error *err);

/* Resumes all requests, and each later one at once. Call before the listeners are freed. */
void waiters_stop(struct waiters *w);
void waiters_free(struct waiters *w);

/*
 * Suspend `rq` until a consistent state with seq >= `seq` was committed or the monotonic clock reads `deadline_ms`;
 * then it is resumed, and its handler looks for itself which of the two it was. On a listener's thread.
 */
void waiters_add(struct waiters *w, struct request *rq, uint64_t seq, int64_t deadline_ms);

/* A commit made `seq` readable. Any thread. */
void waiters_notify(struct waiters *w, uint64_t seq);

/* Resume all requests that wait; each looks for itself what has changed. Any thread. */
void waiters_wake(struct waiters *w);

/* How many wait. */
unsigned waiters_count(struct waiters *w);

#endif
