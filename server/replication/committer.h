/*
 * Group commit: one writer thread takes all jobs that are queued, runs them in one transaction,
 * commits once, and only then reports that to each. Sixty-four waiting clients cost one fsync.
 *
 *	struct committer *c = committer_new(&options, &err);
 *	committer_submit(c, &job);	// any thread; job.done(&job) comes later on the writer thread
 *	committer_stop(c);		// finishes what was submitted
 *	committer_free(c);
 */
#ifndef SERVER_REPLICATION_COMMITTER_H_
#define SERVER_REPLICATION_COMMITTER_H_

#include <stdbool.h>

#include "lib/base/error.h"
#include "server/store/store.h"

struct committer;

/* A change to the store. The submitter owns it until done() is called, and again from then on. */
struct commit_job {
	/*
	 * Change the transaction. A failure that leaves the transaction as it was (a precondition,
	 * a bad key) is returned, with `err` filled: the other jobs of the group continue. May run
	 * again from the start when the group is done over (the map grew), so it must not depend on
	 * what an earlier run left in the job. On the writer thread, or the submitter's.
	 */
	int (*run)(struct commit_job *job, struct store_txn *txn);

	/* The job is committed, and on disk unless async (code 0), or failed (code, err). On the writer thread, or the
	 * submitter's: must be quick, and may free the job.
	 */
	void (*done)(struct commit_job *job);

	bool must;    /* if there is no room, its group waits for some instead of failing (an entry of a log) */
	size_t bytes; /* about what it puts into the store */
	bool alone;   /* in a transaction of its own, which its failure undoes; of LMDB, and so on disk when done() is
		       * called also if the committer is async, unless it is a feed's */
	const struct feed_info *feed; /* what the job applies, with `bytes`; or NULL. Alone only, but that feeds which
				       * continue one another within an epoch share a transaction: if one fails, each
				       * is done over by itself */
	int code;                     /* out */
	struct sp_error err;
	struct commit_job *next; /* in a list that is submitted; then the committer's */
};

struct committer_options {
	struct store *store;
	bool async; /* durability = async: the store syncs later (store_options), here at least every second */

	/* After each commit, with the position that is now readable. On the thread that made it. May be NULL. */
	void (*committed)(const struct position *now, void *arg);
	void *arg;
};

struct committer *committer_new(const struct committer_options *o, struct sp_error *err);

/* Finish what was submitted and take nothing more; submitting and the figures still answer. Once. */
void committer_stop(struct committer *c);
void committer_free(struct committer *c);

/* 0, or SP_EAGAIN if too many jobs wait already (done() is then not called). Any thread. */
int committer_submit(struct committer *c, struct commit_job *job, struct sp_error *err);

/*
 * The same for a list of jobs (`next`), all or none of which are taken. With `here`, and if the writer has nothing to
 * do, this thread does its work, without a hand-over to another: done() was called for each when this returns. That may
 * block as long as the disk does.
 */
int committer_submit_list(struct committer *c, struct commit_job *jobs, bool here, struct sp_error *err);

struct committer_stats {
	uint64_t commits;  /* transactions */
	uint64_t jobs;     /* jobs that succeeded */
	uint64_t failed;   /* jobs that did not */
	uint64_t no_space; /* of these, for want of space */
	bool full;         /* a job failed for want of space, and nothing was written since */
};
void committer_stats(struct committer *c, struct committer_stats *out);

#endif
