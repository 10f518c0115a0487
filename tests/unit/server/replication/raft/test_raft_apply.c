/* When the log may be cut, and which entries are passed over: the state machine with libraft, which is played here. */
#include <check.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/protocol/feed.h"
#include "server/replication/raft/internal.h"
#include "tests/lib/suite.h"

#define LAST 20 /* the last entry that was applied, of term 3, which the log begins after */
#define TERM 3

static struct repl_raft r;

static void
set_up(void)
{
	r = (struct repl_raft){ .delivered = LAST, .log_bytes_max = 1 << 20, .kept = 10, .snapshot_every = 100 };
	r.raft.commit_index = r.raft.last_applied = LAST;
	r.raft.configuration_index = 1;
	r.raft.log.snapshot.last_index = LAST;
	r.raft.log.snapshot.last_term = TERM;
	r.raft.state = RAFT_FOLLOWER;
	repl_raft_fsm_setup(&r);
}

static int
cut(void)
{
	struct raft_buffer *bufs = NULL;
	unsigned n = 0;
	int rc = r.fsm.snapshot(&r.fsm, &bufs, &n);

	ck_assert_uint_eq(n, rc == 0);
	if (rc == 0)
		ck_assert_int_eq(r.fsm.snapshot_finalize(&r.fsm, &bufs, &n), 0);
	ck_assert_ptr_null(bufs);
	return rc;
}

START_TEST(repl_raft_apply__log_is_not_cut_while_a_change_is_open)
{
	ck_assert_int_eq(cut(), 0);
	r.raft.configuration_uncommitted_index = LAST + 1;
	ck_assert_int_eq(cut(), RAFT_BUSY);
	/* After a restart libraft takes it for committed. */
	r.raft.configuration_uncommitted_index = 0;
	r.raft.configuration_index = LAST + 1;
	ck_assert_int_eq(cut(), RAFT_BUSY);
	r.raft.commit_index = LAST + 1;
	ck_assert_int_eq(cut(), 0);
}
END_TEST

START_TEST(repl_raft_apply__log_is_not_cut_while_entries_are_rolled_back)
{
	r.truncating = true;
	ck_assert_int_eq(cut(), RAFT_BUSY);
	r.truncating = false;
	ck_assert_int_eq(cut(), 0);
}
END_TEST

START_TEST(repl_raft_apply__log_is_not_cut_before_what_the_store_holds)
{
	r.delivered = LAST + 1;
	ck_assert_int_eq(cut(), RAFT_BUSY);
	r.raft.last_applied = LAST + 1;
	ck_assert_int_eq(cut(), 0);
}
END_TEST

static void
take_first_part(uint64_t term)
{
	const struct part first = { .term = term, .total = 16, .len = 8, .data = "12345678" };

	ck_assert_int_eq(parts_take(&r.parts, &first, NULL), 0);
}

START_TEST(repl_raft_apply__log_is_not_cut_between_two_parts)
{
	take_first_part(TERM);
	ck_assert_int_eq(cut(), RAFT_BUSY);
	ck_assert_ptr_nonnull(r.parts.whole);
	parts_drop(&r.parts);
	ck_assert_int_eq(cut(), 0);
}
END_TEST

START_TEST(repl_raft_apply__parts_of_a_former_term_keep_nothing)
{
	take_first_part(TERM - 1);
	ck_assert_int_eq(cut(), 0);
	ck_assert_ptr_null(r.parts.whole);
}
END_TEST

START_TEST(repl_raft_apply__hold_ends_by_its_time_without_a_write)
{
	struct raft_server servers[] = { { .id = 1, .role = RAFT_VOTER }, { .id = 2, .role = RAFT_VOTER } };
	struct raft_progress progress[2] = { { 0 }, { .match_index = 5 } };

	r.self.id = 1;
	r.raft.state = RAFT_LEADER;
	r.raft.configuration.servers = servers;
	r.raft.configuration.n = 2;
	r.raft.leader_state.progress = progress;
	r.held_index = 5;
	r.held_until_ms = clock_mono_ms() + 1000000;
	ck_assert_int_eq(cut(), RAFT_BUSY);
	r.held_until_ms = clock_mono_ms() - 1;
	ck_assert_int_eq(cut(), 0);
	ck_assert_uint_eq(r.held_index, 0);
}
END_TEST

/* A committed entry in one part, which no member can have written. */
static void
apply_whole(const void *whole, size_t len)
{
	const struct part part = { .term = TERM, .total = (uint32_t)len, .len = (uint32_t)len, .data = whole };
	struct raft_buffer buf = { .base = malloc(part_size(len)), .len = part_size(len) };
	void *result;

	ck_assert_ptr_nonnull(buf.base);
	part_encode(&part, buf.base);
	ck_assert_int_eq(r.fsm.apply(&r.fsm, &buf, &result), 0);
	free(buf.base);
}

START_TEST(repl_raft_apply__whole_without_an_op_is_passed_over)
{
	const struct entry e = { .kind = ENTRY_BATCH, .term = TERM, .batch = { .condition = REPL_IF_ABSENT } };
	unsigned char whole[ENTRY_HEAD_BYTES];

	entry_encode(&e, whole);
	apply_whole(whole, sizeof(whole));
	ck_assert_uint_eq(r.delivered, LAST);
	ck_assert_uint_eq(r.outstanding, 0);
}
END_TEST

START_TEST(repl_raft_apply__whole_with_a_value_beyond_the_limit_is_passed_over)
{
	char *value = calloc(1, FEED_VALUE_MAX + 1);
	const struct repl_op op = { REPL_PUT, "key", 3, value, FEED_VALUE_MAX + 1 };
	const struct entry e = { .kind = ENTRY_BATCH, .term = TERM, .batch = { .ops = &op, .count = 1 } };
	unsigned char *whole = malloc(entry_size(&e));

	ck_assert_ptr_nonnull(value);
	ck_assert_ptr_nonnull(whole);
	entry_encode(&e, whole);
	apply_whole(whole, entry_size(&e));
	ck_assert_uint_eq(r.delivered, LAST);
	ck_assert_uint_eq(r.outstanding, 0);
	free(whole);
	free(value);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		repl_raft_apply__log_is_not_cut_while_a_change_is_open,
		repl_raft_apply__log_is_not_cut_while_entries_are_rolled_back,
		repl_raft_apply__log_is_not_cut_before_what_the_store_holds,
		repl_raft_apply__log_is_not_cut_between_two_parts,
		repl_raft_apply__parts_of_a_former_term_keep_nothing,
		repl_raft_apply__hold_ends_by_its_time_without_a_write,
		repl_raft_apply__whole_without_an_op_is_passed_over,
		repl_raft_apply__whole_with_a_value_beyond_the_limit_is_passed_over,
	};

	return suite_run_fixture("raft apply", tests, sizeof(tests) / sizeof(tests[0]), 20, set_up, NULL);
}
