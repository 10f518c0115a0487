/*
 * A store in memory that is just enough of one: it makes feeds as a leader and applies them as a follower, with seqs
 * and digests as the real one has them; and a driver (lib/driver/driver.h) over it that fails when it is told to. Any
 * thread.
 */
#ifndef TESTS_LIB_TOY_STORE_H_
#define TESTS_LIB_TOY_STORE_H_

#include <pthread.h>

#include "lib/base/buf.h"
#include "lib/driver/driver.h"
#include "lib/protocol/position.h"

#define TOY_RECORDS_MAX 512
#define TOY_CLUSTER     "11111111-2222-3333-4444-555555555555"

struct toy_record {
	uint64_t seq;
	bool is_delete;
	char key[24];
	char value[24];
};

struct toy_store {
	pthread_mutex_t mutex; /* guards everything below */
	struct position p;
	size_t count;
	struct toy_record records[TOY_RECORDS_MAX]; /* by seq */
};

void toy_init(struct toy_store *s, enum role role);
void toy_release(struct toy_store *s);
void toy_put(struct toy_store *s, const char *key, const char *value);
void toy_delete(struct toy_store *s, const char *key);
struct position toy_position(struct toy_store *s);

/* Become what the other is: what seeding does. The role stays. */
void toy_copy(struct toy_store *s, struct toy_store *from);

/* A feed of what came after `since`, of at most max_records, ending on a cut where that is all. */
void toy_feed(struct toy_store *s, uint64_t since, size_t max_records, struct buf *out);

/* The driver. The fields may be set before the thread that uses it starts, or through toy_driver_fail(). */
struct toy_driver {
	struct driver driver;
	struct toy_store *store;
	pthread_mutex_t mutex; /* guards everything below */
	int position_error;    /* SP_E… with which position() fails; 0: it does not */
	int apply_error;
	unsigned positions; /* calls */
	unsigned applies;

	/* pull() takes one feed from here, or ends early, or fails. */
	struct toy_store *pull_from;
	bool pull_unclean;
	int pull_error;
	unsigned pulls; /* calls */
};

void toy_driver_init(struct toy_driver *d, struct toy_store *s);
/* From now on the driver can pull, too. */
void toy_driver_let_pull(struct toy_driver *d, struct toy_store *from);
void toy_driver_fail(struct toy_driver *d, int position_error, int apply_error);

#endif
