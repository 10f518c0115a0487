#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "server/http/changes.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

#define OTHER "7c9e6679-7425-40de-944b-e07fc1f90ae7"

static char dir[TEMPDIR_MAX];
static struct store *store;
static struct sp_error err;
static struct changes_cost cost;
static struct buf out;

/* a at 4 (once at 1), b at 2, c deleted at 5 (once at 3), a key of bytes at 6. */
static void
setup(void)
{
	tempdir_make(dir);
	store = test_store_new(dir);
	test_store_put(store, "a", "1");
	test_store_put(store, "b", "2");
	test_store_put(store, "c", "3");
	test_store_put(store, "a", "4");
	test_store_delete(store, "c");
	test_store_put(store, "\xff", "\xfe\x80");
	buf_init(&out, FEED_BYTES_MAX);
}

static void
teardown(void)
{
	buf_release(&out);
	store_free(store);
	tempdir_remove(dir);
}

static int
write_changes(const struct changes_query *q)
{
	struct store_view *v;
	int rc;

	buf_reset(&out);
	cost = (struct changes_cost){ 0 };
	ck_assert_int_eq(store_view_begin(store, &v, &err), 0);
	rc = changes_write(v, q, &out, &cost, &err);
	store_view_end(v);
	return rc;
}

static struct feed_info
info(void)
{
	struct feed_info f;

	ck_assert_msg(feed_check(out.data, out.len, &f, &err) == 0, "%s", err.text);
	return f;
}

START_TEST(changes_write__tells_each_key_once_and_cuts)
{
	struct changes_query q = { .since = 0, .limit = UINT64_MAX, .bytes = CHANGES_BYTES_DEFAULT };
	static const uint64_t seqs[] = { 2, 4, 5, 6 };
	struct feed_record r;
	size_t cursor = 0;

	ck_assert_int_eq(write_changes(&q), 0);
	ck_assert(info().cut);
	ck_assert_uint_eq(info().records, 4);
	ck_assert_uint_eq(info().seq, 6);
	ck_assert_uint_eq(info().keys, 3);
	ck_assert(digest_equal(info().digest, test_store_position(store).digest));
	for (size_t i = 0; i < 4; i++) {
		ck_assert_int_eq(feed_next(out.data, out.len, &cursor, &r), 1);
		ck_assert_uint_eq(r.seq, seqs[i]);
		ck_assert_int_eq(r.is_delete, seqs[i] == 5);
	}
	/* Catching up costs what changed, not the total. */
	ck_assert_uint_eq(cost.records, 4);
	q.since = 5;
	ck_assert_int_eq(write_changes(&q), 0);
	ck_assert_uint_eq(info().records, 1);
	ck_assert_uint_eq(cost.records, 1);
	q.since = 6;
	ck_assert_int_eq(write_changes(&q), 0);
	ck_assert_uint_eq(info().records, 0);
	ck_assert(info().cut);
	ck_assert_uint_eq(cost.records, 0);
}
END_TEST

START_TEST(changes_write__a_limit_on_the_last_record_is_a_cut)
{
	struct changes_query q = { .since = 0, .bytes = CHANGES_BYTES_DEFAULT };

	for (q.limit = 0; q.limit <= 5; q.limit++) {
		ck_assert_int_eq(write_changes(&q), 0);
		ck_assert_uint_eq(info().records, q.limit < 4 ? q.limit : 4);
		ck_assert_int_eq(info().cut, q.limit >= 4);
		ck_assert_uint_eq(info().seq, 6);
	}
}
END_TEST

/* One record at least, whatever its size, so that a follower always comes on. */
START_TEST(changes_write__ends_after_the_record_that_reaches_the_bytes)
{
	struct changes_query q = { .since = 0, .limit = UINT64_MAX, .bytes = 1 };
	static char value[100001];
	uint64_t since = 0;
	unsigned feeds = 0;

	memset(value, 'v', sizeof(value) - 1);
	for (char key[2] = "p"; key[0] < 'z'; key[0]++)
		test_store_put(store, key, value);
	do {
		q.since = since;
		ck_assert_int_eq(write_changes(&q), 0);
		ck_assert_uint_eq(info().records, 1);
		ck_assert_uint_gt(info().last_seq, since);
		since = info().last_seq;
		feeds++;
	} while (!info().cut);
	ck_assert_uint_eq(feeds, 14);
	q = (struct changes_query){ .limit = UINT64_MAX, .bytes = 250000 };
	ck_assert_int_eq(write_changes(&q), 0);
	ck_assert(!info().cut);
	ck_assert_uint_ge(out.len, 250000);
	ck_assert_uint_lt(out.len, 350000 + 1000);
}
END_TEST

START_TEST(changes_write__what_does_not_fit_is_toobig)
{
	struct changes_query q = { .limit = UINT64_MAX, .bytes = CHANGES_BYTES_DEFAULT };

	for (size_t limit = 0; limit < 150; limit += 10) {
		buf_release(&out);
		buf_init(&out, limit);
		ck_assert_int_eq(write_changes(&q), SP_ETOOBIG);
		ck_assert_int_eq(err.code, SP_ETOOBIG);
	}
}
END_TEST

/* A replica in the middle of a catch-up has no cut to offer, only what it has. */
START_TEST(changes_write__an_inconsistent_store_gives_no_cut)
{
	struct changes_query q = { .since = 6, .limit = UINT64_MAX, .bytes = CHANGES_BYTES_DEFAULT };
	struct position says = test_store_position(store);
	struct buf feed;

	test_store_follow(store);
	buf_init(&feed, 1 << 20);
	feed_write_header(&feed, &says, 6);
	feed_write_put(&feed, 7, "g", 1, "1", 1);
	feed_write_more(&feed, 99);
	feed_write_end(&feed, 1);
	ck_assert_int_eq(test_store_apply(store, &feed, &err), 0);
	ck_assert_int_eq(write_changes(&q), 0);
	ck_assert(!info().cut);
	ck_assert_uint_eq(info().records, 1);
	buf_release(&feed);
}
END_TEST

START_TEST(changes_write__ndjson_says_the_same)
{
	struct changes_query q = { .limit = UINT64_MAX, .bytes = CHANGES_BYTES_DEFAULT, .ndjson = true };
	struct position p = test_store_position(store);
	char want[1000], digest[DIGEST_HEX_SIZE];

	digest_to_hex(p.digest, digest);
	snprintf(want, sizeof(want),
	    "{\"seq\":2,\"op\":\"put\",\"key\":\"b\",\"value\":\"2\"}\n"
	    "{\"seq\":4,\"op\":\"put\",\"key\":\"a\",\"value\":\"4\"}\n"
	    "{\"seq\":5,\"op\":\"delete\",\"key\":\"c\"}\n"
	    "{\"seq\":6,\"op\":\"put\",\"key64\":\"/w==\",\"value64\":\"/oA=\"}\n"
	    "{\"cut\":{\"cluster\":\"%s\",\"epoch\":1,\"seq\":6,\"digest\":\"%s\",\"keys\":3}}\n",
	    p.cluster, digest);
	ck_assert_int_eq(write_changes(&q), 0);
	ck_assert_str_eq(out.data, want);
	q.limit = 1;
	ck_assert_int_eq(write_changes(&q), 0);
	ck_assert_str_eq(
	    out.data, "{\"seq\":2,\"op\":\"put\",\"key\":\"b\",\"value\":\"2\"}\n{\"more\":true,\"seq\":6}\n");
}
END_TEST

START_TEST(changes_check__where_the_asker_may_go_on)
{
	struct position here = { .cluster = "c",
		.epoch = 3,
		.seq = 30,
		.horizon = 5,
		.consistent = true,
		.history_count = 2,
		.history = { { 1, 0 }, { 3, 20 } } };
	static const struct {
		uint64_t since, epoch;
		const char *cluster;
		int code;
	} cases[] = {
		{ 5, 0, "", 0 },
		{ 4, 0, "", SP_EHORIZON },
		{ 0, 0, "", SP_EHORIZON },
		{ 30, 0, "", 0 },
		{ 31, 0, "", SP_EDIVERGED },
		{ 10, 0, "c", 0 },
		{ 10, 0, OTHER, SP_EDIVERGED },
		{ 10, 1, "c", 0 },
		{ 20, 1, "c", 0 },
		{ 21, 1, "c", SP_EDIVERGED },
		{ 21, 1, "", SP_EDIVERGED },
		{ 20, 3, "c", 0 },
		{ 30, 3, "c", 0 },
		{ 19, 3, "c", SP_EDIVERGED },
		{ 10, 2, "c", SP_EDIVERGED },
		{ 10, 4, "", SP_EDIVERGED },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct changes_query q = { .since = cases[i].since, .epoch = cases[i].epoch };
		int rc;

		snprintf(q.cluster, sizeof(q.cluster), "%s", cases[i].cluster);
		err.text[0] = '\0';
		rc = changes_check(&here, &q, &err);
		ck_assert_msg(rc == cases[i].code, "case %zu: %d %s", i, rc, err.text);
		ck_assert(rc == 0 || err.text[0] != '\0');
	}
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		changes_write__tells_each_key_once_and_cuts,
		changes_write__a_limit_on_the_last_record_is_a_cut,
		changes_write__ends_after_the_record_that_reaches_the_bytes,
		changes_write__what_does_not_fit_is_toobig,
		changes_write__an_inconsistent_store_gives_no_cut,
		changes_write__ndjson_says_the_same,
		changes_check__where_the_asker_may_go_on,
	};

	return suite_run_fixture("changes", tests, sizeof(tests) / sizeof(tests[0]), 30, setup, teardown);
}
