/*
 * Checks the bytes of a client before the HTTP library sees them.
 *
 *	client -> socket (or TLS) -> struct input -> HTTP library -> the listener's handlers
 *
 * The HTTP library reads by recv() or gnutls_record_recv(). lib/net/listener_input.c defines both for the whole
 * process: on a descriptor that was registered by input_attach() they return what that connection's `struct input` lets
 * pass, on any other they do what they always do. Heads pass whole and only if lib/net/framing.h accepts them; chunks
 * pass without their extensions, and trailer fields are dropped. The first fault ends the connection's input: the
 * library then gets a harmless request, or an early end of the body, and input_fault() tells the listener to refuse
 * that request. Nothing behind it is ever parsed.
 *
 * One thread at a time, the one that serves the connection.
 */
#ifndef LIB_NET_LISTENER_INPUT_H_
#define LIB_NET_LISTENER_INPUT_H_

#include <sys/types.h>

#include "lib/net/framing.h"

struct input;

/* NULL: out of memory. */
struct input *input_new(void);
void input_free(struct input *in); /* NULL does nothing */

/* From now on, reads from the descriptor go through `in`; `secured`: those of the TLS session over it. False: the
 * descriptor's number is beyond what can be registered. input_detach() before the descriptor is closed. */
bool input_attach(struct input *in, int fd, bool secured);
void input_detach(int fd);

/* Where the bytes come from. read() returns their number, 0 at the end, or a negative value, which is passed on;
 * `again` is the value for "nothing there at present"; `drained_if_short`: fewer bytes than asked for means that, too.
 */
struct input_source {
	ssize_t (*read)(void *arg, void *buf, size_t size);
	ssize_t again;
	bool drained_if_short;
	void *arg;
};

/* Up to size bytes that may pass, 0 at the end, or a negative value of the source's. */
ssize_t input_receive(struct input *in, void *buf, size_t size, const struct input_source *source);

/* What is wrong with the connection's n-th request (from 1), or NULL while nothing is known to be. */
const struct framing_fault *input_fault(const struct input *in, unsigned long n);

#endif
