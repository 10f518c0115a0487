/*
 * The local store as init and sidecar know it: four verbs behind one struct of functions, so that stores which are not
 * seedpod's own can be seeded and synced by the same programs. The first driver is `seedpod` (driver_seedpod.h).
 *
 * A driver belongs to one thread at a time; a program that needs the store in two threads makes two drivers.
 */
#ifndef LIB_DRIVER_DRIVER_H_
#define LIB_DRIVER_DRIVER_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/protocol/position.h"

struct driver;

/* Where a snapshot's bytes go; 0, or negative to stop with that code. */
typedef int (*driver_sink)(void *arg, const void *data, size_t len, struct sp_error *err);

/* The result of a pull. */
struct driver_pulled {
	bool clean;       /* it ended for the time alone */
	uint64_t feeds;   /* that led to a cut each; with one at least, the store stands at the last one's */
	uint64_t records; /* applied */
	uint64_t bytes;   /* of feeds */
	uint64_t horizon; /* the leader's, with feeds > 0 */
	struct position after;
};

struct driver_ops {
	const char *name;

	/* Where the local store stands. SP_ENOTFOUND: it does not exist. SP_EAGAIN: it is released
	 * for reseeding. SP_EUNAVAIL: its server does not answer. */
	int (*position)(struct driver *d, struct position *out, struct sp_error *err);

	/* A snapshot tarball (docs/api.md) of the local store into `sink`. */
	int (*snapshot)(struct driver *d, driver_sink sink, void *arg, struct sp_error *err);

	/* Apply one checked feed, all of it or nothing, and return the position after. SP_EGAP: it
	 * does not begin where the store stands. SP_EDIGEST: the content after it is not the
	 * leader's; nothing was applied. SP_EDIVERGED: another cluster or history. SP_ENOSPACE,
	 * SP_EAGAIN, SP_EUNAVAIL. */
	int (*apply)(struct driver *d, const void *feed, size_t len, struct position *after, struct sp_error *err);

	/* Have the store itself take feeds from the leader at `url` for about for_ms, and return
	 * the result. 0 also if it ended early (not clean): the next feed is then to be had by
	 * apply(). NULL: it cannot. SP_EUNAVAIL. */
	int (*pull)(struct driver *d, const char *url, int64_t for_ms, struct driver_pulled *out, struct sp_error *err);

	/* Recompute the digest from the content itself, at the cost of reading all of it. */
	int (*digest)(struct driver *d, struct digest *out, struct sp_error *err);

	void (*free)(struct driver *d);
};

struct driver {
	const struct driver_ops *ops;
};

#endif
