/* The turns of the thread that owns libuv's loop and libraft: the work after each, and how they
 * end. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "server/replication/raft/internal.h"

#define TURN_EVERY_MS 100
#define END_WAIT_MS   2000 /* for a truncation of the log to end, before libraft is closed beneath it */

/* --- A new leader --- */

static void
barrier_over(struct raft_barrier *request, int status)
{
	(void)status;
	free(request);
}

void
repl_raft_add_barrier(struct repl_raft *r)
{
	struct raft_barrier *barrier = calloc(1, sizeof(*barrier));

	if (barrier == NULL || raft_barrier(&r->raft, barrier, barrier_over) != 0)
		free(barrier);
}

/*
 * A leader may count only entries of its own term as committed; so it begins its term with one, before it looks at any
 * answer (count.c). The founder's first ones say whose log this is, and where the founder is.
 */
static void
begin_term(struct repl_raft *r)
{
	char found[FOUND_SIZE];
	struct position p;
	struct sp_error err;
	char *self;

	/* A member that votes must know all that it ever applied. Entries with numbers that the
	 * store has passed would be answered, and change nothing. */
	if (raft_last_index(&r->raft) < r->delivered) {
		sp_error_set(&err, SP_EBADDATA,
		    "%s: the log has lost entries: it ends with %" PRIu64 ", the store holds all up to %" PRIu64,
		    r->dir, (uint64_t)raft_last_index(&r->raft), r->delivered);
		repl_raft_fail_stop(&err);
	}
	r->term_first = raft_last_index(&r->raft) + 1;
	atomic_fetch_add(&r->elections, 1);
	log_info("this member leads", LOG_U64("term", r->raft.current_term), LOG_U64("number", r->self.number));
	if (r->delivered == 0 && store_position(r->store, &p, NULL) == 0) {
		snprintf(found, sizeof(found), "%s %" PRIu64 " %" PRIu64, p.cluster, p.seq, r->self.id);
		repl_raft_propose_text(r, ENTRY_FOUND, found);
		self = contact_to_json(&r->self);
		if (self != NULL)
			repl_raft_propose_text(r, ENTRY_MEMBER, self);
		free(self);
		return;
	}
	repl_raft_add_barrier(r);
}

/* --- After each turn of the loop --- */

static enum member_role
role_of(struct repl_raft *r)
{
	const struct raft_configuration *c = &r->raft.configuration;

	if (r->needs > 0)
		return MEMBER_ROLE_NEEDS_SNAPSHOT;
	if (r->log_failed)
		return MEMBER_ROLE_NO_ROOM;
	if (r->closing)
		return MEMBER_ROLE_FOLLOWER;
	if (raft_state(&r->raft) == RAFT_LEADER)
		return MEMBER_ROLE_LEADER;
	if (raft_state(&r->raft) == RAFT_CANDIDATE)
		return MEMBER_ROLE_CANDIDATE;
	/* A spare was announced before it ran: it is sent nothing until it asks to join. */
	for (unsigned i = 0; i < c->n; i++)
		if (c->servers[i].id == r->self.id && c->servers[i].role != RAFT_SPARE)
			return c->servers[i].role == RAFT_VOTER ? MEMBER_ROLE_FOLLOWER : MEMBER_ROLE_STANDBY;
	return MEMBER_ROLE_JOINING;
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
		transport_unresolved(&r->transport, s.unresolved, sizeof(s.unresolved));
		s.members = c->n;
		for (unsigned i = 0; i < c->n; i++)
			s.voters += c->servers[i].role == RAFT_VOTER;
	}
	atomic_store(&r->in_flight, r->proposed.count);
	s.leader_known = leader != 0;
	pthread_mutex_lock(&r->lock);
	if (r->status.role == MEMBER_ROLE_REMOVED)
		s.role = MEMBER_ROLE_REMOVED;
	r->was_member = r->was_member || (s.leader_known && s.role != MEMBER_ROLE_JOINING);
	r->status = s;
	r->leader_id = leader;
	pthread_mutex_unlock(&r->lock);
	/* Reads that wait are for the thread that is responsible now. */
	if (atomic_exchange(&r->role, s.role == MEMBER_ROLE_LEADER ? ROLE_LEADER : ROLE_FOLLOWER) == ROLE_LEADER &&
	    s.role != MEMBER_ROLE_LEADER) {
		pthread_mutex_lock(&r->lock);
		pthread_cond_signal(&r->read_cond);
		pthread_mutex_unlock(&r->lock);
	}
}

void
repl_raft_observe(struct repl_raft *r)
{
	int state = raft_state(&r->raft);

	if (r->seen_state == RAFT_LEADER && (state != RAFT_LEADER || r->seen_term != r->raft.current_term))
		repl_raft_split_fail(r, "this pod lost the lead before the write was in the log: it was not made");
	if (state == RAFT_LEADER && (r->seen_state != RAFT_LEADER || r->seen_term != r->raft.current_term))
		begin_term(r);
	if (state != RAFT_LEADER && r->seen_state == RAFT_LEADER) {
		log_info("this member does not lead any more", LOG_U64("term", r->raft.current_term));
		repl_raft_proposed_fail(r, 0, UINT64_MAX, SP_EUNKNOWN,
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
	/* Not leading, or no other voter: nothing more to do. */
	if (r->closing || raft_transfer(&r->raft, &r->transfer, 0, transfer_over) != 0)
		handed_over(r);
}

/* --- The end --- */

static void
repl_raft_closed(struct raft *raft)
{
	struct repl_raft *r = raft->data;

	raft_uv_close(&r->io);
	transport_release(&r->transport);
	r->closed = true;
	/* For turned(), which has the loop ended where that is wanted. */
	uv_async_send(&r->wake);
}

void
repl_raft_begin_end(struct repl_raft *r)
{
	struct job_list waiting;
	struct repl_raft_job *j;

	r->closing = true;
	repl_raft_members_end(r);
	repl_raft_proposed_fail(r, 0, UINT64_MAX, SP_EUNKNOWN, "the server stops while the write is on its way");
	pthread_mutex_lock(&r->lock);
	r->accepts = false;
	waiting = r->queue;
	r->queue = (struct job_list){ 0 };
	pthread_mutex_unlock(&r->lock);
	repl_raft_split_fail(r, "this pod takes no writes at present");
	while ((j = job_list_pop(&r->own)) != NULL || (j = job_list_pop(&r->taken)) != NULL ||
	       (j = job_list_pop(&waiting)) != NULL)
		repl_raft_job_fail(j, SP_EAGAIN, "this pod takes no writes at present");
	repl_raft_read_end(r);
	handed_over(r);
	publish(r);
	raft_close(&r->raft, repl_raft_closed);
}

/* In a pod the sidecar seeds the member. In a cluster on the command line only the reader of this
 * line can. */
static void
say_needs(struct repl_raft *r)
{
	char donor[POSITION_URL_MAX], command[2 * POSITION_URL_MAX + 2 * sizeof(r->dir)];
	int parent = (int)(strrchr(r->dir, '/') - r->dir);

	if (!r->makes_store) {
		log_warn("this member's log begins beyond its store: it must be seeded", LOG_U64("needs", r->needs));
		return;
	}
	r->repl.ops->leader(&r->repl, donor, sizeof(donor));
	snprintf(command, sizeof(command), "rm -r %.*s/store && curl -sf %s/v1/snapshot | tar -x -C %.*s", parent,
	    r->dir, donor[0] != '\0' ? donor : "http://MEMBER", parent, r->dir);
	log_error(
	    "this member's log begins beyond its store, and nobody seeds a cluster on the command line: stop it, give "
	    "it another member's store, and start it again",
	    LOG_U64("needs", r->needs), LOG_STR("command", command));
}

/*
 * Whether libraft may be closed. Version 0.15 frees a truncation that is at work when it is closed, and then uses it:
 * the process crashed in one of six stops of a member that was taking entries back.
 */
static bool
may_end(struct repl_raft *r)
{
	int64_t now_ms = clock_mono_ms();

	if (!r->truncating)
		return true;
	if (r->end_by_ms == 0)
		r->end_by_ms = now_ms + END_WAIT_MS;
	return now_ms >= r->end_by_ms;
}

static void
turned(uv_check_t *check)
{
	struct repl_raft *r = check->data;
	bool stop;

	pthread_mutex_lock(&r->lock);
	stop = r->stop_wanted;
	pthread_mutex_unlock(&r->lock);
	repl_raft_members_take(r);
	transfer_if_wanted(r);
	if (!r->closing) {
		repl_raft_flow_settle(r);
		repl_raft_observe(r);
		repl_raft_propose_queued(r);
		repl_raft_read_turn(r);
		repl_raft_members_turn(r);
		repl_raft_members_publish(r);
		transport_turn(&r->transport);
		repl_raft_departed_turn(r);
		repl_raft_flow_settle(r);
		if (r->needs > 0) {
			FAULT_POINT("raft.needs");
			say_needs(r);
		}
		if ((stop || r->needs > 0) && may_end(r))
			repl_raft_begin_end(r);
		else if (!stop && r->needs == 0)
			repl_raft_log_settle(r);
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
repl_raft_turns_begin(struct repl_raft *r)
{
	uv_async_init(&r->loop, &r->wake, woken);
	uv_check_init(&r->loop, &r->check);
	uv_timer_init(&r->loop, &r->timer);
	r->wake.data = r->check.data = r;
	uv_check_start(&r->check, turned);
	uv_timer_start(&r->timer, ticked, TURN_EVERY_MS, TURN_EVERY_MS);
}

void
repl_raft_loop_wake(struct repl_raft *r)
{
	uv_async_send(&r->wake);
}

void *
repl_raft_turns_run(void *arg)
{
	struct repl_raft *r = arg;

	uv_run(&r->loop, UV_RUN_DEFAULT);
	return NULL;
}
