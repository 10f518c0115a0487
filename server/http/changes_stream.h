/*
 * A change feed that stays open (GET /v1/changes with stream=1): one binary feed after another, each as soon as there
 * are changes after the one before, until the client's wait is over. Between two feeds the request is laid aside with
 * the waiters and costs no thread.
 *
 * The stream ends in order, after a whole feed, when its time is over (then with an empty feed, if nothing else was
 * new), when the server stops, when connections or memory run short, when the pod does not lead any more and the client
 * asked for a leader, when the store is released or the client could not continue from there, and before a feed that is
 * too large for it. The client asks again, and learns why.
 */
#ifndef SERVER_HTTP_CHANGES_STREAM_H_
#define SERVER_HTTP_CHANGES_STREAM_H_

#include <stdbool.h>
#include <stdint.h>

#include "server/http/api.h"
#include "server/http/changes.h"

#define CHANGES_STREAM_MS_MAX    5000         /* the longest that one may last */
#define CHANGES_STREAM_BYTES_MAX (128u << 10) /* of a feed in it */

/*
 * Answer `c` with a stream: first `feed`, which `made` is of and which is taken over (NULL: none yet), then what
 * follows it, or q->since, until the monotonic clock reads `until_ms`. On a listener's thread.
 */
void changes_stream_begin(struct call *c, const struct changes_query *q, bool from_leader, int64_t until_ms,
    struct buf *feed, const struct changes_cost *made);

/* Whether the client may be kept waiting for changes: not while the server stops, or connections or memory run short.
 */
bool changes_may_wait(const struct api *api, const struct request *rq);

#endif
