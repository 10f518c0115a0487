/*
 * The old leader's side of a planned hand-over: the gate. All of it is jobs of the one writer, so that each batch comes
 * either before the last position of this lead, and is part of it, or after, and waits:
 *
 *	prepare	the gate holds; the position is the lead's last. After HOLD_MS the gate opens by
 *		itself: this pod leads on
 *	commit	the release is on disk, this pod follows. Held writes wait, RELEASED_MS at most,
 *		until the successor leads
 *	led	they are sent there
 *
 * Only commit changes anything on disk. A pod that ends between prepare and commit leads on; after commit it never
 * acknowledges a write in that epoch.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "server/replication/static/internal.h"

#define HOLD_MS     2000  /* for the successor's last changes and its commit */
#define RELEASED_MS 5000  /* for the successor to begin to lead */
#define BEHIND_MAX  10000 /* changes that a successor may lack when it asks */

enum step { STEP_PREPARE, STEP_COMMIT, STEP_CANCEL, STEP_LED, STEP_TIME_OVER, STEP_STOP };

struct step_job {
	struct commit_job job; /* first */
	struct repl_static *owner;
	enum step step;
	uint32_t to;
	struct repl_handover *h; /* NULL: no request waits for the outcome */
	bool already;            /* commit and prepare: it was released to that pod before */
	struct lead record;
};

static struct repl_static *
of(struct repl *r)
{
	return (struct repl_static *)r;
}

/* --- The steps, on the writer's thread --- */

static bool
is_released_to(struct repl_static *r, uint32_t to, const struct position *here)
{
	bool released;

	pthread_mutex_lock(&r->lock);
	released = r->lead.kind == LEAD_RELEASED && r->lead.pod == r->o.ordinal && r->lead.to == to &&
		   lead_same_place(&r->lead, here);
	pthread_mutex_unlock(&r->lock);
	return released;
}

static int
run_prepare(struct step_job *j, const struct position *here, struct sp_error *err)
{
	const struct position *theirs = &j->h->at;
	struct repl_static *r = j->owner;
	bool stopping;

	j->already = is_released_to(r, j->to, here);
	if (j->already)
		return 0;
	/* Behind the stop's own step nothing opens the gate again. */
	pthread_mutex_lock(&r->lock);
	stopping = r->stopping;
	pthread_mutex_unlock(&r->lock);
	if (stopping)
		return sp_error_set(err, SP_EAGAIN, "the server is stopping");
	if (atomic_load(&r->role) != ROLE_LEADER)
		return sp_error_set(err, SP_EAGAIN, "this pod does not lead");
	if (r->gate != GATE_OPEN && r->gate_to != j->to)
		return sp_error_set(err, SP_EAGAIN, "a hand-over to another pod is under way");
	if (strcmp(theirs->cluster, here->cluster) != 0 || theirs->epoch > here->epoch || theirs->seq > here->seq)
		return sp_error_set(err, SP_EDIVERGED, "the pod that is to lead is not in this pod's history");
	if (here->seq - theirs->seq > BEHIND_MAX)
		return sp_error_set(
		    err, SP_EAGAIN, "the pod that is to lead is %" PRIu64 " changes behind", here->seq - theirs->seq);
	return 0;
}

static int
run_commit(struct step_job *j, struct store_txn *txn, const struct position *here, struct sp_error *err)
{
	const struct position *at = &j->h->at;
	struct repl_static *r = j->owner;

	j->already = is_released_to(r, j->to, here);
	if (j->already)
		return 0;
	if (r->gate != GATE_HOLDING || r->gate_to != j->to || atomic_load(&r->role) != ROLE_LEADER)
		return sp_error_set(err, SP_EPRECOND, "no hand-over to that pod is under way, or its time is over");
	if (strcmp(at->cluster, here->cluster) != 0 || at->epoch != here->epoch || at->seq != here->seq ||
	    !digest_equal(at->digest, here->digest))
		return sp_error_set(err, SP_EDIVERGED, "the pod that is to lead is not where this pod stands");
	memset(&j->record, 0, sizeof(j->record));
	j->record.kind = LEAD_RELEASED;
	j->record.pod = r->o.ordinal;
	j->record.to = j->to;
	j->record.epoch = here->epoch;
	j->record.seq = here->seq;
	j->record.digest = here->digest;
	pthread_mutex_lock(&r->lock);
	j->record.despite = j->h->by_hand ? r->named : LEAD_NOBODY;
	pthread_mutex_unlock(&r->lock);
	FAULT_POINT("handover.releasing");
	if (store_txn_follow(txn, err) < 0 || (r->o.store != NULL && store_txn_set_lead(txn, &j->record, err) < 0))
		return err->code;
	return 0;
}

static int
run_step(struct commit_job *job, struct store_txn *txn)
{
	struct step_job *j = (struct step_job *)job;
	struct position here;
	int rc = 0;

	if (j->step != STEP_PREPARE && j->step != STEP_COMMIT)
		return 0;
	store_txn_position(txn, &here);
	if (j->step == STEP_PREPARE)
		rc = run_prepare(j, &here, &job->err);
	else
		rc = run_commit(j, txn, &here, &job->err);
	if (rc == 0)
		j->h->at = here;
	return rc;
}

static void
prepared(struct step_job *j)
{
	struct repl_static *r = j->owner;

	if (j->already)
		return;
	if (r->gate == GATE_OPEN) {
		r->gate = GATE_HOLDING;
		r->gate_to = j->to;
		pthread_mutex_lock(&r->lock);
		r->hold_began_ms = clock_mono_ms();
		pthread_mutex_unlock(&r->lock);
		/* Once: a successor that asks again and again does not keep the writes waiting. */
		static_gate_until(r, HOLD_MS);
		log_info("hand-over begins: writes wait", LOG_U64("to", j->to), LOG_U64("epoch", j->h->at.epoch),
		    LOG_U64("seq", j->h->at.seq));
	}
	static_report(r, HANDOVER_HOLDING, r->o.ordinal, r->gate_to, 0);
	FAULT_POINT("handover.holding");
}

static void
committed(struct step_job *j)
{
	struct repl_static *r = j->owner;

	if (j->already)
		return;
	FAULT_POINT("handover.released");
	atomic_store(&r->holds, true);
	r->gate = GATE_RELEASED;
	/* The two at once: role.c decides by them. */
	pthread_mutex_lock(&r->lock);
	atomic_store(&r->role, ROLE_FOLLOWER);
	r->lead = j->record;
	r->leader_url[0] = '\0';
	pthread_mutex_unlock(&r->lock);
	static_report(r, HANDOVER_RELEASED, r->o.ordinal, r->gate_to, 0);
	static_gate_until(r, RELEASED_MS);
	log_info("lead released", LOG_U64("to", r->gate_to), LOG_U64("epoch", j->record.epoch),
	    LOG_U64("seq", j->record.seq));
	if (r->o.role_changed != NULL)
		r->o.role_changed(r->o.arg);
}

static void
successor_leads(struct step_job *j)
{
	struct repl_static *r = j->owner;
	bool counts;

	if (atomic_load(&r->role) == ROLE_LEADER)
		return;
	pthread_mutex_lock(&r->lock);
	counts = r->report.state == HANDOVER_RELEASED && r->report.to == j->to;
	if (r->o.url_of != NULL)
		r->o.url_of(r->o.arg, j->to, r->leader_url, sizeof(r->leader_url));
	pthread_mutex_unlock(&r->lock);
	if (counts)
		static_settle(r, true, "");
	if (r->gate == GATE_RELEASED && r->gate_to == j->to)
		static_open_gate(r);
}

static void
step_done(struct commit_job *job)
{
	struct step_job *j = (struct step_job *)job;
	struct repl_static *r = j->owner;
	struct repl_handover *h = j->h;

	if (j->step == STEP_PREPARE && job->code == 0)
		prepared(j);
	else if (j->step == STEP_COMMIT && job->code == 0)
		committed(j);
	else if (j->step == STEP_LED)
		successor_leads(j);
	else if (j->step == STEP_CANCEL && r->gate == GATE_HOLDING && r->gate_to == j->to) {
		static_settle(r, false, "the pod that was to lead gave up");
		static_open_gate(r);
	} else if (j->step == STEP_STOP || (j->step == STEP_TIME_OVER && static_gate_is_due(r))) {
		if (r->gate == GATE_HOLDING)
			static_settle(r, false,
			    j->step == STEP_STOP ? "the server stops" : "the pod that was to lead took too long");
		else if (r->gate == GATE_RELEASED)
			log_warn("the lead was released, and the next leader has not begun", LOG_U64("to", r->gate_to));
		static_open_gate(r);
	}
	if (h != NULL) {
		h->code = job->code;
		h->err = job->err;
	}
	free(j);
	if (h != NULL)
		h->done(h);
}

static int
submit_step(struct repl_static *r, enum step step, uint32_t to, struct repl_handover *h, struct sp_error *err)
{
	struct step_job *j = calloc(1, sizeof(*j));
	int rc;

	if (j == NULL)
		return sp_error_set(err, SP_ENOMEM, "hand-over");
	*j =
	    (struct step_job){ .job = { .run = run_step, .done = step_done, .alone = true }, .owner = r, .step = step };
	j->to = to;
	j->h = h;
	rc = committer_submit(r->o.committer, &j->job, err);
	if (rc < 0)
		free(j);
	return rc;
}

void
static_time_over(struct repl_static *r)
{
	submit_step(r, STEP_TIME_OVER, LEAD_NOBODY, NULL, NULL);
}

/* --- From outside --- */

/* Whether that pod is to lead, by what this pod knows. */
static int
check_successor(struct repl_static *r, const struct repl_handover *h, struct sp_error *err)
{
	uint32_t named, despite = LEAD_NOBODY;

	pthread_mutex_lock(&r->lock);
	named = r->named;
	if (r->lead.kind == LEAD_HELD)
		despite = r->lead.despite;
	pthread_mutex_unlock(&r->lock);
	if (h->to == r->o.ordinal)
		return sp_error_set(err, SP_EUSAGE, "this is the pod itself");
	if (h->by_hand)
		return 0;
	if (named != h->to)
		return sp_error_set(err, SP_EPRECOND,
		    "the configuration of the pod that leads names pod %" PRIu32 " as the leader, not %" PRIu32, named,
		    h->to);
	if (despite == named)
		return sp_error_set(err, SP_EPRECOND,
		    "the pod that leads was given the lead by hand; that holds until replication.leader_ordinal "
		    "changes");
	return 0;
}

int
static_handover(struct repl *repl, struct repl_handover *h, struct sp_error *err)
{
	static const enum step steps[] = { [REPL_PREPARE] = STEP_PREPARE,
		[REPL_COMMIT] = STEP_COMMIT,
		[REPL_CANCEL] = STEP_CANCEL,
		[REPL_LED] = STEP_LED };
	struct repl_static *r = of(repl);
	bool released;
	int rc = 0;

	if (h->step == REPL_PREPARE) {
		pthread_mutex_lock(&r->lock);
		released = r->lead.kind == LEAD_RELEASED && r->lead.pod == r->o.ordinal && r->lead.to == h->to;
		pthread_mutex_unlock(&r->lock);
		rc = released ? 0 : check_successor(r, h, err);
		if (rc == 0)
			rc = static_gate_watch(r, err);
	}
	return rc == 0 ? submit_step(r, steps[h->step], h->to, h, err) : rc;
}

void
static_follow(struct repl *repl, const char *url)
{
	struct repl_static *r = of(repl);
	char theirs[POSITION_URL_MAX] = "";
	uint32_t to;
	bool led;

	pthread_mutex_lock(&r->lock);
	to = r->report.to;
	if (r->report.state == HANDOVER_RELEASED && r->o.url_of != NULL)
		r->o.url_of(r->o.arg, to, theirs, sizeof(theirs));
	led = url[0] != '\0' && strcmp(url, theirs) == 0;
	snprintf(r->leader_url, sizeof(r->leader_url), "%s", url);
	pthread_mutex_unlock(&r->lock);
	if (led)
		submit_step(r, STEP_LED, to, NULL, NULL);
}

void
static_handover_stop(struct repl_static *r)
{
	pthread_mutex_lock(&r->lock);
	r->stopping = true;
	pthread_cond_broadcast(&r->wake);
	pthread_mutex_unlock(&r->lock);
	submit_step(r, STEP_STOP, LEAD_NOBODY, NULL, NULL);
}

void
static_handover_free(struct repl_static *r)
{
	pthread_mutex_lock(&r->lock);
	r->stopping = true;
	pthread_cond_broadcast(&r->wake);
	pthread_mutex_unlock(&r->lock);
	if (r->timer_runs)
		pthread_join(r->timer, NULL);
}
