#include "server/replication/raft/plan.h"

#include <string.h>

#define NEARLY 1000 /* entries: a stand-by that lacks no more is caught up within a moment */

static const struct plan_member *
find_id(const struct plan_facts *f, uint64_t id)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->members[i].id == id)
			return &f->members[i];
	return NULL;
}

/* A member of this number other than `id`. */
static const struct plan_member *
find_number(const struct plan_facts *f, unsigned number, uint64_t id)
{
	for (size_t i = 0; i < f->count; i++)
		if (MEMBER_NUMBER(f->members[i].id) == number && f->members[i].id != id)
			return &f->members[i];
	return NULL;
}

static unsigned
count_voters(const struct plan_facts *f)
{
	unsigned voters = 0;

	for (size_t i = 0; i < f->count; i++)
		voters += f->members[i].role == PLAN_VOTER;
	return voters;
}

static bool
same_contact(const struct contact *a, const struct contact *b)
{
	return b != NULL && a->id == b->id && strcmp(a->name, b->name) == 0 && strcmp(a->url, b->url) == 0 &&
	       strcmp(a->raft, b->raft) == 0;
}

enum plan_step
plan_add(const struct plan_facts *f, const struct contact *c, const struct contact *known, uint64_t *id)
{
	uint64_t wanted = c->id != 0 ? c->id : MEMBER_ID(0, c->number);
	const struct plan_member *other = find_number(f, c->number, wanted);
	const struct plan_member *m = find_id(f, wanted);

	*id = wanted;
	if (m == NULL && other != NULL && other->id == f->self)
		return PLAN_REFUSE;
	/* Announced again, and running meanwhile; or another one is to have its number. */
	if (c->id == 0 && other != NULL)
		return known == NULL || strcmp(known->url, c->url) == 0 ? PLAN_DONE : PLAN_REFUSE;
	if (other != NULL) {
		*id = other->id;
		return PLAN_REMOVE;
	}
	if (!same_contact(c, known))
		return PLAN_NOTE;
	if (m == NULL)
		return PLAN_ADD;
	return m->role == PLAN_SPARE && c->id != 0 ? PLAN_STAND_BY : PLAN_DONE;
}

enum plan_step
plan_remove(const struct plan_facts *f, unsigned number, uint64_t *id)
{
	const struct plan_member *m = find_number(f, number, 0);

	if (m == NULL)
		return PLAN_NOT_THERE;
	*id = m->id;
	if (m->role == PLAN_VOTER && count_voters(f) == 1)
		return PLAN_REFUSE;
	return m->id == f->self ? PLAN_HAND_OVER : PLAN_REMOVE;
}

enum plan_step
plan_promotion(const struct plan_facts *f, uint64_t *id)
{
	const struct plan_member *best = NULL;

	for (size_t i = 0; i < f->count; i++) {
		const struct plan_member *m = &f->members[i];

		if (m->role == PLAN_STANDBY && m->match > 0 && m->match + NEARLY >= f->last_index &&
		    (best == NULL || m->match > best->match))
			best = m;
	}
	if (best == NULL || count_voters(f) >= f->max_voters)
		return PLAN_DONE;
	if (best->match <= f->pointed)
		return best->match == f->last_index ? PLAN_PROVE : PLAN_DONE;
	*id = best->id;
	return PLAN_PROMOTE;
}
