/*
 * Connections to former members. libraft keeps its connection to a member that it once sent to. It
 * notices that the other side has closed it when it sends next, which it never does to a removed
 * member. A pod that lost its volume comes back as another member, and each time a descriptor would
 * be left. So a former member is sent a message that means nothing (an old vote, for which no
 * member waits) until libraft has noticed, and is not connected to again.
 *
 * A follower says the same to the other members, once a second. So it has a connection to each when it comes to lead,
 * and need not look up names first, while nothing is committed; and one that a pod's end has closed is made anew before
 * it is needed.
 */
#include <stdlib.h>

#include "lib/base/clock.h"
#include "server/replication/raft/internal.h"

#define SEND_EVERY_MS 1000 /* the first one is taken by the kernel, whose answer makes the next one fail */

static void
sent(struct raft_io_send *request, int status)
{
	(void)status;
	free(request);
}

static void
send_old_vote(struct repl_raft *r, raft_id id, const char *address)
{
	const struct raft_message message = { .type = RAFT_IO_REQUEST_VOTE_RESULT,
		.server_id = id,
		.server_address = address,
		.request_vote_result = { .term = 0, .vote_granted = false } };
	struct raft_io_send *request = calloc(1, sizeof(*request));

	if (request == NULL || r->io.send(&r->io, request, &message, sent) != 0)
		free(request);
}

static void
stay_connected(struct repl_raft *r)
{
	const struct raft_configuration *c = &r->raft.configuration;

	for (unsigned i = 0; i < c->n; i++)
		if (c->servers[i].id != r->self.id && c->servers[i].role != RAFT_SPARE)
			send_old_vote(r, c->servers[i].id, c->servers[i].address);
}

void
repl_raft_departed_turn(struct repl_raft *r)
{
	int64_t now = clock_mono_ms();
	bool due = now >= r->former_at_ms;

	if (r->raft.configuration.n == 0)
		return;
	if (due)
		r->former_at_ms = now + SEND_EVERY_MS;
	for (size_t i = 0; i < r->transport.link_count; i++) {
		struct wire_link *link = &r->transport.links[i];

		if (repl_raft_is_member(r, link->id)) {
			link->was_member = true;
			link->let_go = false;
		} else if (due && link->was_member && link->connected) {
			send_old_vote(r, link->id, link->address);
		}
	}
	if (due && raft_state(&r->raft) == RAFT_FOLLOWER)
		stay_connected(r);
}
