/* Mode static: find the pod that leads, if it is not the one that was followed; take over the lead. */
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "sidecar/follower_private.h"
#include "sidecar/handover.h"

#define PAUSE_MS        5   /* after a feed that brought nothing, while catching up */
#define PAUSE_MOST_MS   100 /* a turn that asks for a longer one has failed */
#define SEARCH_EVERY_MS 500
#define ASK_EVERY_MS    1000 /* a leader that does not hand over yet */

void
follower_tell_leader(struct follower *f, const char *url)
{
	struct sp_error err = { 0 };

	if (f->o.tell_leader == NULL || f->own.raft.role != MEMBER_ROLE_NONE || strcmp(f->told_url, url) == 0)
		return;
	if (strcmp(f->own.leader, url) != 0 && f->o.tell_leader(f->o.driver, url, &err) < 0) {
		log_warn("the server does not know the leader yet", LOG_STR("error", err.text));
		return;
	}
	snprintf(f->told_url, sizeof(f->told_url), "%s", url);
	snprintf(f->own.leader, sizeof(f->own.leader), "%s", url);
}

bool
follower_wants_lead(const struct follower *f)
{
	return f->o.lead_from != NULL && f->own.raft.role == MEMBER_ROLE_NONE && conf_is_leader(&f->conf);
}

/* Feeds until the store is where the leader's last position is. */
static int
catch_up(struct handover *h, const struct position *to, int64_t until_ms, struct sp_error *err)
{
	struct follower *f = h->arg;
	uint64_t before;

	f->catching_up = true;
	while ((f->own.seq < to->seq || !f->own.consistent) && clock_mono_ms() < until_ms && !atomic_load(&f->ending)) {
		before = f->own.seq;
		if (follower_pull(f) > PAUSE_MOST_MS || state_life(f->o.state) != f->life)
			break;
		if (f->own.seq == before)
			clock_sleep_ms(PAUSE_MS);
	}
	f->catching_up = false;
	h->own = f->own;
	if (f->own.epoch == to->epoch && f->own.seq == to->seq && f->own.consistent &&
	    digest_equal(f->own.digest, to->digest))
		return 0;
	return sp_error_set(err, SP_EAGAIN, "this pod did not reach the leader's last change in time");
}

static int
lead(struct handover *h, int64_t pause_ms, struct sp_error *err)
{
	struct follower *f = h->arg;

	return f->o.lead_from(f->o.driver, &h->own, h->from, h->by_hand, pause_ms, err);
}

static unsigned
ordinal_of(const struct follower *f, const char *url)
{
	char theirs[POSITION_URL_MAX];
	unsigned named = f->conf.replication_leader_ordinal;

	for (unsigned i = 0; i < f->conf.bootstrap_max_peers; i++)
		if (conf_peer_url(&f->conf, i, theirs, sizeof(theirs), NULL) == 0 && strcmp(theirs, url) == 0)
			return i;
	return named;
}

static void
prepare(struct follower *f, unsigned from, bool by_hand, struct handover *h)
{
	*h = (struct handover){ .client = f->client,
		.leader_url = f->leader_url,
		.from = from,
		.to = f->conf.pod.ordinal,
		.by_hand = by_hand,
		.own = f->own,
		.catch_up = catch_up,
		.lead = lead,
		.arg = f };
	state_beat(f->o.state, HEART_SYNC, clock_mono_ms() + HANDOVER_LONGEST_MS);
}

static void
note_refusal(struct follower *f, const struct sp_error *err)
{
	state_set_handover(f->o.state, err->text);
	if (strcmp(f->refused, err->text) != 0)
		log_info("the lead is not handed over yet", LOG_STR("leader", f->leader_url),
		    LOG_STR("code", sp_code_name(err->code)), LOG_STR("why", err->text));
	snprintf(f->refused, sizeof(f->refused), "%s", err->text);
	f->ask_lead_ms = clock_mono_ms() + ASK_EVERY_MS;
}

static int64_t
leads_now(struct follower *f, const struct handover *h)
{
	log_info("this pod leads now", LOG_U64("from", h->from), LOG_U64("seq", h->own.seq),
	    LOG_I64("pause_ms", h->pause_ms));
	state_set_handover(f->o.state, "");
	f->refused[0] = f->leader_url[0] = f->told_url[0] = '\0';
	f->related = f->frozen = false;
	return 0;
}

int64_t
follower_take_lead(struct follower *f)
{
	struct sp_error err = { 0 };
	struct handover h;

	if (clock_mono_ms() < f->ask_lead_ms || !state_proven(f->o.state))
		return STEP_ON;
	prepare(f, ordinal_of(f, f->leader_url), false, &h);
	if (handover_run(&h, &err) == 0)
		return leads_now(f, &h);
	note_refusal(f, &err);
	f->related = f->related && err.code != SP_EUNKNOWN;
	return STEP_ON;
}

/* The lead was given to this pod, which had not begun to lead when it, or the other, ended. */
static int64_t
succeed(struct follower *f, const struct handover_search *s, struct sp_error *err)
{
	struct handover h;
	char url[POSITION_URL_MAX];
	int rc;

	if (conf_peer_url(&f->conf, s->from, url, sizeof(url), err) < 0)
		return STEP_ON;
	log_info("the lead was released to this pod", LOG_U64("from", s->from), LOG_U64("epoch", s->released.epoch),
	    LOG_U64("seq", s->released.seq));
	follower_follow(f, url);
	f->frozen = true;
	prepare(f, s->from, s->released.lead.despite != LEAD_NOBODY, &h);
	rc = catch_up(&h, &s->released, clock_mono_ms() + HANDOVER_LONGEST_MS / 2, err);
	f->frozen = false;
	if (rc == 0)
		rc = handover_take(&h, err);
	if (rc == 0)
		return leads_now(f, &h);
	state_set_handover(f->o.state, err->text);
	return STEP_ON;
}

int64_t
follower_search(struct follower *f, struct sp_error *err)
{
	char before[SP_ERROR_TEXT_MAX], url[POSITION_URL_MAX];
	struct handover_search s;
	struct sp_error ours = { 0 };
	bool silent = err->code != SP_EUNAVAIL || f->leader.role == ROLE_LEADER;
	int rc;

	if (f->o.lead_from == NULL || f->own.raft.role != MEMBER_ROLE_NONE || clock_mono_ms() < f->search_ms)
		return STEP_ON;
	f->search_ms = clock_mono_ms() + SEARCH_EVERY_MS;
	if (!follower_begin_call(f, HANDOVER_CALL_MS))
		return 0;
	rc = handover_find(f->client, &f->conf, f->own.cluster, &s, &ours);
	follower_end_call(f, rc, &ours);
	if (rc < 0)
		return STEP_ON;
	if (s.found && conf_peer_url(&f->conf, s.ordinal, url, sizeof(url), &ours) == 0 &&
	    strcmp(url, f->leader_url) != 0) {
		follower_follow(f, url);
		return 0;
	}
	if (s.awaited)
		return succeed(f, &s, err);
	if (f->own.lead.kind == LEAD_RELEASED && f->own.lead.to != LEAD_NOBODY &&
	    lead_same_place(&f->own.lead, &f->own))
		snprintf(s.why, sizeof(s.why), "this pod handed the lead to pod %u, which does not lead yet",
		    f->own.lead.to);
	else if (s.why[0] == '\0')
		snprintf(s.why, sizeof(s.why), "no pod that holds the lead answers");
	state_set_handover(f->o.state, s.why);
	/* The one that the server sends clients to answered, and does not lead. */
	if (!silent)
		follower_tell_leader(f, "");
	snprintf(before, sizeof(before), "%s", err->text);
	sp_error_set(err, err->code, "%.500s; %s", before, s.why);
	return STEP_ON;
}
