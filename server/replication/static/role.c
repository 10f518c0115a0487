/*
 * The role of mode static, and its record in the store. The record decides: a pod that held the lead leads on after a
 * restart, whatever the configuration names; one that released it never leads on from there by itself.
 */
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "server/replication/static/internal.h"

struct role_job {
	struct commit_job job; /* first */
	struct repl_static *owner;
	enum role role;
	const struct position *from; /* lead: the store must stand exactly there; NULL: wherever it stands */
	struct lead seen;            /* the record that the caller decided by */
	struct lead record;          /* what is to be written; of a release without the position */
	bool write;
	bool began; /* a new epoch */
	struct position after;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool done;
};

static struct repl_static *
of(struct repl *r)
{
	return (struct repl_static *)r;
}

static bool
stands_at(const struct position *here, const struct position *from)
{
	return strcmp(here->cluster, from->cluster) == 0 && here->epoch == from->epoch && here->seq == from->seq &&
	       digest_equal(here->digest, from->digest);
}

/* The record as it is now. A caller asks for it before it asks for the role: committed() sets both at once. */
static struct lead
record_of(struct repl_static *r)
{
	struct lead l;

	pthread_mutex_lock(&r->lock);
	l = r->lead;
	pthread_mutex_unlock(&r->lock);
	return l;
}

static int
run_role(struct commit_job *job, struct store_txn *txn)
{
	struct role_job *j = (struct role_job *)job;
	struct lead now = record_of(j->owner);
	int rc;

	/* A release that was on its way to the disk when this was asked for stands: it may have been answered. */
	if (memcmp(&now, &j->seen, sizeof(now)) != 0)
		return sp_error_set(&job->err, SP_EAGAIN, "the lead was handed over in the meantime");
	j->began = false;
	store_txn_position(txn, &j->after);
	if (j->from != NULL && !stands_at(&j->after, j->from))
		return sp_error_set(&job->err, SP_EDIVERGED, "this store is not where the lead was released");
	if (j->from != NULL)
		FAULT_POINT("handover.beginning");
	rc = j->role == ROLE_LEADER ? store_txn_lead(txn, &j->began, &job->err) : store_txn_follow(txn, &job->err);
	store_txn_position(txn, &j->after);
	if (j->record.kind == LEAD_RELEASED && j->write) {
		j->record.epoch = j->after.epoch;
		j->record.seq = j->after.seq;
		j->record.digest = j->after.digest;
	}
	if (rc == 0 && j->write && j->owner->o.store != NULL)
		rc = store_txn_set_lead(txn, &j->record, &job->err);
	return rc;
}

static void
role_done(struct commit_job *job)
{
	struct role_job *j = (struct role_job *)job;
	struct repl_static *r = j->owner;

	/* Here, before the writer takes its next job: a feed that waits behind a promotion must not undo it. */
	if (job->code == 0) {
		atomic_store(&r->role, (int)j->role);
		pthread_mutex_lock(&r->lock);
		r->lead = j->record;
		if (j->role == ROLE_LEADER)
			r->leader_url[0] = '\0';
		pthread_mutex_unlock(&r->lock);
		static_open_gate(r);
	}
	pthread_mutex_lock(&j->lock);
	j->done = true;
	pthread_cond_signal(&j->wake);
	pthread_mutex_unlock(&j->lock);
}

static int
bring_into_role(struct repl_static *r, enum role role, const struct lead *seen, const struct lead *record,
    const struct position *from, struct sp_error *err)
{
	struct role_job j = { .job = { .run = run_role, .done = role_done, .alone = true },
		.owner = r,
		.role = role,
		.from = from,
		.seen = *seen,
		.record = *record,
		.write = memcmp(record, seen, sizeof(*record)) != 0 };
	int rc;

	pthread_mutex_init(&j.lock, NULL);
	pthread_cond_init(&j.wake, NULL);
	rc = committer_submit(r->o.committer, &j.job, err);
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
	if (rc == 0 && r->o.role_changed != NULL)
		r->o.role_changed(r->o.arg);
	pthread_mutex_destroy(&j.lock);
	pthread_cond_destroy(&j.wake);
	return rc;
}

static struct lead
blank(enum lead_kind kind, uint32_t pod)
{
	struct lead l;

	/* All bytes, since records are compared as such. */
	memset(&l, 0, sizeof(l));
	l.kind = kind;
	l.pod = pod;
	l.to = l.despite = LEAD_NOBODY;
	return l;
}

/* The leader_ordinal that does not count from now on, where an operator's order overrides it. */
static uint32_t
overridden(struct repl_static *r)
{
	return r->named != r->o.ordinal ? r->named : LEAD_NOBODY;
}

/* An order's override ends when the key's value changes. */
static struct lead
held_record(struct repl_static *r, bool by_hand)
{
	struct lead l = blank(LEAD_HELD, r->o.ordinal);

	pthread_mutex_lock(&r->lock);
	if (by_hand)
		l.despite = overridden(r);
	else if (r->lead.kind == LEAD_HELD && r->lead.despite == r->named)
		l.despite = r->lead.despite;
	pthread_mutex_unlock(&r->lock);
	return l;
}

int
static_set_role(struct repl *repl, enum role role, struct sp_error *err)
{
	struct repl_static *r = of(repl);
	struct lead seen, record;
	int before, rc;

	pthread_mutex_lock(&r->role_lock);
	record = seen = record_of(r);
	before = atomic_load(&r->role);
	pthread_mutex_lock(&r->lock);
	/* Given up by hand: the pod that the configuration names may take it from here. */
	if (role == ROLE_FOLLOWER && (before == ROLE_LEADER || record.kind == LEAD_HELD)) {
		record = blank(LEAD_RELEASED, r->o.ordinal);
		record.to = overridden(r);
	}
	pthread_mutex_unlock(&r->lock);
	if (role == ROLE_LEADER)
		record = held_record(r, before != ROLE_LEADER);
	/* Handing over: stop taking writes first, so that none comes after the mark in the store. Taking over: mark
	 * first. */
	if (role == ROLE_FOLLOWER)
		atomic_store(&r->role, ROLE_FOLLOWER);
	rc = bring_into_role(r, role, &seen, &record, NULL, err);
	/* The role before comes back, unless a hand-over ended it in between. */
	pthread_mutex_lock(&r->lock);
	if (rc < 0 && memcmp(&r->lead, &seen, sizeof(seen)) == 0)
		atomic_store(&r->role, before);
	pthread_mutex_unlock(&r->lock);
	pthread_mutex_unlock(&r->role_lock);
	if (rc < 0)
		return rc;
	log_info("role set", LOG_STR("role", role_name(role)));
	return 0;
}

int
static_lead_from(struct repl *repl, const struct repl_handover *h, int64_t pause_ms, struct sp_error *err)
{
	struct repl_static *r = of(repl);
	struct lead record = held_record(r, h->by_hand), seen;
	int rc = 0;

	pthread_mutex_lock(&r->role_lock);
	seen = record_of(r);
	if (atomic_load(&r->role) != ROLE_LEADER) {
		rc = bring_into_role(r, ROLE_LEADER, &seen, &record, &h->at, err);
		if (rc == 0)
			static_report(r, HANDOVER_DONE, h->to, r->o.ordinal, pause_ms);
	}
	pthread_mutex_unlock(&r->role_lock);
	FAULT_POINT("handover.leading");
	if (rc == 0)
		log_info("the lead was taken over", LOG_U64("from", h->to), LOG_I64("pause_ms", pause_ms));
	return rc;
}

int
static_opened(struct repl *repl, bool unpacked, bool superseded, struct sp_error *err)
{
	struct repl_static *r = of(repl);
	struct lead l = blank(LEAD_NONE, LEAD_NOBODY);
	struct position p;
	bool own;
	int rc = 0;

	pthread_mutex_lock(&r->role_lock);
	if (r->o.store != NULL && (rc = store_position(r->o.store, &p, err)) == 0 &&
	    (rc = store_lead(r->o.store, &l, err)) == 0) {
		p.lead = l;
		pthread_mutex_lock(&r->lock);
		own = !superseded && lead_is_own(&p, r->o.ordinal, r->named == r->o.ordinal, unpacked);
		if (!r->settled)
			atomic_store(&r->role, own ? ROLE_LEADER : ROLE_FOLLOWER);
		r->lead = l;
		/* What it gave away, or is to get, is somewhere else than the configuration says. */
		if (!r->settled && !own && l.kind == LEAD_RELEASED && l.pod == r->o.ordinal)
			r->leader_url[0] = '\0';
		pthread_mutex_unlock(&r->lock);
	} else if (rc == SP_ENOTFOUND) {
		atomic_store(&r->role, ROLE_FOLLOWER);
	}
	r->settled = rc == 0 || rc == SP_ENOTFOUND;
	pthread_mutex_unlock(&r->role_lock);
	return rc == SP_ENOTFOUND ? 0 : rc;
}

int
static_attached(struct repl *repl, struct sp_error *err)
{
	struct repl_static *r = of(repl);
	enum role role;
	struct lead seen, record;
	int rc;

	pthread_mutex_lock(&r->role_lock);
	record = seen = record_of(r);
	role = (enum role)atomic_load(&r->role);
	if (role == ROLE_LEADER)
		record = held_record(r, false);
	else if (record.kind != LEAD_RELEASED || record.pod != r->o.ordinal)
		record = blank(LEAD_NONE, LEAD_NOBODY);
	rc = bring_into_role(r, role, &seen, &record, NULL, err);
	pthread_mutex_unlock(&r->role_lock);
	return rc;
}

void
static_named(struct repl *repl, uint32_t ordinal)
{
	struct repl_static *r = of(repl);
	struct sp_error err = { 0 };
	bool over;

	pthread_mutex_lock(&r->lock);
	r->named = ordinal;
	over = r->lead.kind == LEAD_HELD && r->lead.despite != LEAD_NOBODY && r->lead.despite != ordinal;
	pthread_mutex_unlock(&r->lock);
	if (over && static_attached(repl, &err) < 0)
		log_warn("the end of an operator's order is not on disk", LOG_STR("error", err.text));
}
