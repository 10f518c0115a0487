/*
 * Who has which entries on disk, counted right. libraft 0.15 takes two things for more than they are:
 *
 * 1. A leader commits entries of former terms where a majority has them. Another leader may still replace those (Raft,
 *    section 5.4.2): only together with one of the present term are they safe. So until the first entry of this
 *    leader's term is on its own disk, whoever answers is counted as having what is committed already, and no more.
 * 2. A follower's answer names the last entry that it has stored, also where it goes beyond what it was sent. That may
 *    be what a former leader wrote there alone, and the present one counts it as its own. So an answer names what is
 *    committed, or was found to be the same as this leader's, and no more.
 *
 * What is told too little this way is told again with the next heartbeat. On the loop's thread.
 */
#include "server/replication/raft/internal.h"

/* --- A leader's side --- */

/* An entry of this term that is on disk here is the last one stored: libraft asks who has that. */
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

static int
send_message(struct raft_io *io, struct raft_io_send *request, const struct raft_message *m, raft_io_send_cb cb)
{
	struct repl_raft *r = raft_of_io(io);
	struct raft_message bounded = *m;
	struct raft_append_entries_result *result = &bounded.append_entries_result;

	if (m->type != RAFT_IO_APPEND_ENTRIES_RESULT)
		return r->send(io, request, m, cb);
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
	struct repl_raft *r = raft_of_io(io);
	bool appends = m->type == RAFT_IO_APPEND_ENTRIES;

	if (m->type == RAFT_IO_APPEND_ENTRIES_RESULT)
		bound_claim(r, &m->append_entries_result);
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
		raft_observe(r);
}

static int
start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	struct repl_raft *r = raft_of_io(io);

	r->recv = recv;
	return r->start(io, msecs, tick, received);
}

void
raft_count_watch(struct repl_raft *r)
{
	r->start = r->io.start;
	r->io.start = start;
	r->send = r->io.send;
	r->io.send = send_message;
	r->asked = r->same_until = r->same_term = r->term_first = 0;
}
