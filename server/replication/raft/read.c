/*
 * Reads that see every write that was answered before them. On the leader: a barrier in the log,
 * one for all reads that wait, proves that it still leads, and brings its store up to all that it
 * knows to be committed. Elsewhere a thread asks the leader for the index that such a barrier
 * reached, one question for all that wait, and waits until the store has reached it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "server/replication/raft/internal.h"

#define ASK_TIMEOUT_MS   2000
#define APPLY_TIMEOUT_MS 5000 /* the store comes up to the leader's index by then, or the reads are sent away */

static void
push(struct read_list *l, struct repl_read *rd)
{
	rd->next = NULL;
	if (l->last != NULL)
		l->last->next = rd;
	else
		l->first = rd;
	l->last = rd;
}

static void
finish(struct read_list l, int code, const char *text)
{
	struct repl_read *next;

	for (struct repl_read *rd = l.first; rd != NULL; rd = next) {
		next = rd->next;
		rd->code = code == 0 ? 0 : sp_error_set(&rd->err, code, "%s", text);
		rd->done(rd);
	}
}

static struct read_list
take(struct repl_raft *r)
{
	struct read_list l;

	pthread_mutex_lock(&r->lock);
	l = r->read_queue;
	r->read_queue = (struct read_list){ 0 };
	pthread_mutex_unlock(&r->lock);
	return l;
}

int
repl_raft_read_submit(struct repl_raft *r, struct repl_read *rd, struct sp_error *err)
{
	bool first;
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	if (!r->accepts)
		rc = sp_error_set(err, SP_EAGAIN, "this pod takes no part at present");
	else {
		first = r->read_queue.first == NULL;
		push(&r->read_queue, rd);
		/* The thread that takes one takes all. */
		if (first && atomic_load(&r->role) == ROLE_LEADER)
			repl_raft_loop_wake(r);
		else if (first)
			pthread_cond_signal(&r->read_cond);
	}
	pthread_mutex_unlock(&r->lock);
	return rc;
}

/* --- On the leader. On the loop's thread. --- */

/* The reads continue when the committer comes to this: then all entries before it are in the
 * store. */
struct marker {
	struct commit_job job; /* first */
	struct read_list reads;
};

static int
run_marker(struct commit_job *job, struct store_txn *txn)
{
	(void)job;
	(void)txn;
	return 0;
}

static void
marker_done(struct commit_job *job)
{
	struct marker *m = (struct marker *)job;

	finish(m->reads, job->code == 0 ? 0 : SP_EAGAIN, "the server stops");
	free(m);
}

static void
let_pass(struct repl_raft *r, struct read_list reads)
{
	struct marker *m;
	bool all_applied;

	pthread_mutex_lock(&r->lock);
	all_applied = r->applied >= r->delivered;
	pthread_mutex_unlock(&r->lock);
	if (all_applied) {
		finish(reads, 0, NULL);
		return;
	}
	m = calloc(1, sizeof(*m));
	if (m != NULL) {
		*m = (struct marker){ .job = { .run = run_marker, .done = marker_done }, .reads = reads };
		if (committer_submit(r->committer, &m->job, NULL) == 0)
			return;
	}
	free(m);
	finish(reads, SP_EAGAIN, "too much is waiting");
}

static void
barrier_over(struct raft_barrier *barrier, int status)
{
	struct repl_raft *r = barrier->data;
	struct read_list reads = r->reads;

	r->reads = (struct read_list){ 0 };
	r->barrier_busy = false;
	if (status == 0)
		let_pass(r, reads);
	else
		finish(reads, SP_EAGAIN, "this pod lost the lead");
}

void
repl_raft_read_turn(struct repl_raft *r)
{
	int rc;

	if (raft_state(&r->raft) != RAFT_LEADER || r->barrier_busy)
		return;
	r->reads = take(r);
	if (r->reads.first == NULL)
		return;
	atomic_fetch_add(&r->barriers, 1);
	r->barrier.data = r;
	r->barrier_busy = true;
	rc = raft_barrier(&r->raft, &r->barrier, barrier_over);
	if (rc != 0) {
		r->barrier_busy = false;
		finish(r->reads, SP_EAGAIN, raft_strerror(rc));
		r->reads = (struct read_list){ 0 };
	}
}

void
repl_raft_read_end(struct repl_raft *r)
{
	finish(take(r), SP_EAGAIN, "the server stops");
}

/* --- Elsewhere: the reader's thread. --- */

/* The leader's index, after its barrier. */
static int
ask_index(struct repl_raft *r, uint64_t *out, const char **why)
{
	char leader[POSITION_URL_MAX], url[POSITION_URL_MAX + 16];
	struct http_request_out rq = { .url = url, .timeout_ms = ASK_TIMEOUT_MS };
	struct http_reply reply;
	json_t *root = NULL, *index;
	int rc = SP_EAGAIN;

	r->repl.ops->leader(&r->repl, leader, sizeof(leader));
	*why = "no leader is known";
	if (leader[0] == '\0' || strcmp(leader, r->self.url) == 0)
		return SP_EAGAIN;
	*why = "the leader does not answer";
	snprintf(url, sizeof(url), "%s/v1/read-index", leader);
	http_reply_init(&reply, 4096);
	if (http_call(r->reader_http, &rq, &reply, NULL) == 0 && reply.status == 200)
		root = json_loadb(reply.body.data, reply.body.len, 0, NULL);
	index = json_object_get(root, "applied");
	if (json_is_integer(index) && json_integer_value(index) >= 0) {
		*out = (uint64_t)json_integer_value(index);
		rc = 0;
	}
	json_decref(root);
	http_reply_release(&reply);
	return rc;
}

/* Whether the store holds that index in time. */
static bool
wait_index(struct repl_raft *r, uint64_t index)
{
	int64_t deadline = clock_mono_ms() + APPLY_TIMEOUT_MS;
	bool reached;
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	while (r->applied < index && !r->stop_reading && rc == 0)
		rc = cond_wait_until(&r->applied_cond, &r->lock, deadline);
	reached = r->applied >= index;
	pthread_mutex_unlock(&r->lock);
	return reached;
}

static void
read_elsewhere(struct repl_raft *r)
{
	struct read_list reads = take(r);
	const char *why = NULL;
	uint64_t index = 0;

	if (reads.first == NULL)
		return;
	if (ask_index(r, &index, &why) < 0)
		finish(reads, SP_EAGAIN, why);
	else if (!wait_index(r, index))
		finish(reads, SP_EAGAIN, "this member is too far behind");
	else
		finish(reads, 0, NULL);
}

static void *
reader(void *arg)
{
	struct repl_raft *r = arg;
	bool stop = false;

	while (!stop) {
		pthread_mutex_lock(&r->lock);
		while (!r->stop_reading && (r->read_queue.first == NULL || atomic_load(&r->role) == ROLE_LEADER))
			pthread_cond_wait(&r->read_cond, &r->lock);
		stop = r->stop_reading;
		pthread_mutex_unlock(&r->lock);
		read_elsewhere(r);
	}
	return NULL;
}

int
repl_raft_read_start(struct repl_raft *r, struct sp_error *err)
{
	int rc;

	r->stop_reading = false;
	r->reader_http = http_client_new(
	    &(struct http_client_options){ .access = r->access, .connect_timeout_ms = ASK_TIMEOUT_MS }, err);
	if (r->reader_http == NULL)
		return err->code;
	rc = pthread_create(&r->reader, NULL, reader, r);
	if (rc == 0)
		return 0;
	http_client_free(r->reader_http);
	return sp_error_errno(err, rc, "start the reader");
}

void
repl_raft_read_stop(struct repl_raft *r)
{
	pthread_mutex_lock(&r->lock);
	r->stop_reading = true;
	pthread_cond_signal(&r->read_cond);
	pthread_cond_broadcast(&r->applied_cond);
	pthread_mutex_unlock(&r->lock);
	http_client_cancel(r->reader_http);
	pthread_join(r->reader, NULL);
	http_client_free(r->reader_http);
}
