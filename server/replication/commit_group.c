#include "server/replication/commit_group.h"

#include <string.h>

#define GROUP_MAX   4096       /* jobs in one transaction, so that none waits long for the others */
#define GROUP_BYTES (1u << 20) /* and what they put into the store */

/* Whether two feeds that follow one another may be one group: each leads from cut to cut within one epoch. */
static bool
continues(const struct feed_info *before, const struct feed_info *after)
{
	if (!before->cut || !after->cut || before->seq != before->last_seq || after->seq != after->last_seq ||
	    after->since != before->seq || after->records == 0 || after->epoch != before->epoch ||
	    after->history_count != before->history_count)
		return false;
	for (size_t i = 0; i < after->history_count; i++)
		if (after->history[i].epoch != before->history[i].epoch ||
		    after->history[i].since != before->history[i].since)
			return false;
	return strcmp(after->cluster, before->cluster) == 0;
}

/* Whether `next` may share the transaction of the job before it. */
static bool
may_share(const struct commit_job *job, const struct commit_job *next)
{
	if (job->feed != NULL && next->feed != NULL)
		return continues(job->feed, next->feed);
	return !job->alone && !next->alone;
}

struct commit_job *
commit_group_cut(struct commit_job **list, unsigned *count)
{
	struct commit_job *first = *list, *last = first;
	size_t bytes = first->bytes;
	unsigned n = 1;

	while (last->next != NULL && may_share(last, last->next) && n < GROUP_MAX &&
	       bytes + last->next->bytes <= GROUP_BYTES) {
		last = last->next;
		bytes += last->bytes;
		n++;
	}
	*list = last->next;
	last->next = NULL;
	*count = n;
	return first;
}
