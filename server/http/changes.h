/* The change feed, as binary (lib/protocol/feed.h) or NDJSON, from one view of the store. */
#ifndef SERVER_HTTP_CHANGES_H_
#define SERVER_HTTP_CHANGES_H_

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "server/store/store.h"

#define CHANGES_BYTES_DEFAULT (4u << 20)
#define CHANGES_BYTES_MAX     (64u << 20)

struct changes_query {
	uint64_t since;
	uint64_t limit; /* records at most */
	uint64_t bytes; /* it ends after the record that reaches this */
	bool ndjson;
	char cluster[POSITION_CLUSTER_SIZE]; /* the asker's; "" if it does not say */
	uint64_t epoch;                      /* of the asker's last change; 0 if it does not say */
};

/* The cost of making one, and where it ended. */
struct changes_cost {
	uint64_t records; /* read from the store */
	bool cut;         /* it ends on one */
	uint64_t seq;     /* of the store when it was made, */
	uint64_t epoch;   /* and epoch */
};

/* Whether the asker may continue from `since`: 0, SP_EHORIZON, SP_EDIVERGED with the reason. */
int changes_check(const struct position *here, const struct changes_query *q, struct sp_error *err);

/* Append the feed to `out`: the records after `since` in seq order, then a cut where it reached the present of a
 * consistent store, else `more`. */
int changes_write(struct store_view *view, const struct changes_query *q, struct buf *out, struct changes_cost *cost,
    struct sp_error *err);

#endif
