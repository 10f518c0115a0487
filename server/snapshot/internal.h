/* A snapshot, as the list of them and its streams know it. */
#ifndef SERVER_SNAPSHOT_INTERNAL_H_
#define SERVER_SNAPSHOT_INTERNAL_H_

#include <pthread.h>
#include <stdatomic.h>

#include "lib/base/buf.h"
#include "lib/protocol/digest.h"
#include "lib/protocol/fanout.h"
#include "server/snapshot/snapshot.h"

#define SNAPSHOT_FORMAT 1

struct snapshot {
	struct snapshots *list;
	struct counters *counters;
	char id[SNAPSHOT_ID_SIZE];
	struct store_pin *pin;
	int64_t created_ms;      /* monotonic */
	int64_t created_wall_ms; /* for showing */
	struct digest description_digest;
	struct buf head;     /* all bytes before the image */
	uint64_t length;     /* bytes of tar */
	atomic_bool dropped; /* no new readers; those there are stop */

	/* Under the list's lock. */
	struct snapshot *next;
	unsigned refs;
	int64_t used_ms;         /* last taken or given back; 0 before the first time */
	uint64_t withheld_bytes; /* from writers, when it was last looked at */

	/* The pods that are being sent to and pass on; under its own lock. */
	pthread_mutex_t fanout_lock;
	struct fanout fanout;

	/* The image's hash, as far as any stream has come: each byte is hashed once, by the stream
	 * that reads it first. */
	pthread_mutex_t hash_lock;
	struct digest_stream *hash;
	uint64_t hashed; /* bytes of the image */
};

/* Append all bytes after the image, whose hash is given. 0, SP_ETOOBIG, SP_ENOMEM. */
int snapshot_write_tail(struct snapshot *s, struct digest image, struct buf *out);

#endif
