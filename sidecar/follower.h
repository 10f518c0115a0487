/*
 * Keeps a follower equal to its leader, one turn at a time: look at the local store, compare
 * histories, pull one feed, apply it. sync.h runs it in a thread; only the calls themselves wait
 * here.
 *
 *	struct follower *f = follower_new(&options, &err);
 *	for (;;)
 *		wait(follower_turn(f));
 *	follower_free(f);
 *
 * A follower belongs to one thread; follower_interrupt(), follower_end() and follower_guard() alone
 * may be called from others. Its findings go to the state.
 */
#ifndef SIDECAR_FOLLOWER_H_
#define SIDECAR_FOLLOWER_H_

#include "lib/base/error.h"
#include "lib/driver/driver.h"
#include "sidecar/reseed.h"
#include "sidecar/state.h"

struct follower_options {
	struct state *state;
	struct driver *driver;            /* of the local store; stays the caller's */
	const struct http_access *access; /* the rules for peers; outlives the follower. NULL: none */
	reseed_run reseed;
	void *reseed_arg;
	/* Mode static: have the server lead from exactly there (driver_seedpod_lead_from()); tell
	 * it which pod leads (driver_seedpod_follow()). NULL: this pod never takes over the
	 * lead. */
	int (*lead_from)(struct driver *d, const struct position *at, unsigned from, bool by_hand, int64_t pause_ms,
	    struct sp_error *err);
	int (*tell_leader)(struct driver *d, const char *url, struct sp_error *err);
	int64_t recheck_ms;      /* between two looks at a diverged leader; 0: 5 s */
	int64_t reseed_first_ms; /* the longest first wait after a reseed; 0: 1 s */
	int64_t reseed_most_ms;  /* and of all; 0: 60 s */
};

struct follower;

struct follower *follower_new(const struct follower_options *o, struct sp_error *err);
void follower_free(struct follower *f);

/* One turn. Returns how many milliseconds may pass before the next; 0: at once. */
int64_t follower_turn(struct follower *f);

/* End a call to the leader that is under way: something changed. Any thread. */
void follower_interrupt(struct follower *f);

/* The same, for good: a reseed is ended too. Any thread. */
void follower_end(struct follower *f);

/* To be called now and then by another thread: ends a call to the leader that dribbles on past every measure, so that
 * no peer can keep the loop from turning. */
void follower_guard(struct follower *f, int64_t now_ms);

#endif
