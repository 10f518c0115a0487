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

void
plan_make(const struct facts *f, struct plan *out)
{
	memset(out, 0, sizeof(*out));
	if (f->mode == CONF_MODE_RAFT)
		plan_raft(f, out);
	else if (f->leader)
		plan_leader(f, out);
	else
		plan_follower(f, out);
}
