#include "server/replication/raft/repl_raft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "lib/base/log.h"
#include "lib/protocol/metrics.h"
#include "server/replication/raft/internal.h"

#define QUEUE_MAX     65536 /* batches that may wait to be proposed */
#define HAND_OVER_MS  2000
#define LOG_BYTES_MAX (64u << 20) /* of log in memory, about */

static struct repl_raft *
of(struct repl *r)
{
	return (struct repl_raft *)r;
}

/* --- Jobs --- */

void
job_list_push(struct job_list *l, struct repl_raft_job *j)
{
	j->next = NULL;
	if (l->last != NULL)
		l->last->next = j;
	else
		l->first = j;
	l->last = j;
	l->count++;
}

struct repl_raft_job *
job_list_pop(struct job_list *l)
{
	struct repl_raft_job *j = l->first;

	if (j == NULL)
		return NULL;
	l->first = j->next;
	if (l->first == NULL)
		l->last = NULL;
	l->count--;
	return j;
}

struct repl_raft_job *
repl_raft_job_new(struct repl_raft *r)
{
	struct repl_raft_job *j = calloc(1, sizeof(*j));

	if (j != NULL)
		j->owner = r;
	return j;
}

void
repl_raft_job_free(struct repl_raft_job *j)
{
	/* A client's ops are the client's. */
	if (j->bytes != NULL)
		entry_release(&j->entry);
	free(j->bytes);
	free(j);
}

void
repl_raft_job_fail(struct repl_raft_job *j, int code, const char *text)
{
	if (j->batch != NULL) {
		j->batch->code = sp_error_set(&j->batch->err, code, "%s", text);
		j->batch->done(j->batch);
	}
	repl_raft_job_free(j);
}

/* --- What the HTTP handlers ask --- */

static int
repl_raft_submit(struct repl *repl, struct repl_batch *b, struct sp_error *err)
{
	struct repl_raft *r = of(repl);
	struct repl_raft_job *j = repl_raft_job_new(r);
	int rc = 0;

	if (j == NULL)
		return sp_error_set(err, SP_ENOMEM, "write");
	j->batch = b;
	j->entry = (struct entry){ .kind = ENTRY_BATCH, .batch = *b };
	pthread_mutex_lock(&r->lock);
	if (!r->accepts)
		rc = sp_error_set(err, SP_EAGAIN, "this pod takes no writes at present");
	else if (r->queue.count >= QUEUE_MAX)
		rc = sp_error_set(err, SP_EAGAIN, "too many writes are waiting");
	else
		job_list_push(&r->queue, j);
	/* Under the lock: while it accepts, the loop is there. */
	if (rc == 0 && r->queue.count == 1)
		repl_raft_loop_wake(r);
	pthread_mutex_unlock(&r->lock);
	if (rc < 0)
		repl_raft_job_free(j);
	return rc;
}

static int
repl_raft_take_feed(struct repl *repl, struct repl_feed *f, struct sp_error *err)
{
	(void)repl;
	(void)f;
	return sp_error_set(err, SP_EDIVERGED, "in mode raft changes come by the log alone");
}

static int
repl_raft_begin_read(struct repl *repl, struct repl_read *rd, struct sp_error *err)
{
	return repl_raft_read_submit(of(repl), rd, err);
}

static enum role
member_role(struct repl *repl)
{
	return (enum role)atomic_load(&of(repl)->role);
}

static void
repl_raft_leader_url(struct repl *repl, char *out, size_t size)
{
	struct repl_raft *r = of(repl);
	const struct contact *m;

	pthread_mutex_lock(&r->lock);
	m = r->leader_id == r->self.id ? &r->self : directory_find(&r->directory, MEMBER_NUMBER(r->leader_id));
	snprintf(out, size, "%s", r->leader_id != 0 && m != NULL ? m->url : "");
	pthread_mutex_unlock(&r->lock);
}

static void
repl_raft_describe(struct repl *repl, struct position *p)
{
	struct repl_raft *r = of(repl);
	const struct position_raft stored = p->raft; /* of one moment with seq */

	pthread_mutex_lock(&r->lock);
	p->raft = r->status;
	pthread_mutex_unlock(&r->lock);
	p->raft.applied = stored.applied;
	p->raft.log = stored.log;
}

static int
repl_raft_show_members(struct repl *repl, struct buf *json, struct sp_error *err)
{
	int rc = repl_raft_members_json(of(repl), json);

	return rc < 0 ? sp_error_set(err, rc, "members") : 0;
}

static int
repl_raft_begin_change(struct repl *repl, struct repl_change *c, struct sp_error *err)
{
	struct repl_raft *r = of(repl);
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	if (!r->accepts)
		rc = sp_error_set(err, SP_EAGAIN, "this pod takes no part at present");
	else if (r->change_queue != NULL)
		rc = sp_error_set(err, SP_EAGAIN, "another change of members is under way");
	else {
		r->change_queue = c;
		repl_raft_loop_wake(r);
	}
	pthread_mutex_unlock(&r->lock);
	return rc;
}

static void
repl_raft_metrics(struct repl *repl, struct buf *out)
{
	struct repl_raft *r = of(repl);
	const struct {
		const char *name, *type, *help;
		uint64_t value;
	} rows[] = {
		{ "seedpod_raft_elections_won_total", "counter", "Terms that this member has begun to lead.",
		    atomic_load(&r->elections) },
		{ "seedpod_raft_barriers_total", "counter", "Barriers for linearizable reads, one for all that waited.",
		    atomic_load(&r->barriers) },
		{ "seedpod_raft_proposals_in_flight", "gauge", "Writes proposed here and not committed yet.",
		    atomic_load(&r->in_flight) },
		{ "seedpod_raft_log_entries", "gauge", "Entries of the log that are kept.",
		    atomic_load(&r->log_entries) },
		{ "seedpod_raft_log_cuts_total", "counter", "How often the log was cut behind a pointer.",
		    atomic_load(&r->cuts) },
		{ "seedpod_raft_log_let_go_total", "counter",
		    "How often the log was not kept any longer for a member that was being seeded.",
		    atomic_load(&r->let_go) },
		{ "seedpod_raft_log_failures_total", "counter", "How often the log could not be written.",
		    atomic_load(&r->log_failures) },
		{ "seedpod_raft_strangers_total", "counter", "Connections to the raft port that were refused.",
		    atomic_load(&r->transport.refused) },
		{ "seedpod_raft_messages_refused_total", "counter",
		    "Messages at the raft port that no member sends; their connections were closed.",
		    atomic_load(&r->transport.refused_messages) },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		metrics_single(out, rows[i].name, rows[i].type, rows[i].help, (double)rows[i].value);
}

static bool
repl_raft_founds(struct repl *repl)
{
	return of(repl)->founder || of(repl)->makes_store;
}

static int
repl_raft_set_role(struct repl *repl, enum role role, struct sp_error *err)
{
	(void)repl;
	(void)role;
	return sp_error_set(err, SP_EDIVERGED, "in mode raft the members elect their leader");
}

static int
repl_raft_attached(struct repl *repl, struct sp_error *err)
{
	struct repl_raft *r = of(repl);
	int rc = 0;

	pthread_mutex_lock(&r->life);
	if (!r->running) {
		rc = repl_raft_loop_start(r, err);
		if (rc == 0 && (rc = repl_raft_join_start(r, err)) < 0)
			repl_raft_loop_stop(r);
		if (rc == 0 && (rc = repl_raft_read_start(r, err)) < 0) {
			repl_raft_join_stop(r);
			repl_raft_loop_stop(r);
		}
	}
	r->running = rc == 0;
	pthread_mutex_unlock(&r->life);
	return rc;
}

static void
repl_raft_detach(struct repl *repl)
{
	struct repl_raft *r = of(repl);

	pthread_mutex_lock(&r->life);
	if (r->running) {
		repl_raft_read_stop(r);
		repl_raft_join_stop(r);
		repl_raft_loop_stop(r);
	}
	r->running = false;
	pthread_mutex_unlock(&r->life);
}

/* By libraft's own patience, at most an election timeout; here, a little more. */
static void
repl_raft_stop(struct repl *repl)
{
	struct repl_raft *r = of(repl);
	int64_t deadline = clock_mono_ms() + HAND_OVER_MS;
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	if (r->accepts) {
		r->hand_over = true;
		repl_raft_loop_wake(r);
	}
	while (r->hand_over && rc == 0)
		rc = cond_wait_until(&r->handed_cond, &r->lock, deadline);
	pthread_mutex_unlock(&r->lock);
}

static void
repl_raft_free_repl(struct repl *repl)
{
	struct repl_raft *r = of(repl);

	repl_raft_detach(repl);
	directory_release(&r->directory);
	raft_configuration_close(&r->base);
	parts_drop(&r->parts);
	for (size_t i = 0; r->peers != NULL && r->peers[i] != NULL; i++)
		free(r->peers[i]);
	free(r->peers);
	pthread_cond_destroy(&r->join_cond);
	pthread_cond_destroy(&r->read_cond);
	pthread_cond_destroy(&r->handed_cond);
	pthread_cond_destroy(&r->applied_cond);
	pthread_mutex_destroy(&r->lock);
	pthread_mutex_destroy(&r->life);
	free(r);
}

static const struct repl_ops repl_raft_ops = {
	.mode = "raft",
	.submit = repl_raft_submit,
	.apply = repl_raft_take_feed,
	.read = repl_raft_begin_read,
	.role = member_role,
	.leader = repl_raft_leader_url,
	.describe = repl_raft_describe,
	.metrics = repl_raft_metrics,
	.founds = repl_raft_founds,
	.members = repl_raft_show_members,
	.change = repl_raft_begin_change,
	.set_role = repl_raft_set_role,
	.attached = repl_raft_attached,
	.detach = repl_raft_detach,
	.stop = repl_raft_stop,
	.free = repl_raft_free_repl,
};

static int
copy_peers(struct repl_raft *r, const char *const *peers)
{
	size_t n = 0;

	while (peers[n] != NULL)
		n++;
	r->peers = calloc(n + 1, sizeof(*r->peers));
	for (size_t i = 0; r->peers != NULL && i < n; i++)
		if ((r->peers[i] = strdup(peers[i])) == NULL)
			return SP_ENOMEM;
	return r->peers != NULL ? 0 : SP_ENOMEM;
}

struct repl *
repl_raft_new(const struct repl_raft_options *o, struct sp_error *err)
{
	struct repl_raft *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		sp_error_set(err, SP_ENOMEM, "replication");
		return NULL;
	}
	r->repl.ops = &repl_raft_ops;
	r->store = o->store;
	r->committer = o->committer;
	snprintf(r->dir, sizeof(r->dir), "%s", o->dir);
	snprintf(r->listen, sizeof(r->listen), "%s", o->listen);
	r->self.number = o->number;
	snprintf(r->self.name, sizeof(r->self.name), "%s", o->name);
	snprintf(r->self.url, sizeof(r->self.url), "%s", o->url);
	snprintf(r->self.raft, sizeof(r->self.raft), "%s", o->address);
	r->founder = o->founder;
	r->makes_store = o->makes_store;
	r->election_timeout_ms = o->election_timeout_ms;
	r->heartbeat_ms = o->heartbeat_ms;
	r->max_voters = o->max_voters;
	r->trailing = o->trailing;
	r->snapshot_every = o->snapshot_every;
	r->log_bytes_max = o->log_bytes_max > 0 ? o->log_bytes_max : LOG_BYTES_MAX;
	r->tls = o->tls;
	r->access = o->access;
	r->secret = o->secret;
	r->member_name = o->member_name;
	r->removed = o->removed;
	r->arg = o->arg;
	pthread_mutex_init(&r->life, NULL);
	pthread_mutex_init(&r->lock, NULL);
	cond_init(&r->applied_cond);
	cond_init(&r->join_cond);
	cond_init(&r->read_cond);
	cond_init(&r->handed_cond);
	if (copy_peers(r, o->peers) < 0) {
		repl_raft_free_repl(&r->repl);
		sp_error_set(err, SP_ENOMEM, "replication");
		return NULL;
	}
	return &r->repl;
}
