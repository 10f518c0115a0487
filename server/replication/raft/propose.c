/* The leader's way of a write into the log: what waits is proposed, a round at a time. On the loop's thread. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/fault.h"
#include "server/replication/raft/internal.h"

#define ROUND_MOST  1024 /* entries in one raft_apply() */
#define ROUNDS_MOST 2    /* of them under way: the next one gathers what comes meanwhile */

struct round {
	struct raft_apply request;
	struct repl_raft *owner;
	uint64_t first, last; /* indexes */
};

void
raft_proposed_fail(struct repl_raft *r, uint64_t first, uint64_t last, int code, const char *text)
{
	struct job_list all = r->proposed;
	struct raft_job *j;

	r->proposed = (struct job_list){ 0 };
	while ((j = job_list_pop(&all)) != NULL)
		if (j->index >= first && j->index <= last)
			raft_job_fail(j, code, text);
		else
			job_list_push(&r->proposed, j);
}

/* libraft calls this when the first entry of the round was applied, or none will be. */
static void
round_over(struct raft_apply *request, int status, void *result)
{
	struct round *round = (struct round *)request;
	struct repl_raft *r = round->owner;
	struct sp_error err;

	(void)result;
	r->rounds--;
	if (status == RAFT_CORRUPT) {
		raft_error(&err, status, r->raft.errmsg, "write the raft log");
		raft_fail_stop(&err);
	}
	if (status == RAFT_IOERR || status == RAFT_NOSPACE)
		raft_log_note_failure(r, status);
	if (status != 0)
		raft_proposed_fail(r, round->first, round->last, SP_EUNKNOWN,
		    "this pod lost the lead while the write was on its way: it may have been made or not");
	free(round);
}

static int
encode(struct repl_raft *r, struct raft_job *j, struct raft_buffer *out)
{
	j->entry.term = r->raft.current_term;
	out->len = entry_size(&j->entry);
	out->base = raft_malloc(out->len);
	if (out->base == NULL)
		return SP_ENOMEM;
	entry_encode(&j->entry, out->base);
	return 0;
}

/* Propose these jobs as entries that follow one another. All are taken, or failed. */
static void
propose(struct repl_raft *r, struct job_list *jobs)
{
	struct raft_buffer bufs[ROUND_MOST];
	struct round *round = calloc(1, sizeof(*round));
	struct raft_job *j;
	unsigned n = 0;
	int rc = round != NULL ? 0 : RAFT_NOMEM;

	for (j = jobs->first; rc == 0 && j != NULL; j = j->next)
		if (encode(r, j, &bufs[n]) == 0)
			n++;
		else
			rc = RAFT_NOMEM;
	if (rc == 0) {
		round->owner = r;
		round->first = raft_last_index(&r->raft) + 1;
		round->last = round->first + n - 1;
		/* Before the call: a single member may see its entries committed within it. */
		for (uint64_t index = round->first; (j = job_list_pop(jobs)) != NULL; index++) {
			j->index = index;
			job_list_push(&r->proposed, j);
		}
		r->rounds++;
		FAULT_POINT("raft.proposed");
		rc = raft_apply(&r->raft, &round->request, bufs, n, round_over);
		if (rc == 0)
			return;
		r->rounds--;
		raft_proposed_fail(
		    r, round->first, round->last, rc == RAFT_NOSPACE ? SP_ENOSPACE : SP_EAGAIN, raft_strerror(rc));
	}
	for (unsigned i = 0; i < n; i++)
		raft_free(bufs[i].base);
	free(round);
	while ((j = job_list_pop(jobs)) != NULL)
		raft_job_fail(j, SP_EAGAIN, raft_strerror(rc));
}

/* Whether this member had better not commit to more. What is in the log must be applied, so the log stops first. */
static bool
is_full(struct repl_raft *r)
{
	struct committer_stats stats;

	committer_stats(r->committer, &stats);
	return stats.full || !raft_log_has_room(r);
}

void
raft_propose_queued(struct repl_raft *r)
{
	struct job_list jobs = { 0 };
	struct raft_job *j;
	const char *full;

	while (r->rounds < ROUNDS_MOST) {
		pthread_mutex_lock(&r->lock);
		while (jobs.count < ROUND_MOST && (j = job_list_pop(&r->queue)) != NULL)
			job_list_push(&jobs, j);
		pthread_mutex_unlock(&r->lock);
		if (jobs.first == NULL)
			return;
		full = raft_state(&r->raft) == RAFT_LEADER && is_full(r) ? "the volume is full" : NULL;
		if (raft_state(&r->raft) == RAFT_LEADER && full == NULL) {
			propose(r, &jobs);
			continue;
		}
		while ((j = job_list_pop(&jobs)) != NULL)
			raft_job_fail(
			    j, full != NULL ? SP_ENOSPACE : SP_EAGAIN, full != NULL ? full : "this pod does not lead");
	}
}

void
raft_propose_text(struct repl_raft *r, enum entry_kind kind, const char *text)
{
	struct job_list one = { 0 };
	struct raft_job *j = raft_job_new(r);

	if (j == NULL)
		return;
	j->bytes = strdup(text);
	if (j->bytes == NULL) {
		raft_job_free(j);
		return;
	}
	j->entry = (struct entry){ .kind = kind, .text = j->bytes, .text_len = strlen(text) };
	job_list_push(&one, j);
	propose(r, &one);
}
