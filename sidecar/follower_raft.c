/*
 * Mode raft: raft's log brings the changes, so nothing is pulled. This only looks: how far the
 * leader is, whether our content is its content if both stand at the same change, and whether the
 * log reaches back to our store; if it does not, the store is seeded again.
 */
#include <inttypes.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "sidecar/follower_private.h"

#define LOOK_MS        1000 /* between two looks at a leader that was caught up with */
#define CATCHING_UP_MS 100  /* and at one that was not yet */

/* Proven: what the leader had in its store, and so all that was ever acknowledged, when this life began is in ours. */
static void
prove(struct follower *f)
{
	trouble_over(&f->trouble, f->o.state);
	if (!state_prove(f->o.state, f->life))
		return;
	backoff_reset(&f->reseed_backoff);
	log_info("caught up with the log", LOG_STR("role", member_role_name(f->own.raft.role)),
	    LOG_U64("applied", f->own.raft.applied), LOG_U64("term", f->own.raft.term));
}

static int64_t
lead(struct follower *f)
{
	/* That it leads proves nothing of a store that was found to differ, and there is no leader
	 * to compare it with. */
	if (state_diverged_life(f->o.state) == f->life)
		return LOOK_MS;
	if (state_diverged_life(f->o.state) != 0)
		follower_halt_over(f, "a leader that has begun anew");
	state_set_target(f->o.state, f->life, f->own.raft.applied);
	prove(f);
	return state_proven(f->o.state) ? LOOK_MS : CATCHING_UP_MS;
}

static int64_t
no_leader(struct follower *f)
{
	struct sp_error err = { 0 };

	state_leader_lost(f->o.state);
	sp_error_set(&err, SP_EUNAVAIL, "no leader is known: this member is %s in term %" PRIu64,
	    member_role_name(f->own.raft.role), f->own.raft.term);
	if (f->own.raft.unresolved[0] != '\0')
		sp_error_set(
		    &err, SP_EUNAVAIL, "no leader is known: the name %s cannot be resolved", f->own.raft.unresolved);
	return follower_trouble(f, REASON_UNREACHABLE, &err);
}

/* One log makes one content: at the same change of the same term two stores cannot differ. */
static int64_t
compare(struct follower *f)
{
	const struct position *leader = &f->leader;
	char theirs[DIGEST_HEX_SIZE], ours[DIGEST_HEX_SIZE];
	struct sp_error err = { 0 };

	if (strcmp(leader->cluster, f->own.cluster) != 0) {
		sp_error_set(&err, SP_EDIVERGED, "this store is of cluster %s, that of %s is of %s", f->own.cluster,
		    f->leader_url, leader->cluster);
		return follower_halt(f, REASON_DIVERGED, false, &err);
	}
	if (leader->seq != f->own.seq || leader->epoch != f->own.epoch || digest_equal(leader->digest, f->own.digest))
		return STEP_ON;
	digest_to_hex(leader->digest, theirs);
	digest_to_hex(f->own.digest, ours);
	sp_error_set(&err, SP_EDIGEST, "at seq %" PRIu64 " the digest of %s is %s, this store's is %s", f->own.seq,
	    f->leader_url, theirs, ours);
	return follower_digest_mismatch(f, &err);
}

static int64_t
follow(struct follower *f)
{
	int64_t wait_ms;

	follower_follow(f, f->own.leader);
	if (state_diverged_life(f->o.state) != 0)
		return follower_recheck(f);
	wait_ms = follower_ask_leader(f);
	if (wait_ms != STEP_ON)
		return wait_ms;
	wait_ms = compare(f);
	if (wait_ms != STEP_ON)
		return wait_ms;
	/* Not its commit index: that counts entries which change no store, such as those of members. */
	state_set_target(f->o.state, f->life, f->leader.raft.applied);
	prove(f);
	return state_proven(f->o.state) ? LOOK_MS : CATCHING_UP_MS;
}

int64_t
follower_raft(struct follower *f)
{
	switch (f->own.raft.role) {
	case MEMBER_ROLE_NEEDS_SNAPSHOT:
		return follower_reseed(f, true, f->own.raft.needs, "raft's log does not reach back to this store");
	case MEMBER_ROLE_NO_ROOM:
	case MEMBER_ROLE_REMOVED:
		return LOOK_MS;
	case MEMBER_ROLE_LEADER:
		return lead(f);
	case MEMBER_ROLE_NONE:
	case MEMBER_ROLE_STOPPED:
	case MEMBER_ROLE_JOINING:
	case MEMBER_ROLE_STANDBY:
	case MEMBER_ROLE_FOLLOWER:
	case MEMBER_ROLE_CANDIDATE:
		break;
	}
	return f->own.raft.leader_known && f->own.leader[0] != '\0' ? follow(f) : no_leader(f);
}
