/* The thread that owns libuv's loop and libraft: its start, its turns, its end. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uuid.h>

#include "lib/fault.h"
#include "lib/file.h"
#include "lib/log.h"
#include "server/repl_raft_internal.h"

#define SEGMENT_BYTES   (4u << 20) /* of the log on disk; two or three are allocated ahead */
#define ROOM_BYTES      (16u << 20) /* of the volume; with less left, writes are refused */
#define ROUND_MOST      1024       /* entries in one raft_apply() */
#define ROUNDS_MOST     2          /* of them under way: the next one gathers what comes meanwhile */
#define IDLE_WAIT_MS    3000
#define TURN_EVERY_MS   100
#define MEMBER_FILE     "member"
#define MEMBER_FILE_MAX 128

int
raft_error(struct sp_error *err, int code, const char *reason, const char *what)
{
	int ours = code == RAFT_NOMEM				 ? SP_ENOMEM
		   : code == RAFT_NOSPACE			 ? SP_ENOSPACE
		   : code == RAFT_IOERR				 ? SP_EIO
		   : code == RAFT_CORRUPT || code == RAFT_MALFORMED ? SP_EBADDATA
		   : code == RAFT_UNAUTHORIZED			 ? SP_EPERM
								 : SP_EAGAIN;

	return sp_error_set(err, ours, "%s: %s", what, reason != NULL && reason[0] != '\0' ? reason : raft_strerror(code));
}

/* --- Proposing --- */

struct round {
	struct raft_apply request;
	struct repl_raft *owner;
	uint64_t first, last; /* indexes */
};

/* Fail what was proposed under these indexes and has not come back. */
static void
fail_proposed(struct repl_raft *r, uint64_t first, uint64_t last, int code, const char *text)
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
	if (status == RAFT_IOERR || status == RAFT_NOSPACE || status == RAFT_CORRUPT) {
		raft_error(&err, status, r->raft.errmsg, "write the raft log");
		raft_fail_stop(&err);
	}
	if (status != 0)
		fail_proposed(r, round->first, round->last, SP_EUNKNOWN,
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
		fail_proposed(r, round->first, round->last, rc == RAFT_NOSPACE ? SP_ENOSPACE : SP_EAGAIN, raft_strerror(rc));
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
	uint64_t room;

	committer_stats(r->committer, &stats);
	return stats.full || (file_free_bytes(r->dir, &room, NULL) == 0 && room < ROOM_BYTES);
}

/* Take what waits, as far as it may go now. */
static void
propose_queued(struct repl_raft *r)
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
			raft_job_fail(j, full != NULL ? SP_ENOSPACE : SP_EAGAIN,
			    full != NULL ? full : "this pod does not lead");
	}
}

/* --- A new leader --- */

/* An entry of our own, in front of the clients'. */
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

static void
barrier_over(struct raft_barrier *request, int status)
{
	(void)status;
	free(request);
}

/*
 * A leader may count only entries of its own term as committed; so it begins its term with one, in the same turn, before
 * any answer to it can have come. The founder's first ones say whose log this is, and where the founder is.
 */
static void
begin_term(struct repl_raft *r)
{
	struct raft_barrier *barrier;
	char found[POSITION_CLUSTER_SIZE + 24];
	struct position p;
	char *self;

	atomic_fetch_add(&r->elections, 1);
	log_info("this member leads", LOG_U64("term", r->raft.current_term), LOG_U64("number", r->self.number));
	if (r->delivered == 0 && store_position(r->store, &p, NULL) == 0) {
		snprintf(found, sizeof(found), "%s %" PRIu64, p.cluster, p.seq);
		raft_propose_text(r, ENTRY_FOUND, found);
		self = contact_to_json(&r->self);
		if (self != NULL)
			raft_propose_text(r, ENTRY_MEMBER, self);
		free(self);
		return;
	}
	barrier = calloc(1, sizeof(*barrier));
	if (barrier == NULL || raft_barrier(&r->raft, barrier, barrier_over) != 0)
		free(barrier);
}

/* --- After each turn of the loop --- */

static enum raft_role
role_of(struct repl_raft *r)
{
	const struct raft_configuration *c = &r->raft.configuration;

	if (r->needs > 0)
		return RAFT_ROLE_NEEDS_SNAPSHOT;
	if (r->closing)
		return RAFT_ROLE_FOLLOWER;
	if (raft_state(&r->raft) == RAFT_LEADER)
		return RAFT_ROLE_LEADER;
	if (raft_state(&r->raft) == RAFT_CANDIDATE)
		return RAFT_ROLE_CANDIDATE;
	for (unsigned i = 0; i < c->n; i++)
		if (c->servers[i].id == r->self.id)
			return c->servers[i].role == RAFT_VOTER ? RAFT_ROLE_FOLLOWER : RAFT_ROLE_STANDBY;
	return RAFT_ROLE_JOINING;
}

static void
publish(struct repl_raft *r)
{
	const struct raft_configuration *c = &r->raft.configuration;
	struct position_raft s = { .id = r->self.id, .number = r->self.number, .needs = r->needs };
	const char *address = NULL;
	raft_id leader = 0;

	s.term = r->raft.current_term;
	s.commit = r->raft.commit_index;
	s.role = role_of(r);
	/* Once it is closed, libraft's memory is gone. */
	if (!r->closing) {
		atomic_store(&r->log_entries, raft_last_index(&r->raft) - r->kept_from);
		raft_leader(&r->raft, &leader, &address);
		s.members = c->n;
		for (unsigned i = 0; i < c->n; i++)
			s.voters += c->servers[i].role == RAFT_VOTER;
	}
	atomic_store(&r->in_flight, r->proposed.count);
	s.leader_known = leader != 0;
	pthread_mutex_lock(&r->lock);
	if (r->status.role == RAFT_ROLE_REMOVED)
		s.role = RAFT_ROLE_REMOVED;
	r->was_member = r->was_member || (s.leader_known && s.role != RAFT_ROLE_JOINING);
	r->status = s;
	r->leader_id = leader;
	pthread_mutex_unlock(&r->lock);
	/* Reads that wait are for whoever is responsible now. */
	if (atomic_exchange(&r->role, s.role == RAFT_ROLE_LEADER ? ROLE_LEADER : ROLE_FOLLOWER) == ROLE_LEADER &&
	    s.role != RAFT_ROLE_LEADER) {
		pthread_mutex_lock(&r->lock);
		pthread_cond_signal(&r->read_cond);
		pthread_mutex_unlock(&r->lock);
	}
}

static void
observe(struct repl_raft *r)
{
	int state = raft_state(&r->raft);

	if (state == RAFT_LEADER && (r->seen_state != RAFT_LEADER || r->seen_term != r->raft.current_term))
		begin_term(r);
	if (state != RAFT_LEADER && r->seen_state == RAFT_LEADER) {
		log_info("this member does not lead any more", LOG_U64("term", r->raft.current_term));
		fail_proposed(r, 0, UINT64_MAX, SP_EUNKNOWN,
		    "this pod lost the lead while the write was on its way: it may have been made or not");
	}
	r->seen_state = state;
	r->seen_term = r->raft.current_term;
	publish(r);
}

/* --- Handing over the lead --- */

static void
handed_over(struct repl_raft *r)
{
	r->transferring = false;
	pthread_mutex_lock(&r->lock);
	r->hand_over = false;
	pthread_cond_broadcast(&r->handed_cond);
	pthread_mutex_unlock(&r->lock);
}

static void
transfer_over(struct raft_transfer *transfer)
{
	struct repl_raft *r = transfer->data;

	log_info(raft_state(&r->raft) == RAFT_LEADER ? "nobody took over the lead" : "the lead is handed over");
	handed_over(r);
}

static void
transfer_if_wanted(struct repl_raft *r)
{
	bool wanted;

	pthread_mutex_lock(&r->lock);
	wanted = r->hand_over;
	pthread_mutex_unlock(&r->lock);
	if (!wanted || r->transferring)
		return;
	r->transferring = true;
	r->transfer.data = r;
	/* Not leading, or nobody else who votes: that is that. */
	if (r->closing || raft_transfer(&r->raft, &r->transfer, 0, transfer_over) != 0)
		handed_over(r);
}

/* --- The end --- */

static void
raft_closed(struct raft *raft)
{
	struct repl_raft *r = raft->data;

	raft_uv_close(&r->io);
	raft_transport_release(&r->transport);
	r->closed = true;
	/* For turned(), which has the loop ended where that is wanted. */
	uv_async_send(&r->wake);
}

/* Leave the cluster in peace: libraft ends; the loop turns on until it is told to stop. */
static void
begin_end(struct repl_raft *r)
{
	struct job_list waiting;
	struct raft_job *j;

	r->closing = true;
	raft_members_end(r);
	fail_proposed(r, 0, UINT64_MAX, SP_EUNKNOWN, "the server stops while the write is on its way");
	pthread_mutex_lock(&r->lock);
	r->accepts = false;
	waiting = r->queue;
	r->queue = (struct job_list){ 0 };
	pthread_mutex_unlock(&r->lock);
	while ((j = job_list_pop(&waiting)) != NULL)
		raft_job_fail(j, SP_EAGAIN, "this pod takes no writes at present");
	raft_read_end(r);
	handed_over(r);
	publish(r);
	raft_close(&r->raft, raft_closed);
}

static void
turned(uv_check_t *check)
{
	struct repl_raft *r = check->data;
	bool stop;

	pthread_mutex_lock(&r->lock);
	stop = r->stop_wanted;
	pthread_mutex_unlock(&r->lock);
	raft_members_take(r);
	transfer_if_wanted(r);
	if (!r->closing) {
		observe(r);
		propose_queued(r);
		raft_read_turn(r);
		raft_members_turn(r);
		raft_members_publish(r);
		if (r->needs > 0)
			log_warn("this member's log begins beyond its store: it must be seeded",
			    LOG_U64("needs", r->needs));
		if (stop || r->needs > 0)
			begin_end(r);
	}
	if (r->closed && stop && !uv_is_closing((uv_handle_t *)&r->wake)) {
		uv_close((uv_handle_t *)&r->wake, NULL);
		uv_close((uv_handle_t *)&r->check, NULL);
		uv_close((uv_handle_t *)&r->timer, NULL);
	}
}

static void
ticked(uv_timer_t *timer)
{
	(void)timer; /* turned() comes at once */
}

static void
woken(uv_async_t *wake)
{
	(void)wake; /* turned() comes at once */
}

void
raft_loop_wake(struct repl_raft *r)
{
	uv_async_send(&r->wake);
}

static void *
turn(void *arg)
{
	struct repl_raft *r = arg;

	uv_run(&r->loop, UV_RUN_DEFAULT);
	return NULL;
}

/* --- The start --- */

/* This member's id: drawn once for a raft directory. */
static int
read_identity(struct repl_raft *r, struct sp_error *err)
{
	char path[sizeof(r->dir) + 16];
	unsigned number = 0;
	struct buf text;
	uuid_t random;
	uint64_t incarnation = 0;
	int rc;

	rc = file_join(path, sizeof(path), r->dir, MEMBER_FILE, err);
	if (rc < 0)
		return rc;
	buf_init(&text, MEMBER_FILE_MAX);
	rc = file_read_all(path, &text, err);
	if (rc == 0) {
		if (sscanf(text.data, "number %u\nid %" SCNu64 "\n", &number, &r->self.id) != 2 ||
		    MEMBER_NUMBER(r->self.id) != number)
			rc = sp_error_set(err, SP_EBADDATA, "%s: not a member's file", path);
		else if (number != r->self.number)
			rc = sp_error_set(err, SP_EBADDATA, "%s: this volume is member %u's, this is %u", path, number,
			    r->self.number);
	} else if (rc == SP_ENOTFOUND) {
		uuid_generate(random);
		memcpy(&incarnation, random, 5);
		r->self.id = MEMBER_ID(incarnation + 1, r->self.number);
		buf_reset(&text);
		rc = buf_printf(&text, "number %u\nid %" PRIu64 "\n", r->self.number, r->self.id);
		if (rc == 0)
			rc = file_write_atomic(path, text.data, text.len, 0600, err);
	}
	buf_release(&text);
	return rc;
}

/*
 * What the store holds. `fresh`: raft never wrote to it, so that a cluster may be founded on it. But who joins must not
 * bring data along that no log knows of; such a store is to be seeded from any member, whence `needed`.
 */
static int
read_store(struct repl_raft *r, bool *fresh, uint64_t *needed, struct sp_error *err)
{
	struct position p;
	struct buf note;
	int rc;

	rc = store_position(r->store, &p, err);
	if (rc < 0)
		return rc;
	*fresh = p.raft.applied == 0;
	*needed = *fresh && p.seq > 0 && !r->founder ? 1 : 0;
	buf_init(&note, 1u << 20);
	pthread_mutex_lock(&r->lock);
	r->applied = r->delivered = p.raft.applied;
	directory_release(&r->directory);
	rc = store_note(r->store, DIRECTORY_NOTE, &note, err);
	if (rc == 0)
		rc = directory_from_json(note.data, note.len, &r->directory, err);
	else if (rc == SP_ENOTFOUND)
		rc = 0;
	pthread_mutex_unlock(&r->lock);
	buf_release(&note);
	return rc;
}

/* libraft on the loop, not yet started. */
static int
set_up(struct repl_raft *r, struct sp_error *err)
{
	int rc;

	rc = raft_transport_init(&r->transport, &r->loop, r->listen);
	if (rc != 0)
		return raft_error(err, rc, r->transport.base.errmsg, r->listen);
	memset(&r->io, 0, sizeof(r->io));
	memset(&r->raft, 0, sizeof(r->raft));
	rc = raft_uv_init(&r->io, &r->loop, r->dir, &r->transport.base);
	if (rc != 0) {
		raft_transport_release(&r->transport);
		return raft_error(err, rc, r->io.errmsg, r->dir);
	}
	/* libraft 0.15 brings async_work() and says version 1 all the same. */
	if (r->io.async_work != NULL && r->io.version < 2)
		r->io.version = 2;
	raft_fsm_setup(r);
	rc = raft_init(&r->raft, &r->io, &r->fsm, r->self.id, r->self.raft);
	if (rc != 0) {
		raft_uv_close(&r->io);
		raft_transport_release(&r->transport);
		return raft_error(err, rc, r->raft.errmsg, r->dir);
	}
	r->raft.data = r;
	raft_uv_set_segment_size(&r->io, SEGMENT_BYTES);
	raft_uv_set_connect_retry_delay(&r->io, r->heartbeat_ms);
	raft_uv_set_snapshot_compression(&r->io, false);
	raft_set_election_timeout(&r->raft, r->election_timeout_ms);
	raft_set_heartbeat_timeout(&r->raft, r->heartbeat_ms);
	raft_set_snapshot_threshold(&r->raft, r->snapshot_every);
	raft_set_snapshot_trailing(&r->raft, r->trailing);
	raft_set_pre_vote(&r->raft, true);
	return 0;
}

static int
bootstrap(struct repl_raft *r)
{
	struct raft_configuration c;
	int rc;

	raft_configuration_init(&c);
	rc = raft_configuration_add(&c, r->self.id, r->self.raft, RAFT_VOTER);
	if (rc == 0)
		rc = raft_bootstrap(&r->raft, &c);
	raft_configuration_close(&c);
	/* There is a log already. */
	return rc == RAFT_CANTBOOTSTRAP ? 0 : rc;
}

int
raft_loop_start(struct repl_raft *r, struct sp_error *err)
{
	bool fresh;
	uint64_t base_needed;
	int rc;

	rc = raft_wait_idle(r, IDLE_WAIT_MS) ? read_store(r, &fresh, &base_needed, err)
					     : sp_error_set(err, SP_EAGAIN, "entries of the log are still being applied");
	if (rc == 0)
		rc = file_make_dirs(r->dir, err);
	pthread_mutex_lock(&r->lock);
	if (rc == 0)
		rc = read_identity(r, err);
	pthread_mutex_unlock(&r->lock);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&r->lock);
	r->stop_wanted = false;
	pthread_mutex_unlock(&r->lock);
	r->closing = r->closed = false;
	r->needs = base_needed;
	r->cut_bytes = r->cut_entries = 0;
	r->kept = r->trailing;
	r->kept_from = 0;
	r->rounds = 0;
	r->change = NULL;
	r->change_busy = false;
	pthread_mutex_lock(&r->lock);
	r->was_member = false;
	r->member_count = 0;
	pthread_mutex_unlock(&r->lock);
	r->seen_state = RAFT_UNAVAILABLE;
	atomic_store(&r->halted, false);
	if (uv_loop_init(&r->loop) != 0)
		return sp_error_set(err, SP_ENOMEM, "start the raft loop");
	rc = set_up(r, err);
	if (rc < 0) {
		uv_loop_close(&r->loop);
		return rc;
	}
	uv_async_init(&r->loop, &r->wake, woken);
	uv_check_init(&r->loop, &r->check);
	uv_timer_init(&r->loop, &r->timer);
	r->wake.data = r->check.data = r;
	uv_check_start(&r->check, turned);
	uv_timer_start(&r->timer, ticked, TURN_EVERY_MS, TURN_EVERY_MS);
	rc = r->founder && fresh ? bootstrap(r) : 0;
	if (rc == 0)
		rc = raft_start(&r->raft);
	if (rc != 0)
		raft_error(err, rc, r->raft.errmsg, r->dir);
	if (rc == 0) {
		pthread_mutex_lock(&r->lock);
		r->accepts = true;
		pthread_mutex_unlock(&r->lock);
		observe(r);
		rc = pthread_create(&r->thread, NULL, turn, r);
		if (rc == 0)
			return 0;
		sp_error_errno(err, rc, "start the raft loop");
	}
	r->stop_wanted = true;
	begin_end(r);
	turn(r);
	uv_loop_close(&r->loop);
	return err->code;
}

void
raft_loop_stop(struct repl_raft *r)
{
	pthread_mutex_lock(&r->lock);
	r->stop_wanted = true;
	pthread_mutex_unlock(&r->lock);
	raft_loop_wake(r);
	/* What was committed is applied and answered, as far as the disk takes it; the rest after the next start. */
	if (!raft_wait_idle(r, IDLE_WAIT_MS)) {
		pthread_mutex_lock(&r->lock);
		atomic_store(&r->halted, true);
		pthread_cond_broadcast(&r->applied_cond);
		pthread_mutex_unlock(&r->lock);
	}
	pthread_join(r->thread, NULL);
	uv_loop_close(&r->loop);
	(void)raft_wait_idle(r, IDLE_WAIT_MS);
}
