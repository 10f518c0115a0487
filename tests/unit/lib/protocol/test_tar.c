/* Tar: headers that are always the same, and a reader that takes nothing but whole, plain archives. */
#include "lib/protocol/tar.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "tests/lib/tar_maker.h"

/* A source that hands out an archive in pieces, then ends or fails or goes on for ever. */
struct pieces {
	const char *data;
	size_t len;
	size_t piece;
	size_t at;
	int failure;    /* instead of the end */
	size_t endless; /* after the end: so many more pieces of zeros */
	size_t handed;  /* out: bytes asked for so far */
};

static const char zeros[4096];
static char *last; /* piece handed out; the next call, or the end of the test, frees it */

static int
next_piece(void *arg, const void **data, size_t *len, struct sp_error *err)
{
	struct pieces *p = arg;

	free(last);
	last = NULL;
	if (p->at == p->len && p->endless > 0) {
		p->endless--;
		*data = zeros;
		*len = sizeof(zeros);
		p->handed += *len;
		return 1;
	}
	if (p->at == p->len)
		return p->failure < 0 ? sp_error_set(err, p->failure, "the wire broke") : 0;
	*len = p->len - p->at < p->piece ? p->len - p->at : p->piece;
	*data = last = malloc(*len);
	ck_assert_ptr_nonnull(last);
	memcpy(last, p->data + p->at, *len);
	p->at += *len;
	p->handed += *len;
	return 1;
}

/* Read all of it; the names with sizes go to `list`, the data of all members, one after the other, to `content`. */
static int
read_all(struct pieces *p, struct buf *list, struct buf *content, struct sp_error *err)
{
	struct tar_reader *r = tar_reader_new(next_piece, p, err);
	struct tar_member member;
	const void *data;
	size_t len;
	int rc;

	ck_assert_ptr_nonnull(r);
	while ((rc = tar_reader_next(r, &member, err)) == 1) {
		ck_assert_int_eq(buf_printf(list, "%s %llu\n", member.name, (unsigned long long)member.size), 0);
		while ((rc = tar_reader_data(r, &data, &len, err)) == 1)
			ck_assert_int_eq(buf_add(content, data, len), 0);
		if (rc < 0)
			break;
	}
	if (rc == 0)
		ck_assert_int_eq(tar_reader_next(r, &member, err), 0);
	tar_reader_free(r);
	return rc;
}

static struct buf tar, list, content;
static struct sp_error err;

static void
set_up(void)
{
	buf_init(&tar, 32u << 20);
	buf_init(&list, 1u << 20);
	buf_init(&content, 16u << 20);
	memset(&err, 0, sizeof(err));
}

static void
tear_down(void)
{
	free(last);
	last = NULL;
	buf_release(&tar);
	buf_release(&list);
	buf_release(&content);
}

static int
read_tar(size_t len, size_t piece)
{
	buf_reset(&list);
	buf_reset(&content);
	return read_all(&(struct pieces){ .data = tar.data, .len = len, .piece = piece }, &list, &content, &err);
}

static void
two_members(void)
{
	tar_maker_add(&tar, '0', "seedpod.json", "", "{}", 2);
	tar_maker_add(&tar, '0', "store/data.mdb", "", zeros, 1024);
	tar_maker_end(&tar);
}

START_TEST(tar_write_header__plain_ustar_where_it_fits)
{
	struct buf again;

	buf_init(&again, 1u << 20);
	ck_assert_int_eq(tar_write_header(&tar, "store/data.mdb", 123456789, 1700000000, &err), 0);
	ck_assert_uint_eq(tar.len, TAR_BLOCK);
	ck_assert_str_eq(tar.data, "store/data.mdb");
	ck_assert_mem_eq(tar.data + 100, "000600 ", 7);
	ck_assert_mem_eq(tar.data + 257, "ustar", 6);
	ck_assert_int_eq(tar_write_header(&again, "store/data.mdb", 123456789, 1700000000, &err), 0);
	ck_assert_mem_eq(tar.data, again.data, TAR_BLOCK);
	buf_release(&again);
}
END_TEST

START_TEST(tar_write_header__a_large_size_comes_back)
{
	struct tar_member member;
	struct tar_reader *r;

	ck_assert_int_eq(tar_write_header(&tar, "store/data.mdb", (uint64_t)1 << 40, 1700000000, &err), 0);
	ck_assert_uint_eq(tar.len % TAR_BLOCK, 0);
	r = tar_reader_new(next_piece, &(struct pieces){ .data = tar.data, .len = tar.len, .piece = 100 }, &err);
	ck_assert_int_eq(tar_reader_next(r, &member, &err), 1);
	ck_assert_uint_eq(member.size, (uint64_t)1 << 40);
	tar_reader_free(r);
}
END_TEST

START_TEST(tar_write_header__no_room_leaves_the_buffer_alone)
{
	struct buf small;

	buf_init(&small, 100);
	ck_assert_int_eq(tar_write_header(&small, "x", 1, 0, &err), SP_ETOOBIG);
	ck_assert_uint_eq(small.len, 0);
	buf_release(&small);
}
END_TEST

START_TEST(tar_reader__reads_what_tar_write_header_wrote)
{
	static const char text[] = "hello, follower";
	size_t sizes[] = { 1, 7, 511, 512, 513, 100000 };

	ck_assert_int_eq(tar_write_header(&tar, "a.txt", sizeof(text), 1, &err), 0);
	buf_add(&tar, text, sizeof(text));
	buf_add(&tar, zeros, tar_padding(sizeof(text)));
	ck_assert_int_eq(tar_write_header(&tar, "empty", 0, 1, &err), 0);
	buf_add(&tar, zeros, TAR_END_BYTES);
	for (size_t i = 0; i < 6; i++) {
		ck_assert_int_eq(read_tar(tar.len, sizes[i]), 0);
		ck_assert_str_eq(list.data, "a.txt 16\nempty 0\n");
		ck_assert_mem_eq(content.data, text, sizeof(text));
	}
}
END_TEST

START_TEST(tar_padding__fills_to_the_block)
{
	ck_assert_uint_eq(tar_padding(0), 0);
	ck_assert_uint_eq(tar_padding(1), 511);
	ck_assert_uint_eq(tar_padding(512), 0);
	ck_assert_uint_eq(tar_padding(((uint64_t)1 << 40) + 513), 511);
}
END_TEST

START_TEST(tar_reader__every_cut_is_truncation)
{
	two_members();
	ck_assert_int_eq(read_tar(tar.len, 333), 0);
	for (size_t len = 0; len < tar.len; len++) {
		int rc = read_tar(len, 333);

		ck_assert_msg(
		    rc == SP_ETRUNCATED, "cut at %zu of %zu: %s (%s)", len, tar.len, sp_code_name(rc), err.text);
	}
}
END_TEST

START_TEST(tar_reader__a_failing_source_is_reported_as_it_is)
{
	two_members();
	for (size_t len = 0; len <= tar.len; len += 100) {
		struct pieces p = { .data = tar.data, .len = len, .piece = 512, .failure = SP_ESTALLED };

		ck_assert_int_eq(read_all(&p, &list, &content, &err), SP_ESTALLED);
		ck_assert_str_eq(err.text, "the wire broke");
	}
}
END_TEST

START_TEST(tar_reader__record_filling_is_taken_data_after_the_end_is_not)
{
	two_members();
	buf_add(&tar, zeros, 2048);
	ck_assert_int_eq(read_tar(tar.len, 4096), 0);
	ck_assert_int_eq(read_tar(tar.len, 512), 0);
	buf_adds(&tar, "more");
	ck_assert_int_eq(read_tar(tar.len, 1u << 20), SP_EBADDATA);
	ck_assert_int_eq(read_tar(tar.len, 512), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "after the archive's end"));
}
END_TEST

START_TEST(tar_reader__filling_of_any_length_in_pieces_of_any_length)
{
	static const size_t pieces[] = { 1, 100, 329, 512, 700, 5000 };
	size_t whole;

	two_members();
	whole = tar.len;
	for (size_t filling = 0; filling < 1300; filling += 43) {
		tar.len = whole;
		buf_add(&tar, zeros, filling);
		for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
			ck_assert_int_eq(read_tar(tar.len, pieces[i]), 0);
		buf_adds(&tar, "x");
		for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
			ck_assert_int_eq(read_tar(tar.len, pieces[i]), SP_EBADDATA);
	}
}
END_TEST

START_TEST(tar_reader__a_header_of_nothing_is_no_end)
{
	size_t whole;

	two_members();
	tar.len -= 2 * (size_t)TAR_BLOCK;
	tar_maker_header(&tar, 'g', "global", "", 0);
	whole = tar.len;
	for (size_t filling = 0; filling < 2 * (size_t)TAR_BLOCK; filling += 37) {
		tar.len = whole;
		buf_add(&tar, zeros, filling);
		for (size_t piece = 100; piece < 1000; piece += 229)
			ck_assert_int_lt(read_tar(tar.len, piece), 0);
	}
	tar.len = whole;
	tar_maker_end(&tar);
	ck_assert_int_eq(read_tar(tar.len, 329), 0);
}
END_TEST

START_TEST(tar_reader__endless_filling_is_refused)
{
	struct pieces p;

	two_members();
	p = (struct pieces){ .data = tar.data, .len = tar.len, .piece = 512, .endless = 100000 };
	ck_assert_int_eq(read_all(&p, &list, &content, &err), SP_EBADDATA);
	ck_assert_uint_lt(p.handed, 2u << 20);
}
END_TEST

START_TEST(tar_reader__does_not_read_ahead)
{
	struct tar_member member;
	struct tar_reader *r;
	struct pieces p;

	tar_maker_add(&tar, '0', "a", "", "a", 1);
	tar_maker_header(&tar, '0', "big", "", 8u << 20);
	p = (struct pieces){ .data = tar.data, .len = tar.len, .piece = 512, .endless = 100000 };
	r = tar_reader_new(next_piece, &p, &err);
	ck_assert_int_eq(tar_reader_next(r, &member, &err), 1);
	ck_assert_int_eq(tar_reader_next(r, &member, &err), 1);
	ck_assert_uint_lt(p.handed, 64u << 10);
	tar_reader_free(r);
}
END_TEST

/* What is refused, and the word that must be in the message. */
static const struct {
	char type;
	const char *name;
	const char *link;
	const char *word;
} hostile[] = {
	{ '0', "../x", "", "../x" },
	{ '0', "store/../../x", "", "holds \"..\"" },
	{ '0', "store/..", "", "holds \"..\"" },
	{ '0', "/etc/passwd", "", "is absolute" },
	{ '0', "bad\nname", "", "control" },
	{ '1', "hard", "/etc/passwd", "hard link" },
	{ '2', "soft", "/etc/passwd", "symbolic link" },
	{ '3', "char", "", "character device" },
	{ '4', "block", "", "block device" },
	{ '5', "store", "", "directory" },
	{ '0', "store/", "", "directory" },
	{ '6', "pipe", "", "fifo" },
};

START_TEST(tar_reader__hostile_members_are_refused_by_name)
{
	tar_maker_add(&tar, hostile[_i].type, hostile[_i].name, hostile[_i].link, "", 0);
	tar_maker_end(&tar);
	ck_assert_int_eq(read_tar(tar.len, 512), SP_EBADDATA);
	ck_assert_msg(strstr(err.text, hostile[_i].word) != NULL, "%s", err.text);
	ck_assert_str_eq(list.data, "");
}
END_TEST

START_TEST(tar_reader__a_name_longer_than_the_limit_is_refused)
{
	char name[400];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(tar_write_header(&tar, name, 0, 0, &err), 0);
	tar_maker_end(&tar);
	ck_assert_int_eq(read_tar(tar.len, 512), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "too long"));
}
END_TEST

START_TEST(tar_reader__a_header_of_another_checksum_is_damaged)
{
	two_members();
	tar.data[1024 + 3] ^= 1; /* in the second member's name */
	ck_assert_int_eq(read_tar(tar.len, 512), SP_EBADDATA);
	ck_assert_str_eq(list.data, "seedpod.json 2\n");
}
END_TEST

START_TEST(tar_reader__garbage_is_no_archive)
{
	for (size_t i = 0; i < 20000; i++)
		buf_printf(&tar, "%zu ", i);
	ck_assert_int_eq(read_tar(tar.len, 4096), SP_EBADDATA);
}
END_TEST

START_TEST(tar_reader__compressed_archives_are_refused)
{
	static const unsigned char gzip[] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3 };

	buf_add(&tar, gzip, sizeof(gzip));
	buf_add(&tar, zeros, sizeof(zeros));
	ck_assert_int_eq(read_tar(tar.len, 4096), SP_EBADDATA);
}
END_TEST

START_TEST(tar_reader__endless_pax_headers_are_refused)
{
	static const char record[] = "16 comment=hello";

	for (size_t i = 0; i < 2000; i++)
		tar_maker_add(&tar, 'x', "pax", "", record, sizeof(record) - 1);
	ck_assert_int_lt(read_tar(tar.len, 512), 0);
	buf_reset(&tar);
	tar_maker_header(&tar, 'x', "pax", "", (size_t)7 << 30);
	ck_assert_int_eq(read_all(&(struct pieces){ .data = tar.data, .len = tar.len, .piece = 512, .endless = 100000 },
			     &list, &content, &err),
	    SP_EBADDATA);
}
END_TEST

START_TEST(tar_reader__unread_data_is_skipped)
{
	struct tar_member member;
	struct tar_reader *r;
	struct pieces p;

	two_members();
	p = (struct pieces){ .data = tar.data, .len = tar.len, .piece = 100 };
	r = tar_reader_new(next_piece, &p, &err);
	ck_assert_int_eq(tar_reader_next(r, &member, &err), 1);
	ck_assert_int_eq(tar_reader_next(r, &member, &err), 1);
	ck_assert_str_eq(member.name, "store/data.mdb");
	ck_assert_int_eq(tar_reader_next(r, &member, &err), 0);
	tar_reader_free(r);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("tar");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, tar_write_header__plain_ustar_where_it_fits);
	tcase_add_test(tc, tar_write_header__a_large_size_comes_back);
	tcase_add_test(tc, tar_write_header__no_room_leaves_the_buffer_alone);
	tcase_add_test(tc, tar_reader__reads_what_tar_write_header_wrote);
	tcase_add_test(tc, tar_padding__fills_to_the_block);
	tcase_add_test(tc, tar_reader__every_cut_is_truncation);
	tcase_add_test(tc, tar_reader__a_failing_source_is_reported_as_it_is);
	tcase_add_test(tc, tar_reader__record_filling_is_taken_data_after_the_end_is_not);
	tcase_add_test(tc, tar_reader__filling_of_any_length_in_pieces_of_any_length);
	tcase_add_test(tc, tar_reader__a_header_of_nothing_is_no_end);
	tcase_add_test(tc, tar_reader__endless_filling_is_refused);
	tcase_add_test(tc, tar_reader__does_not_read_ahead);
	tcase_add_loop_test(
	    tc, tar_reader__hostile_members_are_refused_by_name, 0, (int)(sizeof(hostile) / sizeof(hostile[0])));
	tcase_add_test(tc, tar_reader__a_name_longer_than_the_limit_is_refused);
	tcase_add_test(tc, tar_reader__a_header_of_another_checksum_is_damaged);
	tcase_add_test(tc, tar_reader__garbage_is_no_archive);
	tcase_add_test(tc, tar_reader__compressed_archives_are_refused);
	tcase_add_test(tc, tar_reader__endless_pax_headers_are_refused);
	tcase_add_test(tc, tar_reader__unread_data_is_skipped);
	return suite_run_case("tar", tc);
}
