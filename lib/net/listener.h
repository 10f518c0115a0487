/*
 * The HTTP listener: requests in, replies out, over TCP or a Unix socket (owner of microhttpd.h).
 *
 * Calling sequence:
 *
 *	struct listener *l = listener_new(&options, &err);	// bound and serving
 *	listener_stop(l);					// no new connections; what is under way goes on
 *	listener_free(l, grace_ms);				// waits for what is under way, then closes
 *
 * For each request the owner's `handle` is called on one of the listener's threads, once the whole body is in memory.
 * It must answer (request_reply…) or call request_suspend(), keep the pointer, and have any thread call
 * request_resume() later: then `handle` is called again, on a listener's thread, with the same request and its `state`.
 * A handler never blocks: the thread serves many connections.
 *
 * Every request has bounds: `body_limit` (413), headers (431), `body_budget_bytes` of body memory
 * and `reply_budget_bytes` of answers for all requests together (503 with Retry-After),
 * `connection_limit`, an idle timeout, and a least speed (lib/net/listener_guard.h): a slower
 * client is cut off.
 */
#ifndef LIB_NET_LISTENER_H_
#define LIB_NET_LISTENER_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/percent.h"

struct listener;
struct request;
struct tls;

struct listener_options {
	const char *address; /* "0.0.0.0:9876", "[::]:9876", or "unix:/path" (mode 0600, a stale socket is replaced) */
	unsigned threads;    /* 0: one a core */
	unsigned connection_limit; /* 0: 4096; never more than half of the descriptors that the process may have */
	size_t body_budget_bytes;  /* 0: 256 MiB */
	size_t reply_budget_bytes; /* 0: 256 MiB */
	size_t largest_bytes;      /* what a request may hold of either beyond the budget if no other holds any */
	unsigned idle_timeout_s;   /* 0: 60 */
	struct tls *tls;           /* HTTPS with this identity; stays the caller's; NULL: HTTP */
	bool ask_client;           /* whether the rules of `tls` for clients' certificates hold here */

	/* Whether the request may be made at all, asked when the headers are in: 0, or the status to refuse it with and
	 * *detail, a static text. NULL: any may. */
	unsigned (*admit)(struct request *rq, const char **detail, void *arg);

	/* The most bytes that this request's body may have; asked when the headers are in. NULL: none may. */
	size_t (*body_limit)(struct request *rq, void *arg);
	void (*handle)(struct request *rq, void *arg);

	/* The request is over, answered or not: free request_state(). NULL: nothing to free. */
	void (*done)(struct request *rq, void *arg);

	/* A refusal that the listener decides itself (400, 413, 503) or admit() did: answer it with request_reply() in
	 * the owner's own form. NULL: text/plain. */
	void (*refuse)(struct request *rq, unsigned status, const char *detail, void *arg);
	void *arg;
};

struct listener *listener_new(const struct listener_options *o, struct sp_error *err);

/* Take no new connections: they are closed at once. Requests under way are still answered, each with "Connection:
 * close". */
void listener_stop(struct listener *l);

/* Wait up to grace_ms for the requests under way, close what is left and free. Every suspended request must have been
 * resumed before. NULL does nothing. */
void listener_free(struct listener *l, int64_t grace_ms);

/* Requests that have begun and are not over. */
unsigned listener_requests(const struct listener *l);

/* The bound TCP port (useful with port 0), 0 for a Unix socket. */
unsigned listener_port(const struct listener *l);

/* Connections open at present. */
unsigned listener_connections(const struct listener *l);

/* --- The request. All strings live as long as the request. --- */

const char *request_method(const struct request *rq);
const char *request_path(const struct request *rq);   /* raw: percent-encoding as it came, no query */
const char *request_target(const struct request *rq); /* path and query as they came */

/* The header's value, or NULL. Any case. */
const char *request_header(const struct request *rq, const char *name);

/*
 * The query parameter `name`, percent-decoded, in out[size]: its length (0 also for "?name" without a value), or -1
 * if it is absent, or SP_EBADDATA's value -2 if it is badly encoded or does not fit. As in HTML forms, "+" in a
 * query is a space.
 */
#define REQUEST_QUERY_ABSENT (-1)
#define REQUEST_QUERY_BAD    (-2)
int request_query(const struct request *rq, const char *name, char *out, size_t size);

const void *request_body(const struct request *rq, size_t *len);

/* Count `bytes` of memory that the owner keeps with the request until it is over as if they were body. False: the
 * budget has no room for them, and nothing was counted. */
bool request_charge(struct request *rq, size_t bytes);

/* Whether connections or memory run short, so that a request that could be repeated should not be
 * kept waiting. */
bool request_pressed(const struct request *rq);

/* Connections cut off for being too slow, since the start. Any thread. */
uint64_t listener_cut(const struct listener *l);

/* Whatever the owner wants to keep with the request. */
void *request_state(const struct request *rq);
void request_set_state(struct request *rq, void *state);

/* Lay the request aside until request_resume(). Call it before another thread can know of the request; after
 * request_resume() that other thread must not touch it again. */
void request_suspend(struct request *rq);
void request_resume(struct request *rq);

/*
 * --- The reply. Headers first, then exactly one of the replies. ---
 *
 * An answer that finds no room among those of the other requests becomes a 503 with Retry-After, through `refuse`, and
 * its headers are dropped.
 */

/* Add a header to the coming reply, if it has none of that name yet. The name must last (a literal does), the value
 * is copied. Values with control characters are dropped. */
void request_add_header(struct request *rq, const char *name, const char *value);

/* The body is copied. type may be NULL if there is no body. */
void request_reply(struct request *rq, unsigned status, const char *type, const void *body, size_t len);

/* The body is taken over: the buffer is empty afterwards. */
void request_reply_buf(struct request *rq, unsigned status, const char *type, struct buf *body);

/* A source that has nothing to send yet calls request_suspend() and returns this; it is asked again after
 * request_resume(), which any thread may call as soon as request_suspend() has returned. */
#define REQUEST_SOURCE_LATER INT64_MIN

/* The next bytes of a streamed reply, at most max into out, or 0 at the end (only if the length is unknown),
 * REQUEST_SOURCE_LATER, or -1 to break the connection. On a listener's thread; must not block for long. */
typedef int64_t (*request_source)(void *arg, uint64_t offset, char *out, size_t max);

#define REQUEST_LENGTH_UNKNOWN UINT64_MAX /* chunked */

/* Before request_reply_stream(): its source holds at most so many bytes. Else it is counted as a snapshot's, for 512
 * KiB; a connection that is given small pieces for a while need not take as much from the others. */
void request_set_source_bytes(struct request *rq, size_t bytes);

/* `free_arg` is called once, whatever happens. */
void request_reply_stream(struct request *rq, unsigned status, const char *type, uint64_t len, request_source source,
    void (*free_arg)(void *arg), void *arg);

#endif
