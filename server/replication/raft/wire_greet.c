/*
 * The greeting of a connection between members: said, or heard and judged. If the set has a secret,
 * both sides prove that they know it, and a listener does not learn it:
 *
 *	asks -> answers	its greeting, with a nonce
 *	answers -> asks	another nonce
 *	asks -> answers	HMAC("asks", greeting, nonce, id that is asked for), by the first of its secrets
 *	answers -> asks	HMAC("answers", the same), by the same secret
 *
 * The id that is asked for is part of it, so that a proof for a forger is of no use at another
 * member. Later bytes are not signed: only TLS protects against a party that can change packets
 * between two members.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/le.h"
#include "server/replication/raft/wire_internal.h"

#define NO_GREETING "what it says is no greeting of a member"
#define ASKS        "seedpod raft 1 asks"
#define ANSWERS     "seedpod raft 1 answers"

/* A member learns its cluster when it joins; from then on its greetings tell. */
static void
own_cluster(const struct transport *t, char out[LOG_ORIGIN_MAX])
{
	out[0] = '\0';
	if (t->peers.cluster != NULL)
		t->peers.cluster(t->peers.arg, out);
}

static void
begin_leg(struct wire *w, enum leg leg, unsigned char *part, size_t len)
{
	w->leg = leg;
	w->part = part;
	w->len = len;
	w->done = 0;
}

static bool
writes(const struct wire *w)
{
	return w->asks == (w->leg == LEG_GREETING || w->leg == LEG_PROOF);
}

int
wire_begin_greeting(struct wire *w)
{
	struct greeting g = { .id = w->transport->id, .proves = w->transport->peers.secret != NULL };

	begin_leg(w, LEG_GREETING, w->greeting, GREETING_HEAD);
	if (!w->asks)
		return 0;
	snprintf(g.address, sizeof(g.address), "%s", w->transport->address);
	own_cluster(w->transport, g.cluster);
	if (g.proves && secret_nonce(g.nonce) < 0)
		return SP_EIO;
	w->len = w->greeting_len = greeting_write(&g, w->greeting);
	return 0;
}

/* A member that has no cluster yet is one that the leader added, and known by its id. */
static bool
is_one_of_us(struct transport *t, const struct greeting *g)
{
	char ours[LOG_ORIGIN_MAX];

	own_cluster(t, ours);
	if (ours[0] == '\0')
		return true;
	return g->cluster[0] != '\0' ? greeting_same_cluster(ours, g->cluster)
				     : t->peers.is_member(t->peers.arg, g->id);
}

/* Within TLS, a peer that says that it is a member must be that one. */
static bool
bears_name(struct wire *w, const struct greeting *g, char *why, size_t size)
{
	const struct transport_peers *peers = &w->transport->peers;
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

/* All of it was read. False: it was refused, and the wire is gone. */
static bool
judge(struct wire *w)
{
	struct transport *t = w->transport;
	struct greeting g;
	char why[MEMBER_ADDRESS_MAX + 64];

	w->greeting_len = w->len;
	if (!greeting_read(w->greeting, w->len, &g)) {
		wire_refuse(w, "", NO_GREETING);
		return false;
	}
	if (!bears_name(w, &g, why, sizeof(why))) {
		wire_refuse(w, g.address, why);
		return false;
	}
	if (!is_one_of_us(t, &g)) {
		snprintf(why, sizeof(why), g.cluster[0] != '\0' ? "it is of cluster %s" : "it is of no cluster%s",
		    g.cluster);
		wire_refuse(w, g.address, why);
		return false;
	}
	if (g.proves != (t->peers.secret != NULL)) {
		wire_refuse(w, g.address,
		    g.proves ? "it has a [raft] secret_file, and this member has none"
			     : "it has no [raft] secret_file, and this member has one");
		return false;
	}
	w->id = g.id;
	return true;
}

/* --- Secrets --- */

#define SIGNED_MAX (GREETING_MAX + SECRET_NONCE_BYTES + 8)

/* The bytes that both sides sign; how many bytes. */
static size_t
signed_bytes(const struct wire *w, unsigned char out[SIGNED_MAX])
{
	size_t len = w->greeting_len;

	memcpy(out, w->greeting, len);
	memcpy(out + len, w->nonce, SECRET_NONCE_BYTES);
	le_put(out + len + SECRET_NONCE_BYTES, w->asks ? w->id : w->transport->id, 8);
	return len + SECRET_NONCE_BYTES + 8;
}

static bool
prove(struct wire *w)
{
	unsigned char bytes[SIGNED_MAX];
	size_t len = signed_bytes(w, bytes);

	if (secret_prove(w->transport->peers.secret, ASKS, bytes, len, w->proof) == 0)
		return true;
	wire_fail(w, RAFT_NOCONNECTION);
	return false;
}

/* What the other side has proved. False: nothing, and the wire is gone. */
static bool
verify(struct wire *w)
{
	struct secret *secret = w->transport->peers.secret;
	unsigned char bytes[SIGNED_MAX];
	size_t len = signed_bytes(w, bytes);
	struct greeting g;

	if (w->asks ? secret_verify(secret, ANSWERS, bytes, len, w->answer, NULL, NULL)
		    : secret_verify(secret, ASKS, bytes, len, w->proof, ANSWERS, w->answer))
		return true;
	if (w->asks || !greeting_read(w->greeting, w->greeting_len, &g))
		g.address[0] = '\0';
	wire_refuse(w, g.address, "it does not know the secret of [raft] secret_file, or asks for another member");
	return false;
}

/* --- The end of it --- */

static void
accept_member(struct wire *w)
{
	struct transport *t = w->transport;
	struct greeting g;
	uv_stream_t *stream;

	greeting_read(w->greeting, w->greeting_len, &g);
	stream = wire_give_away(w);
	wire_drop(w);
	if (stream != NULL)
		t->accepted(&t->base, g.id, g.address, stream);
}

static void
greeted(struct wire *w)
{
	struct raft_uv_connect *request = w->request;
	raft_uv_connect_cb cb = w->cb;
	uv_stream_t *stream = wire_give_away(w);

	if (stream == NULL) {
		wire_fail(w, RAFT_NOMEM);
		return;
	}
	transport_link(w->transport, w->id)->connected = true;
	wire_drop(w);
	cb(request, stream, 0);
}

/* --- Leg by leg. False: the wire is gone. --- */

static bool
next_leg_of_asking(struct wire *w)
{
	switch (w->leg) {
	case LEG_GREETING:
		if (w->transport->peers.secret == NULL)
			break;
		begin_leg(w, LEG_NONCE, w->nonce, sizeof(w->nonce));
		return true;
	case LEG_NONCE:
		if (!prove(w))
			return false;
		begin_leg(w, LEG_PROOF, w->proof, sizeof(w->proof));
		return true;
	case LEG_PROOF:
		begin_leg(w, LEG_ANSWER, w->answer, sizeof(w->answer));
		return true;
	case LEG_ANSWER:
		if (!verify(w))
			return false;
		break;
	}
	greeted(w);
	return false;
}

static bool
next_leg_of_answering(struct wire *w)
{
	switch (w->leg) {
	case LEG_GREETING:
		if (!judge(w))
			return false;
		if (w->transport->peers.secret == NULL)
			break;
		if (secret_nonce(w->nonce) < 0) {
			wire_fail(w, RAFT_NOCONNECTION);
			return false;
		}
		begin_leg(w, LEG_NONCE, w->nonce, sizeof(w->nonce));
		return true;
	case LEG_NONCE:
		begin_leg(w, LEG_PROOF, w->proof, sizeof(w->proof));
		return true;
	case LEG_PROOF:
		if (!verify(w))
			return false;
		begin_leg(w, LEG_ANSWER, w->answer, sizeof(w->answer));
		return true;
	case LEG_ANSWER:
		break;
	}
	accept_member(w);
	return false;
}

/* More of it, in the one direction or the other: 0; SP_EAGAIN; another code if nothing comes of it. */
static int
move_some(struct wire *w)
{
	unsigned char *at = w->part + w->done;
	size_t left = w->len - w->done, moved = 0;
	struct sp_error err;
	ssize_t n;
	int rc;

	if (w->tls != NULL) {
		rc = writes(w) ? tls_stream_write(w->tls, at, left, &moved, &err)
			       : tls_stream_read(w->tls, at, left, &moved, &err);
	} else {
		n = writes(w) ? send(w->fd, at, left, MSG_NOSIGNAL) : recv(w->fd, at, left, 0);
		rc = n >= 0 ? 0 : errno == EAGAIN || errno == EINTR ? SP_EAGAIN : SP_EIO;
		moved = n > 0 ? (size_t)n : 0;
	}
	w->done += moved;
	return rc == 0 && moved == 0 ? SP_EUNAVAIL : rc;
}

/* The whole leg. SP_EBADDATA: what comes is no greeting. */
static int
move_leg(struct wire *w)
{
	int rc = 0;

	while (rc == 0 && w->done < w->len) {
		rc = move_some(w);
		if (rc == 0 && w->leg == LEG_GREETING && !w->asks && w->done == GREETING_HEAD)
			w->len = greeting_size(w->greeting);
		if (w->len == 0)
			return SP_EBADDATA;
	}
	return rc;
}

void
wire_greet(struct wire *w)
{
	int rc;

	do {
		rc = move_leg(w);
	} while (rc == 0 && (w->asks ? next_leg_of_asking(w) : next_leg_of_answering(w)));
	if (rc == SP_EAGAIN)
		wire_wait(w, writes(w) ? UV_WRITABLE : UV_READABLE);
	else if (rc == SP_EBADDATA)
		wire_refuse(w, "", NO_GREETING);
	else if (rc < 0 && w->asks && w->leg != LEG_GREETING)
		wire_refuse(w, "", "it has closed the connection: is [raft] secret_file the same there?");
	else if (rc < 0)
		wire_fail(w, RAFT_NOCONNECTION);
}
