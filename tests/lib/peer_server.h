/*
 * A peer that misbehaves on purpose: a TCP server on 127.0.0.1 whose answers a test writes byte by byte.
 *
 *	static bool
 *	answer(int fd, const char *request, void *arg)
 *	{
 *		peer_send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
 *		return false;	// close: the answer is cut short
 *	}
 *
 *	struct peer_server *s = peer_server_new(answer, arg);
 *	… peer_server_url(s, "/v1/position", url, sizeof(url)) …
 *	peer_server_free(s);
 *
 * Each connection has a thread of its own; the handler is called once for every request on it, with the request's head
 * and body as text, and may be called by several threads at once. A failure of the helper itself ends the program.
 */
#ifndef TESTS_LIB_PEER_SERVER_H_
#define TESTS_LIB_PEER_SERVER_H_

#include <stdbool.h>
#include <stddef.h>

struct peer_server;

/* Answer one request; true: keep the connection for the next one, false: close it. */
typedef bool (*peer_handler)(int fd, const char *request, void *arg);

struct peer_server *peer_server_new(peer_handler handle, void *arg);

/* As peer_server_new(), on a Unix socket. */
struct peer_server *peer_server_new_unix(const char *path, peer_handler handle, void *arg);

/* Closes every connection, waits for the handlers. */
void peer_server_free(struct peer_server *s);

void peer_server_url(const struct peer_server *s, const char *path, char *out, size_t size);

/* How many requests have come so far. */
unsigned peer_server_requests(struct peer_server *s);

/* For handlers. Sending returns false when the client has gone. */
bool peer_send(int fd, const void *data, size_t len);
bool peer_send_text(int fd, const char *text);

/* Send in pieces of `piece` bytes, pause_ms apart. */
bool peer_drip(int fd, const void *data, size_t len, size_t piece, int pause_ms);

/* Send the same bytes over and over, until the client has had enough. */
void peer_endless(int fd, const void *data, size_t len);

/* Say nothing until the client closes the connection. */
void peer_stall(int fd);

/* A URL of a port of 127.0.0.1 where nobody listens. */
void peer_refused_url(char *out, size_t size);

#endif
