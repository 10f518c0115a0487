/*
 * Requests from one seedpod to another: positions, changes, snapshots, over HTTP (docs/api.md). A
 * base URL is "http://store-0.seedpod-headless.default.svc:9876", without a path.
 */
#ifndef LIB_PROTOCOL_PEER_H_
#define LIB_PROTOCOL_PEER_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/http_client.h"
#include "lib/protocol/position.h"

#define PEER_URL_MAX 1024 /* bytes of a request's URL */

/* GET /v1/position within timeout_ms. SP_EUNAVAIL also if the peer answers 503 (it has no store
 * open at present; the text says so), SP_EPERM if it denies access (401, 403, TLS), SP_EBADDATA if
 * the answer is not a position; the text says "HOST:PORT does not speak seedpod's protocol" if
 * another program answers there. */
int peer_position(
    struct http_client *c, const char *base_url, int64_t timeout_ms, struct position *out, struct sp_error *err);

/* The result of asking one of several peers. */
struct peer_answer {
	bool reached;   /* it spoke HTTP, whatever it said */
	bool has_store; /* position is filled */
	bool unclear;   /* a peer is there, but reported neither a position nor that it has no store */
	struct position position;
	struct sp_error err; /* the reason where has_store is false */
};

/* Ask n peers at once, with `c` as http_call_all() has it; answers[i] belongs to urls[i]. Fails only when out of memory
 * (SP_ENOMEM) or cancelled (SP_ECANCELED). */
int peer_positions(struct http_client *c, const char *const *urls, struct peer_answer *answers, size_t n,
    int64_t timeout_ms, struct sp_error *err);

struct peer_changes_options {
	uint64_t since;
	const char *cluster; /* sent along, so that the leader can refuse another cluster; NULL: not */
	uint64_t epoch;      /* of the change `since`, likewise */
	bool anyone;         /* also from a pod that does not lead (any more) */
	int64_t wait_ms;     /* how long the leader may hold its answer when there is nothing new */
	size_t batch_bytes;  /* about how much to send at once (one value may be larger) */
};

/*
 * GET /v1/changes in binary form into `feed` (reset first; its limit bounds the answer). 0: a feed that is yet to be
 * checked with feed_check(). SP_EHORIZON for 410, SP_EDIVERGED for 409, SP_EUNAVAIL for 503 and for no answer, SP_EPERM
 * for 401 and 403, else as lib/net/http_client.h says.
 */
int peer_changes(struct http_client *c, const char *base_url, const struct peer_changes_options *o, struct buf *feed,
    struct sp_error *err);

/* The same in two steps, as http_call_begin() and http_call_end(); `x` and `feed` must last until the second, or
 * peer_changes_drop(). Without a call under way, to drop it does nothing. */
struct peer_changes_call {
	struct http_client *client; /* NULL: none is under way */
	struct buf *feed;
	struct http_reply reply;
	char url[PEER_URL_MAX];
};
int peer_changes_begin(struct peer_changes_call *x, struct http_client *c, const char *base_url,
    const struct peer_changes_options *o, struct buf *feed, struct sp_error *err);
int peer_changes_end(struct peer_changes_call *x, struct sp_error *err);
void peer_changes_drop(struct peer_changes_call *x);

#endif
