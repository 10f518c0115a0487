/*
 * The rows of mode raft. Who leads does not matter here: what a member lacks, raft's log brings, and a volume that is
 * empty is seeded from any member that is far enough. What must never happen is a second cluster, or a member that
 * forgets what it promised: only the pod that founds creates a store, and only where no log and no peer with data is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "init/plan_private.h"

static bool
can_donate(const struct facts *f, const struct peer_fact *peer)
{
	const struct position_raft *m = &peer->answer.position.raft;

	if (!peer->answer.has_store || peer->gave_bad_data || m->role == RAFT_ROLE_NONE ||
	    m->role == RAFT_ROLE_NEEDS_SNAPSHOT || m->role == RAFT_ROLE_REMOVED)
		return false;
	if (f->store == STORE_PRESENT && strcmp(peer->answer.position.cluster, f->own.cluster) != 0)
		return false;
	return m->applied >= f->needs && (f->donor_auto || m->role == RAFT_ROLE_LEADER);
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

	return can_donate(f, peer) && (m->role == RAFT_ROLE_LEADER) == leads &&
	       most - m->applied <= PLAN_MEMBER_LAG_MAX;
}

/* One of the members that are near the furthest, chosen by this pod's number, so that many spread; the leader, which
 * has enough to do, where there is no other. NULL where nobody will do. */
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

/* Whether somebody who has data gave a snapshot that was bad. */
static bool
any_bad(const struct facts *f)
{
	for (size_t i = 0; i < f->peer_count; i++)
		if (f->peers[i].gave_bad_data)
			return true;
	return false;
}

/* Seed, for the reason given; where nobody can give a snapshot at present, wait for one who can. */
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
		return;
	}
	if (any_bad(f)) {
		plan_decide(out, PLAN_REFUSE, "%s, but the snapshots of all donors were bad", reason);
		out->code = SP_EBADDATA;
		return;
	}
	plan_decide(out, PLAN_WAIT, "%s, and none of %zu peers can give a snapshot at index %" PRIu64 " or after%s",
	    reason, f->peer_count, f->needs, f->donor_auto ? "" : " and leads (bootstrap.donor = leader)");
	out->code = SP_EUNAVAIL;
}

/* The first two peers with data that are of different clusters, or with this pod's store, the first of another. */
struct strangers {
	const struct peer_fact *with_data; /* any peer that has data */
	const struct peer_fact *ours;      /* of this store's cluster */
	const struct peer_fact *other;     /* of another cluster than this store's, or than `with_data` */
};

static struct strangers
look_for_strangers(const struct facts *f)
{
	struct strangers s = { 0 };
	const char *cluster;

	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer_fact *peer = &f->peers[i];

		if (!peer->answer.has_store)
			continue;
		if (s.with_data == NULL)
			s.with_data = peer;
		cluster = f->store == STORE_PRESENT ? f->own.cluster : s.with_data->answer.position.cluster;
		if (strcmp(peer->answer.position.cluster, cluster) == 0)
			s.ours = peer;
		else if (s.other == NULL)
			s.other = peer;
	}
	return s;
}

static void
with_store(const struct facts *f, struct plan *out)
{
	struct strangers s = look_for_strangers(f);
	char reason[160];

	if (s.other != NULL && s.ours == NULL) {
		plan_decide(out, PLAN_REFUSE,
		    "this store is of cluster %s, and all peers that answer are of another (%s: %s); keep the one that "
		    "is right and clear the other's volume",
		    f->own.cluster, s.other->name, s.other->answer.position.cluster);
		out->code = SP_EDIVERGED;
	} else if (f->replace) {
		snprintf(reason, sizeof(reason), "this store is at index %" PRIu64 " of the log, and is to be replaced",
		    f->own.raft.applied);
		seed(f, out, reason);
	} else if (s.other != NULL) {
		plan_decide(out, PLAN_START,
		    "this member has its store, but %s is of another cluster: %s there, %s here", s.other->name,
		    s.other->answer.position.cluster, f->own.cluster);
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
		    "this volume is empty, and the peers hold different clusters: %s holds %s, %s holds %s; keep the "
		    "one that is right and clear the other's volume",
		    s.with_data->name, s.with_data->answer.position.cluster, s.other->name,
		    s.other->answer.position.cluster);
		out->code = SP_EDIVERGED;
	} else if (s.with_data != NULL) {
		seed(f, out, "this volume is empty");
	} else if (f->volume.raft) {
		plan_decide(out, PLAN_WAIT,
		    "the store is gone from this volume, its log (raft/) is not, and no peer has data: a new store "
		    "would not be what the log goes on from");
		out->code = SP_EUNAVAIL;
	} else if (!f->leader) {
		plan_decide(out, PLAN_WAIT,
		    "this volume is empty, none of %zu peers tells of data (%zu cannot be reached), and another pod "
		    "(ordinal %u) founds the cluster",
		    f->peer_count, plan_unreached(f), f->leader_ordinal);
		out->code = SP_EUNAVAIL;
	} else if (!f->grace_over) {
		plan_decide(out, PLAN_WAIT,
		    "this pod founds the cluster, its volume is empty, and %zu peers have not told a position yet",
		    f->peer_count);
		out->grace = true;
		out->code = SP_EAGAIN;
	} else if (silent != NULL) {
		plan_wait_for_data(out, "this pod founds the cluster", silent);
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
