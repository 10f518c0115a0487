#include "sidecar/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "sidecar/state_private.h"

static enum role
role_of(const struct state *s)
{
	if (s->own.known)
		return s->own.at.role;
	return conf_is_leader(&s->conf) ? ROLE_LEADER : ROLE_FOLLOWER;
}

static bool
wants_lead(const struct state *s)
{
	return s->own.known && s->own.at.role == ROLE_FOLLOWER && conf_is_leader(&s->conf);
}

static bool
server_is_ok(const struct state *s, int64_t now_ms)
{
	return s->own.ok && s->own.known && now_ms - s->own.seen_ms <= VIEW_SERVER_FRESH_MS;
}

/* Why the server is not ok, as the rest of a sentence that begins with "server". */
static void
describe_server(const struct state *s, int64_t now_ms, char *out, size_t size)
{
	if (!s->own.asked)
		snprintf(out, size, "was not asked yet");
	else if (s->own.ok)
		snprintf(out, size, "has not answered for %.1fs", (double)(now_ms - s->own.seen_ms) / 1000);
	else if (s->own.error.code == SP_ENOTFOUND)
		snprintf(out, size, "has no store yet");
	else if (s->own.error.code == SP_EAGAIN)
		snprintf(out, size, "has no store open: %.580s", s->own.error.text);
	else
		snprintf(out, size, "does not answer: %.580s", s->own.error.text);
}

static int64_t
contact_age_ms(const struct state *s, int64_t now_ms)
{
	if (role_of(s) == ROLE_LEADER)
		return 0;
	return now_ms - s->leader_heard_ms;
}

/* No answer at the last try, or none where one was due. */
static bool
leader_is_lost(const struct state *s, int64_t now_ms)
{
	if (role_of(s) == ROLE_LEADER)
		return false;
	return s->leader_failing || (s->leader_heard && now_ms > s->leader_due_ms);
}

static struct lag
lag_of(const struct state *s, int64_t now_ms)
{
	if (role_of(s) == ROLE_LEADER)
		return (struct lag){ .known = true };
	return lag_at(&s->lag, s->own.at.seq, now_ms);
}

static void
settle(struct state *s, int64_t now_ms, struct readiness *out)
{
	char server_text[READINESS_TEXT_MAX];
	struct lag lag = lag_of(s, now_ms);
	struct readiness_facts facts = {
		.server_ok = server_is_ok(s, now_ms),
		.server_text = server_text,
		.role = role_of(s),
		.writable = s->own.at.writable,
		.seeding = s->seeding,
		.wants_lead = wants_lead(s),
		.handover_text = s->handover_text,
		.diverged = s->own.diverged_life != 0,
		.diverged_text = s->diverged_text,
		.proven = s->own.proven,
		.target_known = s->own.target_known,
		.target = s->own.target,
		.local_store_seq = s->own.at.seq,
		.member = s->own.known ? &s->own.at.raft : NULL,
		.last_error = s->in_trouble ? s->last_error.text : "",
		.leader_lost = leader_is_lost(s, now_ms),
		.contact_age_ms = contact_age_ms(s, now_ms),
		.lag_changes = lag.changes,
		.lag_ms = lag.ms,
		.max_lag_ms = s->conf.readiness_max_lag_ms,
		.max_lag_changes = s->conf.readiness_max_lag_changes,
		.leader_loss = s->conf.readiness_leader_loss,
	};

	describe_server(s, now_ms, server_text, sizeof(server_text));
	readiness_check(&facts, out);
	readiness_settle(&s->hysteresis, now_ms, out);
}

/* Whether readiness changed since it was last logged; notes that it now tells. */
static bool
is_news(struct state *s, const struct readiness *r)
{
	bool news = s->told ? r->ready != s->told_ready : r->ready;

	if (news) {
		s->told = true;
		s->told_ready = r->ready;
	}
	return news;
}

/* Outside the lock: a log line may have to wait for the reader of standard error. */
static void
tell(const struct readiness *r)
{
	const char *why = "";

	if (r->ready) {
		log_info("ready");
		return;
	}
	for (size_t i = 0; i < r->count && why[0] == '\0'; i++)
		if (!r->checks[i].ok)
			why = r->checks[i].text;
	log_warn("not ready", LOG_STR("reason", why));
}

static const char *
phase_of(const struct state *s, const struct view *v)
{
	const struct position *own = &s->own.at;

	if (s->seeding)
		return "seeding";
	if (!v->server_ok)
		return s->own.known || s->counters.reseeds > 0 ? "no server" : "starting";
	if (own->raft.role == MEMBER_ROLE_JOINING || own->raft.role == MEMBER_ROLE_REMOVED ||
	    own->raft.role == MEMBER_ROLE_NEEDS_SNAPSHOT || own->raft.role == MEMBER_ROLE_NO_ROOM)
		return member_role_name(own->raft.role);
	if (v->role == ROLE_LEADER)
		return "leading";
	if (s->own.diverged_life != 0)
		return "diverged";
	if (own->raft.role != MEMBER_ROLE_NONE && !own->raft.leader_known)
		return "no leader";
	if (v->stale)
		return "stale";
	if (!s->leader_heard)
		return "starting";
	return v->proven && v->lag.changes == 0 ? "in sync" : "syncing";
}

void
view_take(struct state *s, int64_t now_ms, struct view *out)
{
	bool news;

	pthread_mutex_lock(&s->mutex);
	out->conf = s->conf;
	out->role = role_of(s);
	out->uptime_ms = now_ms - s->started_ms;
	out->server_ok = server_is_ok(s, now_ms);
	out->local_store_known = s->own.known;
	out->own = s->own.at;
	memcpy(out->leader_url, s->leader_url, sizeof(out->leader_url));
	out->leader_known = s->leader_known;
	out->leader = s->leader;
	out->leader_seq = s->lag.leader_seq;
	if (out->role == ROLE_LEADER) {
		out->leader_known = s->own.known;
		out->leader = s->own.at;
		out->leader_seq = s->own.at.seq;
		memcpy(out->leader_url, s->own.at.leader, sizeof(out->leader_url));
	}
	out->lag = lag_of(s, now_ms);
	out->contact_age_ms = contact_age_ms(s, now_ms);
	out->stale = leader_is_lost(s, now_ms);
	out->proven = s->own.proven || (out->role == ROLE_LEADER && out->server_ok);
	out->wants_lead = wants_lead(s);
	snprintf(out->handover_text, sizeof(out->handover_text), "%s", out->wants_lead ? s->handover_text : "");
	out->counters = s->counters;
	out->last_error = s->last_error;
	settle(s, now_ms, &out->readiness);
	out->phase = phase_of(s, out);
	news = is_news(s, &out->readiness);
	pthread_mutex_unlock(&s->mutex);
	if (news)
		tell(&out->readiness);
}

void
view_readiness(struct state *s, int64_t now_ms, struct readiness *out)
{
	bool news;

	pthread_mutex_lock(&s->mutex);
	settle(s, now_ms, out);
	news = is_news(s, out);
	pthread_mutex_unlock(&s->mutex);
	if (news)
		tell(out);
}

bool
view_live(struct state *s, int64_t now_ms, char *why, size_t size)
{
	static const char *const names[HEART_COUNT] = { "sync loop", "watch of the server" };
	bool live = true;

	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < HEART_COUNT && live; i++) {
		int64_t late_ms = s->hearts[i] == 0 ? 0 : now_ms - s->hearts[i];

		if (late_ms <= VIEW_HEART_GRACE_MS)
			continue;
		live = false;
		snprintf(why, size, "%s does not turn: %.1fs late", names[i], (double)late_ms / 1000);
	}
	pthread_mutex_unlock(&s->mutex);
	return live;
}

int
view_server_metrics(struct state *s, struct buf *out)
{
	int rc = 0;

	pthread_mutex_lock(&s->mutex);
	if (s->server_metrics != NULL)
		rc = buf_add(out, s->server_metrics, s->server_metrics_len);
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

char *
view_seed(struct state *s)
{
	char *copy;

	pthread_mutex_lock(&s->mutex);
	copy = s->seed != NULL ? strdup(s->seed) : NULL;
	pthread_mutex_unlock(&s->mutex);
	return copy;
}
