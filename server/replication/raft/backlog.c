/*
 * Bounds what is committed and not yet in the store, without ever making the loop wait: it has
 * heartbeats to send and votes to give.
 *
 * The committer takes each entry that libraft applies. When it has a certain amount of them, this
 * member is behind. A leader that is behind begins no new round: writes wait in its queue, which
 * refuses more when it is full. A follower that is behind keeps taking entries into its log and
 * acknowledges them, but lowers the commit index that comes with them, so that libraft applies
 * nothing for now; a commit index is a lower bound, so this is always allowed. libraft keeps such
 * entries in memory: when they are too many, an append becomes a heartbeat, and the leader sends
 * them again. The first append or heartbeat after the store has caught up applies what was held
 * back. On the loop's thread.
 */
#include "server/replication/raft/internal.h"

#define BACKLOG_JOBS 32768

bool
repl_raft_is_behind(struct repl_raft *r)
{
	bool behind;

	pthread_mutex_lock(&r->lock);
	behind = r->outstanding >= BACKLOG_JOBS || r->outstanding_bytes >= r->log_bytes_max;
	pthread_mutex_unlock(&r->lock);
	return behind;
}

/* Takes the entries out of the message. */
static void
make_heartbeat(struct raft_append_entries *a)
{
	raft_free(a->entries[0].batch);
	raft_free(a->entries);
	a->entries = NULL;
	a->n_entries = 0;
	if (a->leader_commit > a->prev_log_index)
		a->leader_commit = a->prev_log_index;
}

void
repl_raft_bound_backlog(struct repl_raft *r, struct raft_append_entries *a)
{
	raft_index applied = raft_last_applied(&r->raft);

	if (!repl_raft_is_behind(r)) {
		r->held_back_bytes = 0;
		return;
	}
	for (unsigned i = 0; i < a->n_entries; i++)
		r->held_back_bytes += a->entries[i].buf.len;
	if (a->n_entries > 0 && r->held_back_bytes > r->log_bytes_max)
		make_heartbeat(a);
	if (a->leader_commit > applied)
		a->leader_commit = applied;
}
