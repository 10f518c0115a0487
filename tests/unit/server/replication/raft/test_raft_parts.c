#include <stdlib.h>
#include <string.h>

#include "server/replication/raft/entry.h"
#include "server/replication/raft/parts.h"
#include "tests/lib/suite.h"

static struct sp_error err;
static const unsigned char whole[] = "a whole of twenty-four.";

static struct part
part_of(uint64_t term, uint32_t offset, uint32_t len)
{
	return (
	    struct part){ .term = term, .offset = offset, .total = sizeof(whole), .len = len, .data = whole + offset };
}

static int
take(struct parts *p, uint64_t term, uint32_t offset, uint32_t len)
{
	struct part part = part_of(term, offset, len);

	return parts_take(p, &part, &err);
}

START_TEST(part__comes_back_as_it_went_and_is_no_entry)
{
	struct part p = part_of(0x1122334455667788, 3, 13), back;
	size_t len = part_size(p.len);
	unsigned char *bytes = malloc(len);
	struct entry e;

	ck_assert_ptr_nonnull(bytes);
	part_encode(&p, bytes);
	ck_assert_uint_eq(len % 8, 0);
	ck_assert(part_is(bytes, len));
	ck_assert_uint_eq(entry_term(bytes, len), p.term);
	ck_assert_int_eq(part_decode(bytes, len, &back, &err), 0);
	ck_assert_uint_eq(back.term, p.term);
	ck_assert_uint_eq(back.offset, 3);
	ck_assert_uint_eq(back.total, sizeof(whole));
	ck_assert_uint_eq(back.len, 13);
	ck_assert_mem_eq(back.data, whole + 3, 13);
	ck_assert_int_eq(entry_decode(bytes, len, &e, &err), SP_EBADDATA);
	free(bytes);
}
END_TEST

START_TEST(part__beyond_its_bytes_or_its_whole_is_refused)
{
	static const struct part bad[] = {
		{ .offset = 0, .total = 8, .len = 0, .data = whole },
		{ .offset = 0, .total = 4, .len = 8, .data = whole },
		{ .offset = 1, .total = 8, .len = 8, .data = whole },
		{ .offset = 9, .total = 8, .len = 1, .data = whole },
		{ .offset = 0, .total = PARTS_TOTAL + 1, .len = 8, .data = whole },
	};
	struct part p = part_of(1, 0, 16), back;
	unsigned char bytes[64];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		part_encode(&bad[i], bytes);
		ck_assert_int_eq(part_decode(bytes, part_size(bad[i].len), &back, &err), SP_EBADDATA);
	}
	part_encode(&p, bytes);
	for (size_t len = 0; len < part_size(16); len++)
		ck_assert_int_eq(part_decode(bytes, len, &back, &err), SP_EBADDATA);
}
END_TEST

START_TEST(parts__that_follow_one_another_are_the_whole)
{
	struct parts p = { 0 };

	ck_assert_int_eq(take(&p, 5, 0, 10), 0);
	ck_assert_int_eq(take(&p, 5, 10, 10), 0);
	ck_assert_int_eq(take(&p, 5, 20, sizeof(whole) - 20), 1);
	ck_assert_uint_eq(p.len, sizeof(whole));
	ck_assert_mem_eq(p.whole, whole, sizeof(whole));
	parts_drop(&p);
	ck_assert_ptr_null(p.whole);
}
END_TEST

START_TEST(parts__that_go_on_with_nothing_lead_to_nothing)
{
	struct parts p = { 0 };

	/* Without a beginning; after a gap; of another term; of another whole. */
	ck_assert_int_eq(take(&p, 5, 10, 10), 0);
	ck_assert_ptr_null(p.whole);
	ck_assert_int_eq(take(&p, 5, 0, 8), 0);
	ck_assert_int_eq(take(&p, 5, 16, 8), 0);
	ck_assert_ptr_null(p.whole);
	ck_assert_int_eq(take(&p, 5, 0, 8), 0);
	ck_assert_int_eq(take(&p, 6, 8, sizeof(whole) - 8), 0);
	ck_assert_ptr_null(p.whole);
	ck_assert_int_eq(take(&p, 6, 8, sizeof(whole) - 8), 0);
	ck_assert_ptr_null(p.whole);
}
END_TEST

START_TEST(parts__a_new_beginning_replaces_what_there_was)
{
	struct parts p = { 0 };

	ck_assert_int_eq(take(&p, 5, 0, 8), 0);
	ck_assert_int_eq(take(&p, 7, 0, 4), 0);
	ck_assert_int_eq(take(&p, 7, 4, sizeof(whole) - 4), 1);
	ck_assert_mem_eq(p.whole, whole, sizeof(whole));
	parts_drop(&p);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		part__comes_back_as_it_went_and_is_no_entry,
		part__beyond_its_bytes_or_its_whole_is_refused,
		parts__that_follow_one_another_are_the_whole,
		parts__that_go_on_with_nothing_lead_to_nothing,
		parts__a_new_beginning_replaces_what_there_was,
	};

	return suite_run("raft_parts", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
