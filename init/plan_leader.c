/* The rows of a leader. It must never start empty if a peer has data, and two must never lead. */
#include <inttypes.h>
#include <string.h>

#include "init/plan_private.h"

/* A member of mode raft that leads, or follows one that does: a majority takes the cluster's
 * writes. */
static bool
is_of_majority(const struct position *p)
{
	return p->raft.role == MEMBER_ROLE_LEADER || (p->raft.role == MEMBER_ROLE_FOLLOWER && p->raft.leader_known);
}

bool
plan_majority_leads(const struct facts *f, const char *cluster, struct plan *out)
{
	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer_fact *peer = &f->peers[i];
		const struct position *p = &peer->answer.position;

		if (!peer->answer.has_store || (cluster != NULL && strcmp(p->cluster, cluster) != 0) ||
		    !is_of_majority(p))
			continue;
		plan_decide(out, PLAN_WAIT,
		    "this pod is to lead in mode static, but %s is a member of mode raft, whose majority takes "
		    "the cluster's writes: two that lead would lose one's; set replication.mode = raft again, "
		    "or stop all members before the mode is changed",
		    peer->name);
		out->code = SP_EDIVERGED;
		return true;
	}
	return false;
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
		    "this pod leads, %s, and its peers hold different clusters: %s holds %s, %s holds %s; keep the one "
		    "that is right and clear the other's volume",
		    facts_no_store(f), most->name, most->answer.position.cluster, peer->name,
		    peer->answer.position.cluster);
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
 * The peer that is furthest ahead, even between two cuts; and the one to restore from, which is
 * another only if the first has given bad data and another stands at exactly the same place: an
 * older one would lose acknowledged writes silently.
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

/* `lacks`: what is the matter with this pod's volume. */
static void
leader_restores(const struct facts *f, const struct peer_fact *most, const char *lacks, struct plan *out)
{
	const struct position *p = &most->answer.position;

	out->donor = restore_donor(f, most);
	if (out->donor == NULL) {
		plan_decide(out, PLAN_REFUSE,
		    "this pod leads, %s, and the snapshot of %s, which knows most (epoch %" PRIu64 " seq %" PRIu64
		    "), was bad; no other peer stands at the same place",
		    lacks, most->name, p->epoch, p->seq);
		out->code = SP_EBADDATA;
		return;
	}
	plan_decide(out, PLAN_RESTORE,
	    "this pod leads, %s, and %s knows most: epoch %" PRIu64 " seq %" PRIu64 ", %" PRIu64
	    " keys%s; it goes on in a new epoch",
	    lacks, out->donor->name, p->epoch, p->seq, p->keys,
	    p->consistent ? "" : " (caught between two cuts of its former leader)");
	out->floor = &out->donor->answer.position;
	out->warn = !p->consistent;
}

/* A store that is restored is led from by the pod that the configuration names, which is not this one. */
static void
refuse_to_drop_tail(const struct facts *f, const struct peer_fact *most, struct plan *out)
{
	const struct position *p = &most->answer.position;

	plan_decide(out, PLAN_REFUSE,
	    "this pod leads, its machine went down before its last changes were on disk, and %s has them: epoch "
	    "%" PRIu64 " seq %" PRIu64 " there, epoch %" PRIu64 " seq %" PRIu64
	    " here; set replication.leader_ordinal to %u, this pod, which then restores them",
	    most->name, p->epoch, p->seq, f->own.epoch, f->own.seq, f->ordinal);
	out->code = SP_EDIVERGED;
}

/*
 * Its machine went down before the last changes were on disk (durability = async). A follower that
 * had pulled them by then has all that this pod acknowledged, and more: this pod continues with
 * that. A follower that has not answered by the end of the grace may turn out to have diverged, as
 * after any write that no follower had pulled.
 */
static bool
leader_lost_its_tail(const struct facts *f, struct plan *out)
{
	const struct peer_fact *most = NULL;
	size_t with_store = 0;

	if (!f->own.tail_lost)
		return false;
	for (size_t i = 0; i < f->peer_count; i++) {
		const struct position *p = &f->peers[i].answer.position;

		if (!f->peers[i].answer.has_store)
			continue;
		with_store++;
		if (plan_more_advanced(p, most != NULL ? &most->answer.position : &f->own) &&
		    position_course(&f->own, p) == COURSE_ONWARD)
			most = &f->peers[i];
	}
	if (!f->grace_over && with_store < f->peer_count) {
		plan_decide(out, PLAN_WAIT,
		    "this pod leads, its last changes may be lost, and %zu of %zu peers have not told a position yet",
		    f->peer_count - with_store, f->peer_count);
		out->grace = true;
		out->code = SP_EAGAIN;
		return true;
	}
	if (most == NULL)
		return false;
	if (!f->leader)
		refuse_to_drop_tail(f, most, out);
	else
		leader_restores(f, most, "its machine went down before its last changes were on disk", out);
	return true;
}

static void
leader_with_store(const struct facts *f, struct plan *out)
{
	const struct peer_fact *ahead = NULL;

	if (plan_majority_leads(f, f->own.cluster, out) || leader_lost_its_tail(f, out))
		return;
	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer_fact *peer = &f->peers[i];

		if (!peer->answer.has_store || strcmp(peer->answer.position.cluster, f->own.cluster) != 0)
			continue;
		if ((peer->answer.position.epoch > f->own.epoch ||
			(peer->answer.position.epoch == f->own.epoch && peer->answer.position.seq > f->own.seq)) &&
		    (ahead == NULL || plan_more_advanced(&peer->answer.position, &ahead->answer.position)))
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

static void
leader_with_empty_volume(const struct facts *f, struct plan *out)
{
	const struct peer_fact *most = NULL, *silent;
	size_t with_store = 0;

	for (size_t i = 0; i < f->peer_count; i++) {
		if (!f->peers[i].answer.has_store)
			continue;
		with_store++;
		if (most == NULL || plan_more_advanced(&f->peers[i].answer.position, &most->answer.position))
			most = &f->peers[i];
	}
	silent = plan_silent_peer(f, most);
	if (!f->grace_over && with_store < f->peer_count) {
		plan_decide(out, PLAN_WAIT, "this pod leads, %s, and %zu of %zu peers have not told a position yet",
		    facts_no_store(f), f->peer_count - with_store, f->peer_count);
		out->grace = true;
		out->code = SP_EAGAIN;
	} else if (silent != NULL) {
		plan_wait_for_data(f, out, "this pod leads", silent);
	} else if (most == NULL) {
		plan_decide(out, PLAN_CREATE,
		    "this pod leads, %s, and none of %zu peers tells of data (%zu cannot be reached)",
		    facts_no_store(f), f->peer_count, plan_unreached(f));
	} else if (!clusters_differ(f, most, out) && !plan_majority_leads(f, NULL, out)) {
		leader_restores(f, most, facts_no_store(f), out);
	}
}

void
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
