/*
 * A leader for the sidecar's tests: serves GET /v1/position and /v1/changes of a toy store, long polls included, and
 * misbehaves on request. Any thread.
 */
#ifndef TESTS_LIB_TOY_LEADER_H_
#define TESTS_LIB_TOY_LEADER_H_

#include <pthread.h>
#include <stdatomic.h>

#include "lib/net/listener.h"
#include "tests/lib/toy_store.h"

#define TOY_PENDING_MAX 128

enum toy_mood {
	TOY_WELL,
	TOY_SILENT,    /* takes requests and answers none */
	TOY_DOWN,      /* answers 503 */
	TOY_HORIZON,   /* answers 410 to /v1/changes */
	TOY_STRANGE,   /* answers 409 to /v1/changes */
	TOY_GARBAGE,   /* answers 200 with a feed that has a byte wrong */
	TOY_CUT_SHORT, /* answers 200 with a feed without its end */
};

struct toy_leader {
	struct toy_store store;
	struct listener *listener;
	unsigned port;
	char url[64];
	pthread_t ticker;
	atomic_int mood;
	atomic_bool streams;   /* knows stream=1 of /v1/changes; else it answers with one feed, as older servers do */
	atomic_uint feeds;     /* sent in streams */
	atomic_uint batch;     /* the most records of a feed */
	atomic_uint positions; /* requests */
	atomic_uint changes;
	atomic_llong last_wait_ms; /* the wait that the last /v1/changes asked for */
	atomic_bool stopping;

	pthread_mutex_t mutex; /* guards what follows */
	bool closed;           /* nothing can be laid aside any more */
	struct {
		struct request *rq;
		int64_t until_ms;
		uint64_t since;
	} pending[TOY_PENDING_MAX];
};

/*
 * Listens on a loopback address of this process's own, so that no other process's connection can take the port while
 * the leader is away; port 0 takes any, and `url` says which.
 */
void toy_leader_start(struct toy_leader *l, unsigned port);

/* A leader on any port, an empty follower, and the driver that reaches it. */
void toy_pair_start(struct toy_leader *l, struct toy_store *follower, struct toy_driver *d);

/* No longer answers, and lets go of the port; the store stays. */
void toy_leader_stop(struct toy_leader *l);

#endif
