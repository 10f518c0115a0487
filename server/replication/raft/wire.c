#include "server/replication/raft/wire_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "server/replication/raft/tls_stream.h"
#include "server/replication/raft/tunnel.h"

/* For each step. An address that does not answer may be a former one of a pod that came back: the
 * name is soon asked again. Two seconds are enough for one packet to be lost. */
#define CONNECT_MS 2000
#define TALK_MS    5000 /* TLS and the greeting */
#define LOOK_UP_MS 2000 /* after which a name counts as one that cannot be resolved, until the answer comes */

#define COMING_MAX 64 /* peers that have connected and not greeted */

/* A peer that acknowledges nothing for so long is gone, or its address is another's by now. */
#define SILENCE_MS  2000
#define KEEPALIVE_S 15 /* that it is asked for a sign of life, where nothing comes from it */

static void advance(struct wire *w);

/* --- The end of a wire --- */

static void
hang_up(struct wire *w)
{
	loop_poll_close(w->poll);
	tls_stream_free(w->tls);
	if (w->fd >= 0)
		close(w->fd);
	w->poll = NULL;
	w->tls = NULL;
	w->fd = -1;
}

void
wire_drop(struct wire *w)
{
	struct wire **p = &w->transport->wires;

	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	hang_up(w);
	uv_freeaddrinfo(w->found);
	free(w);
}

/* It leads to nothing. */
void
wire_fail(struct wire *w, int code)
{
	struct raft_uv_connect *request = w->request;
	raft_uv_connect_cb cb = w->cb;
	bool asks = w->asks;

	wire_drop(w);
	if (asks)
		cb(request, NULL, code);
}

/* The peer's numeric address; "" if that is not known any more. */
static const char *
host_of(int fd, char out[NI_MAXHOST])
{
	struct sockaddr_storage at;
	socklen_t len = sizeof(at);

	if (getpeername(fd, (struct sockaddr *)&at, &len) != 0 ||
	    getnameinfo((struct sockaddr *)&at, len, out, NI_MAXHOST, NULL, 0, NI_NUMERICHOST) != 0)
		return "";
	return out;
}

/* With a reason, for the operator; `address` as it greeted, "" if it did not. */
void
wire_refuse(struct wire *w, const char *address, const char *why)
{
	char host[NI_MAXHOST];

	if (w->asks)
		transport_complain(w->transport, w->id, why);
	else
		transport_refuse(w->transport, address[0] != '\0' ? address : host_of(w->fd, host), why);
	wire_fail(w, RAFT_NOCONNECTION);
}

uv_stream_t *
wire_give_away(struct wire *w)
{
	int fd = w->fd;
	struct tls_stream *tls = w->tls;

	w->fd = -1;
	w->tls = NULL;
	loop_poll_close(w->poll);
	w->poll = NULL;
	if (!w->asks)
		tunnels_make_room(w->transport, w->id);
	return tunnel_new(w->transport, fd, tls, w->asks, w->id);
}

/* --- Waiting --- */

static void
ready(uv_poll_t *handle, int status, int events)
{
	struct wire *w = ((struct loop_poll *)handle)->owner;

	(void)status; /* whatever it is, the next call says the same */
	(void)events;
	advance(w);
}

void
wire_wait(struct wire *w, int events)
{
	if (uv_poll_start(&w->poll->handle, events, ready) != 0)
		wire_fail(w, RAFT_NOCONNECTION);
}

/* --- Steps --- */

static void
set_patience(int fd, bool asks)
{
	const unsigned silence_ms = SILENCE_MS;
	const int on = 1, idle_s = KEEPALIVE_S, interval_s = 1, probes = 10;

	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof(silence_ms));
	/* A small message must not wait until the one before it was acknowledged. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (asks)
		return;
	/* Nothing is ever sent here: one whose node is gone would be waited for without end. */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

/* From one address to the next. False if there is none left. */
static bool
connect_next(struct wire *w)
{
	const struct addrinfo *a;

	hang_up(w);
	w->step = CONNECTING;
	w->until_ms = clock_mono_ms() + CONNECT_MS;
	while ((a = w->at) != NULL) {
		w->at = a->ai_next;
		w->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (w->fd >= 0)
			set_patience(w->fd, true);
		if (w->fd >= 0 && (connect(w->fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS) &&
		    (w->poll = loop_poll_new(w->transport, w->fd, w)) != NULL &&
		    uv_poll_start(&w->poll->handle, UV_WRITABLE, ready) == 0)
			return true;
		hang_up(w);
	}
	return false;
}

/* The connection stands: TLS, if there is a certificate, and then the greeting. */
static int
begin_talk(struct wire *w)
{
	struct transport *t = w->transport;
	char name[MEMBER_ADDRESS_MAX];
	struct sp_error err;

	w->until_ms = clock_mono_ms() + TALK_MS;
	w->step = t->peers.tls != NULL ? SHAKING : GREETING;
	if (wire_begin_greeting(w) < 0)
		return SP_EINTERNAL;
	if (t->peers.tls == NULL)
		return 0;
	if (w->asks && t->peers.name(t->peers.arg, w->id, name, sizeof(name)) < 0)
		return SP_EINTERNAL;
	return tls_stream_new(
	    t->peers.tls, w->fd, w->asks ? TLS_ASKS : TLS_ANSWERS, w->asks ? name : NULL, &w->tls, &err);
}

static void
shake(struct wire *w)
{
	struct sp_error err;
	int rc = tls_stream_shake(w->tls, &err);

	if (rc == SP_EAGAIN) {
		wire_wait(w, tls_stream_wants_write(w->tls) ? UV_WRITABLE : UV_READABLE);
	} else if (rc < 0) {
		wire_refuse(w, "", err.text);
	} else {
		w->step = GREETING;
		advance(w);
	}
}

static void
advance(struct wire *w)
{
	int error = 0;
	socklen_t len = sizeof(error);

	switch (w->step) {
	case LOOKING_UP:
		break;
	case CONNECTING:
		if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
			if (!connect_next(w))
				wire_fail(w, RAFT_NOCONNECTION);
		} else if (begin_talk(w) != 0) {
			wire_fail(w, RAFT_NOMEM);
		} else {
			advance(w);
		}
		break;
	case SHAKING:
		shake(w);
		break;
	case GREETING:
		wire_greet(w);
		break;
	}
}

/* --- The asking side --- */

static void looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found);

/*
 * One question at a time, IPv4 first: two questions that are sent together (if any address will do)
 * lose one another now and then on their way to a cluster's name server, and the answer then takes
 * five seconds. libuv has half of its threads at most look names up, so that a name server that is
 * silent leaves libraft's disk the other half.
 */
static int
ask_name(struct wire *w, int family)
{
	const struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };

	w->step = LOOKING_UP;
	w->until_ms = clock_mono_ms() + LOOK_UP_MS;
	w->family = family;
	w->lookup.data = w;
	if (uv_getaddrinfo(w->transport->loop, &w->lookup, looked_up, w->to.host, w->to.port, &hints) != 0)
		return RAFT_NOCONNECTION;
	w->transport->open++;
	return 0;
}

static bool
has_no_such_address(int status)
{
	return status == UV_EAI_NONAME || status == UV_EAI_NODATA || status == UV_EAI_ADDRFAMILY;
}

static void
looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
	struct wire *w = lookup->data;
	struct transport *t = w->transport;

	w->found = w->at = found;
	if (t->closing) {
		wire_fail(w, RAFT_CANCELED);
	} else if (has_no_such_address(status) && w->family == AF_INET && ask_name(w, AF_INET6) == 0) {
		; /* this comes again */
	} else {
		transport_note_name(t, w->id, w->to.host, status != 0 ? uv_strerror(status) : NULL);
		if (status != 0 || !connect_next(w))
			wire_fail(w, RAFT_NOCONNECTION);
	}
	transport_let_go(t);
}

/* A numeric address needs no name server. */
static int
look_up(struct wire *w)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };

	if (getaddrinfo(w->to.host, w->to.port, &hints, &w->found) == 0) {
		w->at = w->found;
		return connect_next(w) ? 0 : RAFT_NOCONNECTION;
	}
	w->found = NULL;
	return ask_name(w, AF_INET);
}

static struct wire *
wire_new(struct transport *t, bool asks)
{
	struct wire *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->transport = t;
	w->asks = asks;
	w->fd = -1;
	w->next = t->wires;
	t->wires = w;
	return w;
}

int
wire_dial(struct transport *t, struct raft_uv_connect *request, raft_id id, const char *address, raft_uv_connect_cb cb)
{
	struct wire_address to;
	struct wire *w;
	int rc;

	if (!wire_address_parse(address, &to))
		return RAFT_INVALID;
	w = wire_new(t, true);
	if (w == NULL)
		return RAFT_NOMEM;
	w->to = to;
	w->id = id;
	w->request = request;
	w->cb = cb;
	rc = look_up(w);
	if (rc != 0)
		wire_drop(w);
	return rc;
}

/* --- Who is asked --- */

/* The oldest of too many. */
static void
make_room(struct transport *t)
{
	struct wire *oldest = NULL;
	unsigned coming = 0;

	for (struct wire *w = t->wires; w != NULL; w = w->next) {
		if (w->asks)
			continue;
		oldest = w;
		coming++;
	}
	if (coming >= COMING_MAX)
		wire_drop(oldest);
}

void
wire_answer(struct transport *t, int fd)
{
	struct wire *w;

	make_room(t);
	w = wire_new(t, false);
	if (w == NULL) {
		close(fd);
		return;
	}
	w->fd = fd;
	set_patience(fd, false);
	w->poll = loop_poll_new(t, fd, w);
	if (w->poll == NULL || begin_talk(w) != 0)
		wire_drop(w);
	else
		advance(w);
}

/* --- All of them --- */

/* One at a time: its callback may dial again. */
static struct wire *
find_late(struct transport *t, int64_t now_ms)
{
	for (struct wire *w = t->wires; w != NULL; w = w->next)
		if (w->step != LOOKING_UP && now_ms > w->until_ms)
			return w;
	return NULL;
}

void
wires_turn(struct transport *t)
{
	struct wire *w;

	for (w = t->wires; w != NULL; w = w->next)
		if (w->step == LOOKING_UP && clock_mono_ms() > w->until_ms)
			transport_note_name(t, w->id, w->to.host, "the name server does not answer");

	while ((w = find_late(t, clock_mono_ms())) != NULL)
		if (w->step != CONNECTING || !connect_next(w))
			wire_fail(w, RAFT_NOCONNECTION);
}

void
wires_cancel(struct transport *t)
{
	struct wire *next;

	for (struct wire *w = t->wires; w != NULL; w = next) {
		next = w->next;
		if (w->step == LOOKING_UP)
			uv_cancel((uv_req_t *)&w->lookup); /* looked_up() comes, now or when it has ended */
		else
			wire_fail(w, RAFT_CANCELED);
	}
}
