#include "sidecar/lag.h"

#include <string.h>

void
lag_init(struct lag_tracker *t, int64_t now_ms)
{
	memset(t, 0, sizeof(*t));
	t->silent_from_ms = now_ms;
}

/* Marks that our own store has reached say nothing any more. */
static void
drop_reached(struct lag_tracker *t, uint64_t local_store_seq)
{
	size_t reached = 0;

	while (reached < t->count && t->marks[reached].seq <= local_store_seq)
		reached++;
	memmove(t->marks, t->marks + reached, (t->count - reached) * sizeof(t->marks[0]));
	t->count -= reached;
}

void
lag_heard(
    struct lag_tracker *t, uint64_t leader_seq, uint64_t local_store_seq, int64_t now_ms, int64_t planned_silence_ms)
{
	if (leader_seq < t->leader_seq)
		t->count = 0;
	drop_reached(t, local_store_seq);
	if (leader_seq > local_store_seq && (t->count == 0 || t->marks[t->count - 1].seq < leader_seq)) {
		if (t->count == LAG_MARKS) {
			/* The newest mark takes the change on, with its earlier time: the lag is never told too small.
			 */
			t->marks[t->count - 1].seq = leader_seq;
		} else {
			t->marks[t->count++] = (struct lag_mark){ .seq = leader_seq, .learnt_ms = now_ms };
		}
	}
	t->known = true;
	t->leader_seq = leader_seq;
	t->silent_from_ms = now_ms + planned_silence_ms + LAG_GRACE_MS;
}

struct lag
lag_at(const struct lag_tracker *t, uint64_t local_store_seq, int64_t now_ms)
{
	struct lag lag = { .known = t->known };
	int64_t silence_ms = now_ms - t->silent_from_ms;

	if (t->leader_seq > local_store_seq)
		lag.changes = t->leader_seq - local_store_seq;
	for (size_t i = 0; i < t->count; i++) {
		if (t->marks[i].seq > local_store_seq) {
			lag.ms = now_ms - t->marks[i].learnt_ms;
			break;
		}
	}
	if (silence_ms > lag.ms)
		lag.ms = silence_ms;
	return lag;
}
