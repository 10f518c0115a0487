/*
 * The facts from which init decides: what the volume holds, where this store and the peers stand, and what the
 * configuration wants. Gathering is here, deciding is in plan.h; the struct is plain data, so that tests can write it
 * down.
 *
 *	facts_init(&f, &conf, &err);
 *	facts_read_store(&f, &volume, driver, &err);
 *	facts_ask(&f, FACTS_LEADER, 3000, &err);
 *	… plan_make(&f, &plan) …
 *	facts_release(&f);
 *
 * One thread.
 */
#ifndef INIT_FACTS_H_
#define INIT_FACTS_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "init/volume.h"
#include "lib/driver/driver.h"
#include "lib/protocol/peer.h"

struct http_access;

enum facts_store {
	STORE_EMPTY,   /* nothing was ever stored on this volume */
	STORE_PRESENT, /* `own` is its position */
	STORE_DAMAGED, /* there is something, and it cannot be read: `damage` */
};

/* One other pod of the set. */
struct peer_fact {
	unsigned ordinal;
	char name[POD_NAME_MAX];
	char url[POSITION_URL_MAX];
	bool asked; /* `answer` says what came of it */
	struct peer_answer answer;
	bool had_data;      /* it reported data in this run: answer.position is its last, also while it is silent */
	bool gave_bad_data; /* a snapshot from there was bad in this run */
};

struct facts {
	char pod[POD_NAME_MAX];
	unsigned ordinal;
	unsigned leader_ordinal;
	enum conf_mode mode;
	bool leader; /* this pod is to lead by configuration; in mode raft: founds the cluster if there is none */

	enum facts_store store;
	struct position own;
	char damage[SP_ERROR_TEXT_MAX];
	bool unpacked; /* mode static: from a snapshot, by an earlier run or an operator, and not led since */
	struct volume_state volume; /* as it was found */
	char recovered[256];        /* what volume_recover() did; "" for nothing */
	char no_store[512]; /* STORE_EMPTY: a sentence that names the place without a store; see facts_no_store() */

	const struct http_access *access; /* the rules for peers; NULL: none. Not a fact, but how they are asked */
	struct peer_fact *peers;          /* by ordinal, without this pod */
	size_t peer_count;
	bool all_asked;  /* not the leader alone */
	bool grace_over; /* peers that have not answered by now are taken as absent */

	/* From the configuration. */
	bool donor_auto;
	bool reseed_diverged; /* a store that cannot go on may be replaced */
	bool replace;         /* asked for: a store that is not equal to the leader's is replaced */
	uint64_t needs;       /* mode raft: the index that a donor must have applied; 0: any */
	double reseed_ratio;
};

/* The peers to ask: ordinals 0 to bootstrap.max_peers, and the leader whatever its number. */
int facts_init(struct facts *f, const struct conf *conf, struct sp_error *err);
void facts_release(struct facts *f);

/*
 * Look at the volume, and ask the driver for the store's position if there is one. A damaged store is a fact and not
 * a failure; failures are those of asking (no rights, no seedpod-server to ask).
 */
int facts_read_store(struct facts *f, const struct volume *v, struct driver *driver, struct sp_error *err);

enum facts_whom { FACTS_LEADER, FACTS_ALL };

/* Ask peers for their positions, all at once, for at most timeout_ms. A missing answer is a fact.
 * SP_ECANCELED if init is asked to stop meanwhile (stop.h), SP_ENOMEM. */
int facts_ask(struct facts *f, enum facts_whom whom, int64_t timeout_ms, struct sp_error *err);

/* A sentence: the store is missing, where, and what is there instead. */
const char *facts_no_store(const struct facts *f);

/* Mode static: the peer that says that it leads this store's cluster (without a store: any
 * cluster); of several the one in the latest epoch; NULL: none does. */
struct peer_fact *facts_present_leader(const struct facts *f);

/* That one; if none does, the configured leader; NULL if that is this pod. */
struct peer_fact *facts_leader(const struct facts *f);

#endif
