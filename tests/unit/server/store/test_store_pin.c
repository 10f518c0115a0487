/* The image of a pinned version. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

static char dir[TEMPDIR_MAX], other[TEMPDIR_MAX];
static struct store *store;
static struct sp_error err;

static void
setup(void)
{
	tempdir_make(dir);
	tempdir_make(other);
	store = test_store_new(dir);
}

static void
teardown(void)
{
	store_free(store);
	tempdir_remove(dir);
	tempdir_remove(other);
}

static void
churn(unsigned from, unsigned to, size_t value_len)
{
	static char value[100000];
	char key[16];
	struct store_txn *t;
	uint64_t seq;

	for (unsigned i = from; i < to; i++) {
		memset(value, 'a' + (int)(i % 26), value_len);
		snprintf(key, sizeof(key), "key-%u", i % 50);
		ck_assert_int_eq(store_txn_begin(store, &t, &err), 0);
		ck_assert_int_eq(store_txn_put(t, key, strlen(key), value, value_len, &seq, &err), 0);
		if (i % 5 == 4)
			ck_assert_int_eq(store_txn_delete(t, key, strlen(key), &seq, &err), 0);
		ck_assert_msg(store_txn_commit(t, &err) == 0, "%s", err.text);
	}
}

static struct store_pin *
pin(void)
{
	struct store_pin *p;

	ck_assert_msg(store_pin_new(store, &p, &err) == 0, "%s", err.text);
	return p;
}

/* The whole image, read in pieces of `piece` bytes; malloc'ed. */
static char *
image_of(struct store_pin *p, size_t piece)
{
	uint64_t size = store_pin_size(p);
	char *image = malloc(size);

	ck_assert_ptr_nonnull(image);
	for (uint64_t at = 0; at < size; at += piece) {
		size_t n = size - at < piece ? (size_t)(size - at) : piece;

		ck_assert_msg(store_pin_read(p, at, image + at, n, &err) == 0, "%s", err.text);
	}
	return image;
}

/* Put an image where a store would be, in `other`. */
static void
unpack(const char *image, uint64_t size)
{
	ck_assert_int_eq(file_make_dirs(tempdir_path(other, "store"), &err), 0);
	ck_assert_int_eq(file_write_atomic(tempdir_path(other, "store/data.mdb"), image, size, 0600, &err), 0);
}

static void
assert_opens_as(const struct position *want, enum store_attach how)
{
	struct store *s = test_store_open(other, how, 0);
	struct position p = test_store_position(s);

	ck_assert_str_eq(p.cluster, want->cluster);
	ck_assert_uint_eq(p.epoch, want->epoch);
	ck_assert_uint_eq(p.seq, want->seq);
	ck_assert_uint_eq(p.keys, want->keys);
	ck_assert(digest_equal(p.digest, want->digest));
	test_store_verify(s);
	store_free(s);
}

START_TEST(store_pin__opens_as_a_store_at_its_position)
{
	struct store_pin *p;
	struct position want;
	char *image;

	churn(0, 200, 300);
	want = test_store_position(store);
	p = pin();
	ck_assert_uint_eq(store_pin_position(p)->seq, want.seq);
	ck_assert(digest_equal(store_pin_position(p)->digest, want.digest));
	ck_assert_uint_eq(store_pin_page_size(p), 4096);
	ck_assert_uint_eq(store_pin_size(p) % 4096, 0);
	churn(200, 300, 300);
	image = image_of(p, 65536);
	unpack(image, store_pin_size(p));
	assert_opens_as(&want, STORE_READONLY);
	assert_opens_as(&want, STORE_EXISTING);
	free(image);
	store_pin_free(p);
	store_pin_free(NULL);
}
END_TEST

/* The image goes on as a store: what is free in it is used again without harm. */
START_TEST(store_pin__its_store_takes_writes)
{
	struct store_pin *p;
	struct store *own = store;
	char *image;

	churn(0, 300, 5000);
	p = pin();
	image = image_of(p, 1 << 20);
	unpack(image, store_pin_size(p));
	store = test_store_open(other, STORE_EXISTING, 0);
	churn(300, 900, 5000);
	test_store_verify(store);
	store_free(store);
	store = own;
	free(image);
	store_pin_free(p);
}
END_TEST

START_TEST(store_pin__of_an_empty_store)
{
	struct store_pin *p = pin();
	char *image = image_of(p, 4096);

	unpack(image, store_pin_size(p));
	assert_opens_as(store_pin_position(p), STORE_EXISTING);
	free(image);
	store_pin_free(p);
}
END_TEST

static atomic_bool writing;

static void *
write_on(void *arg)
{
	(void)arg;
	for (unsigned i = 0; atomic_load(&writing); i += 10)
		churn(i, i + 10, i % 3 == 0 ? 9000 : 100);
	return NULL;
}

/* Whenever, and in whatever pieces: the same bytes. */
START_TEST(store_pin__is_the_same_while_it_is_written)
{
	static const size_t pieces[] = { 1 << 20, 4096, 1000, 4097, 65535 };
	pthread_t thread;

	churn(0, 200, 3000);
	atomic_store(&writing, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_on, NULL), 0);
	for (unsigned round = 0; round < 15; round++) {
		struct store_pin *p = pin();
		struct position want = *store_pin_position(p);
		char *first = image_of(p, pieces[round % 5]), *again;

		again = image_of(p, pieces[(round + 1) % 5]);
		ck_assert_mem_eq(first, again, store_pin_size(p));
		unpack(first, store_pin_size(p));
		assert_opens_as(&want, STORE_READONLY);
		free(first);
		free(again);
		store_pin_free(p);
	}
	atomic_store(&writing, false);
	pthread_join(thread, NULL);
	test_store_verify(store);
}
END_TEST

/* Also over a growth of the map, which moves it. */
START_TEST(store_pin__outlives_a_growth)
{
	struct store_pin *p;
	char *first, *again;

	churn(0, 100, 3000);
	p = pin();
	first = image_of(p, 1 << 20);
	ck_assert_int_eq(store_grow(store, &err), 0);
	churn(100, 300, 9000);
	ck_assert_int_eq(store_grow(store, &err), 0);
	again = image_of(p, 70000);
	ck_assert_mem_eq(first, again, store_pin_size(p));
	unpack(again, store_pin_size(p));
	assert_opens_as(store_pin_position(p), STORE_EXISTING);
	free(first);
	free(again);
	store_pin_free(p);
}
END_TEST

START_TEST(store_pin__any_part_is_that_part)
{
	struct store_pin *p;
	char *image, *part;
	uint64_t size;

	churn(0, 100, 3000);
	p = pin();
	size = store_pin_size(p);
	image = image_of(p, 1 << 20);
	part = malloc(size);
	srand(4711);
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t at = (uint64_t)rand() % size;
		size_t len = (size_t)rand() % (i % 2 == 0 ? 300 : 60000);

		if (i < 40) { /* around the meta pages */
			at = 4096 * (i % 4) + i / 4;
			len = 5000;
		}
		len = at + len > size ? (size_t)(size - at) : len;
		ck_assert_int_eq(store_pin_read(p, at, part, len, &err), 0);
		ck_assert_mem_eq(part, image + at, len);
	}
	ck_assert_int_eq(store_pin_read(p, size, part, 0, &err), 0);
	ck_assert_int_eq(store_pin_read(p, size, part, 1, &err), SP_EINTERNAL);
	ck_assert_int_eq(store_pin_read(p, size - 1, part, 2, &err), SP_EINTERNAL);
	ck_assert_int_eq(store_pin_read(p, UINT64_MAX, part, 2, &err), SP_EINTERNAL);
	free(part);
	free(image);
	store_pin_free(p);
}
END_TEST

/* Whoever opens the image finds the pinned version, whichever meta page he picks. */
START_TEST(store_pin__both_meta_pages_are_the_versions)
{
	struct store_pin *p;
	char metas[2][4096];
	uint64_t own;

	churn(0, 33, 100);
	p = pin();
	churn(33, 40, 100);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(store_pin_read(p, i * 4096, metas[i], 4096, &err), 0);
		memcpy(&own, metas[i], sizeof(own));
		ck_assert_uint_eq(own, i);
	}
	ck_assert_mem_eq(metas[0] + 8, metas[1] + 8, 4096 - 8);
	store_pin_free(p);
}
END_TEST

/* What was deleted is not sent: it would be the writer's to change, and compresses badly. */
START_TEST(store_pin__free_pages_are_zeros)
{
	static const char zeros[4096];
	struct store_pin *p;
	unsigned empty = 0;
	char *image, key[16];

	churn(0, 50, 50000);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "key-%u", i);
		if (i % 5 != 4)
			test_store_delete(store, key);
	}
	test_store_put(store, "a", "1");
	test_store_put(store, "a", "2");
	p = pin();
	image = image_of(p, 1 << 20);
	for (uint64_t at = 0; at < store_pin_size(p); at += 4096)
		empty += memcmp(image + at, zeros, 4096) == 0;
	/* Forty values of thirteen pages each are gone. */
	ck_assert_uint_ge(empty, 40 * 12);
	ck_assert_ptr_null(memmem(image, store_pin_size(p), "bbbbbbbbbbbbbbbb", 16));
	unpack(image, store_pin_size(p));
	assert_opens_as(store_pin_position(p), STORE_EXISTING);
	free(image);
	store_pin_free(p);
}
END_TEST

START_TEST(store_pin__dies_with_the_store)
{
	struct store_pin *first, *second;
	char byte;

	churn(0, 10, 100);
	first = pin();
	second = pin();
	ck_assert_int_eq(store_pin_read(first, 10000, &byte, 1, &err), 0);
	store_detach(store);
	ck_assert_int_eq(store_pin_read(first, 10000, &byte, 1, &err), SP_EAGAIN);
	ck_assert_int_eq(store_attach(store, STORE_EXISTING, &err), 0);
	/* Not of what was opened since either. */
	ck_assert_int_eq(store_pin_read(second, 10000, &byte, 1, &err), SP_EAGAIN);
	ck_assert_uint_eq(store_pin_position(second)->seq, 12);
	store_pin_free(first);
	store_pin_free(second);
	first = pin();
	ck_assert_int_eq(store_pin_read(first, 10000, &byte, 1, &err), 0);
	store_pin_free(first);
}
END_TEST

static void *
read_until_dead(void *arg)
{
	struct sp_error mine;
	char piece[5000];
	int rc;

	do
		rc = store_pin_read(arg, 100, piece, sizeof(piece), &mine);
	while (rc == 0);
	ck_assert_int_eq(rc, SP_EAGAIN);
	return NULL;
}

START_TEST(store_pin__readers_are_told_when_the_store_goes)
{
	struct store_pin *p;
	pthread_t threads[3];

	churn(0, 50, 1000);
	p = pin();
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_until_dead, p), 0);
	churn(50, 60, 1000);
	store_detach(store);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	store_pin_free(p);
}
END_TEST

START_TEST(store_pin__counts_what_it_withholds)
{
	struct store_pin *steps, *once;
	uint64_t map, before, after, withheld = 0;

	churn(0, 200, 300);
	steps = pin();
	once = pin();
	ck_assert_uint_eq(store_pin_withheld(steps), 0);
	ck_assert_uint_ge(store_pin_live(steps), 50 * 300 / 2);
	ck_assert_uint_le(store_pin_live(steps), store_pin_size(steps));
	store_sizes(store, &map, &before);
	for (unsigned i = 200; i < 600; i += 100) {
		churn(i, i + 100, 3000);
		ck_assert_uint_gt(store_pin_withheld(steps), withheld);
		withheld = store_pin_withheld(steps);
	}
	/* In steps or at once, and by so much the file has grown, what was free in it and what there is more of aside.
	 */
	ck_assert_uint_eq(store_pin_withheld(once), withheld);
	store_sizes(store, &map, &after);
	ck_assert_uint_ge(after - before, withheld / 2);
	ck_assert_uint_le(after - before, withheld + 100 * 4096);
	store_pin_free(steps);
	store_pin_free(once);
	once = pin();
	ck_assert_uint_eq(store_pin_withheld(once), 0);
	store_detach(store);
	ck_assert_uint_eq(store_pin_withheld(once), 0);
	store_pin_free(once);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		store_pin__opens_as_a_store_at_its_position,
		store_pin__its_store_takes_writes,
		store_pin__of_an_empty_store,
		store_pin__is_the_same_while_it_is_written,
		store_pin__outlives_a_growth,
		store_pin__any_part_is_that_part,
		store_pin__both_meta_pages_are_the_versions,
		store_pin__free_pages_are_zeros,
		store_pin__counts_what_it_withholds,
		store_pin__dies_with_the_store,
		store_pin__readers_are_told_when_the_store_goes,
	};

	return suite_run_fixture("store_pin", tests, sizeof(tests) / sizeof(tests[0]), 60, setup, teardown);
}
