/* A listener and its requests, as the parts of lib/net/listener.h know them. */
#ifndef LIB_NET_LISTENER_INTERNAL_H_
#define LIB_NET_LISTENER_INTERNAL_H_

#include <stdatomic.h>
#include <sys/un.h>

#include <microhttpd.h>

#include "lib/net/listener.h"
#include "lib/net/listener_guard.h"
#include "lib/net/listener_input.h"
#include "lib/net/tls.h"

#define REPLY_HEADERS_MAX 8

struct listener {
	struct listener_options o;
	struct MHD_Daemon *daemon;
	int fd; /* listening */
	unsigned port;
	char unix_path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "" for TCP */
	atomic_bool stopping;
	atomic_uint requests;       /* begun and not over */
	atomic_size_t budget;       /* body bytes held by all requests */
	atomic_size_t reply_budget; /* bytes of answers held by all requests */
	struct guard *guard;
};

#define SMALL_REPLY_BYTES (16u << 10) /* answers of up to this are bounded by the number of connections alone */

struct request {
	struct listener *l;
	struct MHD_Connection *connection;
	struct guarded *guarded;   /* the connection's, NULL if it is not watched */
	const struct input *input; /* the connection's */
	unsigned long number;      /* of the request on its connection, from 1 */
	const char *method;
	const char *path;
	char *target;
	struct buf body;
	size_t budgeted;       /* this request's share of the listener's budget, bytes */
	size_t reply_budgeted; /* likewise, of the budget for answers */
	size_t source_bytes;   /* of a streamed answer, if that was said */
	enum { REQUEST_NEW, REQUEST_BODY, REQUEST_HANDLED } phase;
	unsigned refusal; /* the status to refuse with once the body is drained, or 0 */
	const char *refusal_detail;
	uint64_t drained; /* bytes of a refused body that were thrown away */
	bool has_body;    /* announced one */
	bool replied;
	enum MHD_Result queued; /* what the library said of the reply */
	void *state;
	size_t header_count;
	struct {
		const char *name; /* the caller's, for good */
		char *value;
	} headers[REPLY_HEADERS_MAX];
};

void request_drop_headers(struct request *rq);

/* The headers are in: decide whether the body may come. listener_body.c. */
void request_begin(struct request *rq);

/* A piece of the body. False: give the connection up. */
bool request_take_body(struct request *rq, const char *data, size_t len);

/* The body is complete: refuse it if it did not come as announced. */
void request_end_body(struct request *rq);

/* Answer with the refusal that was decided. */
void request_refuse(struct request *rq);

/* Take `more` bytes of a budget of which `own` are the request's already. A request that is alone may exceed it. */
bool listener_has_room(struct listener *l, atomic_size_t *taken, size_t budget, size_t own, size_t more);

/* The request was answered or refused: its body goes, and what was counted for it is the others' again. */
void request_drop_body(struct request *rq);

/* The request is over: what it took out of the budgets is the others' again. */
void request_give_back(struct request *rq);

#endif
