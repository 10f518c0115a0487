/*
 * The whole of init's work, between the command line and the exit code: look, decide, act, and again where that is what
 * the decision was. One thread (stop.h may end it from another).
 */
#ifndef INIT_RUN_H_
#define INIT_RUN_H_

#include <stdbool.h>

#include "conf/conf.h"
#include "init/facts.h"
#include "init/plan.h"
#include "init/seed.h"
#include "lib/driver/driver.h"

struct http_access;

struct run_options {
	const struct conf *conf;
	bool reseed; /* a store that is not equal to the leader's is seeded again, whatever sync.on_divergence says */
	uint64_t min_applied;  /* mode raft: seed only from a member that has applied this index; 0: from any */
	struct driver *driver; /* reports the position of the store on the volume */
	seed_check check;      /* tells that of a store just downloaded, and of what an earlier run left */
	void *check_arg;
	void (*look)(void *arg); /* before each round of questions, and before a broken download is gone on with: take
				  * new certificates, say; or NULL */
	void *look_arg;

	const struct http_access *access; /* the rules for peers; NULL: none */

	/* For passing a snapshot on: HTTPS with this identity, and whom to answer. NULL: HTTP, and anyone. */
	struct tls *tls;
	struct tokens *tokens;
};

/*
 * Until the server may start. 0, or the SP_E… code (its sysexits code is the program's) with *err filled and *report as
 * far as it came.
 */
int run_init(const struct run_options *o, struct seed_report *report, struct sp_error *err);

/*
 * Facts and plan as a run would find them now, without waiting and changing nothing. The caller
 * releases `facts`, into which the plan points.
 */
int run_plan(const struct run_options *o, struct facts *facts, struct plan *plan, struct sp_error *err);

#endif
