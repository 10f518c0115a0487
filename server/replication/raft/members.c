/* Membership, on the leader's side: one change at a time, step by step, and the promotion of
 * stand-bys. On the loop's thread, unless said otherwise. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/json_text.h"
#include "lib/base/log.h"
#include "server/replication/raft/internal.h"

#define CHANGE_WAIT_MS 10000 /* a change that is not complete by then times out; what was done of it stays */

/* libraft's configuration as facts. */
static size_t
list_members(struct repl_raft *r, struct plan_member out[PLAN_MEMBERS_MAX])
{
	const struct raft_configuration *c = &r->raft.configuration;
	size_t n = c->n < PLAN_MEMBERS_MAX ? c->n : PLAN_MEMBERS_MAX;
	bool leads = raft_state(&r->raft) == RAFT_LEADER;

	for (size_t i = 0; i < n; i++) {
		int role = c->servers[i].role;

		out[i] = (struct plan_member){ .id = c->servers[i].id,
			.role = role == RAFT_VOTER     ? PLAN_VOTER
				: role == RAFT_STANDBY ? PLAN_STANDBY
						       : PLAN_SPARE,
			.match = leads ? r->raft.leader_state.progress[i].match_index : 0 };
	}
	return n;
}

void
repl_raft_members_publish(struct repl_raft *r)
{
	struct plan_member members[PLAN_MEMBERS_MAX];
	size_t n = r->closing ? 0 : list_members(r, members);

	if (r->closing)
		return;
	pthread_mutex_lock(&r->lock);
	memcpy(r->members, members, n * sizeof(members[0]));
	r->member_count = n;
	pthread_mutex_unlock(&r->lock);
}

/* --- The change under way --- */

static void
change_over(struct repl_raft *r, int code, const char *text)
{
	struct repl_change *c = r->change;

	r->change = NULL;
	r->change_busy = false;
	c->code = code == 0 ? 0 : sp_error_set(&c->err, code, "%s", text);
	c->done(c);
}

static void
step_over(struct raft_change *request, int status)
{
	struct repl_raft *r = request->data;

	r->change_busy = false;
	FAULT_POINT("raft.member_stepped");
	if (status != 0)
		log_warn("a change of members did not come about", LOG_STR("error", raft_strerror(status)));
	/* The next turn looks at what is left to do. */
	uv_async_send(&r->wake);
}

/* Begin a step at libraft. If it cannot begin now, a later turn retries it. */
static void
take_step(struct repl_raft *r, enum plan_step step, uint64_t id, const char *address)
{
	static const char *const names[] = { [PLAN_REMOVE] = "member removed",
		[PLAN_ADD] = "member added",
		[PLAN_STAND_BY] = "member stands by",
		[PLAN_PROMOTE] = "member is to vote" };
	int rc;

	r->change_request.data = r;
	r->change_busy = true;
	FAULT_POINT("raft.member_step");
	if (step == PLAN_REMOVE)
		rc = raft_remove(&r->raft, &r->change_request, id, step_over);
	else if (step == PLAN_ADD)
		rc = raft_add(&r->raft, &r->change_request, id, address, step_over);
	else
		rc = raft_assign(
		    &r->raft, &r->change_request, id, step == PLAN_PROMOTE ? RAFT_VOTER : RAFT_STANDBY, step_over);
	if (rc == 0) {
		log_info(names[step], LOG_U64("number", MEMBER_NUMBER(id)), LOG_U64("id", id));
		return;
	}
	r->change_busy = false;
	if (rc != RAFT_CANTCHANGE && r->change != NULL)
		change_over(r, SP_EAGAIN, raft_strerror(rc));
}

static enum plan_step
plan_change(struct repl_raft *r, const struct plan_facts *f, uint64_t *id)
{
	enum plan_step step;

	if (r->change->kind == REPL_REMOVE) {
		step = plan_remove(f, r->change->number, id);
		/* It was there when the change began. */
		return step == PLAN_NOT_THERE && r->change_begun ? PLAN_DONE : step;
	}
	pthread_mutex_lock(&r->lock);
	step = plan_add(f, &r->change_contact, directory_find(&r->directory, r->change_contact.number), id);
	pthread_mutex_unlock(&r->lock);
	return step;
}

static void
go_on(struct repl_raft *r, const struct plan_facts *f)
{
	uint64_t id = 0;
	enum plan_step step = plan_change(r, f, &id);
	char *text;

	switch (step) {
	case PLAN_DONE:
		change_over(r, 0, NULL);
		return;
	case PLAN_NOT_THERE:
		change_over(r, SP_ENOTFOUND, "no member has this number");
		return;
	case PLAN_REFUSE:
		change_over(r, SP_EPRECOND,
		    "this number is that of the leader, of the last voter, or of a member at another URL");
		return;
	case PLAN_HAND_OVER:
		r->change_handed = true;
		pthread_mutex_lock(&r->lock);
		r->hand_over = true;
		pthread_mutex_unlock(&r->lock);
		return;
	case PLAN_NOTE:
		/* The next turns find it in the directory; once is enough. */
		if (r->change_noted)
			return;
		text = contact_to_json(&r->change_contact);
		if (text != NULL)
			repl_raft_propose_text(r, ENTRY_MEMBER, text);
		free(text);
		FAULT_POINT("raft.member_noted");
		r->change_noted = true;
		return;
	case PLAN_REMOVE:
	case PLAN_ADD:
	case PLAN_STAND_BY:
	case PLAN_PROMOTE:
		r->change_begun = true;
		take_step(r, step, id, r->change_contact.raft);
		return;
	case PLAN_PROVE: /* no change asks for it */
		return;
	}
}

static bool
is_late(const struct repl_raft *r)
{
	return clock_mono_ms() > r->change_deadline_ms;
}

static bool
knows_leader(struct repl_raft *r)
{
	const char *address = NULL;
	raft_id leader = 0;

	raft_leader(&r->raft, &leader, &address);
	return leader != 0;
}

void
repl_raft_members_turn(struct repl_raft *r)
{
	struct plan_member members[PLAN_MEMBERS_MAX];
	struct plan_facts f = { .members = members, .self = r->self.id, .max_voters = r->max_voters };
	bool leads = raft_state(&r->raft) == RAFT_LEADER;
	enum plan_step step;
	uint64_t id;

	if (!leads) {
		r->change_busy = false;
		/* If the lead was handed over for this change, the answer names the new leader. */
		if (r->change != NULL && (!r->change_handed || knows_leader(r) || is_late(r)))
			change_over(r, SP_EAGAIN, "this pod does not lead any more");
		return;
	}
	if (r->change != NULL && is_late(r)) {
		change_over(r, SP_EAGAIN, "the change of members takes too long; what was done of it stays");
		return;
	}
	/* libraft takes one at a time, and we are to be done with one before the next. */
	if (r->change_busy || r->raft.configuration_uncommitted_index != 0 || r->raft.leader_state.promotee_id != 0)
		return;
	f.count = list_members(r, members);
	f.last_index = raft_last_index(&r->raft);
	f.pointed = r->pointed_index;
	if (r->change != NULL) {
		go_on(r, &f);
		return;
	}
	step = plan_promotion(&f, &id);
	if (step == PLAN_PROMOTE)
		take_step(r, step, id, NULL);
	else if (step == PLAN_PROVE)
		repl_raft_add_barrier(r);
}

void
repl_raft_members_take(struct repl_raft *r)
{
	struct repl_change *c;
	struct sp_error err;

	pthread_mutex_lock(&r->lock);
	c = r->change_queue;
	r->change_queue = NULL;
	pthread_mutex_unlock(&r->lock);
	if (c == NULL)
		return;
	c->code = 0;
	if (r->closing || raft_state(&r->raft) != RAFT_LEADER)
		c->code = sp_error_set(&c->err, SP_EAGAIN, "this pod does not lead");
	else if (r->change != NULL)
		c->code = sp_error_set(&c->err, SP_EAGAIN, "another change of members is under way");
	else if (c->kind == REPL_ADD && contact_from_json(c->text, c->len, &r->change_contact, &err) < 0)
		c->code = sp_error_set(&c->err, SP_EUSAGE, "%s", err.text);
	else if (c->kind == REPL_ADD && !transport_can_reach(r->change_contact.raft))
		c->code =
		    sp_error_set(&c->err, SP_EUSAGE, "member: \"raft\" must be host:port, the port from 1 to 65535");
	if (c->code < 0) {
		c->done(c);
		return;
	}
	r->change = c;
	r->change_begun = r->change_noted = r->change_handed = false;
	r->change_deadline_ms = clock_mono_ms() + CHANGE_WAIT_MS;
}

void
repl_raft_members_end(struct repl_raft *r)
{
	if (r->change != NULL)
		change_over(r, SP_EAGAIN, "the server stops");
}

/* --- What others ask. Any thread. --- */

int
repl_raft_members_json(struct repl_raft *r, struct buf *out)
{
	static const char *const roles[] = { "spare", "standby", "voter" };
	const struct contact *leader;
	json_t *list = json_array(), *root;
	struct position p;
	char *text, log[24];
	int rc;

	if (store_position(r->store, &p, NULL) < 0)
		p = (struct position){ 0 };
	snprintf(log, sizeof(log), "%" PRIu64, p.raft.log);
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < r->member_count; i++) {
		const struct plan_member *m = &r->members[i];
		const struct contact *c =
		    m->id == r->self.id ? &r->self : directory_find(&r->directory, MEMBER_NUMBER(m->id));
		char id[24];
		json_t *o;

		snprintf(id, sizeof(id), "%" PRIu64, m->id);
		o = json_pack("{si ss ss ss ss ss sb}", "number", (int)MEMBER_NUMBER(m->id), "id", id, "name",
		    c != NULL ? c->name : "", "url", c != NULL ? c->url : "", "raft", c != NULL ? c->raft : "", "role",
		    roles[m->role], "leader", (int)(m->id == r->leader_id));
		if (r->status.role == MEMBER_ROLE_LEADER)
			json_object_set_new(o, "match", json_integer((json_int_t)m->match));
		json_array_append_new(list, o);
	}
	leader = r->leader_id == r->self.id ? &r->self : directory_find(&r->directory, MEMBER_NUMBER(r->leader_id));
	root = json_pack("{ss ss ss sI so}", "cluster", p.cluster, "log", log, "leader",
	    r->leader_id != 0 && leader != NULL ? leader->url : "", "term", (json_int_t)r->status.term, "members",
	    list);
	pthread_mutex_unlock(&r->lock);
	text = text_of_json(root, JSON_COMPACT);
	rc = text != NULL ? buf_adds(out, text) : SP_ENOMEM;
	free(text);
	json_decref(root);
	return rc;
}
