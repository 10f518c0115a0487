#include "sidecar/local_store.h"

#include <string.h>

static bool
is_member(const struct position *p)
{
	return p->raft.role != MEMBER_ROLE_NONE;
}

/* Whether `p` is where a store gets by applying its leader's changes from `before` on: also into a later epoch, which
 * the watch may see before the sync has noted what it applied. */
static bool
goes_on(const struct position *before, const struct position *p)
{
	enum relation r;

	if (p->epoch == before->epoch)
		return p->seq > before->seq || (p->seq == before->seq && digest_equal(p->digest, before->digest));
	r = position_relate(p, before, NULL, 0);
	return r == RELATION_SAME || r == RELATION_BEHIND || r == RELATION_BELOW_HORIZON;
}

/* Whether the store behind `p` may be another one than the one that stood at o->at. */
static bool
is_other_store(const struct local_store *o, const struct position *p)
{
	const struct position *before = &o->at;

	if (strcmp(before->cluster, p->cluster) != 0)
		return true;
	/* In mode raft the leader and the term change without any store becoming another. */
	if (is_member(before) && is_member(p))
		return before->raft.id != p->raft.id || p->raft.applied < before->raft.applied;
	if (before->role != p->role)
		return true;
	if (p->role == ROLE_LEADER)
		return false;
	if (o->applying)
		return !goes_on(before, p);
	return before->epoch != p->epoch || before->seq != p->seq || !digest_equal(before->digest, p->digest);
}

static void
begin_life(struct local_store *o)
{
	o->life++;
	o->proven = false;
	o->target_known = false;
}

static void
note_answer(struct local_store *o, int64_t now_ms)
{
	o->asked = true;
	o->ok = true;
	o->seen_ms = now_ms;
}

/* The server says that its store is at `p`. True if a new life began. */
static bool
look(struct local_store *o, const struct position *p)
{
	bool other = o->known && is_other_store(o, p);

	if (other)
		begin_life(o);
	o->at = *p;
	o->known = true;
	return other;
}

void
local_store_init(struct local_store *o)
{
	memset(o, 0, sizeof(*o));
	o->life = 1;
}

bool
local_store_answered(struct local_store *o, uint64_t ticket, const struct position *p, int64_t now_ms)
{
	note_answer(o, now_ms);
	return ticket == o->ticket && look(o, p);
}

bool
local_store_failed(struct local_store *o, const struct sp_error *err)
{
	bool was_ok = o->ok;

	if (was_ok)
		begin_life(o);
	o->asked = true;
	o->ok = false;
	o->error = *err;
	return was_ok;
}

void
local_store_told(struct local_store *o, const struct position *p, int64_t now_ms)
{
	note_answer(o, now_ms);
	o->ticket++;
	look(o, p);
}

void
local_store_set_applying(struct local_store *o, bool applying)
{
	o->applying = applying;
}

void
local_store_applied(struct local_store *o, const struct position *after, int64_t now_ms)
{
	note_answer(o, now_ms);
	o->ticket++;
	o->applying = false;
	o->at = *after;
	o->known = true;
}

void
local_store_set_target(struct local_store *o, uint64_t life, uint64_t target)
{
	if (life != o->life || (o->target_known && (is_member(&o->at) || target >= o->target)))
		return;
	o->target_known = true;
	o->target = target;
}

bool
local_store_prove(struct local_store *o, uint64_t life)
{
	uint64_t reached = is_member(&o->at) ? o->at.raft.applied : o->at.seq;

	if (life != o->life || o->proven || o->diverged_life != 0)
		return false;
	o->proven = o->known && o->at.consistent && o->target_known && reached >= o->target;
	return o->proven;
}

void
local_store_diverged(struct local_store *o, uint64_t life)
{
	if (o->diverged_life == 0)
		o->diverged_life = life;
	o->proven = false;
}

void
local_store_agrees(struct local_store *o)
{
	o->diverged_life = 0;
}

void
local_store_reseeded(struct local_store *o)
{
	begin_life(o);
	o->ticket++;
	o->known = false;
	o->diverged_life = 0;
}

bool
local_store_leads(const struct local_store *o)
{
	return o->known && o->at.role == ROLE_LEADER;
}
