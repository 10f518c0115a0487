/*
 * The local store as init and sidecar know it: operations behind one struct of functions, so that stores which are not
 * seedpod's own can be seeded and synced by the same programs. The drivers: `seedpod` (driver_seedpod.h), and `exec`
 * (driver_exec.h), which runs an executable for any other store. An operation that is NULL is not offered.
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

/* How changes reach a follower after it was seeded. */
enum driver_carrier {
	DRIVER_CARRIER_FEED,   /* the sidecar pulls the leader's changes and applies them */
	DRIVER_CARRIER_NATIVE, /* the store replicates by itself; the sidecar points it at the leader */
	DRIVER_CARRIER_NONE,   /* seeding and backups only */
};

/* The evidence on which a follower is called ready. A position is never reported as a digest. */
enum driver_proof {
	DRIVER_PROOF_DIGEST,   /* equal content */
	DRIVER_PROOF_POSITION, /* the same history, replayed at least to the leader's position */
};

/* Bits of struct driver_traits.verbs. */
enum driver_verb {
	DRIVER_VERB_POSITION = 1 << 0,
	DRIVER_VERB_SNAPSHOT = 1 << 1,
	DRIVER_VERB_RESTORE = 1 << 2,
	DRIVER_VERB_VERIFY = 1 << 3,
	DRIVER_VERB_FOLLOW = 1 << 4,
	DRIVER_VERB_PROMOTE = 1 << 5,
	DRIVER_VERB_DEMOTE = 1 << 6,
	DRIVER_VERB_CHANGES = 1 << 7,
	DRIVER_VERB_APPLY = 1 << 8,
	DRIVER_VERB_DIGEST = 1 << 9,
	DRIVER_VERB_CLEANUP = 1 << 10,
};

#define DRIVER_STORE_SIZE 33 /* a store's name, [a-z0-9-], and NUL */
#define DRIVER_TEXT_SIZE  256

struct driver_traits {
	char store[DRIVER_STORE_SIZE]; /* "postgresql" */
	enum driver_carrier carrier;
	enum driver_proof proof;
	unsigned verbs; /* enum driver_verb */
};

/* A position and what a store that is not ours says beside it. */
struct driver_report {
	struct position position;
	bool has_digest;                  /* position.digest means something */
	char following[DRIVER_TEXT_SIZE]; /* the host that the store follows; "": none, or not reported */
	char detail[DRIVER_TEXT_SIZE];    /* a sentence for people; "": none */
};

/* Where bytes come from: 1 with the next piece (valid until the next call), 0 at the end, or negative to stop with that
 * code. */
typedef int (*driver_source)(void *arg, const void **data, size_t *len, struct sp_error *err);

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

	/*
	 * For stores that are not ours; NULL in the seedpod driver. Beside the codes named, each may end with
	 * SP_EUNAVAIL (the store does not answer), SP_ESTALLED (time ran out; the verb was killed), SP_EAGAIN,
	 * SP_ENOSPACE, SP_EIO, SP_EPERM, SP_ECONF, SP_EBADDATA, SP_ECANCELED and SP_EINTERNAL (the driver's bug).
	 * Outputs are untouched on failure.
	 */

	/* What the driver declares. Asked of it once, then kept. */
	int (*traits)(struct driver *d, struct driver_traits *out, struct sp_error *err);

	/* position() with what the store says beside it. SP_ENOTFOUND: there is no store. */
	int (*report)(struct driver *d, struct driver_report *out, struct sp_error *err);

	/* The store's content as bytes of its own form into `sink`, at least one; then the position that they contain
	 * into *out. What the sink took is worthless unless this returns 0. */
	int (*payload)(struct driver *d, driver_sink sink, void *arg, struct driver_report *out, struct sp_error *err);

	/* Unpack such bytes into the directory `target`, which is empty. The store at the driver's own path is not
	 * touched. Zero bytes are SP_EBADDATA. */
	int (*restore)(struct driver *d, const char *target, driver_source source, void *arg, struct sp_error *err);

	/* Check the restored directory `target`, and return the position that it holds. SP_EBADDATA, SP_ENOTFOUND:
	 * nothing was restored. */
	int (*verify)(struct driver *d, const char *target, struct driver_report *out, struct sp_error *err);

	/* Carrier native: make the store follow the leader at `host`, which stands at `leader` (NULL: not known).
	 * Idempotent; before the store starts and while it runs. SP_EDIVERGED. */
	int (*follow)(struct driver *d, const char *host, const struct position *leader, struct sp_error *err);

	/* Take over or give up writing; the position after. */
	int (*promote)(struct driver *d, struct driver_report *after, struct sp_error *err);
	int (*demote)(struct driver *d, struct driver_report *after, struct sp_error *err);

	/* Carrier feed: the changes after `since` into `sink`. No bytes: there are none. SP_EHORIZON: they are not
	 * known any more. */
	int (*changes)(struct driver *d, uint64_t since, driver_sink sink, void *arg, struct sp_error *err);

	/* Carrier feed: apply what changes() gave. */
	int (*apply_stream)(struct driver *d, driver_source source, void *arg, struct sp_error *err);

	/* Undo what a verb that was killed may have left. Run by the driver itself after each failure; a program calls
	 * it once at its start. */
	int (*cleanup)(struct driver *d, struct sp_error *err);
};

struct driver {
	const struct driver_ops *ops;
};

#endif
