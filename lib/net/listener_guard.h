/*
 * Cuts off clients that are too slow, so that none holds a connection, or memory, for ever.
 *
 *	struct guard *g = guard_new(&options, &err);
 *	struct guarded *c = guard_opened(g, fd);	// for each connection
 *	guard_phase(c, GUARD_BODY); guard_moved(c, n);	// what it is about, and each piece of progress
 *	guard_closed(g, c);				// before fd is closed
 *	guard_free(g);
 *
 * The HTTP library's own timeout counts silence alone, which a client that drips a byte now and then never keeps. Here
 * each phase has a time that silence does not lengthen: so long for a request's head to be complete, and for a body or
 * an answer a grace and then a least rate. Under pressure (three quarters of the connections or of the memory are
 * taken) both are far shorter. A connection that is too late is shut down; the library then sees its end and does the
 * rest.
 */
#ifndef LIB_NET_LISTENER_GUARD_H_
#define LIB_NET_LISTENER_GUARD_H_

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/error.h"

enum guard_phase {
	GUARD_HEAD,    /* no request, or its head is not complete */
	GUARD_BODY,    /* its body is coming */
	GUARD_HANDLED, /* the owner has it: takes as long as that takes */
	GUARD_REPLY,   /* a streamed answer: guard_moved() reports each piece */
	GUARD_WHOLE,   /* an answer that lies in memory, of as many bytes as guard_moved() said at its beginning */
};

struct guard_options {
	unsigned connection_limit;
	unsigned head_ms;            /* for a head to be complete, counted from the end of the request before */
	bool (*short_of)(void *arg); /* whether memory is short; NULL: never. Any thread, with no lock held */
	void *arg;
};

struct guard;
struct guarded;

struct guard *guard_new(const struct guard_options *o, struct sp_error *err);
void guard_free(struct guard *g); /* every connection must have been closed. NULL does nothing */

/* Any thread. NULL: out of memory, the connection is not watched. */
struct guarded *guard_opened(struct guard *g, int fd);
void guard_closed(struct guard *g, struct guarded *c);

/* By the thread that serves the connection. NULL does nothing. */
void guard_phase(struct guarded *c, enum guard_phase phase);
void guard_moved(struct guarded *c, uint64_t bytes);

/* Whether connections or memory are running short at present. Any thread. */
bool guard_pressed(const struct guard *g);

/* Connections that were shut down for being too slow. */
uint64_t guard_cut(const struct guard *g);

/*
 * Whether a connection in `phase` for `age_ms`, having moved `bytes`, is too late. Pure; the rule by itself.
 */
bool guard_is_late(enum guard_phase phase, int64_t age_ms, uint64_t bytes, unsigned head_ms, bool pressed);

#endif
