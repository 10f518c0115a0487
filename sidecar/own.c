#include "sidecar/own.h"

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
is_other_store(const struct own *o, const struct position *p)
{
	const struct position *before = &o->at;

	if (strcmp(before->cluster, p->cluster) != 0)
		return true;
	/* In mode raft who leads, and in which term, changes without any store becoming another. */
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
begin_life(struct own *o)
{
	o->life++;
	o->proven = false;
	o->target_known = false;
}

static void
note_answer(struct own *o, int64_t now_ms)
{
	o->asked = true;
	o->ok = true;
	o->seen_ms = now_ms;
}

/* The server says that its store is at `p`. True where a new life began. */
static bool
look(struct own *o, const struct position *p)
{
	bool other = o->known && is_other_store(o, p);

	if (other)
		begin_life(o);
	o->at = *p;
	o->known = true;
	return other;
}

void
own_init(struct own *o)
{
	memset(o, 0, sizeof(*o));
	o->life = 1;
}

bool
own_answered(struct own *o, uint64_t ticket, const struct position *p, int64_t now_ms)
{
	note_answer(o, now_ms);
	return ticket == o->ticket && look(o, p);
}

bool
own_failed(struct own *o, const struct sp_error *err)
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
own_told(struct own *o, const struct position *p, int64_t now_ms)
{
	note_answer(o, now_ms);
	o->ticket++;
	look(o, p);
}

void
own_set_applying(struct own *o, bool applying)
{
	o->applying = applying;
}

void
own_applied(struct own *o, const struct position *after, int64_t now_ms)
{
	note_answer(o, now_ms);
	o->ticket++;
	o->applying = false;
	o->at = *after;
	o->known = true;
}

void
own_set_target(struct own *o, uint64_t life, uint64_t target)
{
	if (life != o->life || (o->target_known && (is_member(&o->at) || target >= o->target)))
		return;
	o->target_known = true;
	o->target = target;
}

bool
own_prove(struct own *o, uint64_t life)
{
	uint64_t reached = is_member(&o->at) ? o->at.raft.applied : o->at.seq;

	if (life != o->life || o->proven || o->diverged_life != 0)
		return false;
	o->proven = o->known && o->at.consistent && o->target_known && reached >= o->target;
	return o->proven;
}

void
own_diverged(struct own *o, uint64_t life)
{
	if (o->diverged_life == 0)
		o->diverged_life = life;
	o->proven = false;
}

void
own_agrees(struct own *o)
{
	o->diverged_life = 0;
}

void
own_reseeded(struct own *o)
{
	begin_life(o);
	o->ticket++;
	o->known = false;
	o->diverged_life = 0;
}

bool
own_leads(const struct own *o)
{
	return o->known && o->at.role == ROLE_LEADER;
}
