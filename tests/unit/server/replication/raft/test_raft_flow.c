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
static raft_time now;
static unsigned went; /* messages that went to the network */

static raft_time
fake_time(struct raft_io *io)
{
	(void)io;
	return now;
}

static int
fake_send(struct raft_io *io, struct raft_io_send *request, const struct raft_message *m, raft_io_send_cb cb)
{
	(void)io;
	(void)request;
	(void)m;
	(void)cb;
	went++;
	return 0;
}

static void
set_up(void)
{
	r = (struct repl_raft){ .election_timeout_ms = 500 };
	r.io.send = fake_send;
	r.io.time = fake_time;
	repl_raft_count_watch(&r);
	now = 1000;
	went = 0;
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

START_TEST(repl_raft_flow__full_window_takes_a_heartbeat_now_and_then)
{
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES,
		.server_id = 2,
		.append_entries = { .entries = entries, .n_entries = ENTRIES } };

	m.append_entries.prev_log_index = 100 + send_after(100);
	r.raft.heartbeat_timeout = 50;
	progress[1].last_send = now;
	ck_assert_int_eq(r.io.send(&r.io, NULL, &m, NULL), RAFT_NOCONNECTION);
	now += 49;
	ck_assert_int_eq(r.io.send(&r.io, NULL, &m, NULL), RAFT_NOCONNECTION);
	ck_assert_uint_eq(went, 0);
	now++;
	ck_assert_int_eq(r.io.send(&r.io, NULL, &m, NULL), 0);
	ck_assert_uint_eq(went, 1);
	/* What is acknowledged makes room, and waits for nothing. */
	progress[1].last_send = now;
	progress[1].match_index = 103;
	ck_assert_int_eq(r.io.send(&r.io, NULL, &m, NULL), 0);
	ck_assert_uint_eq(went, 2);
}
END_TEST

START_TEST(repl_raft_flow__of_two_that_were_shortened_the_first_counts)
{
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES,
		.server_id = 2,
		.append_entries = { .prev_log_index = 100, .entries = entries, .n_entries = ENTRIES } };
	unsigned sent;

	ck_assert(repl_raft_flow_bound(&r, &m));
	sent = m.append_entries.n_entries;
	ck_assert_uint_lt(sent, ENTRIES);
	/* libraft goes on behind all that it handed over. */
	m.append_entries =
	    (struct raft_append_entries){ .prev_log_index = 100 + ENTRIES, .entries = entries, .n_entries = ENTRIES };
	ck_assert(repl_raft_flow_bound(&r, &m));
	progress[1].next_index = 101 + 2 * ENTRIES;
	repl_raft_flow_settle(&r);
	ck_assert_uint_eq(progress[1].next_index, 101 + sent);
}
END_TEST

START_TEST(repl_raft_flow__what_was_shortened_for_another_does_not_count)
{
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES,
		.server_id = 2,
		.append_entries = { .prev_log_index = 100, .entries = entries, .n_entries = ENTRIES } };

	r.cuts_short[1] = (struct flow_cut){ .id = 3, .next = 101 };
	ck_assert(repl_raft_flow_bound(&r, &m));
	progress[1].next_index = 101 + ENTRIES;
	repl_raft_flow_settle(&r);
	ck_assert_uint_eq(progress[1].next_index, 101 + m.append_entries.n_entries);
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
		repl_raft_flow__full_window_takes_a_heartbeat_now_and_then,
		repl_raft_flow__of_two_that_were_shortened_the_first_counts,
		repl_raft_flow__what_was_shortened_for_another_does_not_count,
	};

	return suite_run_fixture("raft flow", tests, sizeof(tests) / sizeof(tests[0]), 20, set_up, NULL);
}
