/* When the content is not the leader's: halt, check again now and then, or be reseeded. */
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "sidecar/follower_private.h"
#include "sidecar/readiness.h"

/* The server releases its store, and opens one, only after the work under way in it is done. */
#define SERVER_CALL_MS 100000

/* While a child works, the loop's deadline moves on with each look at it. */
static bool
go_on(void *arg)
{
	struct follower *f = arg;

	state_beat(f->o.state, HEART_SYNC, clock_mono_ms() + SERVER_CALL_MS);
	return !atomic_load(&f->ending);
}

static int64_t
reseed_failed(struct follower *f, struct sp_error *err, int64_t wait_ms)
{
	if (err->code == SP_ECANCELED)
		return 0;
	sp_error_wrap(err, "reseed");
	follower_trouble(f, REASON_RESEED, err);
	return wait_ms;
}

/* Have the store replaced. Not more often than the backoff allows, also if it succeeds and helps nothing: only a
 * proof ends that. */
int64_t
follower_reseed(struct follower *f, bool force, uint64_t min_applied, const char *why)
{
	struct reseed_call call = { .force = force, .min_applied = min_applied, .go_on = go_on, .go_on_arg = f };
	struct sp_error err = { 0 };
	int64_t began_ms = clock_mono_ms();
	int64_t wait_ms;
	int rc;

	f->related = false;
	if (began_ms < f->reseed_not_before_ms)
		return f->reseed_not_before_ms - began_ms;
	log_info("reseed begins", LOG_BOOL("force", force), LOG_STR("reason", why));
	state_set_seeding(f->o.state, true);
	state_beat(f->o.state, HEART_SYNC, began_ms + SERVER_CALL_MS);
	rc = f->o.reseed(f->o.reseed_arg, &call, &err);
	state_set_seeding(f->o.state, false);
	wait_ms = backoff_next_ms(&f->reseed_backoff);
	f->reseed_not_before_ms = clock_mono_ms() + wait_ms;
	if (rc < 0)
		return reseed_failed(f, &err, wait_ms);
	state_reseeded(f->o.state);
	log_info("reseed done", LOG_F64("seconds", (double)(clock_mono_ms() - began_ms) / 1000));
	return 0;
}

int64_t
follower_halt(struct follower *f, enum sync_reason reason, bool for_content, const struct sp_error *err)
{
	follower_trouble(f, reason, err);
	state_set_diverged(f->o.state, f->life, err->text);
	f->halt = (struct halt){ .for_content = for_content, .leader = f->leader, .own = f->own };
	f->related = false;
	if (f->conf.sync_on_divergence == CONF_DIVERGENCE_RESEED)
		return follower_reseed(f, true, 0, err->text);
	log_error("diverged: sync halts", LOG_STR("error", err->text), LOG_STR("on_divergence", "halt"));
	return f->o.recheck_ms;
}

int64_t
follower_digest_mismatch(struct follower *f, const struct sp_error *err)
{
	state_count_digest_mismatch(f->o.state);
	return follower_halt(f, REASON_DIGEST, true, err);
}

void
follower_halt_over(struct follower *f, const char *relation)
{
	log_info("no longer diverged: sync goes on", LOG_STR("relation", relation));
	state_agrees(f->o.state);
}

/* Whether leader or store are others than those that did not fit together. A member's numbers say nothing of that: its
 * log goes on, whatever its content is. */
static bool
is_other_pair(const struct follower *f)
{
	const struct halt *h = &f->halt;
	const struct position *leader = &f->leader, *own = &f->own;

	if (own->raft.role != MEMBER_ROLE_NONE)
		return state_diverged_life(f->o.state) != f->life;
	return strcmp(h->leader.cluster, leader->cluster) != 0 || h->leader.epoch != leader->epoch ||
	       strcmp(h->own.cluster, own->cluster) != 0 || h->own.epoch != own->epoch || h->own.seq != own->seq ||
	       !digest_equal(h->own.digest, own->digest);
}

/* Halted: did the leader or the store change, or what to do about it? */
int64_t
follower_recheck(struct follower *f)
{
	char why[READINESS_TEXT_MAX] = "";
	enum relation relation;
	int64_t wait_ms;

	if (f->conf.sync_on_divergence == CONF_DIVERGENCE_RESEED)
		return follower_reseed(f, true, 0, "diverged, and on_divergence = reseed");
	wait_ms = follower_ask_leader(f);
	if (wait_ms != STEP_ON)
		return wait_ms;
	relation = position_relate(&f->leader, &f->own, why, sizeof(why));
	if (relation == RELATION_DIVERGED || relation == RELATION_OTHER_CLUSTER) {
		state_set_diverged(f->o.state, f->life, why);
		return f->o.recheck_ms;
	}
	if (relation != RELATION_SAME && f->halt.for_content && !is_other_pair(f))
		return f->o.recheck_ms;
	follower_halt_over(f, relation_name(relation));
	return 0;
}
