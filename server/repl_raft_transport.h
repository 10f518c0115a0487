/*
 * How members connect: libraft's TCP transport, and what it lacks. That one takes IPv4 addresses alone; ours looks
 * names up, each time anew, because a pod that comes back has another address. And it waits for a peer as long as the
 * kernel does, a quarter of an hour for one whose node is gone; ours gives up after a few seconds and connects again.
 * And it takes whoever connects; ours says in its greeting of which cluster it is, and refuses members of another: an
 * address may have been a member's of ours, and be theirs by now. And it tries to reach who has left for good; ours has
 * it forget what it keeps for them, and does not connect to them.
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
#include "server/repl_raft.h"

#define RAFT_HELLO_MAX (RAFT_ADDRESS_MAX + POSITION_CLUSTER_SIZE) /* «host:port cluster», with NUL */

/* A member that libraft wanted to reach: it forgets none of them. */
struct raft_link {
	raft_id id;
	char address[RAFT_ADDRESS_MAX];
	bool connected;  /* libraft was given a connection, and has not asked for another one since */
	bool was_member; /* set by the owner: it was seen in the configuration */
	bool let_go;     /* it has left, and libraft has forgotten what it kept for it */
};

/* What the greeting is judged by. */
struct raft_transport_peers {
	/* This member's cluster; "" where it has none yet. */
	void (*cluster)(void *arg, char out[POSITION_CLUSTER_SIZE]);

	/* Whether this id is in the configuration; true where there is none yet. */
	bool (*is_member)(void *arg, raft_id id);
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
	struct raft_link *links;                /* link_count of them, malloc'ed */
	size_t link_count;
	uint64_t refused;                  /* greetings */
	int64_t refused_said_ms;           /* monotonic */
	raft_uv_transport_close_cb closed; /* not NULL: is being closed */
};

/* 0 or libraft's code, with base.errmsg. `peers` is to be set between this and the first connection. */
int raft_transport_init(struct raft_transport *t, uv_loop_t *loop, const char *listen);
void raft_transport_release(struct raft_transport *t);

/* Whether this is «host:port». What is not can never be connected to, and libraft keeps all that it would send there.
 */
bool raft_transport_can_reach(const char *address);

#endif
