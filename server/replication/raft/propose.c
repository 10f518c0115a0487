/*
 * How a leader's writes get into the log: the waiting ones are proposed, a round at a time. On the
 * loop's thread.
 *
 * A round is small, and two are under way at most. So a heartbeat to a member that keeps up waits
 * for a bounded time, whatever clients write: an entry that is larger than a part goes in parts,
 * round by round (parts.h). Its write is answered when the last one is committed, and the next
 * write waits until then.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "server/replication/raft/internal.h"
#include "server/replication/raft/parts.h"

#define ROUND_MOST  1024 /* entries in one raft_apply() */
#define ROUNDS_MOST 2    /* of them under way: the next one gathers what comes meanwhile */

struct round {
	struct raft_apply request;
	struct repl_raft *owner;
	uint64_t first, last; /* indexes */
};

void
repl_raft_proposed_fail(struct repl_raft *r, uint64_t first, uint64_t last, int code, const char *text)
{
	struct job_list all = r->proposed;
	struct repl_raft_job *j;

	r->proposed = (struct job_list){ 0 };
	while ((j = job_list_pop(&all)) != NULL)
		if (j->index >= first && j->index <= last)
			repl_raft_job_fail(j, code, text);
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
		repl_raft_error(&err, status, r->raft.errmsg, "write the raft log");
		repl_raft_fail_stop(&err);
	}
	if (status == RAFT_IOERR || status == RAFT_NOSPACE)
		repl_raft_log_note_failure(r, status);
	if (status != 0)
		repl_raft_proposed_fail(r, round->first, round->last, SP_EUNKNOWN,
		    "this pod lost the lead while the write was on its way: it may have been made or not");
	free(round);
}

/* A round as it is gathered: entries, and the job that each of them completes (NULL: it is a part that is not the
 * last). */
struct gathered {
	struct raft_buffer bufs[ROUND_MOST];
	struct repl_raft_job *jobs[ROUND_MOST];
	unsigned n;
	size_t bytes;
};

static int
add_entry(struct gathered *g, size_t len)
{
	void *base = raft_malloc(len);

	if (base == NULL)
		return SP_ENOMEM;
	g->bufs[g->n] = (struct raft_buffer){ .base = base, .len = len };
	g->jobs[g->n++] = NULL;
	g->bytes += len;
	return 0;
}

void
repl_raft_split_fail(struct repl_raft *r, const char *text)
{
	struct repl_raft_job *j = r->split.job;

	free(r->split.whole);
	memset(&r->split, 0, sizeof(r->split));
	if (j != NULL)
		repl_raft_job_fail(j, SP_EAGAIN, text);
}

/* Begin to pass a large entry in parts. */
static void
split(struct repl_raft *r, struct repl_raft_job *j, size_t size)
{
	unsigned char *whole = malloc(size);

	if (whole == NULL) {
		repl_raft_job_fail(j, SP_ENOMEM, raft_strerror(RAFT_NOMEM));
		return;
	}
	entry_encode(&j->entry, whole);
	r->split.job = j;
	r->split.whole = whole;
	r->split.len = size;
	r->split.done = 0;
}

/* The next part of the large entry. After the last one there is none under way any more. */
static void
add_part(struct repl_raft *r, struct gathered *g)
{
	size_t left = r->split.len - r->split.done;
	struct part p = { .term = r->split.job->entry.term,
		.offset = (uint32_t)r->split.done,
		.total = (uint32_t)r->split.len,
		.len = (uint32_t)(left < PART_BYTES ? left : PART_BYTES),
		.data = r->split.whole + r->split.done };

	if (add_entry(g, part_size(p.len)) < 0) {
		repl_raft_split_fail(r, raft_strerror(RAFT_NOMEM));
		return;
	}
	part_encode(&p, g->bufs[g->n - 1].base);
	r->split.done += p.len;
	if (r->split.done < r->split.len)
		return;
	g->jobs[g->n - 1] = r->split.job;
	r->split.job = NULL;
	repl_raft_split_fail(r, "");
}

static void
add_job(struct repl_raft *r, struct gathered *g, struct repl_raft_job *j)
{
	size_t size;

	j->entry.term = r->raft.current_term;
	size = entry_size(&j->entry);
	if (size > PART_BYTES) {
		split(r, j, size);
	} else if (add_entry(g, size) < 0) {
		repl_raft_job_fail(j, SP_ENOMEM, raft_strerror(RAFT_NOMEM));
	} else {
		entry_encode(&j->entry, g->bufs[g->n - 1].base);
		g->jobs[g->n - 1] = j;
	}
}

/* Whether there is a job to propose. */
static bool
has_job(struct repl_raft *r)
{
	struct repl_raft_job *j;

	if (r->taken.first == NULL) {
		pthread_mutex_lock(&r->lock);
		while (r->taken.count < ROUND_MOST && (j = job_list_pop(&r->queue)) != NULL)
			job_list_push(&r->taken, j);
		pthread_mutex_unlock(&r->lock);
	}
	return r->own.first != NULL || r->taken.first != NULL;
}

/* The member's own entries go first, but not between two parts. */
static struct repl_raft_job *
next_job(struct repl_raft *r)
{
	struct repl_raft_job *j;

	if (!has_job(r))
		return NULL;
	j = job_list_pop(&r->own);
	return j != NULL ? j : job_list_pop(&r->taken);
}

static void
gather(struct repl_raft *r, struct gathered *g)
{
	struct repl_raft_job *j;

	g->n = 0;
	g->bytes = 0;
	while (g->n < ROUND_MOST && g->bytes < r->round_bytes) {
		if (r->split.job != NULL)
			add_part(r, g);
		else if ((j = next_job(r)) != NULL)
			add_job(r, g, j);
		else
			return;
	}
}

/* Propose these entries, which follow one another. All are taken, or their jobs have failed. */
static void
propose(struct repl_raft *r, struct gathered *g)
{
	struct round *round = calloc(1, sizeof(*round));
	uint64_t first = raft_last_index(&r->raft) + 1;
	int rc = RAFT_NOMEM;

	/* Before the call: a single member may see its entries committed within it. */
	for (unsigned i = 0; i < g->n; i++) {
		if (g->jobs[i] == NULL)
			continue;
		g->jobs[i]->index = first + i;
		job_list_push(&r->proposed, g->jobs[i]);
	}
	if (round != NULL) {
		round->owner = r;
		round->first = first;
		round->last = first + g->n - 1;
		r->rounds++;
		FAULT_POINT("raft.proposed");
		rc = raft_apply(&r->raft, &round->request, g->bufs, g->n, round_over);
		repl_raft_flow_settle(r);
	}
	if (rc == 0)
		return;
	r->rounds -= round != NULL;
	free(round);
	for (unsigned i = 0; i < g->n; i++)
		raft_free(g->bufs[i].base);
	repl_raft_proposed_fail(
	    r, first, first + g->n - 1, rc == RAFT_NOSPACE ? SP_ENOSPACE : SP_EAGAIN, raft_strerror(rc));
	/* The log lacks a part: the others lead to nothing. */
	repl_raft_split_fail(r, raft_strerror(rc));
}

/* Whether this member had better not commit to more. Entries in the log must be applied, so the log
 * stops first. */
static bool
is_full(struct repl_raft *r)
{
	struct committer_stats stats;

	committer_stats(r->committer, &stats);
	return stats.full || !repl_raft_log_has_room(r);
}

/* A line when the volume becomes full, and one when entries are proposed again. */
static void
tell_full(struct repl_raft *r, bool full)
{
	if (full == r->told_full)
		return;
	r->told_full = full;
	if (full)
		log_error("the volume is full; writes are refused", LOG_STR("dir", r->dir));
	else
		log_info("the volume has room; writes are stored again");
}

/* Fail all requests that wait. */
static void
fail_waiting(struct repl_raft *r, int code, const char *text)
{
	struct repl_raft_job *j;

	repl_raft_split_fail(r, text);
	while ((j = next_job(r)) != NULL)
		repl_raft_job_fail(j, code, text);
}

void
repl_raft_propose_queued(struct repl_raft *r)
{
	struct gathered g;

	if (raft_state(&r->raft) != RAFT_LEADER) {
		fail_waiting(r, SP_EAGAIN, "this pod does not lead");
		return;
	}
	while (r->rounds < ROUNDS_MOST) {
		/* A large entry that has been begun is not the one to stop at. */
		if (r->split.job == NULL && has_job(r) && is_full(r)) {
			tell_full(r, true);
			fail_waiting(r, SP_ENOSPACE, "the volume is full");
			return;
		}
		gather(r, &g);
		if (g.n == 0)
			return;
		tell_full(r, false);
		propose(r, &g);
	}
}

void
repl_raft_propose_text(struct repl_raft *r, enum entry_kind kind, const char *text)
{
	struct repl_raft_job *j = repl_raft_job_new(r);
	struct gathered g = { 0 };

	if (j == NULL)
		return;
	j->bytes = strdup(text);
	if (j->bytes == NULL) {
		repl_raft_job_free(j);
		return;
	}
	j->entry = (struct entry){ .kind = kind, .text = j->bytes, .text_len = strlen(text) };
	if (r->split.job != NULL) {
		job_list_push(&r->own, j);
		return;
	}
	add_job(r, &g, j);
	if (g.n > 0)
		propose(r, &g);
}
