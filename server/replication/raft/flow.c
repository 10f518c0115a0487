/*
 * Limits the bytes on their way to each member to a window, so that a heartbeat never waits behind
 * more than that.
 *
 * libraft 0.15 sends all that a member lacks in one message, and a member that it has not heard
 * from yet (it probes) the same again with each heartbeat. Here a message is shortened before it is
 * sent: to the room that unacknowledged bytes leave in the window, if need be to a heartbeat; and
 * to one part's worth if libraft probes. A member that answers is sent the next piece with its
 * answer. libraft assumes that all that it handed over was sent, so its next index is corrected
 * afterwards; if it sends again before that, the member rejects entries that do not follow and
 * libraft probes, which costs time and nothing else. On the loop's thread.
 *
 * With each proposal libraft also sends to a member whose window is full, and keeps a reference to all that the member
 * lacks until the message is written. Such a member is sent no more than the heartbeats.
 */
#include "server/replication/raft/internal.h"

#define WINDOW_RATE  1024 /* bytes for each millisecond of the election timeout: half of that time passes at 2 MB/s */
#define WINDOW_LEAST (2u * PART_BYTES)

/* libraft's, of a member's progress. */
enum { PROBE = 0, PIPELINE = 1 };

size_t
repl_raft_window_bytes(const struct repl_raft *r)
{
	size_t bytes = (size_t)r->election_timeout_ms * WINDOW_RATE;

	return bytes > WINDOW_LEAST ? bytes : WINDOW_LEAST;
}

static struct raft_progress *
progress_of(const struct repl_raft *r, raft_id id, unsigned *at)
{
	const struct raft_configuration *c = &r->raft.configuration;

	for (unsigned i = 0; i < c->n && i < PLAN_MEMBERS_MAX; i++)
		if (c->servers[i].id == id) {
			*at = i;
			return &r->raft.leader_state.progress[i];
		}
	return NULL;
}

static uint32_t *
bytes_at(struct repl_raft *r, uint64_t index)
{
	return &r->sent_bytes[index & (FLOW_ENTRIES - 1)];
}

/* Bytes that the member may be sent beside what it has not acknowledged of the entries up to `sent`. */
static size_t
room_for(struct repl_raft *r, const struct raft_progress *p, uint64_t sent)
{
	size_t window = repl_raft_window_bytes(r), bytes = 0;

	if (p->state == PROBE)
		return PART_BYTES;
	if (sent > p->match_index + FLOW_ENTRIES)
		return 0;
	for (uint64_t i = p->match_index + 1; i <= sent && bytes < window; i++)
		bytes += *bytes_at(r, i);
	return window - (bytes < window ? bytes : window);
}

/* Where libraft sends twice before its next index is put right, the member lacks what the first message left out. */
static void
note_cut(struct flow_cut *cut, raft_id id, uint64_t next)
{
	if (cut->next == 0 || cut->id != id || next < cut->next)
		*cut = (struct flow_cut){ .id = id, .next = next };
}

bool
repl_raft_flow_bound(struct repl_raft *r, struct raft_message *m)
{
	struct raft_append_entries *a = &m->append_entries;
	uint64_t sent = a->prev_log_index;
	const struct raft_progress *p;
	unsigned n = 0, at = 0;
	size_t room;

	if (a->n_entries == 0 || raft_state(&r->raft) != RAFT_LEADER || (p = progress_of(r, m->server_id, &at)) == NULL)
		return true;
	room = room_for(r, p, sent);
	/* One that does not fit alone still has to get there. */
	while (n < a->n_entries && room > 0 && (p->state == PROBE || sent + n < p->match_index + FLOW_ENTRIES)) {
		size_t bytes = a->entries[n].buf.len;

		*bytes_at(r, sent + n + 1) = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
		room -= bytes < room ? bytes : room;
		n++;
	}
	if (n == a->n_entries)
		return true;
	if (n == 0 && r->io.time(&r->io) - p->last_send < r->raft.heartbeat_timeout)
		return false;
	if (p->state == PIPELINE)
		note_cut(&r->cuts_short[at], m->server_id, sent + n + 1);
	a->n_entries = n;
	/* A member commits what is committed here as far as its log goes, and what comes after these entries there may
	 * be a former leader's. */
	if (a->leader_commit > sent + n)
		a->leader_commit = sent + n;
	return true;
}

void
repl_raft_flow_settle(struct repl_raft *r)
{
	struct raft_progress *p;
	unsigned at;

	for (unsigned i = 0; i < PLAN_MEMBERS_MAX; i++) {
		if (r->cuts_short[i].next == 0)
			continue;
		if (!r->closing && raft_state(&r->raft) == RAFT_LEADER &&
		    (p = progress_of(r, r->cuts_short[i].id, &at)) != NULL && p->state == PIPELINE &&
		    p->next_index > r->cuts_short[i].next && p->match_index < r->cuts_short[i].next)
			p->next_index = r->cuts_short[i].next;
		r->cuts_short[i].next = 0;
	}
}
