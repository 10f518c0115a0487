/*
 * Counts which member has which entries on disk. libraft 0.15 counts too much in three cases:
 *
 * 1. A leader commits entries of former terms if a majority has them. Another leader may still
 *    replace those (Raft, section 5.4.2): only together with one of the present term are they safe.
 *    So until the first entry of this leader's term is on its own disk, a member that answers is
 *    counted as having the entries that are committed already, and no more.
 * 2. A follower's answer names the last entry that it has stored, even if that is beyond the
 *    entries that it was sent. A former leader alone may have written that one, and the present
 *    leader counts it as its own. So an answer names entries that are committed, or were found to
 *    be the same as this leader's, and no more.
 * 3. When an append or a pointer has been written, libraft answers the leader that it knows at that
 *    moment, in the term of that moment. After a change of the term that leader asked for nothing,
 *    or does not exist (the address is NULL, or whatever a candidate keeps in its place). So only a
 *    member that has been a follower in the same term ever since answers. The new leader's next
 *    message is answered with what is on disk by then.
 *
 * The next heartbeat makes up for an answer that says too little. On the loop's thread.
 */
#include <stdlib.h>

#include "server/replication/raft/internal.h"

/* --- A leader's side --- */

/* An entry of this term that is on disk here is the last one stored: libraft counts the members
 * that have that. */
static void
bound_claim(struct repl_raft *r, struct raft_append_entries_result *result)
{
	if (raft_state(&r->raft) == RAFT_LEADER && r->raft.last_stored < r->term_first && result->rejected == 0 &&
	    result->last_log_index > r->raft.commit_index)
		result->last_log_index = r->raft.commit_index;
}

/* --- A follower's side --- */

static void
note_same(struct repl_raft *r, raft_index index)
{
	if (r->same_term != r->raft.current_term)
		r->same_until = 0;
	r->same_term = r->raft.current_term;
	if (index > r->same_until)
		r->same_until = index;
}

/* Whether this answers a message of another term, or has no recipient. */
static bool
is_late(const struct repl_raft *r, const struct raft_message *m)
{
	if (r->written_term != 0 && (r->raft.state != RAFT_FOLLOWER || r->written_term != r->raft.current_term))
		return true;
	return m->server_id == 0 || m->server_address == NULL;
}

static int
send_message(struct raft_io *io, struct raft_io_send *request, const struct raft_message *m, raft_io_send_cb cb)
{
	struct repl_raft *r = repl_raft_of_io(io);
	struct raft_message bounded = *m;
	struct raft_append_entries_result *result = &bounded.append_entries_result;

	/* libraft then releases the entries, and takes nothing for sent. */
	if (m->type == RAFT_IO_APPEND_ENTRIES && !repl_raft_flow_bound(r, &bounded))
		return RAFT_NOCONNECTION;
	if (m->type != RAFT_IO_APPEND_ENTRIES_RESULT)
		return r->send(io, request, &bounded, cb);
	if (is_late(r, m))
		return RAFT_NOCONNECTION;
	/* Within received(): this is the answer to what is being looked at. */
	if (result->rejected == 0 && r->asked > 0)
		note_same(r, r->asked);
	r->asked = 0;
	note_same(r, r->raft.commit_index);
	if (result->rejected == 0 && result->last_log_index > r->same_until)
		result->last_log_index = r->same_until;
	return r->send(io, request, &bounded, cb);
}

/* --- Both --- */

static void
received(struct raft_io *io, struct raft_message *m)
{
	struct repl_raft *r = repl_raft_of_io(io);
	bool appends = m->type == RAFT_IO_APPEND_ENTRIES;

	repl_raft_flow_settle(r);
	if (m->type == RAFT_IO_APPEND_ENTRIES_RESULT)
		bound_claim(r, &m->append_entries_result);
	if (!repl_raft_rollback_before(r, m))
		return;
	/* Later entries in the log here may be a former leader's: libraft would commit it with
	 * them. */
	if (appends && m->append_entries.leader_commit > m->append_entries.prev_log_index + m->append_entries.n_entries)
		m->append_entries.leader_commit = m->append_entries.prev_log_index + m->append_entries.n_entries;
	if (appends && m->append_entries.term >= r->raft.current_term)
		r->asked = m->append_entries.prev_log_index + m->append_entries.n_entries;
	if (m->type == RAFT_IO_INSTALL_SNAPSHOT && m->install_snapshot.term >= r->raft.current_term)
		r->asked = m->install_snapshot.last_index;
	r->recv(io, m);
	/* Taken into the log, and answered when they are written. */
	if (appends && r->asked > 0 && raft_last_index(&r->raft) >= r->asked)
		note_same(r, r->asked);
	r->asked = 0;
	/* A leader begins its term before the next message. */
	if (!r->closing && raft_state(&r->raft) != r->seen_state)
		repl_raft_observe(r);
}

/* A pointer on its way to the disk, with the request that it is for. */
struct watched_put {
	struct raft_io_snapshot_put request; /* first */
	struct repl_raft *owner;
	const struct raft_snapshot *pointer; /* libraft's, until it is answered */
	struct raft_io_snapshot_put *wanted; /* the same, answered by `cb` */
	raft_io_snapshot_put_cb cb;
	uint64_t term;
};

static void
put_over(struct raft_io_snapshot_put *request, int status)
{
	struct watched_put w = *(struct watched_put *)request;

	free(request);
	w.owner->puts--;
	if (status == 0)
		repl_raft_rollback_note(w.owner, w.pointer);
	w.owner->written_term = w.term;
	w.cb(w.wanted, status);
	w.owner->written_term = 0;
}

static int
snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *request,
    const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
	struct repl_raft *r = repl_raft_of_io(io);
	struct watched_put *w = malloc(sizeof(*w));
	int rc;

	if (w == NULL)
		return RAFT_NOMEM;
	*w = (struct watched_put){
		.owner = r, .pointer = snapshot, .wanted = request, .cb = cb, .term = r->raft.current_term
	};
	rc = r->snapshot_put(io, trailing, &w->request, snapshot, put_over);
	if (rc == 0)
		r->puts++;
	else
		free(w);
	return rc;
}

static int
start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	struct repl_raft *r = repl_raft_of_io(io);

	r->recv = recv;
	return r->start(io, msecs, tick, received);
}

void
repl_raft_count_watch(struct repl_raft *r)
{
	r->start = r->io.start;
	r->io.start = start;
	r->send = r->io.send;
	r->io.send = send_message;
	r->snapshot_put = r->io.snapshot_put;
	r->io.snapshot_put = snapshot_put;
	r->asked = r->same_until = r->same_term = r->term_first = r->written_term = 0;
}
