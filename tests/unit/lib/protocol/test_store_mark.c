/* The mark that a volume has held a store. */
#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/protocol/store_mark.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define CLUSTER "0f8c2f4e-8a56-4d3b-9a53-2b1f6a7f9a10"

static char dir[TEMPDIR_MAX];

START_TEST(store_mark__says_whose_store_it_was_until_it_is_cleared)
{
	struct sp_error err = { 0 };
	char found[STORE_MARK_SIZE];

	ck_assert(!store_mark_read(dir, found));
	ck_assert_str_eq(found, "");
	ck_assert_int_eq(store_mark_clear(dir, &err), 0);
	ck_assert_int_eq(store_mark_write(dir, CLUSTER, &err), 0);
	ck_assert_int_eq(store_mark_write(dir, CLUSTER, &err), 0);
	ck_assert(store_mark_read(dir, found));
	ck_assert_str_eq(found, CLUSTER);
	ck_assert_int_eq(store_mark_clear(dir, &err), 0);
	ck_assert(!store_mark_read(dir, found));
}
END_TEST

START_TEST(store_mark__anything_under_its_name_counts)
{
	struct sp_error err = { 0 };
	char found[STORE_MARK_SIZE], path[TEMPDIR_MAX + 16], large[4096];

	snprintf(path, sizeof(path), "%s", tempdir_path(dir, STORE_MARK_NAME));
	memset(large, 'x', sizeof(large));
	ck_assert_int_eq(file_write_atomic(path, large, sizeof(large), 0600, &err), 0);
	ck_assert(store_mark_read(dir, found));
	ck_assert_str_eq(found, "");
	ck_assert_int_eq(store_mark_write(dir, CLUSTER, &err), 0);
	ck_assert(store_mark_read(dir, found));
	ck_assert_str_eq(found, CLUSTER);
	ck_assert_int_lt(store_mark_write("/proc/nowhere", CLUSTER, &err), 0);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		store_mark__says_whose_store_it_was_until_it_is_cleared,
		store_mark__anything_under_its_name_counts,
	};

	return suite_run_in_folder("store mark", tests, sizeof(tests) / sizeof(tests[0]), 60, dir);
}
