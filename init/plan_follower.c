/* The rows of a follower: its store is in the leader's history and may continue, is seeded, or is
 * left alone. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "init/plan_private.h"

/* Whether `peer` can stand in for the leader as a donor of a store at or beyond `floor` (NULL: any). */
static bool
may_donate(const struct peer_fact *leader, const struct peer_fact *peer, const struct position *floor)
{
	const struct position *theirs = &leader->answer.position, *p = &peer->answer.position;
	enum relation relation;

	if (peer == leader || !peer->answer.has_store || peer->gave_bad_data || !p->consistent ||
	    p->epoch != theirs->epoch || (floor != NULL && position_course(floor, p) != COURSE_ONWARD))
		return false;
	relation = position_relate(theirs, p, NULL, 0);
	return (relation == RELATION_SAME || relation == RELATION_BEHIND) && theirs->seq - p->seq <= PLAN_DONOR_LAG_MAX;
}

/* The freshest follower that may donate; among equals, one chosen by this pod's number, so that many spread. */
static const struct peer_fact *
freshest_follower(const struct facts *f, const struct peer_fact *leader, const struct position *floor)
{
	uint64_t seq = 0;
	size_t equals = 0, pick;

	for (size_t i = 0; i < f->peer_count; i++) {
		if (!may_donate(leader, &f->peers[i], floor))
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
		if (may_donate(leader, &f->peers[i], floor) && f->peers[i].answer.position.seq == seq && pick-- == 0)
			return &f->peers[i];
	return NULL;
}

/* `floor`: the store that is here, if it is in the leader's history; NULL if there is none, or it
 * is discarded. */
static void
seed(const struct facts *f, const struct peer_fact *leader, const struct position *floor, struct plan *out,
    const char *reason)
{
	const struct peer_fact *donor = f->donor_auto ? freshest_follower(f, leader, floor) : NULL;

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
	out->floor = floor;
}

/*
 * Whether the store that is here must not be judged by `named`: a pod of the same cluster that does
 * not lead. The store may be ahead of it by acknowledged changes.
 */
static bool
is_no_judge(const struct facts *f, const struct peer_fact *named)
{
	const struct position *p = &named->answer.position;

	return f->mode == CONF_MODE_STATIC && named->answer.has_store && p->role != ROLE_LEADER &&
	       strcmp(p->cluster, f->own.cluster) == 0;
}

/* The state of a leader that reported no position, or of a named pod that does not lead. */
static void
describe_silence(const struct peer_fact *leader, char *out, size_t size)
{
	if (leader->answer.has_store)
		snprintf(out, size,
		    "%s, which is named as the leader, does not lead, and no other pod that answers does",
		    leader->name);
	else if (leader->answer.err.code == SP_EBADDATA)
		snprintf(out, size, "the leader %s tells no position (%.400s)", leader->name, leader->answer.err.text);
	else if (leader->answer.reached)
		snprintf(out, size, "the leader %s answers, but has no store yet (%.400s)", leader->name,
		    leader->answer.err.text);
	else
		snprintf(out, size, "the leader %s cannot be reached (%.400s)", leader->name, leader->answer.err.text);
}

/* The error code if the leader reported no position. */
static int
silence_code(const struct peer_fact *leader)
{
	if (leader->answer.err.code == SP_EPERM)
		return SP_EPERM; /* it denies access, or its identity is wrong */
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
		plan_decide(out, PLAN_WAIT, "%s, and %s", silence, facts_no_store(f));
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
		seed(f, leader, &f->own, out, reason);
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
	seed(f, leader, &f->own, out, reason);
}

/* A store that cannot continue as it is: only a seed helps, and only if the configuration allows to
 * discard it. */
static void
follower_in_the_way(const struct facts *f, const struct peer_fact *leader, struct plan *out, const char *reason)
{
	char allowed[PLAN_WHY_MAX / 2];

	if (f->reseed_diverged) {
		snprintf(allowed, sizeof(allowed), "%.700s, and it may be seeded again", reason);
		seed(f, leader, NULL, out, allowed);
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
		seed(f, leader, &f->own, out, why);
		break;
	case RELATION_DIVERGED:
	case RELATION_OTHER_CLUSTER:
		follower_in_the_way(f, leader, out, why);
		break;
	}
}

void
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
		seed(f, leader, NULL, out, facts_no_store(f));
		break;
	case STORE_PRESENT:
		if (is_no_judge(f, leader))
			follower_alone(f, leader, out);
		else
			follower_with_store(f, leader, out);
		break;
	case STORE_DAMAGED:
		snprintf(reason, sizeof(reason), "this store cannot be read (%.600s)", f->damage);
		follower_in_the_way(f, leader, out, reason);
		break;
	}
}
