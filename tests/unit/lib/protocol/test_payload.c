/* Snapshots of other stores: what is written comes back, and nothing else passes for one. */
#include "lib/protocol/payload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "init/manifest.h"
#include "tests/lib/suite.h"
#include "tests/lib/tar_maker.h"

static const struct payload_head head = { .store = "postgresql",
	.driver = "exec",
	.carrier = "native",
	.proof = "position",
	.donor = "pg-0",
	.created = 1700000000 };

static struct position position = { .cluster = "8371a37ac2e96afc2e6bcdd3ce83dc4a1fdec2d8",
	.epoch = 3,
	.seq = 4711,
	.consistent = true,
	.mode = "static",
	.history_count = 1,
	.history = { { .epoch = 3, .since = 7 } } };

static struct buf tar;
static char *bytes; /* more than two pieces, all different */
#define BYTES_MAX (2 * PAYLOAD_PIECE + 10)

static void
setup(void)
{
	uint64_t x = 88172645463325252u;

	buf_init(&tar, 64u << 20);
	bytes = malloc(BYTES_MAX);
	ck_assert_ptr_nonnull(bytes);
	for (size_t i = 0; i < BYTES_MAX; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		bytes[i] = (char)x;
	}
}

static void
teardown(void)
{
	buf_release(&tar);
	free(bytes);
}

/* --- Writing and reading back --- */

static int
into_tar(void *arg, const void *data, size_t len, struct sp_error *err)
{
	(void)arg;
	(void)err;
	ck_assert_int_eq(buf_add(&tar, data, len), 0);
	return 0;
}

static void
write_snapshot(size_t len, size_t step)
{
	struct sp_error err = { 0 };
	struct payload_writer *w = payload_writer_new(&head, into_tar, NULL, &err);

	ck_assert_ptr_nonnull(w);
	for (size_t at = 0; at < len; at += step)
		ck_assert_int_eq(payload_writer_add(w, bytes + at, len - at < step ? len - at : step, &err), 0);
	ck_assert_msg(payload_writer_end(w, &position, &err) == 0, "%s", err.text);
	payload_writer_free(w);
}

struct source {
	const char *data;
	size_t len, at, step;
};

static int
next_piece(void *arg, const void **data, size_t *len, struct sp_error *err)
{
	struct source *s = arg;

	(void)err;
	if (s->at == s->len)
		return 0;
	*len = s->len - s->at < s->step ? s->len - s->at : s->step;
	*data = s->data + s->at;
	s->at += *len;
	return 1;
}

/* Read an archive; what came is compared with `bytes` by its caller through *same and *got. */
static int
read_snapshot(const char *data, size_t len, struct payload_end *end, bool *same, struct sp_error *err)
{
	struct source s = { .data = data, .len = len, .step = 10007 };
	struct payload_reader *r = payload_reader_new(next_piece, &s, err);
	struct payload_head h;
	const void *piece;
	size_t n, got = 0;
	int rc;

	ck_assert_ptr_nonnull(r);
	*same = true;
	rc = payload_reader_head(r, &h, err);
	if (rc == 0)
		while ((rc = payload_reader_data(r, &piece, &n, end, err)) == 1) {
			ck_assert_uint_gt(n, 0);
			*same = *same && got + n <= BYTES_MAX && memcmp(bytes + got, piece, n) == 0;
			got += n;
		}
	if (rc == 0) {
		ck_assert_uint_eq(end->bytes, got);
		ck_assert_str_eq(h.store, "postgresql");
		ck_assert_str_eq(h.carrier, "native");
		ck_assert_str_eq(h.proof, "position");
	} else {
		ck_assert_int_lt(rc, 0);
		ck_assert_int_eq(err->code, rc);
		ck_assert_int_lt(payload_reader_data(r, &piece, &n, end, NULL), 0);
	}
	payload_reader_free(r);
	return rc;
}

START_TEST(payload__comes_back_as_written)
{
	static const size_t lengths[] = { 1, 511, 512, 513, PAYLOAD_PIECE - 1, PAYLOAD_PIECE, PAYLOAD_PIECE + 1,
		2 * PAYLOAD_PIECE, BYTES_MAX };
	struct payload_end end = { .bytes = 0 };
	struct sp_error err = { 0 };
	bool same;

	write_snapshot(lengths[_i], 65537);
	ck_assert_msg(read_snapshot(tar.data, tar.len, &end, &same, &err) == 0, "%s", err.text);
	ck_assert(same);
	ck_assert_uint_eq(end.bytes, lengths[_i]);
	ck_assert_str_eq(end.position.cluster, position.cluster);
	ck_assert_uint_eq(end.position.epoch, 3);
	ck_assert_uint_eq(end.position.seq, 4711);
	ck_assert_uint_eq(end.position.history[0].since, 7);
}
END_TEST

START_TEST(payload__how_it_is_cut_does_not_show)
{
	struct buf first;

	write_snapshot(PAYLOAD_PIECE + 5, 1000003);
	first = tar;
	buf_init(&tar, 64u << 20);
	write_snapshot(PAYLOAD_PIECE + 5, PAYLOAD_PIECE + 5);
	ck_assert_uint_eq(first.len, tar.len);
	ck_assert_int_eq(memcmp(first.data, tar.data, tar.len), 0);
	buf_release(&first);
}
END_TEST

START_TEST(payload_writer__sends_nothing_before_a_piece_and_nothing_empty)
{
	struct sp_error err = { 0 };
	struct payload_writer *w = payload_writer_new(&head, into_tar, NULL, &err);

	ck_assert_int_eq(payload_writer_end(w, &position, &err), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "no payload"));
	payload_writer_free(w);
	w = payload_writer_new(&head, into_tar, NULL, &err);
	ck_assert_int_eq(payload_writer_add(w, bytes, PAYLOAD_PIECE - 1, &err), 0);
	ck_assert_uint_eq(tar.len, 0);
	ck_assert_int_eq(payload_writer_add(w, bytes, 1, &err), 0);
	ck_assert_uint_gt(tar.len, PAYLOAD_PIECE);
	payload_writer_free(w);
}
END_TEST

static int
refuse(void *arg, const void *data, size_t len, struct sp_error *err)
{
	(void)arg;
	(void)data;
	(void)len;
	return sp_error_set(err, SP_ECANCELED, "the reader is gone");
}

START_TEST(payload_writer__failures)
{
	struct payload_head odd = head;
	struct position nowhere = position;
	struct sp_error err = { 0 };
	struct payload_writer *w = payload_writer_new(&head, refuse, NULL, &err);

	ck_assert_int_eq(payload_writer_add(w, bytes, PAYLOAD_PIECE, &err), SP_ECANCELED);
	payload_writer_free(w);
	w = payload_writer_new(&head, into_tar, NULL, &err);
	nowhere.cluster[0] = '\0';
	ck_assert_int_eq(payload_writer_add(w, bytes, 1, &err), 0);
	ck_assert_int_eq(payload_writer_end(w, &nowhere, &err), SP_EBADDATA);
	payload_writer_free(w);
	snprintf(odd.store, sizeof(odd.store), "Postgre SQL");
	ck_assert_ptr_null(payload_writer_new(&odd, into_tar, NULL, &err));
	ck_assert_int_eq(err.code, SP_EUSAGE);
	payload_writer_free(NULL);
	payload_reader_free(NULL);
}
END_TEST

START_TEST(payload_reader__cut_anywhere_is_no_snapshot)
{
	struct payload_end end;
	bool same;

	write_snapshot(700, 700);
	for (size_t len = 0; len + TAR_END_BYTES < tar.len; len++) {
		struct sp_error err = { 0 };

		ck_assert_msg(read_snapshot(tar.data, len, &end, &same, &err) < 0, "%zu of %zu", len, tar.len);
	}
}
END_TEST

/* Padding and a few bytes of a header mean nothing; otherwise the change is noticed. */
START_TEST(payload_reader__altered_byte_never_passes_for_other_content)
{
	struct payload_end end = { .bytes = 0 };
	bool same;

	write_snapshot(700, 700);
	for (size_t i = 0; i < tar.len; i++) {
		struct sp_error err = { 0 };

		tar.data[i] ^= 0x11;
		if (read_snapshot(tar.data, tar.len, &end, &same, &err) == 0) {
			ck_assert_msg(same && end.bytes == 700, "byte %zu", i);
			ck_assert_uint_eq(end.position.seq, 4711);
			ck_assert_str_eq(end.position.cluster, position.cluster);
		}
		tar.data[i] ^= 0x11;
	}
}
END_TEST

/* --- Archives of other shapes --- */

#define HEAD_OF(format, rest) "{\"format\":" format ",\"store\":\"s\",\"driver\":\"exec\"," rest "}"
#define GOOD_REST             "\"carrier\":\"none\",\"proof\":\"position\",\"donor\":\"d\",\"created\":1"
#define GOOD_HEAD             HEAD_OF("2", GOOD_REST)
#define POSITION              "{\"cluster\":\"c\",\"epoch\":1,\"seq\":2,\"digest\":\"00000000000000000000000000000000\"}"

struct shape {
	const char *head;      /* NULL: no seedpod.json */
	const char *pieces[4]; /* names; each has `size` bytes */
	size_t sizes[4];
	const char *position; /* NULL: no sums */
	const char *after;    /* a member after the sums */
	const char *named;    /* in the error; NULL: it is a good one */
	int code;             /* 0: SP_EBADDATA */
};

#define P1 "payload/000001"
#define P2 "payload/000002"
#define P3 "payload/000003"

static const struct shape shapes[] = {
	{ GOOD_HEAD, { P1 }, { 3 }, POSITION, NULL, NULL, 0 },
	{ GOOD_HEAD, { P1, P2 }, { PAYLOAD_PIECE, 3 }, POSITION, NULL, NULL, 0 },
	{ NULL, { P1 }, { 3 }, POSITION, NULL, "the first member is payload/000001", 0 },
	{ "", { P1 }, { 3 }, POSITION, NULL, "not a JSON object", 0 },
	{ "[]", { P1 }, { 3 }, POSITION, NULL, "not a JSON object", 0 },
	{ "{}", { P1 }, { 3 }, POSITION, NULL, "\"format\"", 0 },
	{ HEAD_OF("1", GOOD_REST), { P1 }, { 3 }, POSITION, NULL, "seedpod-server's store", 0 },
	{ HEAD_OF("3", GOOD_REST), { P1 }, { 3 }, POSITION, NULL, "format 3 is not known", 0 },
	{ HEAD_OF("\"2\"", GOOD_REST), { P1 }, { 3 }, POSITION, NULL, "\"format\"", 0 },
	{ HEAD_OF("2,\"format\":2", GOOD_REST), { P1 }, { 3 }, POSITION, NULL, "duplicate", 0 },
	{ HEAD_OF("2", "\"carrier\":\"pigeon\",\"proof\":\"position\",\"donor\":\"d\",\"created\":1"), { P1 }, { 3 },
	    POSITION, NULL, "\"carrier\" is \"pigeon\"", 0 },
	{ HEAD_OF("2", "\"carrier\":\"none\",\"proof\":\"trust\",\"donor\":\"d\",\"created\":1"), { P1 }, { 3 },
	    POSITION, NULL, "\"proof\"", 0 },
	{ HEAD_OF("2", "\"carrier\":\"none\",\"proof\":\"digest\",\"donor\":\"d\""), { P1 }, { 3 }, POSITION, NULL,
	    "\"created\"", 0 },
	{ HEAD_OF("2", "\"carrier\":\"none\",\"proof\":\"digest\",\"created\":1"), { P1 }, { 3 }, POSITION, NULL,
	    "\"donor\"", 0 },
	{ HEAD_OF("2", "\"carrier\":7,\"proof\":\"digest\",\"donor\":\"d\",\"created\":1"), { P1 }, { 3 }, POSITION,
	    NULL, "\"carrier\"", 0 },
	{ GOOD_HEAD, { NULL }, { 0 }, POSITION, NULL, "no payload", 0 },
	{ GOOD_HEAD, { P1 }, { 3 }, NULL, NULL, "ends without seedpod.sums", SP_ETRUNCATED },
	{ GOOD_HEAD, { NULL }, { 0 }, NULL, NULL, "ends without seedpod.sums", SP_ETRUNCATED },
	{ GOOD_HEAD, { P1 }, { 0 }, POSITION, NULL, "0 bytes; allowed", 0 },
	{ GOOD_HEAD, { P1 }, { PAYLOAD_PIECE + 1 }, POSITION, NULL, "4194305 bytes; allowed", 0 },
	{ GOOD_HEAD, { P2 }, { 3 }, POSITION, NULL, P2 " comes where " P1, 0 },
	{ GOOD_HEAD, { "payload/1" }, { 3 }, POSITION, NULL, "payload/1 comes where", 0 },
	{ GOOD_HEAD, { "store/data.mdb" }, { 3 }, POSITION, NULL, "store/data.mdb comes where", 0 },
	{ GOOD_HEAD, { "seedpod.json" }, { 3 }, POSITION, NULL, "seedpod.json comes where", 0 },
	{ GOOD_HEAD, { P1, P1 }, { PAYLOAD_PIECE, 3 }, POSITION, NULL, P1 " comes where " P2, 0 },
	{ GOOD_HEAD, { P1, P3 }, { PAYLOAD_PIECE, 3 }, POSITION, NULL, P3 " comes where " P2, 0 },
	{ GOOD_HEAD, { P1, P2 }, { 3, 3 }, POSITION, NULL, P2 " comes after a piece that is not full", 0 },
	{ GOOD_HEAD, { P1 }, { 3 }, POSITION, "x", "x comes after seedpod.sums", 0 },
	{ GOOD_HEAD, { P1 }, { 3 }, POSITION, "payload/000002", "comes after seedpod.sums", 0 },
	{ GOOD_HEAD, { P1 }, { 3 }, "{}", NULL, "\"cluster\"", 0 },
	{ GOOD_HEAD, { P1 }, { 3 }, "", NULL, "JSON", 0 },
	{ GOOD_HEAD, { P1 }, { 3 },
	    "{\"cluster\":\"\",\"epoch\":1,\"seq\":2,\"digest\":\"00000000000000000000000000000000\"}", NULL,
	    "no cluster", 0 },
	{ GOOD_HEAD, { P1 }, { 3 }, POSITION "\n", NULL, "line 4 is not the total", 0 },
};

static void
add_sums(const struct shape *s, size_t payload)
{
	char a[DIGEST_HEX_SIZE], b[DIGEST_HEX_SIZE], total[DIGEST_HEX_SIZE];
	struct buf text;

	buf_init(&text, 1 << 20);
	digest_to_hex(digest_of(s->head != NULL ? s->head : "", s->head != NULL ? strlen(s->head) : 0), a);
	digest_to_hex(digest_of(bytes, payload), b);
	ck_assert_int_eq(buf_printf(&text, "%s  seedpod.json\n%s  payload\n# position %s\n", a, b, s->position), 0);
	digest_to_hex(digest_of(text.data, text.len), total);
	ck_assert_int_eq(buf_printf(&text, "# total %s\n", total), 0);
	tar_maker_add(&tar, '0', "seedpod.sums", "", text.data, text.len);
	buf_release(&text);
}

static int
read_any(struct sp_error *err)
{
	struct source s = { .data = tar.data, .len = tar.len, .step = 4096 };
	struct payload_reader *r = payload_reader_new(next_piece, &s, err);
	struct payload_end end;
	struct payload_head h;
	const void *piece;
	size_t n;
	int rc = payload_reader_head(r, &h, err);

	if (rc == 0)
		while ((rc = payload_reader_data(r, &piece, &n, &end, err)) == 1)
			;
	payload_reader_free(r);
	return rc;
}

START_TEST(payload_reader__takes_nothing_of_another_shape)
{
	const struct shape *s = &shapes[_i];
	struct sp_error err = { 0 };
	size_t payload = 0;
	int rc;

	if (s->head != NULL)
		tar_maker_add(&tar, '0', "seedpod.json", "", s->head, strlen(s->head));
	for (size_t i = 0; i < 4 && s->pieces[i] != NULL; i++) {
		tar_maker_add(&tar, '0', s->pieces[i], "", bytes + payload, s->sizes[i]);
		payload += s->sizes[i];
	}
	if (s->position != NULL)
		add_sums(s, payload);
	if (s->after != NULL)
		tar_maker_add(&tar, '0', s->after, "", "x", 1);
	tar_maker_end(&tar);
	rc = read_any(&err);
	if (s->named == NULL) {
		ck_assert_msg(rc == 0, "%s", err.text);
		return;
	}
	ck_assert_msg(rc == (s->code < 0 ? s->code : SP_EBADDATA), "%d: %s", rc, err.text);
	ck_assert_msg(strstr(err.text, s->named) != NULL, "\"%s\" for %s", err.text, s->named);
}
END_TEST

START_TEST(payload_reader__other_kinds_and_sizes_of_members)
{
	struct sp_error err = { 0 };

	tar_maker_add(&tar, '2', "seedpod.json", "/etc/passwd", "", 0);
	tar_maker_end(&tar);
	ck_assert_int_eq(read_any(&err), SP_EBADDATA);
	buf_reset(&tar);
	tar_maker_add(&tar, '0', "seedpod.json", "", bytes, PAYLOAD_HEAD_MAX + 1);
	tar_maker_end(&tar);
	ck_assert_int_eq(read_any(&err), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "more than"));
	buf_reset(&tar);
	tar_maker_add(&tar, '0', "seedpod.json", "", GOOD_HEAD, strlen(GOOD_HEAD));
	tar_maker_add(&tar, '0', P1, "", bytes, 3);
	tar_maker_add(&tar, '0', "seedpod.sums", "", bytes, PAYLOAD_SUMS_MAX + 1);
	tar_maker_end(&tar);
	ck_assert_int_eq(read_any(&err), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "more than"));
}
END_TEST

START_TEST(payload__init_does_not_take_it_for_our_own_store)
{
	struct sp_error err = { 0 };
	struct manifest found;

	ck_assert_int_eq(manifest_parse(GOOD_HEAD, strlen(GOOD_HEAD), &found, &err), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "format 2 is not known"));
}
END_TEST

int
main(void)
{
	TCase *all = tcase_create("payload");

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_set_timeout(all, 60);
	tcase_add_loop_test(all, payload__comes_back_as_written, 0, 9);
	tcase_add_test(all, payload__how_it_is_cut_does_not_show);
	tcase_add_test(all, payload_writer__sends_nothing_before_a_piece_and_nothing_empty);
	tcase_add_test(all, payload_writer__failures);
	tcase_add_test(all, payload_reader__cut_anywhere_is_no_snapshot);
	tcase_add_test(all, payload_reader__altered_byte_never_passes_for_other_content);
	tcase_add_loop_test(
	    all, payload_reader__takes_nothing_of_another_shape, 0, (int)(sizeof(shapes) / sizeof(shapes[0])));
	tcase_add_test(all, payload_reader__other_kinds_and_sizes_of_members);
	tcase_add_test(all, payload__init_does_not_take_it_for_our_own_store);
	return suite_run_case("payload", all);
}
