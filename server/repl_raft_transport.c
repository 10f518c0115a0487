#include "server/repl_raft_transport.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"

#define HOST_SIZE    256
#define PORT_SIZE    8
#define ADDRESS_SIZE 64 /* «255.255.255.255:65535», amply */

/* A peer that acknowledges nothing for so long is gone, or its address is another's by now. */
#define SILENCE_MS  5000
#define KEEPALIVE_S 15 /* that it is asked for a sign of life, where nothing comes from it */
#define SYN_RETRIES 1  /* of connecting: given up 3 s after it began */

#define SAY_EVERY_MS 60000 /* that strangers are refused */

struct raft_transport_connect {
	struct raft_transport *transport;
	struct raft_uv_connect *request; /* libraft's, answered by `cb` */
	raft_uv_connect_cb cb;
	raft_id id;
	uv_getaddrinfo_t lookup;
	struct raft_uv_connect tcp; /* ours to libraft's transport */
	char port[PORT_SIZE];
	struct raft_transport_connect *next; /* of the lookups */
};

static struct raft_transport *
transport_of(struct raft_uv_transport *base)
{
	return (struct raft_transport *)base->impl;
}

static int
init(struct raft_uv_transport *base, raft_id id, const char *address)
{
	struct raft_transport *t = transport_of(base);
	int rc;

	t->address = address;
	snprintf(t->hello, sizeof(t->hello), "%s", address);
	rc = t->tcp.init(&t->tcp, id, t->hello);
	if (rc != 0)
		memcpy(base->errmsg, t->tcp.errmsg, sizeof(base->errmsg));
	return rc;
}

/* --- Patience --- */

/* Every TCP handle of this loop is a member's. Where the socket does not take it, it is as patient as the kernel. */
static void
bound_patience(uv_handle_t *handle, void *arg)
{
	unsigned silence_ms = SILENCE_MS;
	int retries = SYN_RETRIES;
	uv_os_fd_t fd;

	(void)arg;
	if (uv_handle_get_type(handle) != UV_TCP || uv_fileno(handle, &fd) != 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &retries, sizeof(retries));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof(silence_ms));
}

/* --- Greetings --- */

/* A member learns its cluster when it joins; from then on its greetings tell. */
static void
write_hello(struct raft_transport *t)
{
	char cluster[POSITION_CLUSTER_SIZE] = "";

	if (t->peers.cluster != NULL)
		t->peers.cluster(t->peers.arg, cluster);
	snprintf(t->hello, sizeof(t->hello), "%s%s%s", t->address, cluster[0] != '\0' ? " " : "", cluster);
}

/* Whoever has no cluster yet is one that the leader took in, and known by its id. */
static bool
is_one_of_us(struct raft_transport *t, raft_id id, const char *theirs)
{
	char ours[POSITION_CLUSTER_SIZE] = "";

	if (t->peers.cluster == NULL)
		return true;
	t->peers.cluster(t->peers.arg, ours);
	if (ours[0] == '\0')
		return true;
	return theirs[0] != '\0' ? strcmp(ours, theirs) == 0 : t->peers.is_member(t->peers.arg, id);
}

static void
free_handle(uv_handle_t *handle)
{
	raft_free(handle);
}

static void
refuse(struct raft_transport *t, const char *address, const char *cluster, uv_stream_t *stream)
{
	int64_t now = clock_mono_ms();

	if (t->refused++ == 0 || now - t->refused_said_ms >= SAY_EVERY_MS) {
		log_warn("a stranger at the raft port is refused", LOG_STR("address", address),
		    LOG_STR("cluster", cluster), LOG_U64("so_far", t->refused));
		t->refused_said_ms = now;
	}
	uv_close((uv_handle_t *)stream, free_handle);
}

static void
accepted(struct raft_uv_transport *tcp, raft_id id, const char *hello, struct uv_stream_s *stream)
{
	struct raft_transport *t = tcp->data;
	size_t len = strcspn(hello, " ");
	const char *cluster = hello[len] == ' ' ? hello + len + 1 : hello + len;
	char address[RAFT_HELLO_MAX];

	snprintf(address, sizeof(address), "%.*s", (int)(len < sizeof(address) ? len : 0), hello);
	/* Nothing is ever sent here: one whose node is gone would be waited for without end. */
	uv_tcp_keepalive((uv_tcp_t *)stream, 1, KEEPALIVE_S);
	bound_patience((uv_handle_t *)stream, NULL);
	if (is_one_of_us(t, id, cluster))
		t->accepted(&t->base, id, address, stream);
	else
		refuse(t, address, cluster, stream);
}

static int
start_listening(struct raft_uv_transport *base, raft_uv_accept_cb cb)
{
	struct raft_transport *t = transport_of(base);
	int rc;

	t->accepted = cb;
	rc = t->tcp.listen(&t->tcp, accepted);
	if (rc != 0)
		memcpy(base->errmsg, t->tcp.errmsg, sizeof(base->errmsg));
	return rc;
}

/* --- Connecting --- */

/* What is known of this member, or NULL. */
static struct raft_link *
find_link(struct raft_transport *t, raft_id id)
{
	for (size_t i = 0; i < t->link_count; i++)
		if (t->links[i].id == id)
			return &t->links[i];
	return NULL;
}

/* The same, noted where it is new; NULL: out of memory. */
static struct raft_link *
note_link(struct raft_transport *t, raft_id id, const char *address)
{
	struct raft_link *link = find_link(t, id), *grown;

	if (link == NULL) {
		grown = realloc(t->links, (t->link_count + 1) * sizeof(*grown));
		if (grown == NULL)
			return NULL;
		t->links = grown;
		link = &t->links[t->link_count++];
		*link = (struct raft_link){ .id = id };
	}
	snprintf(link->address, sizeof(link->address), "%s", address);
	link->connected = false;
	return link;
}

/*
 * To who has left. What libraft has to send there it keeps until it can, and with it the entries of the log that are
 * part of it, in memory. So it is given a connection once whose other end is closed, and fails them all.
 */
static int
connect_to_nobody(struct raft_transport *t, struct raft_link *link, struct raft_uv_connect *request)
{
	uv_pipe_t *pipe;
	int ends[2];

	if (link->let_go || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return RAFT_NOCONNECTION;
	close(ends[1]);
	pipe = raft_malloc(sizeof(*pipe));
	if (pipe == NULL || uv_pipe_init(t->loop, pipe, 0) != 0) {
		raft_free(pipe);
		close(ends[0]);
		return RAFT_NOMEM;
	}
	if (uv_pipe_open(pipe, ends[0]) != 0) {
		uv_close((uv_handle_t *)pipe, free_handle);
		close(ends[0]);
		return RAFT_NOCONNECTION;
	}
	link->connected = link->let_go = true;
	request->cb(request, (struct uv_stream_s *)pipe, 0);
	return 0;
}

static void
connected(struct raft_uv_connect *tcp, struct uv_stream_s *stream, int status)
{
	struct raft_transport_connect *c = tcp->data;

	/* A small message must not wait until the one before it was acknowledged. */
	if (status == 0) {
		uv_tcp_nodelay((uv_tcp_t *)stream, 1);
		find_link(c->transport, c->id)->connected = true;
	}
	c->cb(c->request, stream, status);
	free(c);
}

static int
connect_to(struct raft_transport_connect *c, const char *address)
{
	struct raft_transport *t = c->transport;
	int rc;

	c->tcp.data = c;
	write_hello(t);
	rc = t->tcp.connect(&t->tcp, &c->tcp, c->id, address, connected);
	if (rc == 0)
		uv_walk(t->loop, bound_patience, NULL);
	return rc;
}

static void
forget_lookup(struct raft_transport_connect *c)
{
	struct raft_transport_connect **p = &c->transport->lookups;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
}

static void
tcp_closed(struct raft_uv_transport *tcp)
{
	struct raft_transport *t = tcp->data;

	t->closed(&t->base);
}

static void
looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
	struct raft_transport_connect *c = lookup->data;
	struct raft_transport *t = c->transport;
	char host[INET_ADDRSTRLEN], address[ADDRESS_SIZE];
	int rc = RAFT_NOCONNECTION;

	forget_lookup(c);
	if (t->closed != NULL) {
		rc = RAFT_CANCELED;
	} else if (status == 0 &&
		   uv_ip4_name((const struct sockaddr_in *)(const void *)found->ai_addr, host, sizeof(host)) == 0) {
		snprintf(address, sizeof(address), "%s:%s", host, c->port);
		rc = connect_to(c, address);
	}
	uv_freeaddrinfo(found);
	if (rc != 0) {
		c->cb(c->request, NULL, rc);
		free(c);
	}
	if (t->closed != NULL && t->lookups == NULL)
		t->tcp.close(&t->tcp, tcp_closed);
}

/* libuv has half of its threads at most look names up, so that a name server that is silent leaves libraft's disk the
 * other half. */
static int
look_up(struct raft_transport_connect *c, const char *host)
{
	const struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
	struct raft_transport *t = c->transport;

	c->lookup.data = c;
	if (uv_getaddrinfo(t->loop, &c->lookup, looked_up, host, c->port, &hints) != 0)
		return RAFT_NOCONNECTION;
	c->next = t->lookups;
	t->lookups = c;
	return 0;
}

/* «host:port» apart. */
static bool
split(const char *address, char host[HOST_SIZE], char port[PORT_SIZE])
{
	const char *colon = strrchr(address, ':');

	if (colon == NULL || (size_t)(colon - address) >= HOST_SIZE || strlen(colon + 1) >= PORT_SIZE)
		return false;
	memcpy(host, address, (size_t)(colon - address));
	host[colon - address] = '\0';
	memcpy(port, colon + 1, strlen(colon + 1) + 1);
	return true;
}

bool
raft_transport_can_reach(const char *address)
{
	char host[HOST_SIZE], port[PORT_SIZE], *end;
	unsigned long number;

	if (!split(address, host, port) || host[0] == '\0' || port[0] < '0' || port[0] > '9')
		return false;
	number = strtoul(port, &end, 10);
	return *end == '\0' && number > 0 && number <= 65535;
}

static int
start_connecting(struct raft_uv_transport *base, struct raft_uv_connect *request, raft_id id, const char *address,
    raft_uv_connect_cb cb)
{
	struct raft_transport *t = transport_of(base);
	struct raft_link *link = note_link(t, id, address);
	struct raft_transport_connect *c;
	struct in_addr number;
	char host[HOST_SIZE];
	int rc;

	request->cb = cb;
	if (link == NULL)
		return RAFT_NOMEM;
	if (link->was_member && !t->peers.is_member(t->peers.arg, id))
		return connect_to_nobody(t, link, request);
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return RAFT_NOMEM;
	c->transport = t;
	c->request = request;
	c->cb = cb;
	c->id = id;
	if (!split(address, host, c->port))
		rc = RAFT_INVALID;
	else if (uv_inet_pton(AF_INET, host, &number) == 0)
		rc = connect_to(c, address);
	else
		rc = look_up(c, host);
	if (rc != 0)
		free(c);
	return rc;
}

/* --- The end --- */

static void
start_closing(struct raft_uv_transport *base, raft_uv_transport_close_cb cb)
{
	struct raft_transport *t = transport_of(base);

	t->closed = cb;
	/* Those that wait are told now, one that is being looked up when it has ended. */
	for (struct raft_transport_connect *c = t->lookups; c != NULL; c = c->next)
		uv_cancel((uv_req_t *)&c->lookup);
	if (t->lookups == NULL)
		t->tcp.close(&t->tcp, tcp_closed);
}

int
raft_transport_init(struct raft_transport *t, uv_loop_t *loop, const char *listen)
{
	int rc;

	memset(t, 0, sizeof(*t));
	t->loop = loop;
	t->base = (struct raft_uv_transport){
		.impl = t, .init = init, .listen = start_listening, .connect = start_connecting, .close = start_closing
	};
	rc = raft_uv_tcp_init(&t->tcp, loop);
	if (rc != 0)
		return rc;
	t->tcp.data = t;
	rc = raft_uv_tcp_set_bind_address(&t->tcp, listen);
	if (rc != 0)
		memcpy(t->base.errmsg, t->tcp.errmsg, sizeof(t->base.errmsg));
	return rc;
}

void
raft_transport_release(struct raft_transport *t)
{
	raft_uv_tcp_close(&t->tcp);
	free(t->links);
	t->links = NULL;
	t->link_count = 0;
}
