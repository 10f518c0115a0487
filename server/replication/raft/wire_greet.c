/* The greeting of a connection between members: said, or heard and judged. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "server/replication/raft/wire_internal.h"

#define NO_GREETING "what it says is no greeting of a member"

/* A member learns its cluster when it joins; from then on its greetings tell. */
static void
own_cluster(const struct raft_transport *t, char out[RAFT_ORIGIN_MAX])
{
	out[0] = '\0';
	if (t->peers.cluster != NULL)
		t->peers.cluster(t->peers.arg, out);
}

void
raft_wire_write_greeting(struct raft_wire *w)
{
	struct raft_greeting g = { .id = w->transport->id };

	snprintf(g.address, sizeof(g.address), "%s", w->transport->address);
	own_cluster(w->transport, g.cluster);
	w->len = raft_greeting_write(&g, w->greeting);
}

/* Whoever has no cluster yet is one that the leader took in, and known by its id. */
static bool
is_one_of_us(struct raft_transport *t, const struct raft_greeting *g)
{
	char ours[RAFT_ORIGIN_MAX];

	own_cluster(t, ours);
	if (ours[0] == '\0')
		return true;
	return g->cluster[0] != '\0' ? raft_greeting_same_cluster(ours, g->cluster)
				     : t->peers.is_member(t->peers.arg, g->id);
}

/* Within TLS, whoever says that they are a member must be that one. */
static bool
bears_name(struct raft_wire *w, const struct raft_greeting *g, char *why, size_t size)
{
	const struct raft_transport_peers *peers = &w->transport->peers;
	char name[MEMBER_ADDRESS_MAX];

	if (w->tls == NULL)
		return true;
	if (peers->name(peers->arg, g->id, name, sizeof(name)) < 0) {
		snprintf(why, size, "no member has this number");
		return false;
	}
	snprintf(why, size, "its certificate does not bear the name %s", name);
	return tls_stream_bears(w->tls, name);
}

/* All of it was read. */
static void
judge(struct raft_wire *w)
{
	struct raft_transport *t = w->transport;
	struct raft_greeting g;
	char why[MEMBER_ADDRESS_MAX + 64];
	uv_stream_t *stream;

	if (!raft_greeting_read(w->greeting, w->len, &g)) {
		raft_wire_refuse(w, "", NO_GREETING);
		return;
	}
	if (!bears_name(w, &g, why, sizeof(why))) {
		raft_wire_refuse(w, g.address, why);
		return;
	}
	if (!is_one_of_us(t, &g)) {
		snprintf(why, sizeof(why), g.cluster[0] != '\0' ? "it is of cluster %s" : "it is of no cluster%s",
		    g.cluster);
		raft_wire_refuse(w, g.address, why);
		return;
	}
	w->id = g.id;
	stream = raft_wire_give_away(w);
	raft_wire_drop(w);
	if (stream != NULL)
		t->accepted(&t->base, g.id, g.address, stream);
}

static void
greeted(struct raft_wire *w)
{
	struct raft_uv_connect *request = w->request;
	raft_uv_connect_cb cb = w->cb;
	uv_stream_t *stream = raft_wire_give_away(w);

	if (stream == NULL) {
		raft_wire_fail(w, RAFT_NOMEM);
		return;
	}
	raft_transport_link(w->transport, w->id)->connected = true;
	raft_wire_drop(w);
	cb(request, stream, 0);
}

/* More of it, in the one direction or the other: 0; SP_EAGAIN; another code where nothing comes of it. */
static int
move_some(struct raft_wire *w)
{
	unsigned char *at = w->greeting + w->done;
	size_t left = w->len - w->done, moved = 0;
	struct sp_error err;
	ssize_t n;
	int rc;

	if (w->tls != NULL) {
		rc = w->asks ? tls_stream_write(w->tls, at, left, &moved, &err)
			     : tls_stream_read(w->tls, at, left, &moved, &err);
	} else {
		n = w->asks ? send(w->fd, at, left, MSG_NOSIGNAL) : recv(w->fd, at, left, 0);
		rc = n >= 0 ? 0 : errno == EAGAIN || errno == EINTR ? SP_EAGAIN : SP_EIO;
		moved = n > 0 ? (size_t)n : 0;
	}
	w->done += moved;
	return rc == 0 && moved == 0 ? SP_EUNAVAIL : rc;
}

void
raft_wire_greet(struct raft_wire *w)
{
	int rc = 0;

	while (rc == 0 && w->done < w->len) {
		rc = move_some(w);
		if (rc == 0 && !w->asks && w->done == RAFT_GREETING_HEAD && w->len == RAFT_GREETING_HEAD)
			w->len = raft_greeting_size(w->greeting);
		if (w->len == 0) {
			raft_wire_refuse(w, "", NO_GREETING);
			return;
		}
	}
	if (rc == SP_EAGAIN)
		raft_wire_wait(w, w->asks ? UV_WRITABLE : UV_READABLE);
	else if (rc < 0)
		raft_wire_fail(w, RAFT_NOCONNECTION);
	else if (w->asks)
		greeted(w);
	else
		judge(w);
}
