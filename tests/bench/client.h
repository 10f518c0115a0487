/*
 * What the bench's two generators share: connections, and where an answer ends. One reader for HTTP/1.1 and one for
 * Redis' protocol, both over the same buffer, so that every peer is asked at nearly the same cost.
 */
#ifndef TESTS_BENCH_CLIENT_H_
#define TESTS_BENCH_CLIENT_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANSWER_BYTES_MAX (256u << 10)

#define PIPELINE 100 /* commands of a PROTOCOL_PIPELINE request, each answered with +OK */

enum protocol { PROTOCOL_HTTP, PROTOCOL_RESP, PROTOCOL_PIPELINE };

/* One connection, and the answer that is coming in on it. */
struct client {
	int fd;
	enum protocol protocol;
	char *in;       /* ANSWER_BYTES_MAX */
	size_t in_len;  /* bytes of the answer so far */
	size_t body_at; /* where the whole answer's body begins, and its length */
	size_t body_len;
};

uint64_t now_ns(void);

/* End the program with a message; an errno other than 0 is explained. */
_Noreturn void die(int errno_code, const char *what);

/* Connect to "address:port" (IPv4). Ends the program where that fails. */
void client_open(struct client *c, const char *address, enum protocol protocol);
void client_close(struct client *c);

/* Send all of it, waiting where the socket is full. */
void client_send(struct client *c, const void *data, size_t len);

/* Take what has come. 1: the answer is whole and good; 2: whole, but it says that the request failed; 0: not yet. The
 * next call after a whole answer begins with a new one. */
int client_receive(struct client *c);

enum protocol protocol_of(const char *name);

#endif
