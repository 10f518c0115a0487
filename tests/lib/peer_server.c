#include "tests/lib/peer_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX     (1u << 20)
#define CONNECTIONS_MAX 256

struct peer_connection {
	struct peer_server *server;
	pthread_t thread;
	int fd;
};

struct peer_server {
	peer_handler handle;
	void *arg;
	int fd;
	unsigned port;
	pthread_t thread;
	atomic_uint requests;
	atomic_bool stopping;
	size_t count; /* of the accepting thread; of peer_server_free() once that has ended */
	struct peer_connection connections[CONNECTIONS_MAX];
};

static void
give_up(const char *what)
{
	perror(what);
	abort();
}

/* The length that the head announces for its body. */
static size_t
body_length(const char *head)
{
	const char *line = strcasestr(head, "\r\nContent-Length:");

	return line != NULL ? (size_t)strtoul(line + 17, NULL, 10) : 0;
}

/* One request into text[REQUEST_MAX], NUL-terminated; false where the client has gone. */
static bool
read_request(int fd, char *text)
{
	size_t used = 0;
	const char *end;
	ssize_t n;

	for (;;) {
		if (used >= REQUEST_MAX - 1)
			return false;
		n = recv(fd, text + used, REQUEST_MAX - 1 - used, 0);
		if (n <= 0)
			return false;
		used += (size_t)n;
		text[used] = '\0';
		end = strstr(text, "\r\n\r\n");
		if (end != NULL && used >= (size_t)(end - text) + 4 + body_length(text))
			return true;
	}
}

static void *
serve_connection(void *arg)
{
	struct peer_connection *connection = arg;
	struct peer_server *s = connection->server;
	char *text = malloc(REQUEST_MAX);

	if (text == NULL)
		give_up("peer_server: malloc");
	while (read_request(connection->fd, text)) {
		atomic_fetch_add(&s->requests, 1);
		if (!s->handle(connection->fd, text, s->arg))
			break;
	}
	shutdown(connection->fd, SHUT_RDWR);
	free(text);
	return NULL;
}

static void *
accept_connections(void *arg)
{
	struct peer_server *s = arg;

	for (;;) {
		struct peer_connection *connection = &s->connections[s->count];
		int fd = accept(s->fd, NULL, NULL);

		if (fd < 0 && errno == EINTR)
			continue;
		if (fd < 0 || atomic_load(&s->stopping))
			break;
		if (s->count == CONNECTIONS_MAX)
			give_up("peer_server: too many connections");
		connection->server = s;
		connection->fd = fd;
		if (pthread_create(&connection->thread, NULL, serve_connection, connection) != 0)
			give_up("peer_server: pthread_create");
		s->count++;
	}
	return NULL;
}

static struct peer_server *
serve(int fd, peer_handler handle, void *arg)
{
	struct peer_server *s = calloc(1, sizeof(*s));

	if (s == NULL)
		give_up("peer_server: calloc");
	s->handle = handle;
	s->arg = arg;
	s->fd = fd;
	if (listen(fd, 64) < 0 || pthread_create(&s->thread, NULL, accept_connections, s) != 0)
		give_up("peer_server: listen");
	return s;
}

struct peer_server *
peer_server_new(peer_handler handle, void *arg)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct peer_server *s;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		give_up("peer_server: bind");
	s = serve(fd, handle, arg);
	s->port = ntohs(address.sin_port);
	return s;
}

struct peer_server *
peer_server_new_unix(const char *path, peer_handler handle, void *arg)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		give_up("peer_server: bind");
	return serve(fd, handle, arg);
}

void
peer_server_free(struct peer_server *s)
{
	if (s == NULL)
		return;
	atomic_store(&s->stopping, true);
	shutdown(s->fd, SHUT_RDWR); /* wakes accept() */
	pthread_join(s->thread, NULL);
	for (size_t i = 0; i < s->count; i++)
		shutdown(s->connections[i].fd, SHUT_RDWR);
	for (size_t i = 0; i < s->count; i++) {
		pthread_join(s->connections[i].thread, NULL);
		close(s->connections[i].fd);
	}
	close(s->fd);
	free(s);
}

void
peer_server_url(const struct peer_server *s, const char *path, char *out, size_t size)
{
	snprintf(out, size, "http://127.0.0.1:%u%s", s->port, path);
}

unsigned
peer_server_requests(struct peer_server *s)
{
	return atomic_load(&s->requests);
}

bool
peer_send(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

bool
peer_send_text(int fd, const char *text)
{
	return peer_send(fd, text, strlen(text));
}

bool
peer_drip(int fd, const void *data, size_t len, size_t piece, int pause_ms)
{
	const char *at = data;

	while (len > 0) {
		size_t n = len < piece ? len : piece;

		if (!peer_send(fd, at, n))
			return false;
		at += n;
		len -= n;
		poll(NULL, 0, pause_ms);
	}
	return true;
}

void
peer_endless(int fd, const void *data, size_t len)
{
	while (peer_send(fd, data, len))
		continue;
}

void
peer_stall(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, 0) > 0)
		continue;
}

void
peer_refused_url(char *out, size_t size)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		give_up("peer_refused_url: bind");
	/* Bound and not listening, until the test's process ends: so nobody else can be given the port meanwhile. */
	snprintf(out, size, "http://127.0.0.1:%u", ntohs(address.sin_port));
}
