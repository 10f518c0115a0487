/*
 * A donor for tests: a peer that answers /v1/position and /v1/snapshot as it was told, on any path before those, so
 * that one server can stand for several pods (http://127.0.0.1:PORT/0, …/1).
 */
#ifndef TESTS_LIB_DONOR_H_
#define TESTS_LIB_DONOR_H_

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/base/buf.h"
#include "lib/protocol/position.h"
#include "tests/lib/peer_server.h"

#define DONOR_PODS 4

/* What one pod answers. Written before the first request, or under `lock` of the donor. */
struct donor_pod {
	bool absent;   /* closes every connection */
	bool no_store; /* 503 */
	struct position position;
	struct buf tar;        /* what /v1/snapshot sends */
	size_t announce_more;  /* Content-Length says so many bytes more than there are */
	bool no_length;        /* chunked off: the end of the connection is the end */
	const char *endless;   /* after the archive: this, over and over */
	size_t cut_at;         /* close after so many bytes of an answer; 0: never */
	bool stall;            /* at cut_at: be silent instead */
	unsigned cuts;         /* so many answers are cut, later ones are whole */
	bool holds;            /* can be resumed; else 410 */
	bool forgets;          /* holds, until it is asked to resume */
	unsigned snapshots;    /* out: requests for a whole snapshot */
	unsigned resumes;      /* out: requests to go on */
	bool broken_snapshots; /* 500 */
	bool vanishes;         /* absent once a snapshot was asked for */
};

struct donor {
	struct peer_server *server;
	pthread_mutex_t lock;
	struct donor_pod pods[DONOR_PODS];
};

/* Every pod is absent at first. */
void donor_init(struct donor *d);
void donor_release(struct donor *d);

#endif
