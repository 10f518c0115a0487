/* Which of the jobs that wait for the committer share a transaction. Pure. */
#ifndef SERVER_REPLICATION_COMMIT_GROUP_H_
#define SERVER_REPLICATION_COMMIT_GROUP_H_

#include "server/replication/committer.h"

/*
 * Cut the next group off the list, which has at least one job, and count its jobs. It is a job that must be alone, or
 * feeds that lead from cut to cut within one epoch, or any number of other jobs; in the list's order, and bounded in
 * number and bytes unless it is a single job.
 */
struct commit_job *commit_group_cut(struct commit_job **list, unsigned *count);

#endif
