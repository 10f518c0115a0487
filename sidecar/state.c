#include "sidecar/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "sidecar/state_private.h"

/* A leader is followed from now on: nothing was heard of it yet, and for how long is counted from here. */
static void
begin_to_follow(struct state *s, int64_t now_ms)
{
	s->leader_known = s->leader_heard = s->leader_failing = false;
	s->leader_heard_ms = now_ms;
	lag_init(&s->lag, now_ms);
}

struct state *
state_new(const struct conf *conf, int64_t now_ms)
{
	struct state *s = calloc(1, sizeof(*s));

	if (s == NULL || pthread_mutex_init(&s->mutex, NULL) != 0) {
		log_error("out of memory");
		abort();
	}
	s->conf = *conf;
	s->generation = 1;
	s->started_ms = now_ms;
	local_store_init(&s->own);
	begin_to_follow(s, now_ms);
	return s;
}

void
state_free(struct state *s)
{
	if (s == NULL)
		return;
	pthread_mutex_destroy(&s->mutex);
	free(s->server_metrics);
	free(s->seed);
	free(s);
}

static void
lock(struct state *s)
{
	pthread_mutex_lock(&s->mutex);
}

static void
unlock(struct state *s)
{
	pthread_mutex_unlock(&s->mutex);
}

void
state_set_conf(struct state *s, const struct conf *conf)
{
	lock(s);
	s->conf = *conf;
	s->generation++;
	unlock(s);
}

unsigned
state_conf(struct state *s, struct conf *out)
{
	unsigned generation;

	lock(s);
	*out = s->conf;
	generation = s->generation;
	unlock(s);
	return generation;
}

unsigned
state_generation(struct state *s)
{
	unsigned generation;

	lock(s);
	generation = s->generation;
	unlock(s);
	return generation;
}

uint64_t
state_life(struct state *s)
{
	uint64_t life;

	lock(s);
	life = s->own.life;
	unlock(s);
	return life;
}

uint64_t
state_ticket(struct state *s)
{
	uint64_t ticket;

	lock(s);
	ticket = s->own.ticket;
	unlock(s);
	return ticket;
}

uint64_t
state_own(struct state *s, struct position *own)
{
	uint64_t life;

	lock(s);
	*own = s->own.at;
	life = s->own.life;
	unlock(s);
	return life;
}

bool
state_server_answered(struct state *s, uint64_t ticket, const struct position *p, int64_t now_ms)
{
	bool changed, led;

	lock(s);
	led = local_store_leads(&s->own);
	changed = local_store_answered(&s->own, ticket, p, now_ms);
	if (led && !local_store_leads(&s->own))
		begin_to_follow(s, now_ms);
	unlock(s);
	return changed;
}

bool
state_server_failed(struct state *s, const struct sp_error *err)
{
	bool changed;

	lock(s);
	changed = local_store_failed(&s->own, err);
	unlock(s);
	return changed;
}

uint64_t
state_server_told(struct state *s, const struct position *p, int64_t now_ms)
{
	uint64_t life;
	bool led;

	lock(s);
	led = local_store_leads(&s->own);
	local_store_told(&s->own, p, now_ms);
	if (led && !local_store_leads(&s->own))
		begin_to_follow(s, now_ms);
	life = s->own.life;
	unlock(s);
	return life;
}

void
state_set_applying(struct state *s, bool applying)
{
	lock(s);
	local_store_set_applying(&s->own, applying);
	unlock(s);
}

void
state_applied(struct state *s, const struct position *after, uint32_t records, size_t bytes, int64_t now_ms)
{
	lock(s);
	local_store_applied(&s->own, after, now_ms);
	s->counters.applied_changes += records;
	s->counters.applied_batches++;
	s->counters.applied_bytes += bytes;
	unlock(s);
}

void
state_set_target(struct state *s, uint64_t life, uint64_t target)
{
	lock(s);
	local_store_set_target(&s->own, life, target);
	unlock(s);
}

bool
state_prove(struct state *s, uint64_t life)
{
	bool news;

	lock(s);
	news = local_store_prove(&s->own, life);
	unlock(s);
	return news;
}

bool
state_proven(struct state *s)
{
	bool proven;

	lock(s);
	proven = s->own.proven;
	unlock(s);
	return proven;
}

void
state_set_diverged(struct state *s, uint64_t life, const char *why)
{
	lock(s);
	local_store_diverged(&s->own, life);
	snprintf(s->diverged_text, sizeof(s->diverged_text), "%s", why);
	unlock(s);
}

uint64_t
state_diverged_life(struct state *s)
{
	uint64_t life;

	lock(s);
	life = s->own.diverged_life;
	unlock(s);
	return life;
}

void
state_agrees(struct state *s)
{
	lock(s);
	local_store_agrees(&s->own);
	unlock(s);
}

void
state_set_seeding(struct state *s, bool seeding)
{
	lock(s);
	s->seeding = seeding;
	unlock(s);
}

void
state_reseeded(struct state *s)
{
	lock(s);
	local_store_reseeded(&s->own);
	s->counters.reseeds++;
	unlock(s);
}

/* A copy with a NUL after it; NULL for nothing, and where memory is out (the text is missed on a page, no more). */
static char *
copy_text(const char *text, size_t len)
{
	char *copy = len > 0 ? malloc(len + 1) : NULL;

	if (copy == NULL)
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

void
state_set_server_metrics(struct state *s, const char *text, size_t len)
{
	char *copy = copy_text(text, len);
	char *old;

	lock(s);
	old = s->server_metrics;
	s->server_metrics = copy;
	s->server_metrics_len = copy != NULL ? len : 0;
	unlock(s);
	free(old);
}

void
state_set_seed(struct state *s, const char *text, size_t len)
{
	char *copy = copy_text(text, len);
	char *old;

	lock(s);
	old = s->seed;
	s->seed = copy;
	unlock(s);
	free(old);
}

void
state_set_leader_url(struct state *s, const char *url)
{
	lock(s);
	snprintf(s->leader_url, sizeof(s->leader_url), "%s", url);
	unlock(s);
}

void
state_set_handover(struct state *s, const char *why)
{
	lock(s);
	snprintf(s->handover_text, sizeof(s->handover_text), "%s", why);
	unlock(s);
}

static void
note_contact(struct state *s, int64_t now_ms, int64_t planned_silence_ms)
{
	s->leader_heard = true;
	s->leader_failing = false;
	s->leader_heard_ms = now_ms;
	s->leader_due_ms = now_ms + planned_silence_ms + LAG_GRACE_MS;
}

void
state_leader_position(struct state *s, const struct position *p, int64_t now_ms, int64_t planned_silence_ms)
{
	lock(s);
	s->leader = *p;
	s->leader_known = true;
	note_contact(s, now_ms, planned_silence_ms);
	lag_heard(&s->lag, p->seq, s->own.at.seq, now_ms, planned_silence_ms);
	unlock(s);
}

void
state_leader_feed(struct state *s, const struct feed_info *info, int64_t now_ms, int64_t planned_silence_ms)
{
	lock(s);
	note_contact(s, now_ms, planned_silence_ms);
	lag_heard(&s->lag, info->seq, s->own.at.seq, now_ms, planned_silence_ms);
	/* Only a cut tells all of a position; a feed that ends short of one is not shown as one. */
	if (info->cut) {
		memcpy(s->leader.cluster, info->cluster, sizeof(s->leader.cluster));
		s->leader.epoch = info->epoch;
		s->leader.seq = info->seq;
		s->leader.digest = info->digest;
		s->leader.keys = info->keys;
		s->leader.horizon = info->horizon;
		s->leader.history_count = info->history_count;
		memcpy(s->leader.history, info->history, sizeof(s->leader.history));
	}
	unlock(s);
}

void
state_leader_spoke(struct state *s, int64_t now_ms, int64_t planned_silence_ms)
{
	lock(s);
	note_contact(s, now_ms, planned_silence_ms);
	unlock(s);
}

void
state_leader_lost(struct state *s)
{
	lock(s);
	s->leader_failing = true;
	unlock(s);
}

void
state_count_error(struct state *s, enum sync_reason reason, const struct sp_error *err)
{
	lock(s);
	s->counters.errors[reason]++;
	s->last_error.code = err->code;
	s->last_error.reason = reason;
	s->last_error.wall_ms = clock_wall_ms();
	memcpy(s->last_error.text, err->text, sizeof(s->last_error.text));
	s->in_trouble = true;
	unlock(s);
}

void
state_count_digest_mismatch(struct state *s)
{
	lock(s);
	s->counters.digest_mismatches++;
	unlock(s);
}

void
state_sync_well(struct state *s)
{
	lock(s);
	s->in_trouble = false;
	unlock(s);
}

void
state_beat(struct state *s, enum heart heart, int64_t deadline_ms)
{
	lock(s);
	s->hearts[heart] = deadline_ms;
	unlock(s);
}
