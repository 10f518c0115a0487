#include "server/replication/raft/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/net/socket.h"
#include "server/replication/raft/address.h"
#include "server/replication/raft/tunnel.h"
#include "server/replication/raft/wire.h"

#define SAY_EVERY_MS 60000 /* log that unknown peers are refused, or a member refuses us */
#define COME_MAX     16    /* connections accepted in SHUT_MS */
#define SHUT_MS      100   /* then accept again, if too many have come or no descriptor was left */

static struct transport *
transport_of(struct raft_uv_transport *base)
{
	return (struct transport *)base->impl;
}

static int
init(struct raft_uv_transport *base, raft_id id, const char *address)
{
	struct transport *t = transport_of(base);

	t->id = id;
	t->address = address;
	return 0;
}

/* --- Handles --- */

void
loop_handle_free(uv_handle_t *handle)
{
	raft_free(handle);
}

struct loop_poll *
loop_poll_new(struct transport *t, int fd, void *owner)
{
	struct loop_poll *p = calloc(1, sizeof(*p));

	if (p == NULL || uv_poll_init(t->loop, &p->handle, fd) != 0) {
		free(p);
		return NULL;
	}
	p->transport = t;
	p->owner = owner;
	t->open++;
	return p;
}

static void
poll_closed(uv_handle_t *handle)
{
	struct loop_poll *p = (struct loop_poll *)handle;
	struct transport *t = p->transport;

	free(p);
	transport_let_go(t);
}

void
loop_poll_close(struct loop_poll *p)
{
	if (p != NULL)
		uv_close((uv_handle_t *)&p->handle, poll_closed);
}

void
transport_let_go(struct transport *t)
{
	t->open--;
	if (t->open == 0 && t->closing && t->closed != NULL)
		t->closed(&t->base);
}

uv_stream_t *
loop_pipe_new(uv_loop_t *loop, int fd)
{
	uv_pipe_t *pipe = raft_malloc(sizeof(*pipe));

	if (pipe == NULL || uv_pipe_init(loop, pipe, 0) != 0) {
		raft_free(pipe);
		close(fd);
		return NULL;
	}
	if (uv_pipe_open(pipe, fd) != 0) {
		uv_close((uv_handle_t *)pipe, loop_handle_free);
		close(fd);
		return NULL;
	}
	return (uv_stream_t *)pipe;
}

/* --- Who comes --- */

void
transport_refuse(struct transport *t, const char *address, const char *why)
{
	int64_t now_ms = clock_mono_ms();

	uint64_t before = atomic_fetch_add(&t->refused, 1);

	if (before > 0 && now_ms - t->refused_said_ms < SAY_EVERY_MS)
		return;
	log_warn("a stranger at the raft port is refused", LOG_STR("address", address), LOG_STR("why", why),
	    LOG_U64("so_far", before + 1));
	t->refused_said_ms = now_ms;
}

void
transport_refuse_message(struct transport *t, raft_id id, const char *why)
{
	int64_t now_ms = clock_mono_ms();
	uint64_t before = atomic_fetch_add(&t->refused_messages, 1);

	if (before > 0 && now_ms - t->refused_message_said_ms < SAY_EVERY_MS)
		return;
	log_warn("a message at the raft port is refused", LOG_U64("member", id), LOG_STR("why", why),
	    LOG_U64("so_far", before + 1));
	t->refused_message_said_ms = now_ms;
}

void
transport_facts(struct transport *t, struct member_stream_facts *out)
{
	*out = (struct member_stream_facts){ 0 };
	if (t->peers.facts != NULL)
		t->peers.facts(t->peers.arg, out);
	out->term_max = term_bound_most(&t->terms, out->term, clock_mono_ms());
}

bool
transport_knows(const struct transport *t, raft_id id)
{
	return t->peers.is_member == NULL || t->peers.is_member(t->peers.arg, id);
}

/* A connection may cost a signature, on the thread that keeps the cluster together: a flood of them
 * waits outside. */
static bool
may_come(struct transport *t)
{
	int64_t now_ms = clock_mono_ms();

	if (now_ms - t->came_since_ms >= SHUT_MS) {
		t->came_since_ms = now_ms;
		t->came = 0;
	}
	return t->came < COME_MAX;
}

static void
knocked(uv_poll_t *handle, int status, int events)
{
	struct loop_poll *p = (struct loop_poll *)handle;
	struct transport *t = p->transport;
	int fd;

	(void)status;
	(void)events;
	while (may_come(t)) {
		fd = accept4(t->accept_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		t->came += fd >= 0;
		if (fd >= 0)
			wire_answer(t, fd);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			break;
		else if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
	/* A connection that waits there would wake us again at once. */
	uv_poll_stop(&t->listening->handle);
	t->accept_paused_ms = clock_mono_ms();
}

static int
start_listening(struct raft_uv_transport *base, raft_uv_accept_cb cb)
{
	struct transport *t = transport_of(base);
	struct sp_error err;
	unsigned port;

	t->accepted = cb;
	if (socket_listen(t->listen, &t->accept_fd, &port, &err) < 0) {
		snprintf(base->errmsg, sizeof(base->errmsg), "%.*s", (int)sizeof(base->errmsg) - 1, err.text);
		return RAFT_IOERR;
	}
	fcntl(t->accept_fd, F_SETFL, fcntl(t->accept_fd, F_GETFL) | O_NONBLOCK);
	t->listening = loop_poll_new(t, t->accept_fd, t);
	if (t->listening != NULL && uv_poll_start(&t->listening->handle, UV_READABLE, knocked) == 0)
		return 0;
	snprintf(base->errmsg, sizeof(base->errmsg), "listen on %s: out of memory", t->listen);
	return RAFT_NOMEM;
}

/* --- Connecting --- */

struct wire_link *
transport_link(struct transport *t, raft_id id)
{
	for (size_t i = 0; i < t->link_count; i++)
		if (t->links[i].id == id)
			return &t->links[i];
	return NULL;
}

void
transport_complain(struct transport *t, raft_id id, const char *why)
{
	struct wire_link *link = transport_link(t, id);
	int64_t now_ms = clock_mono_ms();

	if (link == NULL || (link->said_ms != 0 && now_ms - link->said_ms < SAY_EVERY_MS))
		return;
	link->said_ms = now_ms;
	log_warn(
	    "a member cannot be talked to at its raft port", LOG_STR("address", link->address), LOG_STR("why", why));
}

void
transport_note_name(struct transport *t, raft_id id, const char *host, const char *why)
{
	struct wire_link *link = transport_link(t, id);
	char text[WIRE_HOST_MAX + 128];

	if (link == NULL)
		return;
	link->unresolved = why != NULL;
	if (why == NULL)
		return;
	snprintf(text, sizeof(text), "the name %s cannot be resolved: %s", host, why);
	transport_complain(t, id, text);
}

void
transport_unresolved(const struct transport *t, char *out, size_t size)
{
	struct wire_address at;

	out[0] = '\0';
	for (size_t i = 0; i < t->link_count && out[0] == '\0'; i++)
		if (t->links[i].unresolved && !t->links[i].connected && transport_knows(t, t->links[i].id) &&
		    wire_address_parse(t->links[i].address, &at))
			snprintf(out, size, "%s", at.host);
}

/* The same, noted where it is new; NULL: out of memory. */
static struct wire_link *
note_link(struct transport *t, raft_id id, const char *address)
{
	struct wire_link *link = transport_link(t, id), *grown;

	if (link == NULL) {
		grown = realloc(t->links, (t->link_count + 1) * sizeof(*grown));
		if (grown == NULL)
			return NULL;
		t->links = grown;
		link = &t->links[t->link_count++];
		*link = (struct wire_link){ .id = id };
	}
	snprintf(link->address, sizeof(link->address), "%s", address);
	link->connected = false;
	return link;
}

/*
 * To a member that has left. libraft keeps messages for it until it can send them, and with them
 * their entries of the log, in memory. So it is given a connection once whose other end is closed,
 * and fails them all.
 */
static int
connect_to_nobody(struct transport *t, struct wire_link *link, struct raft_uv_connect *request)
{
	uv_stream_t *stream;
	int ends[2];

	if (link->let_go || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return RAFT_NOCONNECTION;
	close(ends[1]);
	stream = loop_pipe_new(t->loop, ends[0]);
	if (stream == NULL)
		return RAFT_NOMEM;
	link->connected = link->let_go = true;
	request->cb(request, stream, 0);
	return 0;
}

bool
transport_can_reach(const char *address)
{
	struct wire_address ignored;

	return wire_address_parse(address, &ignored);
}

static int
start_connecting(struct raft_uv_transport *base, struct raft_uv_connect *request, raft_id id, const char *address,
    raft_uv_connect_cb cb)
{
	struct transport *t = transport_of(base);
	struct wire_link *link = note_link(t, id, address);

	request->cb = cb;
	if (link == NULL)
		return RAFT_NOMEM;
	if (link->was_member && !t->peers.is_member(t->peers.arg, id))
		return connect_to_nobody(t, link, request);
	return wire_dial(t, request, id, address, cb);
}

/* --- Time, and the end --- */

void
transport_turn(struct transport *t)
{
	wires_turn(t);
	if (t->accept_paused_ms == 0 || clock_mono_ms() < t->accept_paused_ms + SHUT_MS)
		return;
	t->accept_paused_ms = 0;
	uv_poll_start(&t->listening->handle, UV_READABLE, knocked);
}

static void
start_closing(struct raft_uv_transport *base, raft_uv_transport_close_cb cb)
{
	struct transport *t = transport_of(base);

	t->closing = true;
	t->closed = cb;
	t->open++; /* until all of them have been told */
	loop_poll_close(t->listening);
	t->listening = NULL;
	if (t->accept_fd >= 0)
		close(t->accept_fd);
	t->accept_fd = -1;
	t->accept_paused_ms = 0;
	wires_cancel(t);
	tunnels_end(t);
	transport_let_go(t);
}

void
transport_init(struct transport *t, uv_loop_t *loop, const char *listen)
{
	uint64_t refused = atomic_load(&t->refused), messages = atomic_load(&t->refused_messages);

	memset(t, 0, sizeof(*t));
	atomic_init(&t->refused, refused);
	atomic_init(&t->refused_messages, messages);
	t->loop = loop;
	t->listen = listen;
	t->accept_fd = -1;
	t->base = (struct raft_uv_transport){
		.impl = t, .init = init, .listen = start_listening, .connect = start_connecting, .close = start_closing
	};
}

void
transport_release(struct transport *t)
{
	free(t->links);
	t->links = NULL;
	t->link_count = 0;
}
