#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <zstd.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/protocol/tar.h"
#include "server/snapshot/snapshot.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

#define DEADLINE_MS 10000

static char dir[TEMPDIR_MAX], other[TEMPDIR_MAX];
static struct store *store;
static struct counters counters;
static struct snapshots *list;
static struct sp_error err;
static int ahead_s; /* of the true monotonic clock */

/* In place of the C library's. */
int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc = (int)syscall(SYS_clock_gettime, id, ts);

	if (id == CLOCK_MONOTONIC)
		ts->tv_sec += ahead_s;
	return rc;
}

static void
setup(void)
{
	char key[16], value[3000];

	tempdir_make(dir);
	tempdir_make(other);
	store = test_store_new(dir);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "key-%u", i % 120);
		memset(value, 'a' + (int)(i % 26), sizeof(value));
		value[i * 13] = '\0';
		test_store_put(store, key, value);
	}
	list = snapshots_new(store, &counters, "mystore-0", 60000, &err);
	ck_assert_ptr_nonnull(list);
}

static void
teardown(void)
{
	snapshots_free(list);
	store_free(store);
	tempdir_remove(dir);
	tempdir_remove(other);
}

static struct snapshot *
acquire(const char *id)
{
	struct snapshot *s;

	ck_assert_msg(snapshots_acquire(list, id, &s, &err) == 0, "%s", err.text);
	return s;
}

/* A stream of its own reference to the snapshot `id`. */
static struct snapshot_stream *
stream(const char *id, uint64_t offset, bool zstd)
{
	struct snapshot_stream *t = snapshot_stream_new(acquire(id), offset, zstd, &err);

	ck_assert_msg(t != NULL, "%s", err.text);
	return t;
}

/* Read up to `most` bytes in pieces. */
static void
read_some(struct snapshot_stream *t, size_t piece, size_t most, struct buf *out)
{
	int64_t n = 1;

	while (n > 0 && out->len < most) {
		ck_assert_int_eq(buf_reserve(out, piece), 0);
		n = snapshot_stream_read(t, out->data + out->len, piece < most - out->len ? piece : most - out->len);
		ck_assert_int_ge(n, 0);
		out->len += (size_t)n;
	}
	ck_assert(n != 0 || snapshot_stream_read(t, out->data, piece) == 0);
}

/* The whole tar of the snapshot `id`, or of a fresh one. */
static void
read_whole(const char *id, struct buf *out)
{
	struct snapshot_stream *t = stream(id, 0, false);

	buf_init(out, 64 << 20);
	read_some(t, 70001, SIZE_MAX, out);
	snapshot_stream_free(t);
}

/* --- What it holds --- */

static int
whole_source(void *arg, const void **data, size_t *len, struct sp_error *e)
{
	struct buf *tar = arg;

	(void)e;
	if (tar->limit == 0)
		return 0;
	*data = tar->data;
	*len = tar->len;
	tar->limit = 0; /* given */
	return 1;
}

static void
next_member(struct tar_reader *r, const char *name, struct buf *out)
{
	struct tar_member m;
	const void *data;
	size_t len;
	int rc;

	ck_assert_msg(tar_reader_next(r, &m, &err) == 1, "%s", err.text);
	ck_assert_str_eq(m.name, name);
	buf_init(out, 64 << 20);
	while ((rc = tar_reader_data(r, &data, &len, &err)) == 1)
		ck_assert_int_eq(buf_add(out, data, len), 0);
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_eq(out->len, m.size);
}

static void
assert_description(const struct buf *text, const struct position *p, size_t bytes)
{
	json_t *root = json_loadb(text->data, text->len, 0, NULL);
	char digest[DIGEST_HEX_SIZE];

	digest_to_hex(p->digest, digest);
	ck_assert_ptr_nonnull(root);
	ck_assert_int_eq(json_integer_value(json_object_get(root, "format")), 1);
	ck_assert_str_eq(json_string_value(json_object_get(root, "cluster")), p->cluster);
	ck_assert_int_eq(json_integer_value(json_object_get(root, "epoch")), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(root, "seq")), (json_int_t)p->seq);
	ck_assert_str_eq(json_string_value(json_object_get(root, "digest")), digest);
	ck_assert_int_eq(json_integer_value(json_object_get(root, "keys")), 120);
	ck_assert_int_eq(json_integer_value(json_object_get(root, "horizon")), 0);
	ck_assert_int_eq(json_is_true(json_object_get(root, "consistent")), p->consistent);
	ck_assert_int_eq(json_integer_value(json_object_get(root, "bytes")), (json_int_t)bytes);
	ck_assert_int_eq(json_integer_value(json_object_get(root, "page_size")), 4096);
	ck_assert_str_eq(json_string_value(json_object_get(root, "donor")), "mystore-0");
	ck_assert_uint_eq(json_string_length(json_object_get(root, "created")), CLOCK_RFC3339_SIZE - 1);
	ck_assert_uint_eq(json_array_size(json_object_get(root, "history")), 1);
	json_decref(root);
}

/* Whether a tar is a whole and true snapshot of what the store is at `p`; unpacks and opens it. */
static void
assert_snapshot(const struct buf *tar, const struct position *p)
{
	struct buf input = *tar, description, image, sums, want;
	struct tar_reader *r = tar_reader_new(whole_source, &input, &err);
	char one[DIGEST_HEX_SIZE], two[DIGEST_HEX_SIZE], total[DIGEST_HEX_SIZE];
	struct tar_member m;
	struct store *s;

	ck_assert_ptr_nonnull(r);
	next_member(r, "seedpod.json", &description);
	next_member(r, "store/data.mdb", &image);
	next_member(r, "seedpod.sums", &sums);
	ck_assert_int_eq(tar_reader_next(r, &m, &err), 0);
	tar_reader_free(r);
	assert_description(&description, p, image.len);
	digest_to_hex(digest_of(description.data, description.len), one);
	digest_to_hex(digest_of(image.data, image.len), two);
	buf_init(&want, 1000);
	buf_printf(&want, "%s  seedpod.json\n%s  store/data.mdb\n", one, two);
	digest_to_hex(digest_of(want.data, want.len), total);
	buf_printf(&want, "# total %s\n", total);
	ck_assert_str_eq(sums.data, want.data);
	ck_assert_int_eq(file_make_dirs(tempdir_path(other, "store"), &err), 0);
	ck_assert_int_eq(
	    file_write_atomic(tempdir_path(other, "store/data.mdb"), image.data, image.len, 0600, &err), 0);
	s = test_store_open(other, STORE_READONLY, 0);
	ck_assert(digest_equal(test_store_position(s).digest, p->digest));
	test_store_verify(s);
	store_free(s);
	buf_release(&description);
	buf_release(&image);
	buf_release(&sums);
	buf_release(&want);
}

START_TEST(snapshot__is_a_store_with_its_description_and_sums)
{
	struct snapshot *s = acquire(NULL);
	struct position p = *snapshot_position(s);
	struct buf tar;

	test_store_put(store, "later", "on");
	ck_assert_uint_eq(p.seq, 200);
	read_whole(NULL, &tar);
	ck_assert_uint_eq(tar.len, snapshot_length(s));
	assert_snapshot(&tar, &p);
	ck_assert_uint_eq(atomic_load(&counters.snapshots_started), 1);
	ck_assert_uint_eq(atomic_load(&counters.snapshot_bytes_sent), tar.len);
	snapshot_release(s);
	buf_release(&tar);
}
END_TEST

START_TEST(snapshot_acquire__whoever_asks_at_the_same_time_shares_it)
{
	struct snapshot *a = acquire(NULL), *b = acquire(NULL), *c = acquire(snapshot_id(a)), *none;

	ck_assert_uint_eq(strlen(snapshot_id(a)), SNAPSHOT_ID_SIZE - 1);
	ck_assert_str_eq(snapshot_id(a), snapshot_id(b));
	ck_assert_str_eq(snapshot_id(a), snapshot_id(c));
	ck_assert_uint_eq(snapshots_count(list), 1);
	ck_assert_int_eq(snapshots_acquire(list, "0f8fad5b-d9cb-469f-a165-70867728950e", &none, &err), SP_ENOTFOUND);
	ck_assert_int_eq(snapshots_acquire(list, "", &none, &err), SP_ENOTFOUND);
	snapshot_release(a);
	snapshot_release(b);
	snapshot_release(c);
}
END_TEST

START_TEST(snapshots_expire__lets_go_after_the_hold_time)
{
	struct snapshot *a = acquire(NULL), *none;
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	char id[SNAPSHOT_ID_SIZE];

	memcpy(id, snapshot_id(a), sizeof(id));
	snapshots_configure(list, 0);
	/* Not while somebody has it. */
	clock_sleep_ms(5);
	snapshots_expire(list);
	ck_assert_uint_eq(snapshots_count(list), 1);
	snapshots_configure(list, 60000);
	snapshot_release(a);
	snapshots_expire(list);
	ck_assert_uint_eq(snapshots_count(list), 1);
	a = acquire(id);
	snapshot_release(a);
	snapshots_configure(list, 0);
	while (snapshots_count(list) > 0 && clock_mono_ms() < deadline)
		snapshots_expire(list);
	ck_assert_uint_eq(snapshots_count(list), 0);
	ck_assert_int_eq(snapshots_acquire(list, id, &none, &err), SP_ENOTFOUND);
	a = acquire(NULL);
	ck_assert_str_ne(snapshot_id(a), id);
	snapshot_release(a);
}
END_TEST

/* Overwrite a key with a large value until data.mdb has grown by `bytes`, which a pinned version makes it do. */
static void
grow_file(uint64_t bytes)
{
	size_t size = 8 << 20;
	char *value = malloc(size);
	uint64_t map, before, now;

	ck_assert_ptr_nonnull(value);
	memset(value, 'v', size);
	value[size - 1] = '\0';
	store_sizes(store, &map, &before);
	while (map < before + 4 * bytes) {
		ck_assert_int_eq(store_grow(store, &err), 0);
		store_sizes(store, &map, &before);
	}
	do {
		test_store_put(store, "large", value);
		store_sizes(store, &map, &now);
	} while (now < before + bytes);
	free(value);
}

START_TEST(snapshots_expire__lets_go_of_what_makes_the_file_grow)
{
	struct snapshot *a = acquire(NULL);

	grow_file((uint64_t)100 << 20);
	/* Whoever reads it is not left alone. */
	snapshots_expire(list);
	ck_assert_uint_eq(snapshots_count(list), 1);
	snapshot_release(a);
	snapshots_expire(list);
	ck_assert_uint_eq(snapshots_count(list), 0);
}
END_TEST

START_TEST(snapshots_expire__lets_go_of_what_costs_room_that_is_free)
{
	struct snapshot *a = acquire(NULL);
	uint64_t map, before, after, withheld = 0;
	char value[4000];

	/* The file is large already: it need not grow for what is withheld now. */
	grow_file((uint64_t)200 << 20);
	snapshot_release(a);
	snapshots_expire(list);
	ck_assert_uint_eq(snapshots_count(list), 0);
	ck_assert_uint_eq(snapshots_withheld(list), 0);
	a = acquire(NULL);
	snapshot_release(a);
	store_sizes(store, &map, &before);
	memset(value, 'v', sizeof(value));
	value[sizeof(value) - 1] = '\0';
	for (unsigned i = 0; i < 20000 && snapshots_count(list) > 0; i++) {
		test_store_put(store, "small", value);
		snapshots_expire(list);
		if (snapshots_count(list) > 0) {
			ck_assert_uint_ge(snapshots_withheld(list), withheld);
			withheld = snapshots_withheld(list);
		}
	}
	ck_assert_uint_eq(snapshots_count(list), 0);
	ck_assert_uint_ge(withheld, (uint64_t)60 << 20);
	ck_assert_uint_le(withheld, (uint64_t)80 << 20);
	store_sizes(store, &map, &after);
	ck_assert_uint_eq(after, before);
}
END_TEST

START_TEST(snapshots_drop__ends_them_all)
{
	struct snapshot_stream *t = stream(NULL, 0, false), *z = stream(NULL, 0, true);
	struct snapshot *a = acquire(NULL), *b;
	struct buf part;
	char byte;

	buf_init(&part, 1 << 20);
	read_some(t, 5000, 20000, &part);
	snapshots_drop(list);
	ck_assert_int_eq(snapshot_stream_read(t, &byte, 1), -1);
	ck_assert_int_eq(snapshot_stream_read(z, &byte, 1), -1);
	ck_assert_int_eq(snapshots_acquire(list, snapshot_id(a), &b, &err), SP_ENOTFOUND);
	b = acquire(NULL);
	ck_assert_str_ne(snapshot_id(a), snapshot_id(b));
	ck_assert_uint_eq(snapshots_count(list), 2);
	snapshot_release(a);
	snapshot_stream_free(t);
	snapshot_stream_free(z);
	snapshot_stream_free(NULL);
	snapshots_expire(list);
	ck_assert_uint_eq(snapshots_count(list), 1);
	snapshot_release(b);
	buf_release(&part);
}
END_TEST

START_TEST(snapshot_acquire__without_a_store_says_so)
{
	struct snapshot *none;
	struct snapshot_stream *t = stream(NULL, 0, false);
	struct store_options o = { .dir = tempdir_path(other, "none"), .map_size = 1 << 20 };
	struct store *empty = store_new(&o, &err);
	struct snapshots *empties = snapshots_new(empty, &counters, "x", 0, &err);
	char piece[100000];

	store_detach(store);
	ck_assert_int_gt(snapshot_stream_read(t, piece, 512), 0);
	/* The image is gone. */
	for (unsigned i = 0; i < 100 && snapshot_stream_read(t, piece, sizeof(piece)) > 0; i++)
		;
	ck_assert_int_eq(snapshot_stream_read(t, piece, sizeof(piece)), -1);
	snapshot_stream_free(t);
	snapshots_drop(list);
	ck_assert_int_eq(snapshots_acquire(list, NULL, &none, &err), SP_EAGAIN);
	ck_assert_int_eq(snapshots_acquire(empties, NULL, &none, &err), SP_ENOTFOUND);
	ck_assert_uint_eq(snapshots_count(empties), 0);
	snapshots_free(empties);
	snapshots_free(NULL);
	store_free(empty);
}
END_TEST

/* Between two cuts, what is given says so. */
START_TEST(snapshot_acquire__a_catch_up_half_applied_says_so)
{
	struct position says = test_store_position(store), p;
	struct snapshot *s = acquire(NULL);
	struct buf feed, tar;

	snapshot_release(s);
	test_store_follow(store);
	buf_init(&feed, 1 << 20);
	feed_write_header(&feed, &says, says.seq);
	feed_write_put(&feed, says.seq + 1, "key-0", 5, "1", 1);
	feed_write_more(&feed, says.seq + 10);
	feed_write_end(&feed, 1);
	ck_assert_int_eq(test_store_apply(store, &feed, &err), 0);
	s = acquire(NULL);
	p = *snapshot_position(s);
	ck_assert(!p.consistent);
	read_whole(snapshot_id(s), &tar);
	assert_snapshot(&tar, &p);
	snapshot_release(s);
	buf_release(&feed);
	buf_release(&tar);
}
END_TEST

/* Whoever asks after a write of his own finds it in what he gets, where nobody else is being served. */
START_TEST(snapshot_acquire__after_a_write_it_is_a_fresh_one)
{
	struct snapshot *a = acquire(NULL), *b, *c;
	char id[SNAPSHOT_ID_SIZE];

	memcpy(id, snapshot_id(a), sizeof(id));
	snapshot_release(a);
	/* Nothing was written: the old one is as good. */
	a = acquire(NULL);
	ck_assert_str_eq(snapshot_id(a), id);
	snapshot_release(a);
	test_store_put(store, "written", "since");
	b = acquire(NULL);
	ck_assert_str_ne(snapshot_id(b), id);
	ck_assert_uint_eq(snapshot_position(b)->seq, 201);
	/* While others are served from a young one, they are joined. */
	test_store_put(store, "written", "again");
	c = acquire(NULL);
	ck_assert_str_eq(snapshot_id(c), snapshot_id(b));
	snapshot_release(b);
	snapshot_release(c);
	a = acquire(id);
	snapshot_release(a);
}
END_TEST

START_TEST(snapshots_acquire__so_many_are_held_and_no_more)
{
	char first[SNAPSHOT_ID_SIZE], last[SNAPSHOT_ID_SIZE];
	struct snapshot *s, *none;

	for (unsigned i = 0; i < 20; i++) {
		s = acquire(NULL);
		memcpy(i == 0 ? first : last, snapshot_id(s), SNAPSHOT_ID_SIZE);
		ck_assert_uint_eq(snapshot_position(s)->seq, 200 + i);
		snapshot_release(s);
		test_store_put(store, "written", "since");
		ck_assert_uint_le(snapshots_count(list), 8);
	}
	ck_assert_int_eq(snapshots_acquire(list, first, &none, &err), SP_ENOTFOUND);
	s = acquire(last);
	snapshot_release(s);
}
END_TEST

/* One that a slow reader has had for long is no snapshot of the present, as long as another can make room. */
START_TEST(snapshots_acquire__an_old_one_is_shared_only_where_all_are_read)
{
	struct snapshot *held[9];

	for (unsigned i = 0; i < 8; i++) {
		held[i] = acquire(NULL);
		ck_assert_uint_eq(snapshot_position(held[i])->seq, 200 + i);
		ahead_s += 6;
		test_store_put(store, "written", "since");
	}
	held[8] = acquire(NULL);
	ck_assert_str_eq(snapshot_id(held[8]), snapshot_id(held[7]));
	snapshot_release(held[8]);
	snapshot_release(held[4]);
	held[8] = acquire(NULL);
	ck_assert_uint_eq(snapshot_position(held[8])->seq, 208);
	ck_assert_uint_eq(snapshots_count(list), 8);
	for (unsigned i = 0; i < 9; i++)
		if (i != 4)
			snapshot_release(held[i]);
}
END_TEST

START_TEST(snapshot_stream__resumes_anywhere_that_was_sent)
{
	struct snapshot *s = acquire(NULL);
	struct buf whole, part;
	struct snapshot_stream *t;
	uint64_t offset;

	read_whole(snapshot_id(s), &whole);
	srand(4711);
	for (unsigned i = 0; i < 60; i++) {
		offset = (uint64_t)rand() % (whole.len + 1);
		if (i < 10)
			offset = whole.len - 512 * i;
		else if (i < 20)
			offset = 512 * (i - 10);
		t = stream(snapshot_id(s), offset, false);
		buf_init(&part, 64 << 20);
		read_some(t, 1000 + (size_t)rand() % 100000, SIZE_MAX, &part);
		ck_assert_uint_eq(part.len, whole.len - offset);
		ck_assert_mem_eq(part.data, whole.data + offset, part.len);
		buf_release(&part);
		snapshot_stream_free(t);
		test_store_put(store, "meanwhile", "written");
	}
	snapshot_release(s);
	buf_release(&whole);
}
END_TEST

START_TEST(snapshot_stream__beyond_what_was_sent_is_refused)
{
	struct snapshot *s = acquire(NULL);
	struct snapshot_stream *t = stream(snapshot_id(s), 0, false);
	struct buf part;

	buf_init(&part, 64 << 20);
	read_some(t, 4000, 50000, &part);
	ck_assert_ptr_null(snapshot_stream_new(acquire(snapshot_id(s)), 50001, false, &err));
	ck_assert_int_eq(err.code, SP_EUSAGE);
	ck_assert_ptr_null(snapshot_stream_new(acquire(snapshot_id(s)), snapshot_length(s), false, &err));
	ck_assert_ptr_null(snapshot_stream_new(acquire(snapshot_id(s)), snapshot_length(s) + 1, true, &err));
	ck_assert_ptr_null(snapshot_stream_new(acquire(snapshot_id(s)), UINT64_MAX, false, &err));
	snapshot_stream_free(t);
	snapshot_release(s);
	/* The references went with the failures. */
	snapshots_configure(list, 0);
	clock_sleep_ms(5);
	snapshots_expire(list);
	ck_assert_uint_eq(snapshots_count(list), 0);
	buf_release(&part);
}
END_TEST

/* A transfer that breaks off again and again, taken up by streams of both kinds, ends with right sums. */
START_TEST(snapshot_stream__sums_are_right_however_it_was_read)
{
	struct snapshot *s = acquire(NULL);
	struct position p = *snapshot_position(s);
	struct buf tar, plain;
	size_t at = 0;

	buf_init(&tar, 64 << 20);
	srand(4711);
	while (at < snapshot_length(s)) {
		/* Somebody else reads along, from the beginning. */
		struct snapshot_stream *t = stream(snapshot_id(s), at, false), *too = stream(snapshot_id(s), 0, false);

		buf_init(&plain, 64 << 20);
		read_some(too, 30000, (size_t)rand() % 100000, &plain);
		buf_release(&plain);
		read_some(t, 30000, at + 1 + (size_t)rand() % 50000, &tar);
		at = tar.len;
		snapshot_stream_free(t);
		snapshot_stream_free(too);
	}
	assert_snapshot(&tar, &p);
	snapshot_release(s);
	buf_release(&tar);
}
END_TEST

/* --- Compressed --- */

/* Decompress each frame by itself. */
static void
inflate(const struct buf *in, struct buf *out)
{
	size_t at = 0, frame, n;
	unsigned frames = 0;

	while (at < in->len) {
		frame = ZSTD_findFrameCompressedSize(in->data + at, in->len - at);
		ck_assert_msg(!ZSTD_isError(frame), "%s", ZSTD_getErrorName(frame));
		ck_assert_int_eq(buf_reserve(out, 1 << 20), 0);
		n = ZSTD_decompress(out->data + out->len, 1 << 20, in->data + at, frame);
		ck_assert_msg(!ZSTD_isError(n), "%s", ZSTD_getErrorName(n));
		out->len += n;
		at += frame;
		frames++;
	}
	ck_assert_uint_ge(frames, 1);
}

START_TEST(snapshot_stream__zstd_inflates_to_the_same)
{
	static const size_t pieces[] = { 1, 4096, 1 << 20 };
	struct snapshot *s = acquire(NULL);
	struct buf whole, packed, plain;
	struct snapshot_stream *t;

	read_whole(snapshot_id(s), &whole);
	for (unsigned i = 0; i < 12; i++) {
		uint64_t offset = i < 3 ? 0 : i == 3 ? whole.len : whole.len / 13 * i + i;

		buf_init(&packed, 64 << 20);
		buf_init(&plain, 64 << 20);
		t = stream(snapshot_id(s), offset, true);
		read_some(t, pieces[i % 3], SIZE_MAX, &packed);
		snapshot_stream_free(t);
		if (offset < whole.len)
			inflate(&packed, &plain);
		ck_assert_uint_eq(plain.len, whole.len - offset);
		ck_assert_mem_eq(plain.data, whole.data + offset, plain.len);
		ck_assert_uint_lt(packed.len, plain.len / 4 + 1);
		buf_release(&packed);
		buf_release(&plain);
	}
	snapshot_release(s);
	buf_release(&whole);
}
END_TEST

/* A fresh snapshot that is only ever read compressed has its sums all the same. */
START_TEST(snapshot_stream__zstd_alone_has_right_sums)
{
	struct snapshot *s = acquire(NULL);
	struct snapshot_stream *t = stream(snapshot_id(s), 0, true);
	struct position p = *snapshot_position(s);
	struct buf packed, plain;

	buf_init(&packed, 64 << 20);
	buf_init(&plain, 64 << 20);
	read_some(t, 10000, SIZE_MAX, &packed);
	snapshot_stream_free(t);
	inflate(&packed, &plain);
	assert_snapshot(&plain, &p);
	ck_assert_uint_eq(atomic_load(&counters.snapshot_bytes_sent), plain.len);
	snapshot_release(s);
	buf_release(&packed);
	buf_release(&plain);
}
END_TEST

/* --- Passed on from pod to pod --- */

/* A store whose snapshot is worth passing on. */
static void
fill(void)
{
	char *value = malloc((1u << 20) + 1), key[16];

	memset(value, 'x', 1u << 20);
	value[1u << 20] = '\0';
	for (unsigned i = 0; i < 18; i++) {
		snprintf(key, sizeof(key), "large-%u", i);
		test_store_put(store, key, value);
	}
	free(value);
}

static struct snapshot_stream *
placed(const char *id, unsigned pod)
{
	struct snapshot_stream *t = stream(id, 0, false);
	unsigned sibling;

	ck_assert(snapshot_stream_place(t, pod, &sibling));
	return t;
}

START_TEST(snapshot_stream_place__a_third_pod_is_pointed_to_a_sibling)
{
	struct snapshot_stream *first, *second, *third;
	struct snapshot *s;
	unsigned sibling = 0;

	fill();
	snapshots_set_fan_out(list, 2);
	s = acquire(NULL);
	first = placed(snapshot_id(s), 1);
	second = placed(snapshot_id(s), 2);
	third = stream(snapshot_id(s), 0, false);
	ck_assert(!snapshot_stream_place(third, 3, &sibling));
	ck_assert_uint_eq(sibling, 1);
	snapshot_stream_free(third);
	snapshot_stream_free(first);
	third = placed(snapshot_id(s), 3);
	snapshot_stream_free(second);
	snapshot_stream_free(third);
	snapshot_release(s);
	ck_assert_uint_eq(atomic_load(&counters.snapshots_started), 0);
}
END_TEST

START_TEST(snapshot_stream_place__a_small_one_is_sent_to_all)
{
	struct snapshot_stream *t[5];
	struct snapshot *s;

	snapshots_set_fan_out(list, 1);
	s = acquire(NULL);
	for (unsigned i = 0; i < 5; i++)
		t[i] = placed(snapshot_id(s), i);
	for (unsigned i = 0; i < 5; i++)
		snapshot_stream_free(t[i]);
	snapshot_release(s);
}
END_TEST

/* However old it is, as long as it is near enough and holds what is asked for. */
START_TEST(snapshots_find_passed_on__what_others_get_now)
{
	struct snapshot_stream *t;
	struct snapshot *s, *found;
	uint64_t seq;

	fill();
	snapshots_set_fan_out(list, 2);
	ck_assert_ptr_null(snapshots_find_passed_on(list, 10000, 0));
	s = acquire(NULL);
	seq = snapshot_position(s)->seq;
	ck_assert_ptr_null(snapshots_find_passed_on(list, 10000, 0));
	t = placed(snapshot_id(s), 1);
	ahead_s += 60;
	test_store_put(store, "written", "since");
	test_store_put(store, "written", "again");
	found = snapshots_find_passed_on(list, 2, seq);
	ck_assert_ptr_eq(found, s);
	snapshot_release(found);
	ck_assert_ptr_null(snapshots_find_passed_on(list, 1, seq));
	ck_assert_ptr_null(snapshots_find_passed_on(list, 2, seq + 1));
	snapshot_stream_free(t);
	ck_assert_ptr_null(snapshots_find_passed_on(list, 2, seq));
	snapshot_release(s);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		snapshot__is_a_store_with_its_description_and_sums,
		snapshot_acquire__whoever_asks_at_the_same_time_shares_it,
		snapshots_expire__lets_go_after_the_hold_time,
		snapshots_expire__lets_go_of_what_makes_the_file_grow,
		snapshots_expire__lets_go_of_what_costs_room_that_is_free,
		snapshots_drop__ends_them_all,
		snapshot_acquire__without_a_store_says_so,
		snapshot_acquire__a_catch_up_half_applied_says_so,
		snapshot_acquire__after_a_write_it_is_a_fresh_one,
		snapshots_acquire__so_many_are_held_and_no_more,
		snapshots_acquire__an_old_one_is_shared_only_where_all_are_read,
		snapshot_stream__resumes_anywhere_that_was_sent,
		snapshot_stream__beyond_what_was_sent_is_refused,
		snapshot_stream__sums_are_right_however_it_was_read,
		snapshot_stream__zstd_inflates_to_the_same,
		snapshot_stream__zstd_alone_has_right_sums,
		snapshot_stream_place__a_third_pod_is_pointed_to_a_sibling,
		snapshot_stream_place__a_small_one_is_sent_to_all,
		snapshots_find_passed_on__what_others_get_now,
	};

	return suite_run_fixture("snapshot", tests, sizeof(tests) / sizeof(tests[0]), 60, setup, teardown);
}
