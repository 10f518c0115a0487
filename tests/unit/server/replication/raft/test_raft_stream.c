/* What comes at the raft port: what libraft may see, and what it may not. */
#include "server/replication/raft/stream.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <raft.h>

#include "lib/base/le.h"
#include "server/replication/raft/entry.h"
#include "server/replication/raft/parts.h"
#include "tests/lib/suite.h"

#define SENDER 0x123450002ull
#define TERM   7

static unsigned char bytes[1 << 16];
static size_t length;
static struct member_stream stream;
static struct member_stream_facts facts;
static struct sp_error err;

static void
set_up(void)
{
	member_stream_init(&stream, SENDER);
	facts = (struct member_stream_facts){ .term = TERM, .term_max = TERM + 1000, .commit = 100 };
	length = 0;
}

static void
tear_down(void)
{
	member_stream_release(&stream);
}

static void
add(uint64_t value)
{
	le_put(bytes + length, value, 8);
	length += 8;
}

static void
add_bytes(const void *data, size_t len)
{
	memcpy(bytes + length, data, len);
	length += len;
}

static void
add_entry_head(uint64_t term, unsigned type, uint64_t size)
{
	add(term);
	add(type | size << 32);
}

/* A configuration of these members, padded as libraft does. */
static size_t
write_configuration(unsigned char *out, unsigned n, const char *const *addresses, const uint64_t *ids, unsigned role)
{
	size_t len = 9;

	memset(out, 0, 1024);
	out[0] = 1;
	le_put(out + 1, n, 8);
	for (unsigned i = 0; i < n; i++) {
		le_put(out + len, ids[i], 8);
		memcpy(out + len + 8, addresses[i], strlen(addresses[i]) + 1);
		len += 8 + strlen(addresses[i]) + 1;
		out[len++] = (unsigned char)role;
	}
	return (len + 7) / 8 * 8;
}

/* A batch of one put and one delete, of this term. */
static size_t
write_batch(unsigned char *out, uint64_t term)
{
	const struct repl_op ops[] = { { REPL_PUT, "key", 3, "value", 5 }, { REPL_DELETE, "gone", 4, NULL, 0 } };
	const struct entry e = { .kind = ENTRY_BATCH, .term = term, .batch = { .ops = ops, .count = 2 } };

	entry_encode(&e, out);
	return entry_size(&e);
}

/* An append of a configuration, a barrier and a batch; the numbers may be changed afterwards at their places. */
static void
add_append(uint64_t term)
{
	static const char *const addresses[] = { "a:1", "b:2" };
	static const uint64_t ids[] = { 1, 2 };
	unsigned char conf[1024], batch[1024];
	size_t conf_len = write_configuration(conf, 2, addresses, ids, RAFT_VOTER),
	       batch_len = write_batch(batch, term);

	add(RAFT_IO_APPEND_ENTRIES);
	add(40 + 3 * 16 + 8);
	add(term);
	add(200); /* previous entry */
	add(TERM - 1);
	add(150); /* commit */
	add(3);
	add_entry_head(TERM - 1, RAFT_CHANGE, conf_len);
	add_entry_head(TERM, RAFT_BARRIER, 8);
	add_entry_head(term, RAFT_COMMAND, batch_len);
	add(0x5555); /* libraft leaves 8 bytes */
	add_bytes(conf, conf_len);
	add(0);
	add_bytes(batch, batch_len);
}

#define FIRST_PART 32 /* bytes of the batch in the first of two parts */

/* An append of the batch in two parts. */
static void
add_parts(void)
{
	unsigned char batch[1024], part[1024];
	size_t len = write_batch(batch, TERM);
	struct part p = { .term = TERM, .total = (uint32_t)len, .len = FIRST_PART, .data = batch };

	add(RAFT_IO_APPEND_ENTRIES);
	add(40 + 2 * 16 + 8);
	add(TERM);
	add(200); /* previous entry */
	add(TERM - 1);
	add(150); /* commit */
	add(2);
	add_entry_head(TERM, RAFT_COMMAND, part_size(FIRST_PART));
	add_entry_head(TERM, RAFT_COMMAND, part_size(len - FIRST_PART));
	add(0x5555);
	part_encode(&p, part);
	add_bytes(part, part_size(p.len));
	p.offset = FIRST_PART;
	p.len = (uint32_t)len - FIRST_PART;
	p.data = batch + FIRST_PART;
	part_encode(&p, part);
	add_bytes(part, part_size(p.len));
}

static void
add_snapshot(void)
{
	static const char *const addresses[] = { "a:1" };
	static const uint64_t ids[] = { 1 };
	static const char pointer[64] = "{\"applied\": 110, \"cluster\": \"x\"}";
	unsigned char conf[1024];
	size_t conf_len = write_configuration(conf, 1, addresses, ids, RAFT_STANDBY);

	add(RAFT_IO_INSTALL_SNAPSHOT);
	add(40 + conf_len + 8 + 8);
	add(TERM);
	add(120);
	add(TERM);
	add(3);
	add(conf_len);
	add_bytes(conf, conf_len);
	add(sizeof(pointer));
	add(0x5555);
	add_bytes(pointer, sizeof(pointer));
}

static void
add_vote(uint64_t term)
{
	add(RAFT_IO_REQUEST_VOTE);
	add(40);
	add(term);
	add(SENDER);
	add(200);
	add(TERM);
	add(2);
}

static void
add_three(unsigned type, uint64_t a, uint64_t b, uint64_t c)
{
	add(type);
	add(24);
	add(a);
	add(b);
	add(c);
}

/* All of them, one after the other, in pieces of `piece` bytes. */
static int
check_all(size_t piece)
{
	int rc = 0;

	for (size_t done = 0; rc == 0 && done < length; done += piece)
		rc = member_stream_check(
		    &stream, &facts, bytes + done, length - done < piece ? length - done : piece, &err);
	return rc;
}

static void
add_all_kinds(void)
{
	add_vote(TERM + 1);
	add_three(RAFT_IO_REQUEST_VOTE_RESULT, TERM, 1, 1);
	add_append(TERM);
	add_parts();
	add_three(RAFT_IO_APPEND_ENTRIES_RESULT, TERM, 0, 203);
	add_snapshot();
	add_three(RAFT_IO_TIMEOUT_NOW, TERM, 203, TERM);
	add_three(RAFT_IO_REQUEST_VOTE_RESULT, 0, 0, 0); /* what former members are sent */
}

START_TEST(member_stream__all_kinds_pass_in_pieces_of_any_size)
{
	for (int i = 0; i < 3; i++)
		add_all_kinds();
	for (size_t piece = 1; piece < 100; piece++) {
		member_stream_release(&stream);
		member_stream_init(&stream, SENDER);
		ck_assert_msg(check_all(piece) == 0, "pieces of %zu: %s", piece, err.text);
	}
	ck_assert_int_eq(check_all(length), 0);
}
END_TEST

START_TEST(member_stream__heartbeat_with_and_without_the_unused_bytes)
{
	for (unsigned more = 0; more <= 8; more += 8) {
		add(RAFT_IO_APPEND_ENTRIES);
		add(40 + more);
		for (int i = 0; i < 4; i++)
			add(i == 0 ? TERM : 0);
		add(0);
		if (more > 0)
			add(99);
	}
	ck_assert_int_eq(check_all(length), 0);
}
END_TEST

static void
vote(void)
{
	add_vote(TERM);
}

static void
vote_result(void)
{
	add_three(RAFT_IO_REQUEST_VOTE_RESULT, TERM, 1, 1);
}

static void
append(void)
{
	add_append(TERM);
}

static void
append_result(void)
{
	add_three(RAFT_IO_APPEND_ENTRIES_RESULT, TERM, 0, 203);
}

static void
timeout_now(void)
{
	add_three(RAFT_IO_TIMEOUT_NOW, TERM, 203, TERM);
}

#define CONF_AT  112 /* in the append: after preamble, numbers, heads and unused bytes */
#define BATCH_AT (CONF_AT + 40 + 8)

#define PART_AT  96 /* in the append of parts */
#define PART2_AT (PART_AT + 24 + FIRST_PART)

/* Each is one number of a message that is good otherwise: offset from the message's beginning, size, new value. */
static const struct {
	const char *what;
	void (*message)(void);
	size_t at, size;
	uint64_t value;
} bad[] = {
	{ "type 0", vote, 0, 8, 0 },
	{ "type 7", vote, 0, 8, 7 },
	{ "a type beyond 16 bits", vote, 0, 8, 65536 + 3 },
	{ "an empty header", vote, 8, 8, 0 },
	{ "a vote's old size", vote, 8, 8, 32 },
	{ "a vote too long", vote, 8, 8, 48 },
	{ "the last term", vote, 16, 8, UINT64_MAX },
	{ "a term that is not possible", vote, 16, 8, TERM + 1001 },
	{ "term 0", vote, 16, 8, 0 },
	{ "a vote for another", vote, 24, 8, SENDER + 1 },
	{ "a vote with an index beyond all", vote, 32, 8, UINT64_MAX },
	{ "a vote with a log of a later term", vote, 40, 8, TERM + 1 },
	{ "a result too short", vote_result, 8, 8, 16 },
	{ "a result in a term that is not possible", vote_result, 16, 8, UINT64_MAX },
	{ "a result that is neither yes nor no", vote_result, 24, 8, 2 },
	{ "an append without room", append, 8, 8, 39 },
	{ "an append of 40 bytes and three entries", append, 8, 8, 40 },
	{ "an append a bit too long", append, 8, 8, 40 + 3 * 16 + 16 },
	{ "an append of a terabyte", append, 8, 8, (uint64_t)1 << 40 },
	{ "an append of term 0", append, 16, 8, 0 },
	{ "a previous index beyond all", append, 24, 8, UINT64_MAX - 1 },
	{ "a previous entry without a term", append, 32, 8, 0 },
	{ "a previous term without an entry", append, 24, 8, 0 },
	{ "a previous entry of a later term", append, 32, 8, TERM + 1 },
	{ "a commit beyond all", append, 40, 8, UINT64_MAX },
	{ "four entries in the heads of three", append, 48, 8, 4 },
	{ "two entries in the heads of three", append, 48, 8, 1 },
	{ "entries without end", append, 48, 8, UINT64_MAX },
	{ "as many entries as overflow", append, 48, 8, ((uint64_t)1 << 60) + 3 },
	{ "an entry of a later term", append, 56, 8, TERM + 1 },
	{ "an entry of term 0", append, 56, 8, 0 },
	{ "entries whose terms fall", append, 72, 8, TERM - 2 },
	{ "an entry of type 0", append, 64, 1, 0 },
	{ "an entry of type 4", append, 64, 1, 4 },
	{ "an entry of nothing", append, 84, 4, 0 },
	{ "an entry of 4 GiB", append, 84, 4, 0xfffffff8 },
	{ "an entry that is not padded", append, 84, 4, 9 },
	{ "a configuration of a later version", append, CONF_AT, 1, 2 },
	{ "a configuration of nobody", append, CONF_AT + 1, 8, 0 },
	{ "a configuration of more than there are", append, CONF_AT + 1, 8, 3 },
	{ "a configuration without end", append, CONF_AT + 1, 8, UINT64_MAX },
	{ "a member 0", append, CONF_AT + 9, 8, 0 },
	{ "a member without an address", append, CONF_AT + 17, 1, 0 },
	{ "a role 3", append, CONF_AT + 21, 1, 3 },
	{ "a member twice", append, CONF_AT + 22, 8, 1 },
	{ "an address twice", append, CONF_AT + 30, 3, 'a' | ':' << 8 | '1' << 16 },
	{ "an address without its end", append, CONF_AT + 32, 8, UINT64_MAX },
	{ "an entry of a later version", append, BATCH_AT, 1, 2 },
	{ "an entry of an unknown kind", append, BATCH_AT + 1, 1, 9 },
	{ "an unknown condition", append, BATCH_AT + 2, 1, 9 },
	{ "a batch of nothing", append, BATCH_AT + 4, 4, 0 },
	{ "more ops than there are", append, BATCH_AT + 4, 4, 3 },
	{ "ops without end", append, BATCH_AT + 4, 4, UINT32_MAX },
	{ "an entry proposed in another term", append, BATCH_AT + 8, 8, TERM - 1 },
	{ "a cluster's name that is none", append, BATCH_AT + 1, 1, ENTRY_FOUND },
	{ "a contact that is none", append, BATCH_AT + 1, 1, ENTRY_MEMBER },
	{ "an op of an unknown kind", append, BATCH_AT + 24, 1, 2 },
	{ "a key of nothing", append, BATCH_AT + 26, 2, 0 },
	{ "a key too long", append, BATCH_AT + 26, 2, 481 },
	{ "a value beyond its entry", append, BATCH_AT + 28, 4, 64 },
	{ "a value of 4 GiB", append, BATCH_AT + 28, 4, UINT32_MAX },
	{ "a part of nothing", add_parts, PART2_AT + 4, 4, 0 },
	{ "a part shorter than its entry", add_parts, PART2_AT + 4, 4, 4 },
	{ "a part beyond its entry", add_parts, PART2_AT + 4, 4, 1024 },
	{ "a part beyond its whole", add_parts, PART2_AT + 20, 4, 16 },
	{ "a part behind its whole", add_parts, PART2_AT + 16, 4, UINT32_MAX },
	{ "a whole without end", add_parts, PART2_AT + 20, 4, UINT32_MAX },
	{ "a part proposed in another term", add_parts, PART2_AT + 8, 8, TERM - 1 },
	{ "parts of a later version", add_parts, PART_AT + 24, 1, 2 },
	{ "parts of parts", add_parts, PART_AT + 25, 1, 4 },
	{ "parts of a batch of nothing", add_parts, PART_AT + 28, 4, 0 },
	{ "parts of a text", add_parts, PART_AT + 25, 1, ENTRY_MEMBER },
	{ "parts of an entry proposed in another term", add_parts, PART_AT + 32, 8, TERM - 1 },
	{ "a refusal beyond all", append_result, 24, 8, UINT64_MAX },
	{ "a last index beyond all", append_result, 32, 8, UINT64_MAX },
	{ "a hand-over of a later term", timeout_now, 32, 8, TERM + 1 },
	{ "a hand-over of an index beyond all", timeout_now, 24, 8, UINT64_MAX },
	{ "a snapshot of nothing", add_snapshot, 24, 8, 0 },
	{ "a snapshot of no term", add_snapshot, 32, 8, 0 },
	{ "a snapshot of a later term", add_snapshot, 32, 8, TERM + 1 },
	{ "a configuration of a later entry", add_snapshot, 40, 8, 121 },
	{ "a configuration longer than its header", add_snapshot, 48, 8, 1 << 20 },
	{ "a configuration as long as overflows", add_snapshot, 48, 8, UINT64_MAX - 7 },
	{ "a snapshot without bytes", add_snapshot, 80, 8, 0 },
	{ "a snapshot of a terabyte", add_snapshot, 80, 8, (uint64_t)1 << 40 },
	{ "a snapshot that is no pointer", add_snapshot, 96, 1, '[' },
	{ "a pointer beyond its snapshot", add_snapshot, 108, 2, '9' | '9' << 8 },
};

START_TEST(member_stream__what_no_member_sends_is_refused)
{
	for (size_t piece = 1; piece <= 4096; piece *= 8) {
		set_up();
		add_three(RAFT_IO_APPEND_ENTRIES_RESULT, TERM, 0, 0);
		bad[_i].message();
		if (piece == 1)
			ck_assert_msg(check_all(piece) == 0, "%s before the change: %s", bad[_i].what, err.text);
		le_put(bytes + 40 + bad[_i].at, bad[_i].value, bad[_i].size);
		member_stream_release(&stream);
		member_stream_init(&stream, SENDER);
		ck_assert_msg(check_all(piece) == SP_EBADDATA, "%s, in pieces of %zu", bad[_i].what, piece);
		ck_assert_msg(err.text[0] != '\0', "%s", bad[_i].what);
		member_stream_release(&stream);
	}
}
END_TEST

START_TEST(member_stream__leader_is_not_told_by_another_of_its_own_term)
{
	facts.leads = true;
	add_append(TERM);
	ck_assert_int_eq(check_all(length), SP_EBADDATA);
	tear_down();
	set_up();
	facts.leads = true;
	add_append(TERM + 1);
	ck_assert_int_eq(check_all(length), 0);
}
END_TEST

static uint64_t
term_of(void *arg, uint64_t index)
{
	ck_assert_ptr_null(arg);
	return index >= 190 && index <= 202 ? TERM - 1 : 0;
}

START_TEST(member_stream__committed_entries_stay)
{
	/* The append says: 200 and 201 are of TERM - 1, 202 of TERM. */
	facts.term_of = term_of;
	facts.commit = 201;
	add_append(TERM);
	ck_assert_msg(check_all(length) == 0, "%s", err.text);
	facts.commit = 202;
	ck_assert_int_eq(check_all(length), SP_EBADDATA);
	/* One of a former term, whom libraft answers, and does not believe. */
	tear_down();
	member_stream_init(&stream, SENDER);
	facts.term = TERM + 1;
	ck_assert_msg(check_all(length) == 0, "%s", err.text);
}
END_TEST

START_TEST(member_stream__nothing_is_allocated_on_a_mere_announcement)
{
	add(RAFT_IO_APPEND_ENTRIES);
	add(40 + 16 * (uint64_t)MEMBER_STREAM_ENTRIES_MAX);
	add(TERM);
	add(0);
	add(0);
	add(0);
	add(MEMBER_STREAM_ENTRIES_MAX);
	ck_assert_int_eq(check_all(length), 0);
	ck_assert_uint_le(stream.unit_size + stream.entries_size, 1024);
}
END_TEST

/* --- Terms --- */

START_TEST(term_bound__rise_at_once_and_by_the_second)
{
	struct term_bound t = { 0 };

	ck_assert_uint_eq(term_bound_most(&t, 5, 1000), 5 + TERM_BOUND_AT_ONCE);
	/* What it has risen by is gone, */
	ck_assert_uint_eq(term_bound_most(&t, 5 + TERM_BOUND_AT_ONCE, 1000), 5 + TERM_BOUND_AT_ONCE);
	/* and comes back by the second. */
	ck_assert_uint_eq(
	    term_bound_most(&t, 5 + TERM_BOUND_AT_ONCE, 4000), 5 + TERM_BOUND_AT_ONCE + 3 * TERM_BOUND_A_SECOND);
}
END_TEST

START_TEST(term_bound__never_reach_the_limit_by_jumps)
{
	struct term_bound t = { 0 };
	uint64_t term = 1;

	for (int64_t now_ms = 0; now_ms < 1000000; now_ms += 10)
		term = term_bound_most(&t, term, now_ms);
	ck_assert_uint_le(term, 1 + TERM_BOUND_AT_ONCE + 1000 * TERM_BOUND_A_SECOND);
}
END_TEST

START_TEST(term_bound__new_member_takes_its_clusters_term)
{
	struct term_bound t = { 0 };
	uint64_t old = 3 * TERM_BOUND_AT_ONCE;

	ck_assert_uint_eq(term_bound_most(&t, 0, 0), LOG_NUMBER_LIMIT);
	ck_assert_uint_eq(term_bound_most(&t, old, 10), old + TERM_BOUND_AT_ONCE);
	ck_assert_uint_eq(term_bound_most(&t, LOG_NUMBER_LIMIT - 1, 10), LOG_NUMBER_LIMIT - 1);
}
END_TEST

START_TEST(term_bound__churn_for_a_year_is_possible)
{
	struct term_bound t = { 0 };
	uint64_t term = 1, most;

	/* 150 elections a second, looked at once a minute. */
	for (int64_t minute = 0; minute < 365 * 24 * 60; minute++) {
		most = term_bound_most(&t, term, minute * 60000);
		term += 150 * 60;
		ck_assert_uint_ge(most, term);
	}
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("all");

	tcase_set_timeout(tc, 20);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, member_stream__all_kinds_pass_in_pieces_of_any_size);
	tcase_add_test(tc, member_stream__heartbeat_with_and_without_the_unused_bytes);
	tcase_add_loop_test(tc, member_stream__what_no_member_sends_is_refused, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(tc, member_stream__leader_is_not_told_by_another_of_its_own_term);
	tcase_add_test(tc, member_stream__committed_entries_stay);
	tcase_add_test(tc, member_stream__nothing_is_allocated_on_a_mere_announcement);
	tcase_add_test(tc, term_bound__rise_at_once_and_by_the_second);
	tcase_add_test(tc, term_bound__never_reach_the_limit_by_jumps);
	tcase_add_test(tc, term_bound__new_member_takes_its_clusters_term);
	tcase_add_test(tc, term_bound__churn_for_a_year_is_possible);
	return suite_run_case("raft_stream", tc);
}
