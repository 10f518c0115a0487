/* The server's counters, for GET /metrics on the control socket (the sidecar shows it). All atomic;
 * any thread. */
#ifndef SERVER_STORE_COUNTERS_H_
#define SERVER_STORE_COUNTERS_H_

#include <stdatomic.h>
#include <stdint.h>

struct counters {
	atomic_uint_fast64_t reads;                /* GET and HEAD of keys */
	atomic_uint_fast64_t writes;               /* puts, deletes and batches that were committed */
	atomic_uint_fast64_t redirects;            /* answers that sent a client to the leader */
	atomic_uint_fast64_t changes_requests;     /* of the change feed */
	atomic_uint_fast64_t changes_records_read; /* records read from the store to answer them */
	atomic_uint_fast64_t changes_bytes_sent;
	atomic_uint_fast64_t applied_records;     /* of feeds from the leader */
	atomic_uint_fast64_t pulled_feeds;        /* of these feeds: those that the server asked for itself */
	atomic_uint_fast64_t snapshots_started;   /* streams */
	atomic_uint_fast64_t snapshot_bytes_sent; /* of tar, before compression */
	atomic_uint_fast64_t damaged_records;     /* reads that found a record not matching its hash */
	atomic_uint_fast64_t unauthorized;        /* requests without a token that is known */
	atomic_uint_fast64_t forbidden;           /* requests whose token does not allow them */
	atomic_uint_fast64_t errors;              /* answers 500 and above */
};

#endif
