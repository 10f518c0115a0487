#include <stdlib.h>
#include <string.h>

#include "lib/protocol/feed.h"
#include "tests/lib/suite.h"

#define CLUSTER "0f8fad5b-d9cb-469f-a165-70867728950e"

/* Where things stand in a feed, by the head of lib/protocol/feed.h. */
#define AT_HISTORY_COUNT 48
#define HEADER_BYTES(n)  (50 + 16 * (n))

static const struct position leader = { .cluster = CLUSTER,
	.epoch = 3,
	.seq = 20,
	.digest = { .high = 0x1122334455667788, .low = 0x99aabbccddeeff00 },
	.keys = 4,
	.horizon = 2,
	.history_count = 2,
	.history = { { .epoch = 1, .since = 0 }, { .epoch = 3, .since = 12 } } };

static struct buf feed;

static void
begin_feed(uint64_t since)
{
	buf_init(&feed, 1 << 20);
	ck_assert_int_eq(feed_write_header(&feed, &leader, since), 0);
}

/* Put, delete, empty value, keys with any bytes; a cut. */
static void
whole_feed(void)
{
	begin_feed(10);
	ck_assert_int_eq(feed_write_put(&feed, 11, "apple", 5, "red", 3), 0);
	ck_assert_int_eq(feed_write_delete(&feed, 13, "b\0rry", 5), 0);
	ck_assert_int_eq(feed_write_put(&feed, 15, "\xff", 1, "", 0), 0);
	ck_assert_int_eq(feed_write_put(&feed, 20, "PDCME", 5, "PDCME", 5), 0);
	ck_assert_int_eq(feed_write_cut(&feed, &leader), 0);
	ck_assert_int_eq(feed_write_end(&feed, 4), 0);
}

static int
check(struct feed_info *info, struct sp_error *err)
{
	return feed_check(feed.data, feed.len, info, err);
}

/* Give the feed a right end, whatever it says. */
static void
close_feed(uint32_t records)
{
	feed_write_cut(&feed, &leader);
	feed_write_end(&feed, records);
}

static void
assert_refused(int code, const char *why)
{
	struct feed_info info = { .seq = 4711 };
	struct sp_error err = { 0 };

	ck_assert_int_eq(check(&info, &err), code);
	ck_assert_int_eq(err.code, code);
	ck_assert_msg(strstr(err.text, why) != NULL, "\"%s\" does not say \"%s\"", err.text, why);
	ck_assert_uint_eq(info.seq, 4711);
	buf_release(&feed);
}

START_TEST(feed_check__tells_what_was_written)
{
	struct feed_info info;

	whole_feed();
	ck_assert_int_eq(check(&info, NULL), 0);
	ck_assert_str_eq(info.cluster, CLUSTER);
	ck_assert_uint_eq(info.epoch, 3);
	ck_assert_uint_eq(info.since, 10);
	ck_assert_uint_eq(info.horizon, 2);
	ck_assert_uint_eq(info.history_count, 2);
	ck_assert_uint_eq(info.history[0].epoch, 1);
	ck_assert_uint_eq(info.history[1].since, 12);
	ck_assert(info.cut);
	ck_assert_uint_eq(info.seq, 20);
	ck_assert(digest_equal(info.digest, leader.digest));
	ck_assert_uint_eq(info.keys, 4);
	ck_assert_uint_eq(info.records, 4);
	ck_assert_uint_eq(info.last_seq, 20);
	buf_release(&feed);
}
END_TEST

START_TEST(feed_next__walks_what_was_written)
{
	struct feed_record r;
	size_t cursor = 0;

	whole_feed();
	ck_assert_int_eq(feed_next(feed.data, feed.len, &cursor, &r), 1);
	ck_assert(!r.is_delete && r.seq == 11 && r.key_len == 5 && r.value_len == 3);
	ck_assert_mem_eq(r.key, "apple", 5);
	ck_assert_mem_eq(r.value, "red", 3);
	ck_assert_int_eq(feed_next(feed.data, feed.len, &cursor, &r), 1);
	ck_assert(r.is_delete && r.seq == 13 && r.key_len == 5);
	ck_assert_mem_eq(r.key, "b\0rry", 5);
	ck_assert_int_eq(feed_next(feed.data, feed.len, &cursor, &r), 1);
	ck_assert(!r.is_delete && r.seq == 15 && r.key_len == 1 && r.value_len == 0);
	ck_assert_int_eq(feed_next(feed.data, feed.len, &cursor, &r), 1);
	ck_assert(!r.is_delete && r.seq == 20);
	ck_assert_mem_eq(r.value, "PDCME", 5);
	ck_assert_int_eq(feed_next(feed.data, feed.len, &cursor, &r), 0);
	ck_assert_int_eq(feed_next(feed.data, feed.len, &cursor, &r), 0);
	buf_release(&feed);
}
END_TEST

START_TEST(feed_check__empty_with_cut_or_more)
{
	struct feed_info info;
	struct feed_record r;
	size_t cursor = 0;

	begin_feed(20);
	close_feed(0);
	ck_assert_int_eq(check(&info, NULL), 0);
	ck_assert(info.cut);
	ck_assert_uint_eq(info.records, 0);
	ck_assert_uint_eq(info.last_seq, 20);
	ck_assert_int_eq(feed_next(feed.data, feed.len, &cursor, &r), 0);
	buf_release(&feed);
	begin_feed(20);
	feed_write_more(&feed, 99);
	feed_write_end(&feed, 0);
	ck_assert_int_eq(check(&info, NULL), 0);
	ck_assert(!info.cut);
	ck_assert_uint_eq(info.seq, 99);
	buf_release(&feed);
}
END_TEST

/* Copied to its exact size, so that a look beyond the end is found. */
START_TEST(feed_check__every_truncation_is_refused)
{
	whole_feed();
	for (size_t len = 0; len < feed.len; len++) {
		char *part = malloc(len > 0 ? len : 1);
		struct feed_info info;
		struct sp_error err = { 0 };
		int rc;

		memcpy(part, feed.data, len);
		rc = feed_check(part, len, &info, &err);
		ck_assert_msg(rc == SP_ETRUNCATED || rc == SP_EBADDATA, "%zu of %zu bytes: %d", len, feed.len, rc);
		ck_assert_int_eq(err.code, rc);
		free(part);
	}
	buf_release(&feed);
}
END_TEST

START_TEST(feed_check__every_flipped_bit_is_refused)
{
	whole_feed();
	for (size_t at = 0; at < feed.len * 8; at++) {
		char *copy = malloc(feed.len);
		struct feed_info info;
		int rc;

		memcpy(copy, feed.data, feed.len);
		copy[at / 8] = (char)(copy[at / 8] ^ 1 << at % 8);
		rc = feed_check(copy, feed.len, &info, NULL);
		ck_assert_msg(rc == SP_ETRUNCATED || rc == SP_EBADDATA, "bit %zu of byte %zu: %d", at % 8, at / 8, rc);
		free(copy);
	}
	buf_release(&feed);
}
END_TEST

START_TEST(feed_check__what_follows_the_end_is_refused)
{
	struct buf once;

	whole_feed();
	buf_add(&feed, "", 1);
	assert_refused(SP_EBADDATA, "no end");
	whole_feed();
	buf_init(&once, 1 << 20);
	buf_add(&once, feed.data, feed.len);
	buf_add(&feed, once.data, once.len);
	buf_release(&once);
	assert_refused(SP_EBADDATA, "no end");
}
END_TEST

START_TEST(feed_check__no_feed_at_all)
{
	buf_init(&feed, 1000);
	assert_refused(SP_ETRUNCATED, "header");
	buf_init(&feed, 1000);
	buf_adds(&feed, "{\"seq\":1,\"op\":\"put\",\"key\":\"a\",\"value\":\"1\"}\n{\"cut\":{}}\n");
	assert_refused(SP_EBADDATA, "SPFEED1");
}
END_TEST

START_TEST(feed_check__a_history_that_is_none_is_refused)
{
	struct position p = leader;

	p.history_count = 0;
	buf_init(&feed, 1 << 20);
	feed_write_header(&feed, &p, 10);
	close_feed(0);
	assert_refused(SP_EBADDATA, "history of 0");

	begin_feed(10);
	feed.data[AT_HISTORY_COUNT] = POSITION_HISTORY_MAX + 1;
	close_feed(0);
	assert_refused(SP_EBADDATA, "history of 65");

	begin_feed(10);
	feed.data[AT_HISTORY_COUNT] = POSITION_HISTORY_MAX;
	close_feed(0);
	assert_refused(SP_ETRUNCATED, "history");

	/* The present epoch is the last. */
	p = leader;
	p.epoch = 4;
	buf_init(&feed, 1 << 20);
	feed_write_header(&feed, &p, 10);
	close_feed(0);
	assert_refused(SP_EBADDATA, "present epoch");

	/* Epochs grow, and begin where the one before ends or later. */
	p = leader;
	p.history[0].epoch = 3;
	buf_init(&feed, 1 << 20);
	feed_write_header(&feed, &p, 10);
	close_feed(0);
	assert_refused(SP_EBADDATA, "does not follow");
	p = leader;
	p.history[0].since = 13;
	buf_init(&feed, 1 << 20);
	feed_write_header(&feed, &p, 10);
	close_feed(0);
	assert_refused(SP_EBADDATA, "does not follow");
}
END_TEST

START_TEST(feed_check__the_longest_history_passes)
{
	struct position p = leader;
	struct feed_info info;

	p.history_count = POSITION_HISTORY_MAX;
	for (size_t i = 0; i < POSITION_HISTORY_MAX; i++)
		p.history[i] = (struct epoch_start){ .epoch = i + 1, .since = 5 };
	p.epoch = POSITION_HISTORY_MAX;
	buf_init(&feed, 1 << 20);
	feed_write_header(&feed, &p, 10);
	close_feed(0);
	ck_assert_int_eq(check(&info, NULL), 0);
	ck_assert_uint_eq(info.history_count, POSITION_HISTORY_MAX);
	ck_assert_uint_eq(info.history[POSITION_HISTORY_MAX - 1].epoch, POSITION_HISTORY_MAX);
	buf_release(&feed);
}
END_TEST

START_TEST(feed_check__seqs_must_grow)
{
	begin_feed(10);
	feed_write_put(&feed, 10, "a", 1, "1", 1);
	close_feed(1);
	assert_refused(SP_EBADDATA, "does not grow");
	begin_feed(10);
	feed_write_put(&feed, 12, "a", 1, "1", 1);
	feed_write_delete(&feed, 12, "b", 1);
	close_feed(2);
	assert_refused(SP_EBADDATA, "does not grow");
	begin_feed(10);
	feed_write_delete(&feed, 12, "a", 1);
	feed_write_put(&feed, 11, "b", 1, "1", 1);
	close_feed(2);
	assert_refused(SP_EBADDATA, "does not grow");
}
END_TEST

START_TEST(feed_check__keys_have_1_to_480_bytes)
{
	char key[FEED_KEY_MAX + 1];
	struct feed_info info;

	memset(key, 'k', sizeof(key));
	begin_feed(10);
	feed_write_put(&feed, 11, key, FEED_KEY_MAX, "1", 1);
	feed_write_delete(&feed, 12, key, FEED_KEY_MAX);
	close_feed(2);
	ck_assert_int_eq(check(&info, NULL), 0);
	buf_release(&feed);
	for (size_t len = 0; len <= FEED_KEY_MAX + 1; len += FEED_KEY_MAX + 1) {
		begin_feed(10);
		feed_write_put(&feed, 11, key, len, "1", 1);
		close_feed(1);
		assert_refused(SP_EBADDATA, "key of");
		begin_feed(10);
		feed_write_delete(&feed, 11, key, len);
		close_feed(1);
		assert_refused(SP_EBADDATA, "key of");
	}
}
END_TEST

START_TEST(feed_check__a_value_longer_than_the_feed_is_cut_short)
{
	begin_feed(10);
	feed_write_put(&feed, 11, "a", 1, "1", 1);
	memset(feed.data + HEADER_BYTES(2) + 3, 0xff, 4);
	close_feed(1);
	assert_refused(SP_ETRUNCATED, "record");
}
END_TEST

START_TEST(feed_check__a_cut_before_the_last_record_is_refused)
{
	begin_feed(10);
	feed_write_put(&feed, 21, "a", 1, "1", 1);
	close_feed(1);
	assert_refused(SP_EBADDATA, "before its last record");
	begin_feed(10);
	feed_write_put(&feed, 21, "a", 1, "1", 1);
	feed_write_more(&feed, 20);
	feed_write_end(&feed, 1);
	assert_refused(SP_EBADDATA, "before its last record");
	begin_feed(21);
	close_feed(0);
	assert_refused(SP_EBADDATA, "before its last record");
}
END_TEST

/* A store that took these could tell its position to nobody, or would stand before its own epoch. */
START_TEST(feed_check__numbers_that_no_position_can_have_are_refused)
{
	struct position p = leader;
	struct feed_info info;

	p.seq = (uint64_t)INT64_MAX + 1;
	begin_feed(10);
	feed_write_cut(&feed, &p);
	feed_write_end(&feed, 0);
	assert_refused(SP_EBADDATA, "at most 9223372036854775807");

	p = leader;
	p.epoch = p.history[1].epoch = UINT64_MAX;
	buf_init(&feed, 1 << 20);
	feed_write_header(&feed, &p, 10);
	close_feed(0);
	assert_refused(SP_EBADDATA, "at most 9223372036854775807");

	p = leader;
	p.history[1].since = leader.seq + 1;
	buf_init(&feed, 1 << 20);
	feed_write_header(&feed, &p, 10);
	close_feed(0);
	assert_refused(SP_EBADDATA, "began after seq 21");

	/* The largest of all, in an epoch that has written nothing yet. */
	p = leader;
	p.epoch = p.history[1].epoch = p.seq = p.history[1].since = INT64_MAX;
	buf_init(&feed, 1 << 20);
	feed_write_header(&feed, &p, 10);
	feed_write_cut(&feed, &p);
	feed_write_end(&feed, 0);
	ck_assert_int_eq(check(&info, NULL), 0);
	ck_assert_uint_eq(info.seq, INT64_MAX);
	buf_release(&feed);
}
END_TEST

START_TEST(feed_check__wrong_entries_are_refused)
{
	begin_feed(10);
	buf_adds(&feed, "X");
	close_feed(0);
	assert_refused(SP_EBADDATA, "unknown entry 0x58");
	/* No cut. */
	begin_feed(10);
	feed_write_put(&feed, 11, "a", 1, "1", 1);
	feed_write_end(&feed, 1);
	assert_refused(SP_EBADDATA, "unknown entry 0x45");
	/* Two. */
	begin_feed(10);
	feed_write_more(&feed, 20);
	close_feed(0);
	assert_refused(SP_EBADDATA, "no end");
	/* A record after the cut. */
	begin_feed(10);
	feed_write_cut(&feed, &leader);
	feed_write_put(&feed, 11, "a", 1, "1", 1);
	feed_write_end(&feed, 1);
	assert_refused(SP_EBADDATA, "no end");
}
END_TEST

START_TEST(feed_check__another_number_of_records_is_refused)
{
	begin_feed(10);
	feed_write_put(&feed, 11, "a", 1, "1", 1);
	close_feed(2);
	assert_refused(SP_EBADDATA, "says 2 records, holds 1");
}
END_TEST

/* Two feeds, one behind the other, of which more and more bytes have come. */
START_TEST(feed_measure__finds_the_end_as_bytes_come)
{
	size_t first, cursor = 0, length;
	struct buf two;

	whole_feed();
	buf_init(&two, 1 << 20);
	buf_add(&two, feed.data, feed.len);
	buf_add(&two, feed.data, feed.len);
	first = feed.len;
	for (size_t len = 0; len < first; len++)
		ck_assert_int_eq(feed_measure(two.data, len, &cursor, &length, NULL), 0);
	for (size_t len = first; len <= two.len; len++) {
		ck_assert_int_eq(feed_measure(two.data, len, &cursor, &length, NULL), 1);
		ck_assert_uint_eq(length, first);
	}
	cursor = 0;
	ck_assert_int_eq(feed_measure(two.data, two.len, &cursor, &length, NULL), 1);
	ck_assert_uint_eq(length, first);
	buf_release(&two);
	buf_release(&feed);
}
END_TEST

START_TEST(feed_measure__bytes_that_begin_no_feed_are_refused)
{
	static const struct {
		size_t at;
		char byte;
	} wrong[] = { { 0, 'X' }, { AT_HISTORY_COUNT, 65 }, { HEADER_BYTES(2), 'X' } };
	struct sp_error err = { 0 };
	size_t cursor, length;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		whole_feed();
		feed.data[wrong[i].at] = wrong[i].byte;
		cursor = 0;
		ck_assert_int_eq(feed_measure(feed.data, feed.len, &cursor, &length, &err), SP_EBADDATA);
		ck_assert_int_eq(err.code, SP_EBADDATA);
		buf_release(&feed);
	}
}
END_TEST

/* An entry of four gigabytes is waited for; the caller has a limit. */
START_TEST(feed_measure__a_length_that_cannot_be_is_not_passed)
{
	size_t cursor = 0, length;

	whole_feed();
	memset(feed.data + HEADER_BYTES(2) + 3, 0xff, 4);
	ck_assert_int_eq(feed_measure(feed.data, feed.len, &cursor, &length, NULL), 0);
	ck_assert_uint_eq(cursor, HEADER_BYTES(2));
	buf_release(&feed);
}
END_TEST

START_TEST(feed_write__past_the_limit_is_toobig_and_adds_nothing)
{
	struct buf small;

	buf_init(&small, HEADER_BYTES(2));
	ck_assert_int_eq(feed_write_header(&small, &leader, 10), 0);
	ck_assert_int_eq(feed_write_put(&small, 11, "a", 1, "1", 1), SP_ETOOBIG);
	ck_assert_int_eq(feed_write_delete(&small, 11, "a", 1), SP_ETOOBIG);
	ck_assert_int_eq(feed_write_cut(&small, &leader), SP_ETOOBIG);
	ck_assert_int_eq(feed_write_more(&small, 20), SP_ETOOBIG);
	ck_assert_int_eq(feed_write_end(&small, 0), SP_ETOOBIG);
	ck_assert_uint_eq(small.len, HEADER_BYTES(2));
	buf_release(&small);
	buf_init(&small, 10);
	ck_assert_int_eq(feed_write_header(&small, &leader, 10), SP_ETOOBIG);
	buf_release(&small);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		feed_check__tells_what_was_written,
		feed_next__walks_what_was_written,
		feed_check__empty_with_cut_or_more,
		feed_check__every_truncation_is_refused,
		feed_check__every_flipped_bit_is_refused,
		feed_check__what_follows_the_end_is_refused,
		feed_check__no_feed_at_all,
		feed_check__a_history_that_is_none_is_refused,
		feed_check__the_longest_history_passes,
		feed_check__seqs_must_grow,
		feed_check__keys_have_1_to_480_bytes,
		feed_check__a_value_longer_than_the_feed_is_cut_short,
		feed_check__a_cut_before_the_last_record_is_refused,
		feed_check__numbers_that_no_position_can_have_are_refused,
		feed_check__wrong_entries_are_refused,
		feed_check__another_number_of_records_is_refused,
		feed_measure__finds_the_end_as_bytes_come,
		feed_measure__bytes_that_begin_no_feed_are_refused,
		feed_measure__a_length_that_cannot_be_is_not_passed,
		feed_write__past_the_limit_is_toobig_and_adds_nothing,
	};

	return suite_run("feed", tests, sizeof(tests) / sizeof(tests[0]), 30);
}
