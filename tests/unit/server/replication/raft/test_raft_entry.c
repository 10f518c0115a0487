#include <stdlib.h>
#include <string.h>

#include "server/replication/raft/directory.h"
#include "server/replication/raft/entry.h"
#include "tests/lib/suite.h"

static struct sp_error err;

/* Encoded into memory of just its size, so that a sanitizer or valgrind sees a byte too many. */
static unsigned char *
encoded(const struct entry *e, size_t *len)
{
	unsigned char *bytes = malloc(*len = entry_size(e));

	ck_assert_ptr_nonnull(bytes);
	entry_encode(e, bytes);
	return bytes;
}

static const struct repl_op ops[] = {
	{ .kind = REPL_PUT, .key = "a", .key_len = 1, .value = "", .value_len = 0 },
	{ .kind = REPL_DELETE, .key = "b\0c", .key_len = 3 },
	{ .kind = REPL_PUT, .key = "long", .key_len = 4, .value = "0123456789", .value_len = 10 },
};

START_TEST(entry__a_batch_comes_back_as_it_went)
{
	struct entry e = { .kind = ENTRY_BATCH,
		.term = 0x1122334455667788,
		.batch = { .ops = ops, .count = 3, .condition = REPL_IF_SEQ, .if_seq = UINT64_MAX } },
		     back;
	size_t len;
	unsigned char *bytes = encoded(&e, &len);

	ck_assert_uint_eq(len % 8, 0);
	ck_assert_uint_eq(entry_term(bytes, len), e.term);
	ck_assert_int_eq(entry_decode(bytes, len, &back, &err), 0);
	ck_assert_int_eq(back.kind, ENTRY_BATCH);
	ck_assert_uint_eq(back.term, e.term);
	ck_assert_int_eq(back.batch.condition, REPL_IF_SEQ);
	ck_assert_uint_eq(back.batch.if_seq, UINT64_MAX);
	ck_assert_uint_eq(back.batch.count, 3);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(back.batch.ops[i].kind, ops[i].kind);
		ck_assert_uint_eq(back.batch.ops[i].key_len, ops[i].key_len);
		ck_assert_uint_eq(back.batch.ops[i].value_len, ops[i].value_len);
		ck_assert_mem_eq(back.batch.ops[i].key, ops[i].key, ops[i].key_len);
		if (ops[i].value_len > 0)
			ck_assert_mem_eq(back.batch.ops[i].value, ops[i].value, ops[i].value_len);
	}
	entry_release(&back);
	free(bytes);
}
END_TEST

START_TEST(entry__a_text_comes_back_as_it_went)
{
	struct entry e = { .kind = ENTRY_MEMBER, .term = 3, .text = "eight by", .text_len = 8 }, back;
	size_t len;
	unsigned char *bytes = encoded(&e, &len);

	ck_assert_int_eq(entry_decode(bytes, len, &back, &err), 0);
	ck_assert_int_eq(back.kind, ENTRY_MEMBER);
	ck_assert_uint_eq(back.text_len, 8);
	ck_assert_mem_eq(back.text, "eight by", 8);
	free(bytes);
}
END_TEST

START_TEST(entry_decode__what_is_cut_or_altered_is_refused_or_stays_within_its_bytes)
{
	struct entry e = { .kind = ENTRY_BATCH, .term = 1, .batch = { .ops = ops, .count = 3 } }, back;
	size_t len;
	unsigned char *bytes = encoded(&e, &len), *copy;

	for (size_t cut = 0; cut + 8 <= len; cut++) {
		copy = malloc(cut > 0 ? cut : 1);
		memcpy(copy, bytes, cut);
		ck_assert_int_eq(entry_decode(copy, cut, &back, &err), SP_EBADDATA);
		free(copy);
	}
	for (size_t i = 0; i < len; i++) {
		bytes[i] ^= 0xff;
		if (entry_decode(bytes, len, &back, &err) == 0) {
			for (size_t k = 0; k < back.batch.count && back.kind == ENTRY_BATCH; k++)
				ck_assert(
				    (const unsigned char *)back.batch.ops[k].value + back.batch.ops[k].value_len <=
				    bytes + len);
			entry_release(&back);
		}
		bytes[i] ^= 0xff;
	}
	bytes[0] = 2;
	ck_assert_int_eq(entry_decode(bytes, len, &back, &err), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "version 2"));
	ck_assert_uint_eq(entry_term(bytes, 15), 0);
	free(bytes);
}
END_TEST

/* --- The directory --- */

static struct contact
contact(unsigned number)
{
	struct contact c = { .number = number, .id = MEMBER_ID(7, number), .url = "http://h:1", .raft = "h:2" };

	return c;
}

START_TEST(directory__is_sorted_and_comes_back_from_its_text)
{
	struct directory d = { 0 }, back = { 0 };
	struct contact c;
	char *text;

	for (unsigned i = 0; i < 3; i++) {
		c = contact((unsigned[]){ 3, 1, 2 }[i]);
		ck_assert_int_eq(directory_set(&d, &c, &err), 0);
	}
	c = contact(2);
	strcpy(c.name, "renamed");
	ck_assert_int_eq(directory_set(&d, &c, &err), 0);
	ck_assert_uint_eq(d.count, 3);
	text = directory_to_json(&d);
	ck_assert_int_eq(directory_from_json(text, strlen(text), &back, &err), 0);
	ck_assert_uint_eq(back.count, 3);
	ck_assert_uint_eq(back.contacts[0].number, 1);
	ck_assert_str_eq(directory_find(&back, 2)->name, "renamed");
	ck_assert_uint_eq(directory_find(&back, 3)->id, MEMBER_ID(7, 3));
	ck_assert_ptr_null(directory_find(&back, 4));
	free(text);
	directory_release(&d);
	directory_release(&back);
}
END_TEST

START_TEST(directory_set__has_an_end)
{
	struct directory d = { 0 };
	struct contact c;

	for (unsigned i = 1; i <= DIRECTORY_MAX; i++) {
		c = contact(i);
		ck_assert_int_eq(directory_set(&d, &c, &err), 0);
	}
	ck_assert_int_eq(directory_set(&d, &c, &err), 0);
	c = contact(DIRECTORY_MAX + 1);
	ck_assert_int_eq(directory_set(&d, &c, &err), SP_ETOOBIG);
	directory_release(&d);
}
END_TEST

START_TEST(contact_from_json__names_what_is_wrong)
{
	static const char *const bad[] = { "", "[]", "{}",
		"{\"number\":0,\"id\":\"0\",\"name\":\"\",\"url\":\"http://h\",\"raft\":\"h:1\"}",
		"{\"number\":10001,\"id\":\"0\",\"name\":\"\",\"url\":\"http://h\",\"raft\":\"h:1\"}",
		"{\"number\":1,\"id\":0,\"name\":\"\",\"url\":\"http://h\",\"raft\":\"h:1\"}",
		"{\"number\":1,\"id\":\"65538\",\"name\":\"\",\"url\":\"http://h\",\"raft\":\"h:1\"}",
		"{\"number\":1,\"id\":\"1x\",\"name\":\"\",\"url\":\"http://h\",\"raft\":\"h:1\"}",
		"{\"number\":1,\"id\":\"0\",\"url\":\"http://h\",\"raft\":\"h:1\"}",
		"{\"number\":1,\"id\":\"0\",\"name\":\"a\\u0000b\",\"url\":\"http://h\",\"raft\":\"h:1\"}",
		"{\"number\":1,\"id\":\"0\",\"name\":\"\",\"url\":\"ftp://h\",\"raft\":\"h:1\"}",
		"{\"number\":1,\"id\":\"0\",\"name\":\"\",\"url\":\"http://h\",\"raft\":\"h\"}" };
	const char *right =
	    "{\"number\":1,\"id\":\"65537\",\"name\":\"\",\"url\":\"http://h\",\"raft\":\"h:1\",\"more\":1}";
	struct contact c = { .number = 99 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(
		    contact_from_json(bad[i], strlen(bad[i]), &c, &err) == SP_EBADDATA, "\"%s\" was taken", bad[i]);
		ck_assert_uint_eq(c.number, 99);
	}
	ck_assert_int_eq(contact_from_json(right, strlen(right), &c, &err), 0);
	ck_assert_uint_eq(c.id, MEMBER_ID(1, 1));
}
END_TEST

START_TEST(repl_raft_address__is_the_port_below)
{
	char out[64];

	ck_assert_int_gt(member_address("http://127.0.0.1:12379", out, sizeof(out)), 0);
	ck_assert_str_eq(out, "127.0.0.1:12378");
	ck_assert_int_lt(member_address("http://127.0.0.1", out, sizeof(out)), 0);
	ck_assert_int_lt(member_address("http://127.0.0.1:1", out, sizeof(out)), 0);
	ck_assert_int_lt(member_address("http://127.0.0.1:70000", out, sizeof(out)), 0);
	ck_assert_int_lt(member_address("http://127.0.0.1:12x", out, sizeof(out)), 0);
	ck_assert_int_lt(member_address("127.0.0.1:12379", out, sizeof(out)), 0);
	ck_assert_int_lt(member_address("http://127.0.0.1:12379", out, 8), 0);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		entry__a_batch_comes_back_as_it_went,
		entry__a_text_comes_back_as_it_went,
		entry_decode__what_is_cut_or_altered_is_refused_or_stays_within_its_bytes,
		directory__is_sorted_and_comes_back_from_its_text,
		directory_set__has_an_end,
		contact_from_json__names_what_is_wrong,
		repl_raft_address__is_the_port_below,
	};

	return suite_run("raft_entry", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
