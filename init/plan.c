#include "init/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "init/plan_private.h"
#include "lib/base/utf8.h"

const char *
plan_action_name(enum plan_action a)
{
	static const char *const names[] = { "start", "create", "restore", "seed", "wait", "refuse" };

	return names[a];
}

void
plan_decide(struct plan *out, enum plan_action action, const char *fmt, ...)
{
	va_list ap;

	out->action = action;
	va_start(ap, fmt);
	vsnprintf(out->why, sizeof(out->why), fmt, ap);
	va_end(ap);
	utf8_repair(out->why); /* a peer's story may have been cut within a character */
}

bool
plan_more_advanced(const struct position *a, const struct position *b)
{
	if (a->epoch != b->epoch)
		return a->epoch > b->epoch;
	if (a->seq != b->seq)
		return a->seq > b->seq;
	return a->consistent && !b->consistent;
}

static bool
may_have_data(const struct peer_fact *peer)
{
	const struct peer_answer *a = &peer->answer;

	return !a->has_store && (peer->had_data || a->unclear);
}

const struct peer_fact *
plan_silent_peer(const struct facts *f, const struct peer_fact *most)
{
	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer_fact *peer = &f->peers[i];

		if (may_have_data(peer) && (!peer->had_data || most == NULL ||
					       plan_more_advanced(&peer->answer.position, &most->answer.position)))
			return peer;
	}
	return NULL;
}

size_t
plan_unreached(const struct facts *f)
{
	size_t count = 0;

	for (size_t i = 0; i < f->peer_count; i++)
		count += !f->peers[i].answer.reached;
	return count;
}

void
plan_wait_for_data(const struct facts *f, struct plan *out, const char *pod, const struct peer_fact *peer)
{
	plan_decide(out, PLAN_WAIT, "%s, %s, and %s may have data but cannot be asked (%.400s)", pod, facts_no_store(f),
	    peer->name, peer->answer.err.text);
	out->code = peer->answer.err.code == SP_EPERM ? SP_EPERM : SP_EAGAIN;
}

/* Whether all peers that report data are of one cluster. */
static bool
is_one_cluster(const struct facts *f)
{
	const char *cluster = NULL;

	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer_answer *a = &f->peers[i].answer;

		if (a->has_store && cluster != NULL && strcmp(cluster, a->position.cluster) != 0)
			return false;
		if (a->has_store)
			cluster = a->position.cluster;
	}
	return true;
}

/* Whether this pod leads although `rival` does: it wrote a later epoch itself, which has left the rival's behind. But
 * not where the rival is the pod that is named: this one was promoted by hand while that one led, and two that lead
 * lose one's writes. */
static bool
has_left_behind(const struct facts *f, const struct peer_fact *rival)
{
	return f->own.writer && !f->unpacked && rival->answer.position.epoch < f->own.epoch &&
	       (f->leader || rival->ordinal != f->leader_ordinal);
}

/* By the store's own record or, where that says nothing, the configuration. */
bool
plan_leads(const struct facts *f)
{
	const struct peer_fact *rival = facts_present_leader(f);

	if (f->store != STORE_PRESENT)
		return f->leader && (rival == NULL || (f->store == STORE_EMPTY && !is_one_cluster(f)));
	if (!lead_is_own(&f->own, f->ordinal, f->leader, f->unpacked))
		return false;
	return rival == NULL || has_left_behind(f, rival);
}

/* The configuration names this pod, another had the lead, and no pod that leads answers. */
static void
plan_waits_for_lead(const struct facts *f, struct plan *out)
{
	if (plan_majority_leads(f, f->own.cluster, out))
		return;
	plan_decide(out, PLAN_START,
	    "this pod is to lead, but does not hold the lead: it follows until the pod that holds it hands it over");
	for (size_t i = 0; i < f->peer_count; i++)
		if (f->peers[i].answer.has_store && lead_awaits(&f->peers[i].answer.position, f->ordinal))
			plan_decide(out, PLAN_START, "%s released the lead to this pod, which takes it when it runs",
			    f->peers[i].name);
}

void
plan_make(const struct facts *f, struct plan *out)
{
	memset(out, 0, sizeof(*out));
	if (f->mode == CONF_MODE_RAFT)
		plan_raft(f, out);
	else if (plan_leads(f))
		plan_leader(f, out);
	else if (f->leader && f->store == STORE_PRESENT && facts_present_leader(f) == NULL)
		plan_waits_for_lead(f, out);
	else
		plan_follower(f, out);
	out->follow = f->mode == CONF_MODE_STATIC && facts_present_leader(f) != NULL && !plan_leads(f);
}
