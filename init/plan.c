#include "init/plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "init/plan_private.h"
#include "lib/utf8.h"

const char *
plan_action_name(enum plan_action a)
{
	static const char *const names[] = { "start", "create", "restore", "seed", "wait", "refuse" };

	return names[a];
}

void
plan_decide(struct plan *out, enum plan_action action, const char *fmt, ...)
{
	va_list ap;

	out->action = action;
	va_start(ap, fmt);
	vsnprintf(out->why, sizeof(out->why), fmt, ap);
	va_end(ap);
	utf8_repair(out->why); /* a peer's story may have been cut within a character */
}

/* Whether `a` knows more than `b`: a later epoch, or further on in the same; at the same place, a clean cut first. */
static bool
more_advanced(const struct position *a, const struct position *b)
{
	if (a->epoch != b->epoch)
		return a->epoch > b->epoch;
	if (a->seq != b->seq)
		return a->seq > b->seq;
	return a->consistent && !b->consistent;
}

/* --- A leader --- */

/*
 * A peer that takes writes of this pod's cluster where this one may not know of them: promoted by hand, in an epoch
 * later than `since`. Two that lead lose one's writes, so this one does not begin before it is told which: by that
 * one's demotion, or by replication.leader_ordinal.
 */
static bool
rival_leads(const struct facts *f, const char *cluster, uint64_t since, struct plan *out)
{
	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer_fact *peer = &f->peers[i];
		const struct position *p = &peer->answer.position;

		if (!peer->answer.has_store || p->role != ROLE_LEADER || p->epoch <= since ||
		    (cluster != NULL && strcmp(p->cluster, cluster) != 0))
			continue;
		plan_decide(out, PLAN_WAIT,
		    "this pod is to lead, but %s was promoted and takes the cluster's writes (epoch %" PRIu64
		    " seq %" PRIu64 "): two that lead would lose one's; make %s a follower, or set "
		    "replication.leader_ordinal to it",
		    peer->name, p->epoch, p->seq, peer->name);
		out->code = SP_EDIVERGED;
		return true;
	}
	return false;
}

static void
leader_with_store(const struct facts *f, struct plan *out)
{
	const struct peer_fact *ahead = NULL;

	if (rival_leads(f, f->own.cluster, f->own.epoch, out))
		return;

	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer_fact *peer = &f->peers[i];

		if (!peer->answer.has_store || strcmp(peer->answer.position.cluster, f->own.cluster) != 0)
			continue;
		if ((peer->answer.position.epoch > f->own.epoch ||
			(peer->answer.position.epoch == f->own.epoch && peer->answer.position.seq > f->own.seq)) &&
		    (ahead == NULL || more_advanced(&peer->answer.position, &ahead->answer.position)))
			ahead = peer;
	}
	if (ahead == NULL) {
		plan_decide(out, PLAN_START, "this pod leads and has its store");
		return;
	}
	plan_decide(out, PLAN_START,
	    "this pod leads and has its store, but %s is ahead: epoch %" PRIu64 " seq %" PRIu64 " there, epoch %" PRIu64
	    " seq %" PRIu64 " here; what is only there will be refused as diverged",
	    ahead->name, ahead->answer.position.epoch, ahead->answer.position.seq, f->own.epoch, f->own.seq);
	out->warn = true;
}

/* Two peers with data of different clusters: which of them was this pod's is not for a program to guess. */
static bool
clusters_differ(const struct facts *f, const struct peer_fact *most, struct plan *out)
{
	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer_fact *peer = &f->peers[i];

		if (!peer->answer.has_store ||
		    strcmp(peer->answer.position.cluster, most->answer.position.cluster) == 0)
			continue;
		plan_decide(out, PLAN_REFUSE,
		    "this pod leads, its volume is empty, and its peers hold different clusters: %s holds %s, %s holds "
		    "%s; "
		    "keep the one that is right and clear the other's volume",
		    most->name, most->answer.position.cluster, peer->name, peer->answer.position.cluster);
		out->code = SP_EDIVERGED;
		return true;
	}
	return false;
}

static bool
same_place(const struct position *a, const struct position *b)
{
	return a->epoch == b->epoch && a->seq == b->seq && digest_equal(a->digest, b->digest);
}

/*
 * The peer that knows most, whatever it was caught at; and the one to restore from, which is another only where the
 * first has given bad data and another stands at exactly the same place: an older one would lose acknowledged writes
 * silently.
 */
static const struct peer_fact *
restore_donor(const struct facts *f, const struct peer_fact *most)
{
	if (!most->gave_bad_data)
		return most;
	for (size_t i = 0; i < f->peer_count; i++)
		if (f->peers[i].answer.has_store && !f->peers[i].gave_bad_data &&
		    same_place(&f->peers[i].answer.position, &most->answer.position))
			return &f->peers[i];
	return NULL;
}

static void
leader_restores(const struct facts *f, const struct peer_fact *most, struct plan *out)
{
	const struct position *p = &most->answer.position;

	out->donor = restore_donor(f, most);
	if (out->donor == NULL) {
		plan_decide(out, PLAN_REFUSE,
		    "this pod leads, its volume is empty, and the snapshot of %s, which knows most (epoch %" PRIu64
		    " seq %" PRIu64 "), was bad; no other peer stands at the same place",
		    most->name, p->epoch, p->seq);
		out->code = SP_EBADDATA;
		return;
	}
	plan_decide(out, PLAN_RESTORE,
	    "this pod leads, its volume is empty, and %s knows most: epoch %" PRIu64 " seq %" PRIu64 ", %" PRIu64
	    " keys%s; it goes on in a new epoch",
	    out->donor->name, p->epoch, p->seq, p->keys,
	    p->consistent ? "" : " (caught between two cuts of its former leader)");
	out->warn = !p->consistent;
}

static bool
may_have_data(const struct peer_fact *peer)
{
	const struct peer_answer *a = &peer->answer;

	return !a->has_store && (peer->had_data || a->unclear);
}

const struct peer_fact *
plan_silent_peer(const struct facts *f, const struct peer_fact *most)
{
	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer_fact *peer = &f->peers[i];

		if (may_have_data(peer) &&
		    (!peer->had_data || most == NULL || more_advanced(&peer->answer.position, &most->answer.position)))
			return peer;
	}
	return NULL;
}

size_t
plan_unreached(const struct facts *f)
{
	size_t count = 0;

	for (size_t i = 0; i < f->peer_count; i++)
		count += !f->peers[i].answer.reached;
	return count;
}

void
plan_wait_for_data(struct plan *out, const char *pod, const struct peer_fact *peer)
{
	plan_decide(out, PLAN_WAIT, "%s, its volume is empty, and %s may have data but cannot be asked (%.400s)", pod,
	    peer->name, peer->answer.err.text);
	out->code = peer->answer.err.code == SP_EPERM ? SP_EPERM : SP_EAGAIN;
}

static void
leader_with_empty_volume(const struct facts *f, struct plan *out)
{
	const struct peer_fact *most = NULL, *silent;
	size_t with_store = 0;

	for (size_t i = 0; i < f->peer_count; i++) {
		if (!f->peers[i].answer.has_store)
			continue;
		with_store++;
		if (most == NULL || more_advanced(&f->peers[i].answer.position, &most->answer.position))
			most = &f->peers[i];
	}
	silent = plan_silent_peer(f, most);
	if (!f->grace_over && with_store < f->peer_count) {
		plan_decide(out, PLAN_WAIT,
		    "this pod leads, its volume is empty, and %zu of %zu peers have not told a position yet",
		    f->peer_count - with_store, f->peer_count);
		out->grace = true;
		out->code = SP_EAGAIN;
	} else if (silent != NULL) {
		plan_wait_for_data(out, "this pod leads", silent);
	} else if (most == NULL) {
		plan_decide(out, PLAN_CREATE,
		    "this pod leads, its volume is empty, and none of %zu peers tells of data (%zu cannot be reached)",
		    f->peer_count, plan_unreached(f));
	} else if (!clusters_differ(f, most, out) && !rival_leads(f, NULL, 0, out)) {
		leader_restores(f, most, out);
	}
}

static void
plan_leader(const struct facts *f, struct plan *out)
{
	switch (f->store) {
	case STORE_PRESENT:
		leader_with_store(f, out);
		break;
	case STORE_EMPTY:
		leader_with_empty_volume(f, out);
		break;
	case STORE_DAMAGED:
		plan_decide(out, PLAN_REFUSE,
		    "this pod leads and its store cannot be read (%s); put it right, or move it away to have the "
		    "volume "
		    "restored from a peer",
		    f->damage);
		out->code = SP_EBADDATA;
		break;
	}
}

/* --- A follower --- */

/* Whether `peer` can stand in for the leader as a donor. */
static bool
may_donate(const struct peer_fact *leader, const struct peer_fact *peer)
{
	const struct position *theirs = &leader->answer.position, *p = &peer->answer.position;
	enum relation relation;

	if (peer == leader || !peer->answer.has_store || peer->gave_bad_data || !p->consistent ||
	    p->epoch != theirs->epoch)
		return false;
	relation = position_relate(theirs, p, NULL, 0);
	return (relation == RELATION_SAME || relation == RELATION_BEHIND) && theirs->seq - p->seq <= PLAN_DONOR_LAG_MAX;
}

/* The freshest follower that may donate; among equals, one chosen by this pod's number, so that many spread. */
static const struct peer_fact *
freshest_follower(const struct facts *f, const struct peer_fact *leader)
{
	uint64_t seq = 0;
	size_t equals = 0, pick;

	for (size_t i = 0; i < f->peer_count; i++) {
		if (!may_donate(leader, &f->peers[i]))
			continue;
		if (equals == 0 || f->peers[i].answer.position.seq > seq) {
			seq = f->peers[i].answer.position.seq;
			equals = 0;
		}
		equals += f->peers[i].answer.position.seq == seq;
	}
	if (equals == 0)
		return NULL;
	pick = f->ordinal % equals;
	for (size_t i = 0; i < f->peer_count; i++)
		if (may_donate(leader, &f->peers[i]) && f->peers[i].answer.position.seq == seq && pick-- == 0)
			return &f->peers[i];
	return NULL;
}

static void
seed(const struct facts *f, const struct peer_fact *leader, struct plan *out, const char *reason)
{
	const struct peer_fact *donor = f->donor_auto ? freshest_follower(f, leader) : NULL;

	if (donor == NULL && !leader->gave_bad_data)
		donor = leader;
	if (donor == NULL) {
		plan_decide(out, PLAN_REFUSE, "%s, but the snapshots of all donors were bad", reason);
		out->code = SP_EBADDATA;
		return;
	}
	plan_decide(out, PLAN_SEED, "%s; %s gives epoch %" PRIu64 " seq %" PRIu64 ", %" PRIu64 " keys", reason,
	    donor->name, donor->answer.position.epoch, donor->answer.position.seq, donor->answer.position.keys);
	out->donor = donor;
}

/* How it is with a leader that told no position. */
static void
describe_silence(const struct peer_fact *leader, char *out, size_t size)
{
	if (leader->answer.reached)
		snprintf(out, size, "the leader %s answers, but has no store yet (%.400s)", leader->name,
		    leader->answer.err.text);
	else
		snprintf(out, size, "the leader %s cannot be reached (%.400s)", leader->name, leader->answer.err.text);
}

/* What it comes to that the leader told no position. */
static int
silence_code(const struct peer_fact *leader)
{
	if (leader->answer.err.code == SP_EPERM)
		return SP_EPERM; /* it does not let us in, or is not who it should be */
	return leader->answer.reached ? SP_EAGAIN : SP_EUNAVAIL;
}

static void
follower_alone(const struct facts *f, const struct peer_fact *leader, struct plan *out)
{
	char silence[PLAN_WHY_MAX / 2];

	describe_silence(leader, silence, sizeof(silence));
	switch (f->store) {
	case STORE_PRESENT:
		plan_decide(out, PLAN_START, "%s; the store that is here serves meanwhile, marked stale", silence);
		break;
	case STORE_EMPTY:
		plan_decide(out, PLAN_WAIT, "%s, and this volume is empty", silence);
		out->code = silence_code(leader);
		break;
	case STORE_DAMAGED:
		plan_decide(out, f->reseed_diverged ? PLAN_WAIT : PLAN_REFUSE, "%s, and this store cannot be read (%s)",
		    silence, f->damage);
		out->code = f->reseed_diverged ? silence_code(leader) : SP_EBADDATA;
		break;
	}
}

static void
follower_behind(const struct facts *f, const struct peer_fact *leader, struct plan *out)
{
	const struct position *theirs = &leader->answer.position;
	uint64_t changes = theirs->seq - f->own.seq;
	const char *s = changes == 1 ? "" : "s";
	char reason[256];

	if (f->replace) {
		/* Positions cannot tell a store whose content has gone wrong; the sidecar can, and asks for this. */
		snprintf(reason, sizeof(reason), "this store is %" PRIu64 " change%s behind, and is to be replaced",
		    changes, s);
		seed(f, leader, out, reason);
		return;
	}
	if ((double)changes <= f->reseed_ratio * (double)theirs->keys) {
		plan_decide(
		    out, PLAN_START, "this store is in the leader's history, %" PRIu64 " change%s behind", changes, s);
		return;
	}
	snprintf(reason, sizeof(reason),
	    "this store is %" PRIu64 " change%s behind, more than %g of the leader's %" PRIu64 " keys", changes, s,
	    f->reseed_ratio, theirs->keys);
	seed(f, leader, out, reason);
}

/* A store that cannot go on as it is: only a seed helps, and only where the configuration allows to give it up. */
static void
follower_in_the_way(const struct facts *f, const struct peer_fact *leader, struct plan *out, const char *reason)
{
	char allowed[PLAN_WHY_MAX / 2];

	if (f->reseed_diverged) {
		snprintf(allowed, sizeof(allowed), "%.700s, and it may be seeded again", reason);
		seed(f, leader, out, allowed);
		return;
	}
	plan_decide(out, PLAN_REFUSE,
	    "%s; nothing is overwritten on a guess: set sync.on_divergence = reseed to take the leader's data, or put "
	    "it right",
	    reason);
	out->code = f->store == STORE_DAMAGED ? SP_EBADDATA : SP_EDIVERGED;
}

static void
follower_with_store(const struct facts *f, const struct peer_fact *leader, struct plan *out)
{
	char why[512];

	switch (position_relate(&leader->answer.position, &f->own, why, sizeof(why))) {
	case RELATION_SAME:
		plan_decide(out, PLAN_START, "this store is where the leader's is, with an equal digest");
		break;
	case RELATION_BEHIND:
		follower_behind(f, leader, out);
		break;
	case RELATION_BELOW_HORIZON:
		seed(f, leader, out, why);
		break;
	case RELATION_DIVERGED:
	case RELATION_OTHER_CLUSTER:
		follower_in_the_way(f, leader, out, why);
		break;
	}
}

static void
plan_follower(const struct facts *f, struct plan *out)
{
	const struct peer_fact *leader = facts_leader(f);
	char reason[PLAN_WHY_MAX / 2];

	if (leader == NULL || !leader->answer.has_store) {
		static const struct peer_fact nobody = { .name = "nobody" };

		follower_alone(f, leader != NULL ? leader : &nobody, out);
		return;
	}
	switch (f->store) {
	case STORE_EMPTY:
		seed(f, leader, out, "this volume is empty");
		break;
	case STORE_PRESENT:
		follower_with_store(f, leader, out);
		break;
	case STORE_DAMAGED:
		snprintf(reason, sizeof(reason), "this store cannot be read (%.600s)", f->damage);
		follower_in_the_way(f, leader, out, reason);
		break;
	}
}

void
plan_make(const struct facts *f, struct plan *out)
{
	memset(out, 0, sizeof(*out));
	if (f->mode == CONF_MODE_RAFT)
		plan_raft(f, out);
	else if (f->leader)
		plan_leader(f, out);
	else
		plan_follower(f, out);
}
