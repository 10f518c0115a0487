#include <stdio.h>
#include <stdlib.h>

#include "lib/base/cond.h"
#include "lib/base/fault.h"
#include "server/replication/static/internal.h"

static struct repl_static *
of(struct repl *r)
{
	return (struct repl_static *)r;
}

/* --- A batch --- */

static int
run_batch(struct commit_job *job, struct store_txn *txn)
{
	struct batch_job *j = (struct batch_job *)job;

	j->held = j->owner->gate != GATE_OPEN;
	if (j->held)
		return 0;
	if (atomic_load(&j->owner->role) != ROLE_LEADER)
		return sp_error_set(&job->err, SP_EAGAIN, "this pod does not lead any more");
	return repl_batch_run(j->batch, txn, &j->batch->seq, &job->err);
}

void
static_finish_batch(struct batch_job *j, int code, const struct sp_error *err)
{
	struct repl_batch *b = j->batch;

	b->code = code;
	if (err != NULL)
		b->err = *err;
	free(j);
	b->done(b);
}

static void
batch_done(struct commit_job *job)
{
	struct batch_job *j = (struct batch_job *)job;

	if (job->code == 0 && j->held && static_hold(j))
		return;
	static_finish_batch(j, job->code, &job->err);
	FAULT_POINT("commit.told");
}

static size_t
batch_bytes(const struct repl_batch *b)
{
	size_t bytes = 0;

	for (size_t i = 0; i < b->count; i++)
		bytes += b->ops[i].key_len + b->ops[i].value_len + 16;
	return bytes;
}

static int
static_submit(struct repl *r, struct repl_batch *b, struct sp_error *err)
{
	struct batch_job *j = calloc(1, sizeof(*j));
	int rc;

	if (j == NULL)
		return sp_error_set(err, SP_ENOMEM, "write");
	*j = (struct batch_job){
		.job = { .run = run_batch, .done = batch_done, .bytes = batch_bytes(b) }, .owner = of(r), .batch = b
	};
	rc = committer_submit(of(r)->o.committer, &j->job, err);
	if (rc < 0)
		free(j);
	return rc;
}

/* --- A feed --- */

struct feed_job {
	struct commit_job job; /* first */
	struct repl_static *owner;
	struct repl_feed *feed;
};

static int
run_feed(struct commit_job *job, struct store_txn *txn)
{
	struct feed_job *j = (struct feed_job *)job;

	if (atomic_load(&j->owner->role) == ROLE_LEADER)
		return sp_error_set(&job->err, SP_EDIVERGED, "this pod leads: it takes nobody's changes");
	return store_txn_apply(txn, j->feed->data, j->feed->len, &j->feed->info, &job->err);
}

static void
feed_done(struct commit_job *job)
{
	struct feed_job *j = (struct feed_job *)job;
	struct repl_feed *f = j->feed;

	f->code = job->code;
	f->err = job->err;
	free(j);
	f->done(f);
	FAULT_POINT("apply.told");
}

static void
free_jobs(struct commit_job *jobs)
{
	struct commit_job *next;

	for (; jobs != NULL; jobs = next) {
		next = jobs->next;
		free(jobs);
	}
}

static int
static_apply(struct repl *r, struct repl_feed *f, struct sp_error *err)
{
	struct commit_job *jobs = NULL, **end = &jobs;
	bool here = f->here;
	int rc;

	for (; f != NULL; f = f->next, end = &(*end)->next) {
		struct feed_job *j = calloc(1, sizeof(*j));

		if (j == NULL) {
			free_jobs(jobs);
			return sp_error_set(err, SP_ENOMEM, "apply");
		}
		/* Alone, because a digest that does not match at the end must undo it. */
		*j = (struct feed_job){
			.job = { .run = run_feed, .done = feed_done, .alone = true, .feed = &f->info, .bytes = f->len },
			.owner = of(r),
			.feed = f
		};
		*end = &j->job;
	}
	rc = committer_submit_list(of(r)->o.committer, jobs, here, err);
	if (rc < 0)
		free_jobs(jobs);
	return rc;
}

/* --- What the API asks --- */

static enum role
static_role(struct repl *r)
{
	return (enum role)atomic_load(&of(r)->role);
}

static void
static_leader(struct repl *r, char *out, size_t size)
{
	if (static_role(r) == ROLE_LEADER) {
		snprintf(out, size, "%s", of(r)->self_url);
		return;
	}
	pthread_mutex_lock(&of(r)->lock);
	snprintf(out, size, "%s", of(r)->leader_url);
	pthread_mutex_unlock(&of(r)->lock);
}

static bool
static_takes_writes(struct repl *r)
{
	return static_role(r) == ROLE_LEADER || atomic_load(&of(r)->holds);
}

/* A write that the leader has answered is on its disk. */
static int
static_read(struct repl *r, struct repl_read *rd, struct sp_error *err)
{
	if (static_role(r) != ROLE_LEADER)
		return sp_error_set(err, SP_EAGAIN, "only the leader knows its last write");
	rd->code = 0;
	rd->done(rd);
	return 0;
}

static void
static_describe(struct repl *r, struct position *p)
{
	pthread_mutex_lock(&of(r)->lock);
	p->lead = of(r)->lead;
	p->handover = of(r)->report;
	pthread_mutex_unlock(&of(r)->lock);
}

static void
static_handover_stats(struct repl *r, struct repl_handover_stats *out)
{
	pthread_mutex_lock(&of(r)->lock);
	*out = of(r)->stats;
	pthread_mutex_unlock(&of(r)->lock);
}

/* Only at its start: one that is named while it runs, and has lost its store, is not to begin an empty one. */
static bool
static_founds(struct repl *r)
{
	return !of(r)->settled && of(r)->o.leads;
}

/* The store refuses requests while it is closed, and no other pod takes over the lead. */
static void
static_detach(struct repl *r)
{
	(void)r;
}

static void
static_stop(struct repl *r)
{
	static_handover_stop(of(r));
}

static void
static_free(struct repl *r)
{
	static_handover_free(of(r));
	pthread_mutex_destroy(&of(r)->role_lock);
	pthread_mutex_destroy(&of(r)->lock);
	pthread_cond_destroy(&of(r)->wake);
	free(of(r));
}

static const struct repl_ops static_ops = {
	.mode = "static",
	.submit = static_submit,
	.apply = static_apply,
	.read = static_read,
	.role = static_role,
	.leader = static_leader,
	.describe = static_describe,
	.founds = static_founds,
	.set_role = static_set_role,
	.handover = static_handover,
	.lead_from = static_lead_from,
	.handover_stats = static_handover_stats,
	.named = static_named,
	.follow = static_follow,
	.opened = static_opened,
	.takes_writes = static_takes_writes,
	.attached = static_attached,
	.detach = static_detach,
	.stop = static_stop,
	.free = static_free,
};

struct repl *
repl_static_new(const struct repl_static_options *o, struct sp_error *err)
{
	struct repl_static *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		sp_error_set(err, SP_ENOMEM, "replication");
		return NULL;
	}
	r->repl.ops = &static_ops;
	r->o = *o;
	pthread_mutex_init(&r->role_lock, NULL);
	pthread_mutex_init(&r->lock, NULL);
	cond_init(&r->wake);
	atomic_store(&r->role, o->leads ? ROLE_LEADER : ROLE_FOLLOWER);
	r->lead = (struct lead){ .kind = LEAD_NONE, .pod = LEAD_NOBODY, .to = LEAD_NOBODY, .despite = LEAD_NOBODY };
	r->report = (struct lead_report){ .from = LEAD_NOBODY, .to = LEAD_NOBODY };
	r->named = o->named;
	snprintf(r->self_url, sizeof(r->self_url), "%s", o->self_url);
	/* A pod that is named itself and does not lead knows no leader until its sidecar has found one. */
	snprintf(r->leader_url, sizeof(r->leader_url), "%s", o->leads ? "" : o->leader_url);
	return &r->repl;
}
