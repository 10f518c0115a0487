/*
 * The rows of mode raft. The leader does not matter here: raft's log brings a member the entries
 * that it lacks, and an empty volume is seeded from any member that is far enough. There must never
 * be a second cluster, or a member that forgets its promises: only the founding pod creates a
 * store, and only if there is no log and no peer with data.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "init/plan_private.h"

/* Raft never wrote to this store, or it was led in mode static since: no log brings what it lacks. */
static bool
is_of_no_log(const struct facts *f)
{
	return f->store == STORE_PRESENT && f->own.raft.applied == 0 && f->own.seq > 0;
}

static bool
holds_all_of(const struct position *theirs, const struct position *own)
{
	enum relation relation = position_relate(theirs, own, NULL, 0);

	return relation == RELATION_SAME || relation == RELATION_BEHIND || relation == RELATION_BELOW_HORIZON;
}

static bool
can_donate(const struct facts *f, const struct peer_fact *peer)
{
	const struct position_raft *m = &peer->answer.position.raft;

	if (!peer->answer.has_store || peer->gave_bad_data || m->role == MEMBER_ROLE_NONE ||
	    m->role == MEMBER_ROLE_NEEDS_SNAPSHOT || m->role == MEMBER_ROLE_REMOVED)
		return false;
	if (f->store == STORE_PRESENT && (!position_same_log(&peer->answer.position, &f->own) ||
					     position_course(&f->own, &peer->answer.position) != COURSE_ONWARD))
		return false;
	if (is_of_no_log(f) && !holds_all_of(&peer->answer.position, &f->own))
		return false;
	return m->applied >= f->needs && (f->donor_auto || m->role == MEMBER_ROLE_LEADER);
}

static uint64_t
furthest_applied(const struct facts *f)
{
	uint64_t most = 0;

	for (size_t i = 0; i < f->peer_count; i++)
		if (can_donate(f, &f->peers[i]) && f->peers[i].answer.position.raft.applied > most)
			most = f->peers[i].answer.position.raft.applied;
	return most;
}

static bool
is_near(const struct facts *f, const struct peer_fact *peer, uint64_t most, bool leads)
{
	const struct position_raft *m = &peer->answer.position.raft;

	return can_donate(f, peer) && (m->role == MEMBER_ROLE_LEADER) == leads &&
	       most - m->applied <= PLAN_MEMBER_LAG_MAX;
}

/* One of the members that are near the furthest, chosen by this pod's number, so that many spread;
 * the leader, which has enough to do, if there is no other. NULL if no member is suitable. */
static const struct peer_fact *
choose_donor(const struct facts *f)
{
	uint64_t most = furthest_applied(f);
	size_t near, pick;

	for (int leads = 0; leads <= 1; leads++) {
		near = 0;
		for (size_t i = 0; i < f->peer_count; i++)
			near += is_near(f, &f->peers[i], most, leads);
		if (near == 0)
			continue;
		pick = f->ordinal % near;
		for (size_t i = 0; i < f->peer_count; i++)
			if (is_near(f, &f->peers[i], most, leads) && pick-- == 0)
				return &f->peers[i];
	}
	return NULL;
}

/* Whether a peer gave a snapshot that was bad. */
static bool
any_bad(const struct facts *f)
{
	for (size_t i = 0; i < f->peer_count; i++)
		if (f->peers[i].gave_bad_data)
			return true;
	return false;
}

/* Seed, for the reason given; if no member can give a snapshot at present, wait for one that
 * can. */
static void
seed(const struct facts *f, struct plan *out, const char *reason)
{
	const struct peer_fact *donor = choose_donor(f);

	if (donor != NULL) {
		plan_decide(out, PLAN_SEED,
		    "%s; %s gives epoch %" PRIu64 " seq %" PRIu64 ", %" PRIu64 " keys, index %" PRIu64 " of the log",
		    reason, donor->name, donor->answer.position.epoch, donor->answer.position.seq,
		    donor->answer.position.keys, donor->answer.position.raft.applied);
		out->donor = donor;
		out->floor = f->store == STORE_PRESENT ? &f->own : NULL;
		return;
	}
	if (any_bad(f)) {
		plan_decide(out, PLAN_REFUSE, "%s, but the snapshots of all donors were bad", reason);
		out->code = SP_EBADDATA;
		return;
	}
	plan_decide(out, PLAN_WAIT, "%s, and none of %zu peers can give a snapshot at index %" PRIu64 " or after%s",
	    reason, f->peer_count,
	    f->store == STORE_PRESENT && f->own.raft.applied > f->needs ? f->own.raft.applied : f->needs,
	    f->donor_auto ? "" : " and leads (bootstrap.donor = leader)");
	out->code = SP_EUNAVAIL;
}

/* The first two peers with data that are of different clusters, or of different logs of one; or with this pod's store,
 * the first of another. */
struct strangers {
	const struct peer_fact *with_data; /* any peer that has data */
	const struct peer_fact *ours;      /* of this store's */
	const struct peer_fact *other;     /* of another than this store's, or than `with_data` */
};

static struct strangers
look_for_strangers(const struct facts *f)
{
	struct strangers s = { 0 };
	const struct position *own;

	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer_fact *peer = &f->peers[i];

		if (!peer->answer.has_store)
			continue;
		if (s.with_data == NULL)
			s.with_data = peer;
		own = f->store == STORE_PRESENT ? &f->own : &s.with_data->answer.position;
		if (position_same_log(&peer->answer.position, own))
			s.ours = peer;
		else if (s.other == NULL)
			s.other = peer;
	}
	return s;
}

/* A member of this store's cluster in mode raft, or NULL: one that knows its leader before one that does not. */
static const struct peer_fact *
find_member(const struct facts *f)
{
	const struct peer_fact *found = NULL;

	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer_fact *peer = &f->peers[i];

		if (peer->answer.has_store && peer->answer.position.raft.applied > 0 &&
		    position_same_log(&peer->answer.position, &f->own) &&
		    (found == NULL ||
			(peer->answer.position.raft.leader_known && !found->answer.position.raft.leader_known)))
			found = peer;
	}
	return found;
}

/*
 * A store that no log goes on from, beside members whose log does without it. Theirs is taken only
 * if nothing is lost by that; and a founder must not found a second time. Writes of the pod that
 * leads in mode static may meanwhile have numbers that the members have given to writes of theirs.
 */
static bool
was_left_behind(const struct facts *f, struct plan *out)
{
	const struct peer_fact *member = is_of_no_log(f) ? find_member(f) : NULL;
	const struct position *p;
	char why[512] = "";
	enum relation relation;

	if (member == NULL)
		return false;
	p = &member->answer.position;
	relation = position_relate(p, &f->own, why, sizeof(why));
	if (relation == RELATION_DIVERGED || (f->leader && relation != RELATION_SAME && !f->reseed_diverged)) {
		plan_decide(out, PLAN_REFUSE,
		    "this store was written in mode static, and %s is a member of its cluster in mode raft: epoch "
		    "%" PRIu64 " seq %" PRIu64 " here, epoch %" PRIu64 " seq %" PRIu64
		    " there%s%s; nothing is overwritten on a guess: "
		    "to go on with the members' data, clear this volume; to go on with this store, clear theirs",
		    member->name, f->own.epoch, f->own.seq, p->epoch, p->seq, relation == RELATION_DIVERGED ? ": " : "",
		    relation == RELATION_DIVERGED ? why : "");
		out->code = SP_EDIVERGED;
		return true;
	}
	seed(f, out, "raft never wrote to this store, and its cluster has members in mode raft");
	return true;
}

static void
with_store(const struct facts *f, struct plan *out)
{
	struct strangers s = look_for_strangers(f);
	char reason[160];

	if (s.other != NULL && s.ours == NULL) {
		plan_decide(out, PLAN_REFUSE,
		    "this store is of cluster %s (log %" PRIu64
		    "), and all peers that answer are of another (%s: %s, log "
		    "%" PRIu64 "); keep the one that is right and clear the other's volume",
		    f->own.cluster, f->own.raft.log, s.other->name, s.other->answer.position.cluster,
		    s.other->answer.position.raft.log);
		out->code = SP_EDIVERGED;
	} else if (was_left_behind(f, out)) {
		return;
	} else if (f->replace) {
		snprintf(reason, sizeof(reason), "this store is at index %" PRIu64 " of the log, and is to be replaced",
		    f->own.raft.applied);
		seed(f, out, reason);
	} else if (s.other != NULL) {
		plan_decide(out, PLAN_START,
		    "this member has its store, but %s is of another cluster or log: %s (log %" PRIu64
		    ") there, %s (log %" PRIu64 ") here",
		    s.other->name, s.other->answer.position.cluster, s.other->answer.position.raft.log, f->own.cluster,
		    f->own.raft.log);
		out->warn = true;
	} else {
		plan_decide(out, PLAN_START, "this member has its store; raft's log brings what it lacks");
	}
}

static void
with_empty_volume(const struct facts *f, struct plan *out)
{
	const struct peer_fact *silent = plan_silent_peer(f, NULL);
	struct strangers s = look_for_strangers(f);

	if (s.other != NULL) {
		plan_decide(out, PLAN_REFUSE,
		    "%s, and the peers hold different clusters: %s holds %s (log %" PRIu64
		    "), %s holds %s (log %" PRIu64 "); keep the one that is right and clear the other's volume",
		    facts_no_store(f), s.with_data->name, s.with_data->answer.position.cluster,
		    s.with_data->answer.position.raft.log, s.other->name, s.other->answer.position.cluster,
		    s.other->answer.position.raft.log);
		out->code = SP_EDIVERGED;
	} else if (s.with_data != NULL) {
		seed(f, out, facts_no_store(f));
	} else if (f->volume.raft) {
		plan_decide(out, PLAN_WAIT,
		    "the store is gone from this volume, its log (raft/) is not, and no peer has data: a new store "
		    "would not be what the log goes on from");
		out->code = SP_EUNAVAIL;
	} else if (!f->leader) {
		plan_decide(out, PLAN_WAIT,
		    "%s, none of %zu peers tells of data (%zu cannot be reached), and another pod (ordinal %u) founds "
		    "the cluster",
		    facts_no_store(f), f->peer_count, plan_unreached(f), f->leader_ordinal);
		out->code = SP_EUNAVAIL;
	} else if (!f->grace_over) {
		plan_decide(out, PLAN_WAIT,
		    "this pod founds the cluster, %s, and %zu peers have not told a position yet", facts_no_store(f),
		    f->peer_count);
		out->grace = true;
		out->code = SP_EAGAIN;
	} else if (silent != NULL) {
		plan_wait_for_data(f, out, "this pod founds the cluster", silent);
	} else {
		plan_decide(out, PLAN_CREATE,
		    "this pod founds the cluster, and none of %zu peers tells of data (%zu cannot be reached)",
		    f->peer_count, plan_unreached(f));
	}
}

static void
with_damaged_store(const struct facts *f, struct plan *out)
{
	char reason[PLAN_WHY_MAX / 2];

	if (f->reseed_diverged) {
		snprintf(reason, sizeof(reason), "this store cannot be read (%.600s), and it may be seeded again",
		    f->damage);
		seed(f, out, reason);
		return;
	}
	plan_decide(out, PLAN_REFUSE,
	    "this store cannot be read (%.600s); nothing is overwritten on a guess: set sync.on_divergence = reseed to "
	    "take another member's data, or put it right",
	    f->damage);
	out->code = SP_EBADDATA;
}

void
plan_raft(const struct facts *f, struct plan *out)
{
	switch (f->store) {
	case STORE_PRESENT:
		with_store(f, out);
		break;
	case STORE_EMPTY:
		with_empty_volume(f, out);
		break;
	case STORE_DAMAGED:
		with_damaged_store(f, out);
		break;
	}
}
