/*
 * The log is kept for a member that was sent a pointer: it is being seeded, and continues from the
 * pointer. Without that, a log that lasts for less than a seeding takes would have it seeded again
 * and again. On the loop's thread.
 */
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "server/replication/raft/internal.h"

#define HOLD_MS (10 * 60 * 1000) /* from when the pointer was sent */

/* A pointer that libraft reads in order to send it, with the request that it is for. */
struct watched_get {
	struct raft_io_snapshot_get request; /* first */
	struct repl_raft *owner;
	struct raft_io_snapshot_get *wanted; /* libraft's, answered by `cb` */
	raft_io_snapshot_get_cb cb;
};

static void
get_over(struct raft_io_snapshot_get *request, struct raft_snapshot *snapshot, int status)
{
	struct watched_get w = *(struct watched_get *)request;

	free(request);
	if (status == 0 && snapshot->index > w.owner->pointed_index)
		w.owner->pointed_index = snapshot->index;
	if (status == 0 && w.owner->held_index == 0) {
		w.owner->held_index = snapshot->index;
		w.owner->held_bytes = 0;
		w.owner->held_until_ms = clock_mono_ms() + HOLD_MS;
	}
	w.cb(w.wanted, snapshot, status);
}

static int
snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request, raft_io_snapshot_get_cb cb)
{
	struct repl_raft *r = repl_raft_of_io(io);
	struct watched_get *w = malloc(sizeof(*w));
	int rc;

	if (w == NULL)
		return RAFT_NOMEM;
	*w = (struct watched_get){ .owner = r, .wanted = request, .cb = cb };
	rc = r->snapshot_get(io, &w->request, get_over);
	if (rc != 0)
		free(w);
	return rc;
}

void
repl_raft_hold_watch(struct repl_raft *r)
{
	r->snapshot_get = r->io.snapshot_get;
	r->io.snapshot_get = snapshot_get;
	r->held_index = r->pointed_index = 0;
}

/* Whether no member needs more of the log than is kept for all. A member that is being seeded has
 * acknowledged the pointer, and nothing beyond it. */
static bool
all_are_near(const struct repl_raft *r, uint64_t index)
{
	const struct raft_configuration *c = &r->raft.configuration;

	if (raft_state((struct raft *)(uintptr_t)&r->raft) != RAFT_LEADER)
		return true;
	for (unsigned i = 0; i < c->n; i++)
		if (c->servers[i].role != RAFT_SPARE && c->servers[i].id != r->self.id &&
		    (r->raft.leader_state.progress[i].match_index + r->kept < index ||
			r->raft.leader_state.progress[i].match_index <= r->held_index))
			return false;
	return true;
}

bool
repl_raft_hold_is_on(struct repl_raft *r, uint64_t index, size_t bytes)
{
	if (r->held_index == 0)
		return false;
	r->held_bytes += bytes;
	if (r->held_bytes > r->log_bytes_max || clock_mono_ms() > r->held_until_ms) {
		atomic_fetch_add(&r->let_go, 1);
		log_warn("the log is not kept any longer for a member that is being seeded: it will be seeded again",
		    LOG_U64("from", r->held_index), LOG_U64("to", index), LOG_U64("bytes", r->held_bytes));
		r->held_index = 0;
	} else if (index > r->held_index && all_are_near(r, index)) {
		r->held_index = 0;
	}
	return r->held_index != 0;
}
