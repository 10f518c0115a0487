/* What a member may be sent at once, between libraft (played here) and the network. */
#include <check.h>

#include "server/replication/raft/internal.h"
#include "tests/lib/suite.h"

enum { PROBE = 0, PIPELINE = 1 };

#define ENTRIES 200
#define BYTES   (16u << 10)

static struct repl_raft r;
static struct raft_server servers[2];
static struct raft_progress progress[2];
static struct raft_entry entries[ENTRIES];

static void
set_up(void)
{
	r = (struct repl_raft){ .election_timeout_ms = 500 };
	servers[0] = (struct raft_server){ .id = 1, .role = RAFT_VOTER };
	servers[1] = (struct raft_server){ .id = 2, .role = RAFT_VOTER };
	r.raft.state = RAFT_LEADER;
	r.raft.configuration = (struct raft_configuration){ .servers = servers, .n = 2 };
	r.raft.leader_state.progress = progress;
	progress[1] = (struct raft_progress){ .state = PIPELINE, .next_index = 101, .match_index = 100 };
	for (size_t i = 0; i < ENTRIES; i++)
		entries[i].buf.len = BYTES;
}

/* libraft sends all after `prev`, and takes it for sent; what really is. */
static unsigned
send_after(raft_index prev)
{
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES,
		.server_id = 2,
		.append_entries = { .prev_log_index = prev,
		    .entries = entries,
		    .n_entries = ENTRIES,
		    .leader_commit = prev + ENTRIES } };

	repl_raft_flow_bound(&r, &m);
	ck_assert_uint_eq(m.append_entries.leader_commit, prev + m.append_entries.n_entries);
	if (progress[1].state == PIPELINE)
		progress[1].next_index = prev + 1 + ENTRIES;
	repl_raft_flow_settle(&r);
	return m.append_entries.n_entries;
}

START_TEST(repl_raft_flow__a_member_is_sent_a_window_and_more_when_it_answers)
{
	unsigned window =
	    (unsigned)((repl_raft_window_bytes(&r) + BYTES - 1) / BYTES); /* the last one reaches beyond it */

	ck_assert_uint_lt(window, ENTRIES);
	ck_assert_uint_eq(send_after(100), window);
	ck_assert_uint_eq(progress[1].next_index, 101 + window);
	/* Nothing is acknowledged: a heartbeat, behind what was sent. */
	ck_assert_uint_eq(send_after(100 + window), 0);
	ck_assert_uint_eq(progress[1].next_index, 101 + window);
	progress[1].match_index = 103;
	ck_assert_uint_eq(send_after(100 + window), 3);
	ck_assert_uint_eq(progress[1].next_index, 104 + window);
}
END_TEST

START_TEST(repl_raft_flow__an_entry_that_is_larger_goes_alone)
{
	entries[0].buf.len = repl_raft_window_bytes(&r) * 3;
	ck_assert_uint_eq(send_after(100), 1);
	ck_assert_uint_eq(send_after(101), 0);
	entries[0].buf.len = BYTES;
	progress[1].match_index = 101;
	ck_assert_uint_gt(send_after(101), 1);
}
END_TEST

START_TEST(repl_raft_flow__who_is_probed_is_sent_a_part)
{
	progress[1] = (struct raft_progress){ .state = PROBE, .next_index = 101, .match_index = 0 };
	ck_assert_uint_eq(send_after(100), PART_BYTES / BYTES);
	ck_assert_uint_eq(send_after(100), PART_BYTES / BYTES);
	ck_assert_uint_eq(progress[1].next_index, 101);
}
END_TEST

START_TEST(repl_raft_flow__small_entries_go_as_they_are)
{
	for (size_t i = 0; i < ENTRIES; i++)
		entries[i].buf.len = 64;
	ck_assert_uint_eq(send_after(100), ENTRIES);
	ck_assert_uint_eq(progress[1].next_index, 101 + ENTRIES);
}
END_TEST

START_TEST(repl_raft_flow__what_has_changed_meanwhile_is_left_alone)
{
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES,
		.server_id = 2,
		.append_entries = { .prev_log_index = 100, .entries = entries, .n_entries = ENTRIES } };

	repl_raft_flow_bound(&r, &m);
	progress[1].state = PROBE;
	progress[1].next_index = 300;
	repl_raft_flow_settle(&r);
	ck_assert_uint_eq(progress[1].next_index, 300);
	/* Nor is it later. */
	progress[1].state = PIPELINE;
	repl_raft_flow_settle(&r);
	ck_assert_uint_eq(progress[1].next_index, 300);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		repl_raft_flow__a_member_is_sent_a_window_and_more_when_it_answers,
		repl_raft_flow__an_entry_that_is_larger_goes_alone,
		repl_raft_flow__who_is_probed_is_sent_a_part,
		repl_raft_flow__small_entries_go_as_they_are,
		repl_raft_flow__what_has_changed_meanwhile_is_left_alone,
	};

	return suite_run_fixture("raft flow", tests, sizeof(tests) / sizeof(tests[0]), 20, set_up, NULL);
}
