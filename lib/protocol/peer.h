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

	/* Of peer_changes_open(). */
	size_t limit_bytes; /* of a feed */
	int64_t timeout_ms; /* the whole answer, from the request to its last byte */
};

/*
 * GET /v1/changes in binary form into `feed` (reset first; its limit bounds the answer). 0: a feed that is yet to be
 * checked with feed_check(). SP_EHORIZON for 410, SP_EDIVERGED for 409, SP_EUNAVAIL for 503 and for no answer, SP_EPERM
 * for 401 and 403, else as lib/net/http_client.h says.
 */
int peer_changes(struct http_client *c, const char *base_url, const struct peer_changes_options *o, struct buf *feed,
    struct sp_error *err);

/*
 * The same with an answer that the leader keeps open (`stream=1` of GET /v1/changes): one feed after another, as
 *changes are made, until wait_ms are over. A leader that does not know this, or has much to send at first, answers with
 *one feed; then the caller asks again.
 *
 *	peer_changes_open(&x, client, url, &options, &err);	// the answer has begun
 *	while ((rc = peer_changes_next(&x, &data, &len, &err)) == 1) …	// a feed that is yet to be checked
 *	peer_changes_close(&x);
 *
 * SP_ETOOBIG for a feed of more than limit_bytes, SP_ETRUNCATED for an answer that ends within one, else as
 * peer_changes(). Before the answer's end peer_changes_close() closes the connection; without an answer under way it
 * does nothing. One thread.
 */
struct peer_changes_stream {
	struct http_client *client; /* NULL: no answer is under way */
	struct buf bytes;           /* that have come */
	size_t at;                  /* of them, where the next feed begins */
	size_t cursor;              /* in that feed: feed_measure()'s */
	size_t limit_bytes;         /* of a feed */
	char url[PEER_URL_MAX];
};
int peer_changes_open(struct peer_changes_stream *x, struct http_client *c, const char *base_url,
    const struct peer_changes_options *o, struct sp_error *err);

/* 1 with a feed, 0 at the answer's end. A feed is valid until a call for which none was at hand. */
int peer_changes_next(struct peer_changes_stream *x, const void **data, size_t *len, struct sp_error *err);

/* Whether the next feed has come already, or bytes that do not begin one. */
bool peer_changes_at_hand(struct peer_changes_stream *x);
void peer_changes_close(struct peer_changes_stream *x);

#endif
