#include "tests/bench/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void
die(int errno_code, const char *what)
{
	fprintf(
	    stderr, "bench: %s%s%s\n", what, errno_code != 0 ? ": " : "", errno_code != 0 ? strerror(errno_code) : "");
	exit(1);
}

enum protocol
protocol_of(const char *name)
{
	if (strcmp(name, "http") == 0)
		return PROTOCOL_HTTP;
	if (strcmp(name, "resp") == 0)
		return PROTOCOL_RESP;
	if (strcmp(name, "pipeline") == 0)
		return PROTOCOL_PIPELINE;
	die(0, "a protocol is http, resp or pipeline");
}

void
client_open(struct client *c, const char *address, enum protocol protocol)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	const char *colon = strrchr(address, ':');
	char host[64];
	int on = 1;

	memset(c, 0, sizeof(*c));
	if (colon == NULL || (size_t)(colon - address) >= sizeof(host))
		die(0, "an address is IPv4:port");
	memcpy(host, address, (size_t)(colon - address));
	host[colon - address] = '\0';
	to.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
		die(0, "an address is IPv4:port");
	c->protocol = protocol;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die(errno, address);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->in = malloc(ANSWER_BYTES_MAX);
	if (c->in == NULL)
		die(ENOMEM, "connect");
}

void
client_close(struct client *c)
{
	close(c->fd);
	free(c->in);
	c->in = NULL;
}

void
client_send(struct client *c, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = send(c->fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){ .fd = c->fd, .events = POLLOUT }, 1, 1000);
			continue;
		}
		if (n < 0)
			die(errno, "send");
		at += n;
		len -= (size_t)n;
	}
}

/* The value of a header between the status line and `end`, or NULL. */
static const char *
find_header(const char *at, const char *end, const char *name)
{
	size_t len = strlen(name);

	while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		at++;
		if ((size_t)(end - at) > len && strncasecmp(at, name, len) == 0 && at[len] == ':')
			return at + len + 1;
	}
	return NULL;
}

static int
parse_http(struct client *c)
{
	const char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4), *length;
	unsigned long status;

	if (end == NULL)
		return 0;
	status = c->in_len > 12 ? strtoul(c->in + 9, NULL, 10) : 0;
	length = find_header(c->in, end, "Content-Length");
	c->body_at = (size_t)(end - c->in) + 4;
	c->body_len = length != NULL ? strtoul(length, NULL, 10) : 0;
	if (length == NULL && status != 204 && status != 304)
		die(0, "an answer without a length");
	if (c->in_len < c->body_at + c->body_len)
		return 0;
	return status >= 200 && status < 300 ? 1 : 2;
}

static int
parse_resp(struct client *c)
{
	const char *end = memmem(c->in, c->in_len, "\r\n", 2);
	long len;

	if (end == NULL)
		return 0;
	c->body_at = (size_t)(end - c->in) + 2;
	c->body_len = 0;
	switch (c->in[0]) {
	case '+':
	case ':':
		return 1;
	case '$':
		len = strtol(c->in + 1, NULL, 10);
		if (len < 0)
			return 2;
		c->body_len = (size_t)len;
		return c->in_len < c->body_at + c->body_len + 2 ? 0 : 1;
	default:
		return 2;
	}
}

/* PIPELINE answers, each "+OK". Any other one ends the program. */
static int
parse_pipeline(const struct client *c)
{
	static const char ok[] = "+OK\r\n";
	const size_t len = sizeof(ok) - 1;

	for (size_t at = 0; at < c->in_len; at += len)
		if (memcmp(c->in + at, ok, c->in_len - at < len ? c->in_len - at : len) != 0)
			die(0, "a pipelined command failed");
	return c->in_len >= PIPELINE * len ? 1 : 0;
}

int
client_receive(struct client *c)
{
	ssize_t n;
	int rc;

	if (c->in_len == ANSWER_BYTES_MAX - 1)
		die(0, "an answer is too long");
	n = recv(c->fd, c->in + c->in_len, ANSWER_BYTES_MAX - 1 - c->in_len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		die(n < 0 ? errno : 0, "the peer closed the connection");
	c->in_len += (size_t)n;
	c->in[c->in_len] = '\0';
	rc = c->protocol == PROTOCOL_HTTP   ? parse_http(c)
	     : c->protocol == PROTOCOL_RESP ? parse_resp(c)
					    : parse_pipeline(c);
	if (rc != 0)
		c->in_len = 0; /* never more than one answer is under way */
	return rc;
}
