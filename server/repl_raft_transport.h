/*
 * How members connect: libraft's TCP transport, and what it lacks. That one takes IPv4 addresses alone; ours looks
 * names up, each time anew, because a pod that comes back has another address. And it waits for a peer as long as the
 * kernel does, a quarter of an hour for one whose node is gone; ours gives up after a few seconds and connects again.
 * And it takes whoever connects; ours says in its greeting of which cluster it is, and refuses members of another: an
 * address may have been a member's of ours, and be theirs by now. And it does not connect to who has left.
 *
 *	raft_transport_init(&t, &loop, "0.0.0.0:9875") … raft_uv_init(&io, &loop, dir, &t.base) …
 *	raft_transport_release(&t);	// after libraft has closed it
 *
 * On the loop's thread.
 */
#ifndef SERVER_REPL_RAFT_TRANSPORT_H_
#define SERVER_REPL_RAFT_TRANSPORT_H_

#include <stdbool.h>

#include <raft.h>
#include <raft/uv.h>
#include <uv.h>

#include "lib/position.h"

#define RAFT_HELLO_MAX (280 + 1 + POSITION_CLUSTER_SIZE) /* «host:port cluster», with NUL */

#define RAFT_LINKS_MAX 64 /* connections from here that are kept account of */

/* What the greeting is judged by. */
struct raft_transport_peers {
	/* This member's cluster; "" where it has none yet. */
	void (*cluster)(void *arg, char out[POSITION_CLUSTER_SIZE]);

	/* Whether this id is in the configuration; true where there is none yet. */
	bool (*is_member)(void *arg, raft_id id);

	/* Whether this id was a member and is none any more. */
	bool (*has_left)(void *arg, raft_id id);
	void *arg;
};

struct raft_transport {
	struct raft_uv_transport base; /* what libraft sees */
	struct raft_uv_transport tcp;  /* libraft's own */
	uv_loop_t *loop;
	raft_uv_accept_cb accepted;
	struct raft_transport_connect *lookups; /* under way */
	struct raft_transport_peers peers;      /* zeros: whoever comes is taken */
	const char *address;                    /* this member's */
	char hello[RAFT_HELLO_MAX];             /* it and the cluster: libraft's transport has the pointer */
	raft_id links[RAFT_LINKS_MAX];          /* connected to; 0: a free place */
	uint64_t refused;                       /* greetings */
	int64_t refused_said_ms;                /* monotonic */
	raft_uv_transport_close_cb closed;      /* not NULL: is being closed */
};

/* 0 or libraft's code, with base.errmsg. `peers` is to be set between this and the first connection. */
int raft_transport_init(struct raft_transport *t, uv_loop_t *loop, const char *listen);
void raft_transport_release(struct raft_transport *t);

/* Whether libraft was given a connection to this member, and has not asked for another one since. */
bool raft_transport_is_connected(const struct raft_transport *t, raft_id id);

#endif
