/* A bit that fell over anywhere in a store's file: found with a name, or of no consequence; never a signal. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "server/store/store_layout.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

#define PAGE  4096
#define FLIPS 3000

static char dir[TEMPDIR_MAX];
static struct sp_error err;

static const char *
data_path(void)
{
	return tempdir_path(dir, "store/data.mdb");
}

/* A store with trees of two levels, overwritten and deleted keys, large values, and free pages of several versions. */
static void
make_store(void)
{
	static char large[3 * PAGE], value[300];
	struct store *s = test_store_open(dir, STORE_CREATE, 0);
	char key[32];

	memset(large, 'l', sizeof(large) - 1);
	memset(value, 'v', sizeof(value) - 1);
	for (int i = 0; i < 400; i++) {
		snprintf(key, sizeof(key), "key-%d", i * 7919 % 400);
		test_store_put(s, key, i % 50 == 0 ? large : value);
	}
	for (int i = 0; i < 400; i += 5) {
		snprintf(key, sizeof(key), "key-%d", i);
		test_store_put(s, key, "short");
		if (i % 3 == 0)
			test_store_delete(s, key);
	}
	store_free(s);
}

static int
check(bool deep)
{
	return store_check_structure(tempdir_path(dir, "store"), deep, &err);
}

/* Open it and read all: 0 or an error. */
static int
open_and_verify(void)
{
	struct store_options o = { .dir = tempdir_path(dir, "store"), .map_size = 64u << 20 };
	struct store *s = store_new(&o, &err);
	struct digest found;
	int rc = store_attach(s, STORE_READONLY, &err);

	if (rc == 0)
		rc = store_verify(s, &found, &err);
	store_free(s);
	return rc;
}

START_TEST(store_check_structure__a_whole_store)
{
	make_store();
	ck_assert_int_eq(check(false), 0);
	ck_assert_msg(check(true) == 0, "%s", err.text);
	ck_assert_int_eq(open_and_verify(), 0);
}
END_TEST

START_TEST(store_check_structure__what_is_no_store_is_left_to_attach)
{
	ck_assert_int_eq(check(true), 0);
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "store"), &err), 0);
	tempdir_write(dir, "store/data.mdb", "no store");
	ck_assert_int_eq(check(true), 0);
}
END_TEST

START_TEST(store_check_structure__a_flipped_bit_anywhere_ends_no_process)
{
	unsigned refused = 0, found = 0, harmless = 0;
	unsigned char byte, flipped;
	unsigned seed = 1;
	struct stat st;
	off_t at;
	int fd;

	make_store();
	fd = open(data_path(), O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(fstat(fd, &st), 0);
	for (int i = 0; i < FLIPS; i++) {
		/* Every second one among headers and offsets, where it does most. */
		at = (off_t)rand_r(&seed) % st.st_size;
		if (i % 2 == 0)
			at = at / PAGE * PAGE + rand_r(&seed) % 160;
		ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
		flipped = byte ^ (unsigned char)(1u << rand_r(&seed) % 8);
		ck_assert_int_eq(pwrite(fd, &flipped, 1, at), 1);
		if (check(true) < 0) {
			ck_assert_int_eq(err.code, SP_EBADDATA);
			ck_assert_ptr_nonnull(strstr(err.text, "data.mdb"));
			refused++;
		} else if (open_and_verify() < 0) {
			ck_assert_int_eq(err.code, SP_EBADDATA);
			found++;
		} else {
			harmless++;
		}
		ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	}
	close(fd);
	ck_assert_int_eq(open_and_verify(), 0);
	ck_assert_uint_gt(refused, FLIPS / 20);
	ck_assert_uint_gt(found, FLIPS / 10);
	ck_assert_uint_gt(harmless, 0);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		store_check_structure__a_whole_store,
		store_check_structure__what_is_no_store_is_left_to_attach,
		store_check_structure__a_flipped_bit_anywhere_ends_no_process,
	};

	return suite_run_in_folder("store_structure", tests, sizeof(tests) / sizeof(tests[0]), 60, dir);
}
