#include "lib/protocol/lead.h"

#include <string.h>

#include <jansson.h>

#include "lib/protocol/position.h"

static const char *const kinds[] = { "none", "held", "released" };
static const char *const states[] = { "none", "holding", "released", "done", "failed" };

const char *
lead_report_name(const struct lead_report *r)
{
	return states[r->state];
}

bool
lead_is_own(const struct position *p, unsigned ordinal, bool named, bool unpacked)
{
	bool recorded = p->lead.kind != LEAD_NONE && p->lead.pod == ordinal;

	/* A store that is restored, or was raft's, does not say which pod led in mode static
	 * before. */
	if (unpacked || p->raft.applied > 0)
		return named;
	if (recorded)
		return p->lead.kind == LEAD_HELD && p->writer;
	return named && p->writer && p->lead.kind == LEAD_NONE;
}

bool
lead_same_place(const struct lead *l, const struct position *own)
{
	return own->epoch == l->epoch && own->seq == l->seq && own->consistent && digest_equal(own->digest, l->digest);
}

bool
lead_awaits(const struct position *p, unsigned ordinal)
{
	return p->role == ROLE_FOLLOWER && p->lead.kind == LEAD_RELEASED && p->lead.to == ordinal &&
	       lead_same_place(&p->lead, p);
}

static json_int_t
ordinal_to_json(uint32_t ordinal)
{
	return ordinal == LEAD_NOBODY ? -1 : (json_int_t)ordinal;
}

static json_t *
report_to_json(const struct lead_report *r)
{
	return json_pack("{ss sI sI sI sI}", "state", states[r->state], "from", ordinal_to_json(r->from), "to",
	    ordinal_to_json(r->to), "pause_ms", (json_int_t)r->pause_ms, "at_ms", (json_int_t)r->wall_ms);
}

json_t *
lead_to_json(const struct position *p)
{
	const struct lead *l = &p->lead;
	char digest[DIGEST_HEX_SIZE];
	json_t *o;

	digest_to_hex(l->digest, digest);
	o = json_pack("{ss sb sI sI sI}", "kind", kinds[l->kind], "writer", (int)p->writer, "pod",
	    ordinal_to_json(l->pod), "to", ordinal_to_json(l->to), "despite", ordinal_to_json(l->despite));
	if (o != NULL && l->kind == LEAD_RELEASED &&
	    json_object_update_new(o, json_pack("{sI sI ss}", "epoch", (json_int_t)l->epoch, "seq", (json_int_t)l->seq,
					  "digest", digest)) < 0)
		goto fail;
	if (o != NULL && p->handover.state != HANDOVER_NONE &&
	    json_object_set_new(o, "handover", report_to_json(&p->handover)) < 0)
		goto fail;
	return o;
fail:
	json_decref(o);
	return NULL;
}

/* A word's place in a list, or -1. */
static int
word_from_json(json_t *v, const char *const *words, int count)
{
	for (int i = 0; json_is_string(v) && i < count; i++)
		if (strcmp(json_string_value(v), words[i]) == 0)
			return i;
	return -1;
}

static bool
ordinal_from_json(json_t *v, uint32_t *out)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < -1 || n >= LEAD_NOBODY)
		return false;
	*out = n < 0 ? LEAD_NOBODY : (uint32_t)n;
	return true;
}

static bool
number_from_json(json_t *v, uint64_t *out)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*out = (uint64_t)json_integer_value(v);
	return true;
}

static bool
report_from_json(json_t *o, struct lead_report *out)
{
	int state = word_from_json(json_object_get(o, "state"), states, sizeof(states) / sizeof(states[0]));

	if (state < 0 || !ordinal_from_json(json_object_get(o, "from"), &out->from) ||
	    !ordinal_from_json(json_object_get(o, "to"), &out->to))
		return false;
	out->state = state;
	out->pause_ms = json_integer_value(json_object_get(o, "pause_ms"));
	out->wall_ms = json_integer_value(json_object_get(o, "at_ms"));
	return true;
}

bool
lead_from_json(json_t *o, struct position *p)
{
	const char *digest = json_string_value(json_object_get(o, "digest"));
	int kind = word_from_json(json_object_get(o, "kind"), kinds, sizeof(kinds) / sizeof(kinds[0]));
	json_t *report = json_object_get(o, "handover");
	struct lead_report r = { .state = HANDOVER_NONE };
	struct lead l = { .kind = LEAD_NONE };

	if (!json_is_object(o) || kind < 0 || !ordinal_from_json(json_object_get(o, "pod"), &l.pod) ||
	    !ordinal_from_json(json_object_get(o, "to"), &l.to) ||
	    !ordinal_from_json(json_object_get(o, "despite"), &l.despite))
		return false;
	l.kind = (enum lead_kind)kind;
	if (l.kind == LEAD_RELEASED && (digest == NULL || digest_from_hex(digest, &l.digest) < 0 ||
					   !number_from_json(json_object_get(o, "epoch"), &l.epoch) ||
					   !number_from_json(json_object_get(o, "seq"), &l.seq)))
		return false;
	if (report != NULL && !report_from_json(report, &r))
		return false;
	p->lead = l;
	p->handover = r;
	p->writer = json_is_true(json_object_get(o, "writer"));
	return true;
}
