#include "server/replication/static/repl_static.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "server/replication/batch.h"

struct repl_static {
	struct repl repl;
	struct committer *committer;
	pthread_mutex_t role_lock; /* one change of role at a time */
	atomic_int role;           /* enum role */
	char self_url[POSITION_URL_MAX];
	char leader_url[POSITION_URL_MAX];
};

static struct repl_static *
of(struct repl *r)
{
	return (struct repl_static *)r;
}

/* --- A batch --- */

struct batch_job {
	struct commit_job job; /* first: the two are one address */
	struct repl_static *owner;
	struct repl_batch *batch;
};

static int
run_batch(struct commit_job *job, struct store_txn *txn)
{
	struct batch_job *j = (struct batch_job *)job;

	if (atomic_load(&j->owner->role) != ROLE_LEADER)
		return sp_error_set(&job->err, SP_EAGAIN, "this pod does not lead any more");
	return repl_batch_run(j->batch, txn, &j->batch->seq, &job->err);
}

static void
batch_done(struct commit_job *job)
{
	struct batch_job *j = (struct batch_job *)job;
	struct repl_batch *b = j->batch;

	b->code = job->code;
	b->err = job->err;
	free(j);
	b->done(b);
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
	rc = committer_submit(of(r)->committer, &j->job, err);
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

static int
static_apply(struct repl *r, struct repl_feed *f, struct sp_error *err)
{
	struct feed_job *j = calloc(1, sizeof(*j));
	int rc;

	if (j == NULL)
		return sp_error_set(err, SP_ENOMEM, "apply");
	/* Alone, because a digest that does not match at the end must undo it. */
	*j = (struct feed_job){
		.job = { .run = run_feed, .done = feed_done, .alone = true, .feed = &f->info, .bytes = f->len },
		.owner = of(r),
		.feed = f
	};
	rc = committer_submit(of(r)->committer, &j->job, err);
	if (rc < 0)
		free(j);
	return rc;
}

/* --- The role --- */

struct role_job {
	struct commit_job job; /* first */
	struct repl_static *owner;
	enum role role;
	bool began; /* a new epoch */
	struct position after;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool done;
};

static int
run_role(struct commit_job *job, struct store_txn *txn)
{
	struct role_job *j = (struct role_job *)job;
	int rc;

	j->began = false;
	rc = j->role == ROLE_LEADER ? store_txn_lead(txn, &j->began, &job->err) : store_txn_follow(txn, &job->err);
	store_txn_position(txn, &j->after);
	return rc;
}

static void
role_done(struct commit_job *job)
{
	struct role_job *j = (struct role_job *)job;

	/* Here, before the writer takes its next job: a feed that waits behind a promotion must not undo it. */
	if (job->code == 0)
		atomic_store(&j->owner->role, (int)j->role);
	pthread_mutex_lock(&j->lock);
	j->done = true;
	pthread_cond_signal(&j->wake);
	pthread_mutex_unlock(&j->lock);
}

static int
bring_into_role(struct repl_static *r, enum role role, struct sp_error *err)
{
	struct role_job j = {
		.job = { .run = run_role, .done = role_done, .alone = true, .durable = true }, .owner = r, .role = role
	};
	int rc;

	pthread_mutex_init(&j.lock, NULL);
	pthread_cond_init(&j.wake, NULL);
	rc = committer_submit(r->committer, &j.job, err);
	if (rc == 0) {
		pthread_mutex_lock(&j.lock);
		while (!j.done)
			pthread_cond_wait(&j.wake, &j.lock);
		pthread_mutex_unlock(&j.lock);
		rc = j.job.code;
		if (rc < 0 && err != NULL)
			*err = j.job.err;
	}
	if (rc == 0 && j.began)
		log_info("a new epoch begins: this pod takes over writing", LOG_STR("cluster", j.after.cluster),
		    LOG_U64("epoch", j.after.epoch), LOG_U64("since_seq", j.after.seq));
	pthread_mutex_destroy(&j.lock);
	pthread_cond_destroy(&j.wake);
	return rc;
}

static int
static_set_role(struct repl *r, enum role role, struct sp_error *err)
{
	int before, rc;

	pthread_mutex_lock(&of(r)->role_lock);
	/* Handing over: stop taking writes first, so that none comes after the mark in the store. Taking over: mark
	 * first. */
	before = atomic_load(&of(r)->role);
	if (role == ROLE_FOLLOWER)
		atomic_store(&of(r)->role, ROLE_FOLLOWER);
	rc = bring_into_role(of(r), role, err);
	if (rc < 0)
		atomic_store(&of(r)->role, before);
	pthread_mutex_unlock(&of(r)->role_lock);
	if (rc < 0)
		return rc;
	log_info("role set", LOG_STR("role", role_name(role)));
	return 0;
}

static int
static_attached(struct repl *r, struct sp_error *err)
{
	int rc;

	pthread_mutex_lock(&of(r)->role_lock);
	rc = bring_into_role(of(r), (enum role)atomic_load(&of(r)->role), err);
	pthread_mutex_unlock(&of(r)->role_lock);
	return rc;
}

static enum role
static_role(struct repl *r)
{
	return (enum role)atomic_load(&of(r)->role);
}

static void
static_leader(struct repl *r, char *out, size_t size)
{
	bool self = atomic_load(&of(r)->role) == ROLE_LEADER;

	snprintf(out, size, "%s", self ? of(r)->self_url : of(r)->leader_url);
}

/* What the leader has answered, it has on disk. */
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
	(void)r;
	(void)p;
}

static bool
static_founds(struct repl *r)
{
	return static_role(r) == ROLE_LEADER;
}

/* The store keeps out those who come while it is closed, and nobody else takes on the lead. */
static void
static_nothing(struct repl *r)
{
	(void)r;
}

static void
static_free(struct repl *r)
{
	pthread_mutex_destroy(&of(r)->role_lock);
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
	.attached = static_attached,
	.detach = static_nothing,
	.stop = static_nothing,
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
	r->committer = o->committer;
	pthread_mutex_init(&r->role_lock, NULL);
	atomic_store(&r->role, o->leads ? ROLE_LEADER : ROLE_FOLLOWER);
	snprintf(r->self_url, sizeof(r->self_url), "%s", o->self_url);
	/* A pod that was demoted by hand knows no other leader than the configured one, which may have been itself. */
	snprintf(r->leader_url, sizeof(r->leader_url), "%s", o->leads ? "" : o->leader_url);
	return &r->repl;
}
