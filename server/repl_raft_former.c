/*
 * Connections to former members. libraft keeps the one to whoever it once sent to, and notices that the other side has
 * closed it when it sends next, which it never does to a member that was taken out; a pod that lost its volume comes
 * back as another member, and each time a descriptor would be left. So who has left is sent a message that means
 * nothing (an old vote, which nobody waits for) until libraft has noticed, and is not connected to again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "server/repl_raft_internal.h"

#define SEND_EVERY_MS 1000 /* the first one is taken by the kernel, whose answer makes the next one fail */

static bool
is_in(const struct member_list *l, raft_id id)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->all[i].id == id)
			return true;
	return false;
}

static void
add(struct member_list *l, raft_id id, const char *address)
{
	struct former *m = &l->all[l->count < MEMBER_LIST_MAX ? l->count++ : l->next++ % MEMBER_LIST_MAX];

	m->id = id;
	snprintf(m->address, sizeof(m->address), "%s", address);
}

/* Note who has left since the last look. */
static void
look(struct repl_raft *r)
{
	const struct raft_configuration *c = &r->raft.configuration;
	bool same = c->n == r->present.count;

	for (unsigned i = 0; same && i < c->n; i++)
		same = c->servers[i].id == r->present.all[i].id;
	if (same)
		return;
	for (size_t i = 0; i < r->present.count; i++) {
		const struct former *m = &r->present.all[i];

		if (!raft_is_member(r, m->id) && !is_in(&r->former, m->id))
			add(&r->former, m->id, m->address);
	}
	r->present.count = 0;
	for (unsigned i = 0; i < c->n && i < MEMBER_LIST_MAX; i++)
		add(&r->present, c->servers[i].id, c->servers[i].address);
}

static void
sent(struct raft_io_send *request, int status)
{
	(void)status;
	free(request);
}

static void
send_old_vote(struct repl_raft *r, const struct former *m)
{
	const struct raft_message message = { .type = RAFT_IO_REQUEST_VOTE_RESULT,
		.server_id = m->id,
		.server_address = m->address,
		.request_vote_result = { .term = 0, .vote_granted = false } };
	struct raft_io_send *request = calloc(1, sizeof(*request));

	if (request == NULL || r->io.send(&r->io, request, &message, sent) != 0)
		free(request);
}

bool
raft_has_left(struct repl_raft *r, raft_id id)
{
	return is_in(&r->former, id) && !raft_is_member(r, id);
}

void
raft_former_turn(struct repl_raft *r)
{
	int64_t now = clock_mono_ms();

	look(r);
	if (now < r->former_at_ms)
		return;
	r->former_at_ms = now + SEND_EVERY_MS;
	for (size_t i = 0; i < r->former.count; i++)
		if (raft_transport_is_connected(&r->transport, r->former.all[i].id) &&
		    !raft_is_member(r, r->former.all[i].id))
			send_old_vote(r, &r->former.all[i]);
}
