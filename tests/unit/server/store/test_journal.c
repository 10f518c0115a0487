/* The journal's file: what was written is read, and what is not whole is not. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "server/store/journal_layout.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

static char dir[TEMPDIR_MAX];
static struct journal *journal;
static struct sp_error err;

/* What a reading found: the seqs of its groups, and all their changes as text. */
static uint64_t seqs[4096];
static size_t found;
static struct buf story;

static void
setup(void)
{
	tempdir_make(dir);
	ck_assert_msg(journal_create(dir, false, &journal, &err) == 0, "%s", err.text);
	buf_init(&story, SIZE_MAX);
}

static void
teardown(void)
{
	journal_close(journal);
	journal = NULL;
	buf_release(&story);
	tempdir_remove(dir);
}

static struct journal_group
group_of(uint64_t seq)
{
	return (struct journal_group){ .cluster = "a cluster",
		.epoch = 3,
		.base_seq = seq - 1,
		.base_digest = { 1, seq - 1 },
		.seq = seq,
		.digest = { 1, seq },
		.keys = 2 * seq };
}

/* A group of one change, with a value of so many bytes. */
static int
append(uint64_t seq, size_t value_len)
{
	struct journal_group g = group_of(seq);
	char key[32], *value = calloc(1, value_len + 1);
	struct journal_op op = { .is_delete = value_len == 0, .key = key, .value = value, .value_len = value_len };
	struct buf ops;
	int rc;

	op.key_len = (size_t)snprintf(key, sizeof(key), "key-%llu", (unsigned long long)seq);
	memset(value, 'v', value_len);
	buf_init(&ops, SIZE_MAX);
	ck_assert_int_eq(journal_add_op(&ops, &op), 0);
	rc = journal_append(journal, &g, ops.data, ops.len, &err);
	buf_release(&ops);
	free(value);
	return rc;
}

static int
note(const struct journal_group *g, const void *ops, size_t len, void *arg, struct sp_error *e)
{
	struct journal_group expected = group_of(g->seq);
	struct journal_op op;
	size_t at = 0;

	(void)arg;
	(void)e;
	ck_assert_mem_eq(g->cluster, expected.cluster, sizeof(expected.cluster));
	ck_assert_uint_eq(g->epoch, expected.epoch);
	ck_assert_uint_eq(g->base_seq, expected.base_seq);
	ck_assert_uint_eq(g->keys, expected.keys);
	ck_assert(digest_equal(g->base_digest, expected.base_digest));
	ck_assert(digest_equal(g->digest, expected.digest));
	seqs[found++] = g->seq;
	while (journal_next_op(ops, len, &at, &op) == 1)
		buf_printf(&story, "%s%.*s=%zu ", op.is_delete ? "-" : "", (int)op.key_len, (const char *)op.key,
		    op.value_len);
	ck_assert_uint_eq(at, len);
	return 0;
}

static int
read_back(void)
{
	found = 0;
	buf_reset(&story);
	return journal_read(dir, note, NULL, &err);
}

static void
overwrite(off_t at, const void *bytes, size_t len)
{
	int fd = open(tempdir_path(dir, JOURNAL_NAME), O_WRONLY);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, len, at), (ssize_t)len);
	close(fd);
}

static unsigned char
byte_at(off_t at)
{
	int fd = open(tempdir_path(dir, JOURNAL_NAME), O_RDONLY);
	unsigned char byte;

	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	close(fd);
	return byte;
}

static void
flip(off_t at)
{
	unsigned char byte = byte_at(at) ^ 0x10;

	overwrite(at, &byte, 1);
}

START_TEST(journal__gives_back_what_was_appended)
{
	ck_assert_int_eq(append(1, 10), 0);
	ck_assert_int_eq(append(2, 0), 0);
	ck_assert_int_eq(append(3, 9000), 0);
	ck_assert_int_eq(read_back(), 0);
	ck_assert_uint_eq(found, 3);
	ck_assert_str_eq(story.data, "key-1=10 -key-2=0 key-3=9000 ");
}
END_TEST

START_TEST(journal__an_empty_one_and_none)
{
	ck_assert_int_eq(read_back(), 0);
	ck_assert_uint_eq(found, 0);
	ck_assert_int_eq(journal_remove(dir, &err), 0);
	ck_assert_int_eq(read_back(), SP_ENOTFOUND);
	ck_assert_int_eq(journal_remove(dir, &err), 0);
	/* One that was being made when the end came. */
	ck_assert_int_eq(file_write_atomic(tempdir_path(dir, JOURNAL_NAME), "", 0, 0600, &err), 0);
	ck_assert_int_eq(read_back(), 0);
}
END_TEST

START_TEST(journal__the_areas_take_turns)
{
	for (uint64_t seq = 1; seq <= 10; seq++) {
		ck_assert_int_eq(append(seq, 100), 0);
		if (seq % 3 == 0)
			journal_switch(journal);
	}
	/* 1 2 3 | 4 5 6 | 7 8 9 | 10: the second area held 4 to 6 and begins again with 10. */
	ck_assert_int_eq(read_back(), 0);
	ck_assert_uint_eq(found, 4);
	ck_assert_uint_eq(seqs[0], 7);
	ck_assert_uint_eq(seqs[3], 10);
}
END_TEST

START_TEST(journal__an_area_that_is_full_takes_no_more)
{
	size_t n = 0;
	int rc;

	while ((rc = append(n + 1, 1 << 20)) == 0)
		n++;
	ck_assert_int_eq(rc, SP_ETOOBIG);
	ck_assert_uint_eq(n, JOURNAL_AREA_BYTES / journal_group_size((1 << 20) + 20));
	ck_assert_int_eq(append(n + 1, JOURNAL_GROUP_BYTES + 1), SP_ETOOBIG);
	journal_switch(journal);
	ck_assert_int_eq(append(n + 1, 1 << 20), 0);
	ck_assert_int_eq(read_back(), 0);
	ck_assert_uint_eq(found, n + 1);
}
END_TEST

START_TEST(journal__ends_with_the_last_whole_group)
{
	/* Cut within the head, within the changes, on each page of the third group. */
	static const off_t cuts[] = { 1, 60, 119, 121, 4095, 4096, 8191, 9000 };
	off_t third = JOURNAL_PAGE + 2 * JOURNAL_PAGE;
	size_t len = journal_group_size(9020) - (size_t)cuts[_i];
	void *zeros = calloc(1, len);

	ck_assert_int_eq(append(1, 10), 0);
	ck_assert_int_eq(append(2, 10), 0);
	ck_assert_int_eq(append(3, 9000), 0);
	overwrite(third + cuts[_i], zeros, len);
	free(zeros);
	ck_assert_int_eq(read_back(), 0);
	ck_assert_uint_eq(found, 2);
}
END_TEST

START_TEST(journal__a_bit_that_turned_is_found)
{
	/* In each field of the head, the changes, and not in what fills the page. */
	static const off_t at[] = { 0, 4, 8, 16, 24, 32, 40, 48, 56, 72, 88, 104, 120, 125, 130 };
	static const size_t groups[] = { 0, 2 };
	off_t group = JOURNAL_PAGE + (off_t)groups[_i % 2] * JOURNAL_PAGE;

	for (uint64_t seq = 1; seq <= 3; seq++)
		ck_assert_int_eq(append(seq, 10), 0);
	flip(group + at[_i / 2]);
	if (groups[_i % 2] == 2) {
		/* The last one: it may as well never have been finished. */
		ck_assert_int_eq(read_back(), 0);
		ck_assert_uint_eq(found, 2);
	} else {
		ck_assert_int_eq(read_back(), SP_EBADDATA);
		ck_assert_ptr_nonnull(strstr(err.text, "damaged"));
	}
	flip(group + at[_i / 2]);
	ck_assert_int_eq(read_back(), 0);
	ck_assert_uint_eq(found, 3);
}
END_TEST

START_TEST(journal__groups_of_an_earlier_turn_are_none_of_this)
{
	for (uint64_t seq = 1; seq <= 6; seq++)
		ck_assert_int_eq(append(seq, 10), 0);
	journal_switch(journal);
	ck_assert_int_eq(append(7, 10), 0);
	journal_switch(journal);
	ck_assert_int_eq(append(8, 10), 0);
	ck_assert_int_eq(read_back(), 0);
	ck_assert_uint_eq(found, 2);
	ck_assert_uint_eq(seqs[0], 7);
	ck_assert_uint_eq(seqs[1], 8);
	/* Torn, the first group of the new turn leaves the other area alone, and the rest of the old turn too. */
	flip(JOURNAL_PAGE + 10);
	ck_assert_int_eq(read_back(), 0);
	ck_assert_uint_eq(found, 1);
	ck_assert_uint_eq(seqs[0], 7);
}
END_TEST

START_TEST(journal__a_value_cannot_pass_for_a_group)
{
	struct journal_group g = group_of(2);
	struct journal_op op = { .key = "k", .key_len = 1 };
	struct buf forged, ops;
	char *value = calloc(1, 3 * JOURNAL_PAGE);

	/* A whole group of another journal, where a page of this one's begins; the group that it is in was cut. */
	ck_assert_int_eq(append(1, 10), 0);
	buf_init(&forged, SIZE_MAX);
	ck_assert_int_eq(file_read_all(tempdir_path(dir, JOURNAL_NAME), &forged, &err), 0);
	journal_close(journal);
	ck_assert_int_eq(journal_remove(dir, &err), 0);
	ck_assert_int_eq(journal_create(dir, false, &journal, &err), 0);
	op.value = value;
	op.value_len = 3 * JOURNAL_PAGE;
	memcpy(value + JOURNAL_PAGE - 120 - 7 - 1, forged.data + JOURNAL_PAGE, JOURNAL_PAGE);
	buf_init(&ops, SIZE_MAX);
	ck_assert_int_eq(journal_add_op(&ops, &op), 0);
	g.base_seq = 0;
	ck_assert_int_eq(journal_append(journal, &g, ops.data, ops.len, &err), 0);
	ck_assert_uint_eq(byte_at(2 * JOURNAL_PAGE), 's');
	flip(JOURNAL_PAGE + 125);
	ck_assert_int_eq(read_back(), 0);
	ck_assert_uint_eq(found, 0);
	buf_release(&ops);
	buf_release(&forged);
	free(value);
}
END_TEST

START_TEST(journal__what_is_no_journal_is_refused)
{
	unsigned char next = 3;

	ck_assert_int_eq(append(1, 10), 0);
	overwrite(8, &next, 1);
	ck_assert_int_eq(read_back(), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "format 3"));
	overwrite(0, "something", 9);
	ck_assert_int_eq(read_back(), SP_EBADDATA);
	ck_assert_int_eq(truncate(tempdir_path(dir, JOURNAL_NAME), 20), 0);
	ck_assert_int_eq(read_back(), SP_EBADDATA);
}
END_TEST

START_TEST(journal__changes_that_are_cut_are_bad_data)
{
	struct journal_op op = { .seq = _i == 0 ? 0 : 7, .key = "key", .key_len = 3, .value = "value", .value_len = 5 };
	struct buf ops;
	size_t at;

	buf_init(&ops, SIZE_MAX);
	ck_assert_int_eq(journal_add_op(&ops, &op), 0);
	for (size_t len = 1; len < ops.len; len++) {
		at = 0;
		ck_assert_int_eq(journal_next_op(ops.data, len, &at, &op), SP_EBADDATA);
		ck_assert_uint_eq(at, 0);
	}
	ops.data[0] = 4;
	at = 0;
	ck_assert_int_eq(journal_next_op(ops.data, ops.len, &at, &op), SP_EBADDATA);
	buf_release(&ops);
}
END_TEST

START_TEST(journal__a_change_keeps_a_seq_of_its_own)
{
	struct journal_op next = { .key = "a", .key_len = 1, .value = "1", .value_len = 1 }, op;
	struct journal_op gap = { .is_delete = true, .seq = UINT64_MAX - 1, .key = "b", .key_len = 1 };
	struct buf ops;
	size_t at = 0;

	buf_init(&ops, SIZE_MAX);
	ck_assert_int_eq(journal_add_op(&ops, &next), 0);
	ck_assert_int_eq(journal_add_op(&ops, &gap), 0);
	ck_assert_int_eq(journal_add_op(&ops, &next), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(journal_next_op(ops.data, ops.len, &at, &op), 1);
		ck_assert_int_eq(op.is_delete, i == 1);
		ck_assert_uint_eq(op.seq, i == 1 ? UINT64_MAX - 1 : 0);
		ck_assert_mem_eq(op.key, i == 1 ? "b" : "a", 1);
		ck_assert_uint_eq(op.value_len, i == 1 ? 0 : 1);
	}
	ck_assert_int_eq(journal_next_op(ops.data, ops.len, &at, &op), 0);
	buf_release(&ops);
}
END_TEST

/* Its changes are those of the present format that have no seq. */
START_TEST(journal__one_of_format_1_is_read)
{
	unsigned char former = 1;

	ck_assert_int_eq(append(1, 10), 0);
	ck_assert_int_eq(append(2, 0), 0);
	overwrite(8, &former, 1);
	ck_assert_int_eq(read_back(), 0);
	ck_assert_str_eq(story.data, "key-1=10 -key-2=0 ");
}
END_TEST

/* --- Synced later --- */

static void
begin_synced_later(void)
{
	journal_close(journal);
	ck_assert_int_eq(journal_remove(dir, &err), 0);
	ck_assert_int_eq(journal_create(dir, true, &journal, &err), 0);
	for (uint64_t seq = 1; seq <= 4; seq++)
		ck_assert_int_eq(append(seq, 10), 0);
}

/* While the machine lives, what a process wrote is all there: a group that is missing was damaged. */
START_TEST(journal_doubt__in_the_same_life_of_the_machine_there_is_none)
{
	ck_assert(!journal_in_doubt(dir));
	begin_synced_later();
	ck_assert(!journal_in_doubt(dir));
	flip(JOURNAL_PAGE + JOURNAL_PAGE + 125);
	ck_assert_int_eq(read_back(), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "damaged"));
}
END_TEST

START_TEST(journal_doubt__after_another_life_it_ends_where_a_group_is_missing)
{
	begin_synced_later();
	overwrite(JOURNAL_BOOT_AT, "another", 8);
	ck_assert(journal_in_doubt(dir));
	ck_assert_int_eq(read_back(), 0);
	ck_assert_uint_eq(found, 4);
	flip(JOURNAL_PAGE + JOURNAL_PAGE + 125);
	ck_assert_int_eq(read_back(), 0);
	ck_assert_uint_eq(found, 1);
	flip(JOURNAL_PAGE + 125);
	ck_assert_int_eq(read_back(), 0);
	ck_assert_uint_eq(found, 0);
}
END_TEST

static int
end_at_2(const struct journal_group *g, const void *ops, size_t len, void *arg, struct sp_error *e)
{
	int rc = note(g, ops, len, arg, e);

	return g->seq == 2 ? JOURNAL_END : rc;
}

START_TEST(journal_read__ends_where_the_visitor_says)
{
	for (uint64_t seq = 1; seq <= 4; seq++)
		ck_assert_int_eq(append(seq, 10), 0);
	journal_switch(journal);
	ck_assert_int_eq(append(5, 10), 0);
	ck_assert_int_eq(journal_read(dir, end_at_2, NULL, &err), 0);
	ck_assert_uint_eq(found, 2);
}
END_TEST

static TCase *
cases(void)
{
	TCase *all = tcase_create("journal");

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, journal__gives_back_what_was_appended);
	tcase_add_test(all, journal__an_empty_one_and_none);
	tcase_add_test(all, journal__the_areas_take_turns);
	tcase_add_test(all, journal__an_area_that_is_full_takes_no_more);
	tcase_add_loop_test(all, journal__ends_with_the_last_whole_group, 0, 8);
	tcase_add_loop_test(all, journal__a_bit_that_turned_is_found, 0, 30);
	tcase_add_test(all, journal__groups_of_an_earlier_turn_are_none_of_this);
	tcase_add_test(all, journal__a_value_cannot_pass_for_a_group);
	tcase_add_test(all, journal__what_is_no_journal_is_refused);
	tcase_add_loop_test(all, journal__changes_that_are_cut_are_bad_data, 0, 2);
	tcase_add_test(all, journal__a_change_keeps_a_seq_of_its_own);
	tcase_add_test(all, journal__one_of_format_1_is_read);
	tcase_add_test(all, journal_doubt__in_the_same_life_of_the_machine_there_is_none);
	tcase_add_test(all, journal_doubt__after_another_life_it_ends_where_a_group_is_missing);
	tcase_add_test(all, journal_read__ends_where_the_visitor_says);
	return all;
}

int
main(void)
{
	return suite_run_case("journal", cases());
}
