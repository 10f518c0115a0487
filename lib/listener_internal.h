/* A listener and its requests, as the two parts of lib/listener.h know them. */
#ifndef LIB_LISTENER_INTERNAL_H_
#define LIB_LISTENER_INTERNAL_H_

#include <stdatomic.h>
#include <sys/un.h>

#include <microhttpd.h>

#include "lib/listener.h"

#define REPLY_HEADERS_MAX 8

struct listener {
	struct listener_options o;
	struct MHD_Daemon *daemon;
	int fd; /* listening */
	unsigned port;
	char unix_path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "" for TCP */
	atomic_bool stopping;
	atomic_uint requests; /* begun and not over */
	atomic_size_t budget; /* body bytes held by all requests */
};

struct request {
	struct listener *l;
	struct MHD_Connection *connection;
	const char *method;
	const char *path;
	char *target;
	struct buf body;
	size_t budgeted; /* this request's share of the listener's budget, bytes */
	enum { REQUEST_NEW, REQUEST_BODY, REQUEST_HANDLED } phase;
	unsigned refusal; /* the status to refuse with once the body is drained, or 0 */
	const char *refusal_detail;
	uint64_t drained; /* bytes of a refused body that were thrown away */
	bool replied;
	enum MHD_Result queued; /* what the library said of the reply */
	void *state;
	size_t header_count;
	struct {
		char *name;
		char *value;
	} headers[REPLY_HEADERS_MAX];
};

#endif
