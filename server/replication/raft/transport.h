/*
 * How members connect, in libraft's place: a connection goes one way, from the sender of messages
 * to their receiver, and begins with a greeting that names the sender.
 *
 * Names are looked up each time anew, because a pod that comes back has another address. A
 * connection to a silent peer times out after a few seconds. The greeting names the member's
 * cluster, and members of another are refused: an address may have been a member's of ours, and be
 * theirs by now. With a certificate, all of it is within TLS: each side shows its own, and a peer
 * that greets as a member must bear that member's name. A member that has left for good is not
 * connected to, and libraft is made to forget what it keeps for it.
 *
 *	transport_init(&t, &loop, "0.0.0.0:9875"); t.peers = …; raft_uv_init(&io, &loop, dir, &t.base) …
 *	transport_turn(&t);	// a few times a second, or more often
 *	transport_release(&t);	// after libraft has closed it
 *
 * On the loop's thread. The parts: a connection until it has greeted is a wire (wire.h), and a tunnel from
 * then on (tunnel.h).
 */
#ifndef SERVER_REPLICATION_RAFT_TRANSPORT_H_
#define SERVER_REPLICATION_RAFT_TRANSPORT_H_

#include <stdatomic.h>
#include <stdbool.h>

#include <raft.h>
#include <raft/uv.h>
#include <uv.h>

#include "lib/net/secret.h"
#include "lib/net/tls.h"
#include "server/replication/raft/greeting.h"
#include "server/replication/raft/stream.h"

/* A member that libraft wanted to reach: it forgets none of them. */
struct wire_link {
	raft_id id;
	char address[MEMBER_ADDRESS_MAX];
	bool unresolved; /* its name was looked up last in vain, or is being looked up for too long */
	bool connected;  /* libraft was given a connection, and has not asked for another one since */
	bool was_member; /* set by the owner: it was seen in the configuration */
	bool let_go;     /* it has left, and libraft has forgotten what it kept for it */
	int64_t said_ms; /* monotonic: that it cannot be talked to was said last; 0: never */
};

/* The facts that peers are judged by. */
struct transport_peers {
	/* This member's cluster, as its greeting says it; "" if it has none yet. */
	void (*cluster)(void *arg, char out[LOG_ORIGIN_MAX]);

	/* Whether this id is in the configuration; true if there is none yet. */
	bool (*is_member)(void *arg, raft_id id);

	/* The name that this member's certificate bears. 0, or an error. */
	int (*name)(void *arg, raft_id id, char *out, size_t size);

	/* The facts that its messages are judged by: all but term_max. NULL: nothing is known. */
	void (*facts)(void *arg, struct member_stream_facts *out);

	/* Our certificate, and the authorities that theirs must come from; NULL: no TLS. */
	struct tls *tls;

	/* The secret that all members prove to know; NULL: none is asked for. */
	struct secret *secret;
	void *arg;
};

struct transport {
	struct raft_uv_transport base; /* what libraft sees */
	uv_loop_t *loop;
	const char *listen;
	raft_uv_accept_cb accepted;
	struct loop_poll *listening; /* of the listening socket; NULL: none */
	int64_t accept_paused_ms;    /* for want of descriptors, or too many have come; monotonic; 0: it is open */
	int64_t came_since_ms;       /* monotonic: from here on */
	unsigned came;               /* so many have come */
	int accept_fd;
	struct wire *wires;
	struct tunnel *tunnels;
	unsigned open;                /* polls and lookups that libuv has not released */
	struct transport_peers peers; /* zeros: every peer is accepted */
	raft_id id;
	const char *address;     /* this member's */
	struct wire_link *links; /* link_count of them, malloc'ed */
	size_t link_count;
	atomic_uint_fast64_t refused;          /* peers that were refused; any thread may read it */
	int64_t refused_said_ms;               /* monotonic */
	atomic_uint_fast64_t refused_messages; /* any thread may read it */
	int64_t refused_message_said_ms;       /* monotonic */
	struct term_bound terms;
	bool closing;
	raft_uv_transport_close_cb closed;
};

/* *t holds zeros, or what was released before; `peers` is to be set between this and the first connection. `listen`
 * must stay where it is. */
void transport_init(struct transport *t, uv_loop_t *loop, const char *listen);
void transport_release(struct transport *t);

/* Drop connections that are silent. */
void transport_turn(struct transport *t);

/* Whether this is "host:port". Another address can never be connected to, and libraft keeps all
 * that it would send there. */
bool transport_can_reach(const char *address);

/* --- For wires and tunnels --- */

/* The facts about this member, or NULL. */
struct wire_link *transport_link(struct transport *t, raft_id id);

/* Count a refused peer, and log that now and then. */
void transport_refuse(struct transport *t, const char *address, const char *why);

/* Count a message of this member that was not passed on, and say so now and then. */
void transport_refuse_message(struct transport *t, raft_id id, const char *why);

/* The facts that messages are judged by now. */
void transport_facts(struct transport *t, struct member_stream_facts *out);

/* Whether this id is a member's, as far as is known. */
bool transport_knows(const struct transport *t, raft_id id);

/* Its name was looked up: `why` it is not known, NULL: it is. Says so now and then. */
void transport_note_name(struct transport *t, raft_id id, const char *host, const char *why);

/* The host name of a member that cannot be resolved, into out[size]; "" if there is none. */
void transport_unresolved(const struct transport *t, char *out, size_t size);

/* Say, now and then, why there is no talking to this member. */
void transport_complain(struct transport *t, raft_id id, const char *why);

/* A descriptor that libuv looks at; it stays the caller's. NULL: out of memory, or one that cannot be looked at.
 * Once it is closed, nothing is called any more, and the descriptor may be closed too. */
struct loop_poll {
	uv_poll_t handle;
	struct transport *transport;
	void *owner;
};

struct loop_poll *loop_poll_new(struct transport *t, int fd, void *owner);
void loop_poll_close(struct loop_poll *p); /* NULL does nothing */

/* One of t->open is over. */
void transport_let_go(struct transport *t);

/* A handle that libraft may have: to be freed by raft_free(). */
void loop_handle_free(uv_handle_t *handle);

/* One end of a socketpair for libraft; -1 in *stream's place: NULL. The callee owns the descriptor
 * in any case. */
uv_stream_t *loop_pipe_new(uv_loop_t *loop, int fd);

#endif
