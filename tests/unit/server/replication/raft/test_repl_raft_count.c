/* What members tell one another of their logs, between libraft (played here) and the network. */
#include <check.h>

#include "server/replication/raft/internal.h"
#include "tests/lib/suite.h"

static struct repl_raft r;
static raft_io_recv_cb network;                  /* what a message that comes is given to */
static struct raft_append_entries_result answer; /* libraft's, to the message that is looked at; term 0: none */
static struct raft_append_entries_result seen;   /* by libraft */
static raft_index seen_commit;                   /* the same, of an append */
static raft_index told;                          /* to the other side */

static int
fake_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	(void)io;
	(void)msecs;
	(void)tick;
	network = recv;
	return 0;
}

static int
fake_send(struct raft_io *io, struct raft_io_send *request, const struct raft_message *m, raft_io_send_cb cb)
{
	(void)io;
	(void)request;
	(void)cb;
	told = m->append_entries_result.last_log_index;
	return 0;
}

static const char address[] = "leader:9875";

static int
answer_to(raft_id id, const char *where, raft_index rejected, raft_index last)
{
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES_RESULT,
		.server_id = id,
		.server_address = where,
		.append_entries_result = {
		    .term = r.raft.current_term, .rejected = rejected, .last_log_index = last } };

	return r.io.send(&r.io, NULL, &m, NULL);
}

static void
say(raft_index rejected, raft_index last)
{
	ck_assert_int_eq(answer_to(1, address, rejected, last), 0);
}

static void
fake_recv(struct raft_io *io, struct raft_message *m)
{
	(void)io;
	if (m->type == RAFT_IO_APPEND_ENTRIES_RESULT)
		seen = m->append_entries_result;
	if (m->type == RAFT_IO_APPEND_ENTRIES)
		seen_commit = m->append_entries.leader_commit;
	if (answer.term > 0)
		say(answer.rejected, answer.last_log_index);
}

/* What libraft says when an append or a pointer has been written, which was asked for in term 5. */
static int put_answered;

static void
put_cb(struct raft_io_snapshot_put *request, int status)
{
	(void)request;
	(void)status;
	put_answered = answer_to(1, address, 0, 10);
}

static struct raft_io_snapshot_put *put_request;
static raft_io_snapshot_put_cb put_over;

static int
fake_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *request,
    const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
	(void)io;
	(void)trailing;
	(void)snapshot;
	put_request = request;
	put_over = cb;
	return 0;
}

static void
set_up(void)
{
	r = (struct repl_raft){ .log_bytes_max = 1 << 20 };
	r.io.start = fake_start;
	r.io.send = fake_send;
	r.io.snapshot_put = fake_put;
	repl_raft_count_watch(&r);
	ck_assert_int_eq(r.io.start(&r.io, 0, NULL, fake_recv), 0);
	r.raft.current_term = 5;
	r.raft.commit_index = 10;
	r.raft.state = RAFT_FOLLOWER;
	r.seen_state = RAFT_FOLLOWER;
}

/* A message of the leader's, which speaks of the log up to `last`, and libraft's answer at once. */
static void
hear(unsigned short type, raft_term term, raft_index last, raft_index rejected, raft_index stored)
{
	struct raft_message m = { .type = type };

	if (type == RAFT_IO_APPEND_ENTRIES)
		m.append_entries = (struct raft_append_entries){ .term = term, .prev_log_index = last };
	else
		m.install_snapshot = (struct raft_install_snapshot){ .term = term, .last_index = last };
	answer = (struct raft_append_entries_result){ .term = 5, .rejected = rejected, .last_log_index = stored };
	network(&r.io, &m);
}

START_TEST(repl_raft_count__follower_tells_what_was_found_the_same)
{
	hear(RAFT_IO_APPEND_ENTRIES, 5, 20, 0, 25);
	ck_assert_uint_eq(told, 20);
	/* Its disk is behind what it was sent. */
	hear(RAFT_IO_APPEND_ENTRIES, 5, 22, 0, 21);
	ck_assert_uint_eq(told, 21);
	/* Written, and what a former leader sent with it. */
	say(0, 25);
	ck_assert_uint_eq(told, 22);
	/* A hint at how long the log is, no claim. */
	hear(RAFT_IO_APPEND_ENTRIES, 5, 30, 30, 25);
	ck_assert_uint_eq(told, 25);
	say(0, 30);
	ck_assert_uint_eq(told, 22);
}
END_TEST

START_TEST(repl_raft_count__another_leader_another_log)
{
	hear(RAFT_IO_APPEND_ENTRIES, 5, 20, 0, 20);
	r.raft.current_term = 6;
	say(0, 20);
	ck_assert_uint_eq(told, 10);
	/* One of the former leader's that comes late says nothing of this one's log. */
	hear(RAFT_IO_APPEND_ENTRIES, 5, 18, 0, 20);
	ck_assert_uint_eq(told, 10);
	hear(RAFT_IO_APPEND_ENTRIES, 6, 15, 0, 20);
	ck_assert_uint_eq(told, 15);
}
END_TEST

START_TEST(repl_raft_count__follower_that_has_all_of_a_pointer_says_so)
{
	hear(RAFT_IO_INSTALL_SNAPSHOT, 5, 40, 0, 40);
	ck_assert_uint_eq(told, 40);
}
END_TEST

START_TEST(repl_raft_count__leader_counts_nobody_before_its_term_is_on_disk)
{
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES_RESULT };
	const struct {
		raft_index stored, rejected, told, seen;
	} rows[] = { { 20, 0, 20, 10 }, { 20, 0, 21, 10 }, { 20, 0, 7, 7 }, { 20, 18, 17, 17 }, { 21, 0, 21, 21 } };

	r.raft.state = RAFT_LEADER;
	r.seen_state = RAFT_LEADER;
	r.term_first = 21;
	answer.term = 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r.raft.last_stored = rows[i].stored;
		m.append_entries_result = (struct raft_append_entries_result){
			.term = 5, .rejected = rows[i].rejected, .last_log_index = rows[i].told
		};
		network(&r.io, &m);
		ck_assert_msg(seen.last_log_index == rows[i].seen, "row %zu", i);
	}
}
END_TEST

START_TEST(repl_raft_count__what_is_written_after_its_term_is_answered_to_nobody)
{
	const struct {
		raft_term term;
		unsigned short state;
		int told;
	} rows[] = { { 5, RAFT_FOLLOWER, 0 }, { 6, RAFT_FOLLOWER, RAFT_NOCONNECTION },
		{ 5, RAFT_CANDIDATE, RAFT_NOCONNECTION }, { 6, RAFT_LEADER, RAFT_NOCONNECTION } };
	struct raft_snapshot pointer = { 0 };
	struct raft_io_snapshot_put request;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r.raft.current_term = 5;
		r.raft.state = RAFT_FOLLOWER;
		ck_assert_int_eq(r.io.snapshot_put(&r.io, 1, &request, &pointer, put_cb), 0);
		r.raft.current_term = rows[i].term;
		r.raft.state = rows[i].state;
		put_over(put_request, 0);
		ck_assert_msg(put_answered == rows[i].told, "row %zu: %d", i, put_answered);
		/* What is asked now is answered, whoever is asked. */
		ck_assert_int_eq(answer_to(1, address, 10, 10), 0);
	}
}
END_TEST

START_TEST(repl_raft_count__nobody_is_not_answered)
{
	ck_assert_int_eq(answer_to(0, NULL, 0, 10), RAFT_NOCONNECTION);
	ck_assert_int_eq(answer_to(1, NULL, 0, 10), RAFT_NOCONNECTION);
}
END_TEST

/* What comes after these entries here may be a former leader's, and libraft would commit it. */
START_TEST(repl_raft_count__leaders_commit_goes_no_further_than_its_entries)
{
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES,
		.append_entries = { .term = 5, .prev_log_index = 20, .leader_commit = 30 } };

	answer.term = 0;
	network(&r.io, &m);
	ck_assert_uint_eq(seen_commit, 20);
	m.append_entries.leader_commit = 15;
	network(&r.io, &m);
	ck_assert_uint_eq(seen_commit, 15);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		repl_raft_count__follower_tells_what_was_found_the_same,
		repl_raft_count__another_leader_another_log,
		repl_raft_count__follower_that_has_all_of_a_pointer_says_so,
		repl_raft_count__leader_counts_nobody_before_its_term_is_on_disk,
		repl_raft_count__what_is_written_after_its_term_is_answered_to_nobody,
		repl_raft_count__nobody_is_not_answered,
		repl_raft_count__leaders_commit_goes_no_further_than_its_entries,
	};

	return suite_run_fixture("raft count", tests, sizeof(tests) / sizeof(tests[0]), 20, set_up, NULL);
}
