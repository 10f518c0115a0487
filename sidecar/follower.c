#include "sidecar/follower.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/protocol/feed.h"
#include "lib/protocol/peer.h"
#include "sidecar/follower_private.h"
#include "sidecar/readiness.h"

#define LOCAL_CALL_MS       35000 /* no call to the local server takes longer: its own timeout is 30 s */
#define POSITION_TIMEOUT_MS 5000  /* for the leader's position */
#define LEADING_LOOK_MS     1000  /* how often a leader looks whether it still leads */
#define RELEASED_MS         3000  /* a store that is not opened for so long was left behind by an earlier life */
#define LONGEST_WAIT_MS     5000  /* of a long poll */

struct follower *
follower_new(const struct follower_options *o, struct sp_error *err)
{
	struct follower *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		sp_error_set(err, SP_ENOMEM, "out of memory");
		return NULL;
	}
	f->o = *o;
	if (f->o.recheck_ms == 0)
		f->o.recheck_ms = 5000;
	f->generation = state_conf(o->state, &f->conf);
	f->client = http_client_new(
	    &(struct http_client_options){ .access = o->access, .stall_timeout_ms = f->conf.sync_stall_timeout_ms },
	    err);
	if (f->client == NULL) {
		free(f);
		return NULL;
	}
	buf_init(&f->feed, FEED_BYTES_MAX);
	trouble_init(&f->trouble);
	backoff_init(&f->reseed_backoff, o->reseed_first_ms != 0 ? o->reseed_first_ms : 1000,
	    o->reseed_most_ms != 0 ? o->reseed_most_ms : 60000);
	return f;
}

void
follower_free(struct follower *f)
{
	if (f == NULL)
		return;
	http_client_free(f->client);
	buf_release(&f->feed);
	free(f);
}

void
follower_interrupt(struct follower *f)
{
	/* Only a call that is under way: a cancel that finds none would hit the next one. */
	if (atomic_load(&f->call_until_ms) != 0)
		http_client_cancel(f->client);
}

void
follower_end(struct follower *f)
{
	atomic_store(&f->ending, true);
	http_client_cancel(f->client);
}

void
follower_guard(struct follower *f, int64_t now_ms)
{
	int64_t until_ms = atomic_load(&f->call_until_ms);

	if (until_ms == 0 || now_ms <= until_ms)
		return;
	atomic_store(&f->overdue, true);
	http_client_cancel(f->client);
}

/* Whether the call may be made. The reason for a follower_interrupt() may have occurred since this
 * turn looked: look once more after the call has been announced, so that no change is missed. */
bool
follower_begin_call(struct follower *f, int64_t longest_ms)
{
	int64_t until_ms = clock_mono_ms() + longest_ms;

	atomic_store(&f->overdue, false);
	atomic_store(&f->call_until_ms, until_ms);
	state_beat(f->o.state, HEART_SYNC, until_ms);
	if (state_generation(f->o.state) == f->generation && state_life(f->o.state) == f->life)
		return true;
	atomic_store(&f->call_until_ms, 0);
	return false;
}

void
follower_end_call(struct follower *f, int rc, struct sp_error *err)
{
	atomic_store(&f->call_until_ms, 0);
	if (rc == SP_ECANCELED && atomic_load(&f->overdue))
		sp_error_set(err, SP_ESTALLED, "the answer was not complete in the longest time that one may take");
}

int64_t
follower_trouble(struct follower *f, enum sync_reason reason, const struct sp_error *err)
{
	f->draining = false;
	return trouble_note(&f->trouble, f->o.state, reason, err);
}

/* A call to the leader failed with err->code: what the others may know of it, and how long to wait. */
int64_t
follower_leader_failed(struct follower *f, struct sp_error *err)
{
	enum sync_reason reason;
	bool stranger;

	if (err->code == SP_ECANCELED)
		return 0;
	reason = trouble_reason(TROUBLE_LEADER, err->code);
	/* A server that did not prove that it is the leader, or denied us access, has told us
	 * nothing. */
	stranger = reason == REASON_REFUSED && !http_client_heard(f->client);
	if (stranger || reason == REASON_UNREACHABLE || reason == REASON_STALLED || reason == REASON_TRUNCATED)
		state_leader_lost(f->o.state);
	else
		state_leader_spoke(f->o.state, clock_mono_ms(), follower_planned_silence_ms(f));
	sp_error_wrap(err, "sync from %s", f->leader_url);
	return follower_trouble(f, reason, err);
}

/* How long a leader that is well may be silent from one answer to the next. */
int64_t
follower_planned_silence_ms(const struct follower *f)
{
	int64_t wait_ms = f->conf.readiness_max_lag_ms / 2;

	if (f->conf.sync_mode == CONF_SYNC_POLL)
		return f->conf.sync_interval_ms;
	if (wait_ms > LONGEST_WAIT_MS)
		return LONGEST_WAIT_MS;
	return wait_ms < 100 ? 100 : wait_ms;
}

static void
take_conf(struct follower *f)
{
	if (state_generation(f->o.state) == f->generation)
		return;
	f->generation = state_conf(f->o.state, &f->conf);
	http_client_configure(f->client, f->conf.sync_stall_timeout_ms, 0);
}

/* The server has released its store. If this run did not request that, an earlier life of this
 * program did and was not able to finish: finish it. */
static int64_t
released(struct follower *f)
{
	int64_t now_ms = clock_mono_ms();

	if (f->released_since_ms == 0)
		f->released_since_ms = now_ms;
	if (now_ms - f->released_since_ms < RELEASED_MS)
		return 200;
	f->released_since_ms = 0;
	return follower_reseed(f, false, 0, "the server has no store open");
}

/* Ask the local server where its store stands. STEP_ON with f->own and f->life. */
static int64_t
look(struct follower *f)
{
	struct sp_error err = { 0 };
	int rc;

	state_beat(f->o.state, HEART_SYNC, clock_mono_ms() + LOCAL_CALL_MS);
	rc = f->o.driver->ops->position(f->o.driver, &f->own, &err);
	if (rc == SP_EAGAIN)
		return released(f);
	f->released_since_ms = 0;
	if (rc == SP_ENOTFOUND && !conf_is_founder(&f->conf))
		return follower_reseed(f, true, 0, "there is no store");
	if (rc < 0) {
		sp_error_wrap(&err, "ask the local server");
		return follower_trouble(f, trouble_reason(TROUBLE_LOCAL, rc), &err);
	}
	f->life = state_server_told(f->o.state, &f->own, clock_mono_ms());
	if (f->trouble.on && f->trouble.reason == REASON_LOCAL_SERVER)
		trouble_over(&f->trouble, f->o.state);
	return STEP_ON;
}

/* From one feed that went well to the next nothing is asked anew, and f->own is where the state has it; whatever else
 * happened, the turn begins with the store itself. */
static int64_t
go_on_or_look(struct follower *f)
{
	if (f->related && state_own(f->o.state, &f->own) == f->life)
		return STEP_ON;
	f->related = f->draining = false;
	return look(f);
}

void
follower_follow(struct follower *f, const char *url)
{
	if (strcmp(url, f->leader_url) == 0)
		return;
	snprintf(f->leader_url, sizeof(f->leader_url), "%s", url);
	f->related = false;
	state_set_leader_url(f->o.state, url);
	log_info("follows", LOG_STR("leader", url));
}

/* The one that led when it was last heard; else the server's, or the configuration's word. In mode static that is only
 * where to begin: relate() finds out whether it leads. */
static int64_t
find_leader(struct follower *f)
{
	struct sp_error err = { 0 };
	char url[POSITION_URL_MAX];
	bool member = f->own.raft.role != MEMBER_ROLE_NONE;

	if (!member && f->leader_url[0] != '\0')
		return STEP_ON;
	snprintf(url, sizeof(url), "%s", f->own.leader);
	if (url[0] == '\0' && conf_peer_url(&f->conf, f->conf.replication_leader_ordinal, url, sizeof(url), &err) < 0)
		return follower_trouble(f, REASON_UNREACHABLE, &err);
	follower_follow(f, url);
	return STEP_ON;
}

/* The leader's position: STEP_ON with f->leader. */
int64_t
follower_ask_leader(struct follower *f)
{
	struct sp_error err = { 0 };
	int64_t wait_ms;
	int rc;

	if (!follower_begin_call(f, 2 * POSITION_TIMEOUT_MS))
		return 0;
	rc = peer_position(f->client, f->leader_url, POSITION_TIMEOUT_MS, &f->leader, &err);
	follower_end_call(f, rc, &err);
	if (rc == 0 && f->leader.role != ROLE_LEADER)
		rc = sp_error_set(&err, SP_EUNAVAIL, "it does not lead");
	if (rc < 0) {
		wait_ms = rc == SP_ECANCELED ? STEP_ON : follower_search(f, &err);
		return wait_ms != STEP_ON ? wait_ms : follower_leader_failed(f, &err);
	}
	state_leader_position(f->o.state, &f->leader, clock_mono_ms(), follower_planned_silence_ms(f));
	return STEP_ON;
}

/* Before the first feed: is what we hold part of the leader's history? */
static int64_t
relate(struct follower *f)
{
	char why[READINESS_TEXT_MAX] = "";
	struct sp_error err = { 0 };
	enum relation relation;
	int64_t wait_ms;

	wait_ms = follower_ask_leader(f);
	if (wait_ms != STEP_ON)
		return wait_ms;
	relation = position_relate(&f->leader, &f->own, why, sizeof(why));
	log_debug("histories compared", LOG_STR("relation", relation_name(relation)), LOG_STR("why", why));
	switch (relation) {
	case RELATION_BELOW_HORIZON:
		sp_error_set(&err, SP_EHORIZON, "%s", why);
		follower_trouble(f, REASON_HORIZON, &err);
		return follower_reseed(f, true, 0, err.text);
	case RELATION_DIVERGED:
	case RELATION_OTHER_CLUSTER:
		if (relation == RELATION_DIVERGED && f->leader.seq == f->own.seq && f->leader.epoch == f->own.epoch) {
			sp_error_set(&err, SP_EDIGEST, "%s", why);
			return follower_digest_mismatch(f, &err);
		}
		sp_error_set(&err, SP_EDIVERGED, "%s", why);
		return follower_halt(f, REASON_DIVERGED, false, &err);
	case RELATION_SAME:
	case RELATION_BEHIND:
		break;
	}
	f->related = true;
	follower_tell_leader(f, f->leader_url);
	state_set_target(f->o.state, f->life, f->leader.seq);
	if (relation == RELATION_SAME)
		follower_prove(f);
	return STEP_ON;
}

int64_t
follower_turn(struct follower *f)
{
	int64_t wait_ms;

	state_beat(f->o.state, HEART_SYNC, clock_mono_ms() + LOCAL_CALL_MS);
	take_conf(f);
	wait_ms = go_on_or_look(f);
	if (wait_ms != STEP_ON)
		return wait_ms;
	if (f->own.raft.role != MEMBER_ROLE_NONE)
		return follower_raft(f);
	if (f->own.role == ROLE_LEADER) {
		f->related = false;
		f->leader_url[0] = f->told_url[0] = '\0';
		trouble_over(&f->trouble, f->o.state);
		return LEADING_LOOK_MS;
	}
	wait_ms = find_leader(f);
	if (wait_ms != STEP_ON)
		return wait_ms;
	if (state_diverged_life(f->o.state) != 0)
		return follower_recheck(f);
	if (!f->related) {
		wait_ms = relate(f);
		if (wait_ms != STEP_ON)
			return wait_ms;
	}
	if (follower_wants_lead(f)) {
		wait_ms = follower_take_lead(f);
		if (wait_ms != STEP_ON)
			return wait_ms;
	}
	return follower_pull(f);
}
