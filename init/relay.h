/*
 * Passing a snapshot on while it arrives, to pods that are seeded at the same time. A donor sends
 * its snapshot to a few pods and points the others to those (lib/protocol/fanout.h); these find
 * here, on this pod's port, where its server will be later, the same bytes under the same id.
 * Nothing is checked before it is passed on: each pod checks the bytes that it got, and asks the
 * donor itself if a sibling fails.
 *
 *	r = relay_new(&options, &err);			// listens
 *	relay_begin(r, id, length);			// an archive arrives
 *	relay_take(r, data, len);			// all bytes; the writer takes the image's
 *	relay_image(r, offset, size, path, writer);	// the image begins
 *	relay_image_written(r);				// before writer_free(): all of it is in the file
 *	relay_linger(r);				// let those that are almost done finish
 *	relay_free(r);
 *
 * A relay passes one archive on. Its memory does not depend on the archive's size: pods that keep
 * up are sent bytes that the writer still has in memory, others are sent bytes from the file. All
 * calls from one thread; NULL for a relay does nothing.
 */
#ifndef INIT_RELAY_H_
#define INIT_RELAY_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "init/writer.h"
#include "lib/net/tls.h"
#include "lib/net/tokens.h"

struct relay;

struct relay_options {
	const char *address;   /* to listen at */
	struct tls *tls;       /* HTTPS with this identity; NULL: HTTP. Stays the caller's, as the tokens do */
	struct tokens *tokens; /* whom to answer; NULL: anyone */
	unsigned fan_out;      /* pods to send to at once */
	bool has_store;        /* this volume holds a store that is about to be replaced */
};

/* Listen. Failures are those of listener_new(). */
struct relay *relay_new(const struct relay_options *o, struct sp_error *err);

/* Break off those that still read, and free. */
void relay_free(struct relay *r);

/* An archive of `length` bytes arrives. One that is too small to be worth it, or has no id, is not passed on. */
void relay_begin(struct relay *r, const char *id, uint64_t length);
void relay_take(struct relay *r, const void *data, size_t len);

/* The image, `size` bytes from `offset` of the archive on, is written by `w` to the file at `path`. */
void relay_image(struct relay *r, uint64_t offset, uint64_t size, const char *path, struct writer *w);
void relay_image_written(struct relay *r);

/* Wait until the pods that lack little have it, or do not get on: two seconds at most. */
void relay_linger(struct relay *r);

#endif
