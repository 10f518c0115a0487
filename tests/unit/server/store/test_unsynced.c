#include <check.h>
#include <string.h>

#include "lib/base/file.h"
#include "server/store/unsynced.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

static char dir[TEMPDIR_MAX];

START_TEST(unsynced_in_doubt__without_a_mark_it_is_not)
{
	ck_assert(!unsynced_in_doubt(dir));
}
END_TEST

START_TEST(unsynced_in_doubt__a_mark_of_this_boot_is_none)
{
	struct sp_error err = { 0 };

	ck_assert_int_eq(unsynced_mark(dir, &err), 0);
	ck_assert(file_exists(tempdir_path(dir, "unsynced")));
	ck_assert(!unsynced_in_doubt(dir));
}
END_TEST

START_TEST(unsynced_in_doubt__a_mark_of_another_boot_is)
{
	tempdir_write(dir, "unsynced", "00000000-0000-0000-0000-000000000000\n");
	ck_assert(unsynced_in_doubt(dir));
}
END_TEST

START_TEST(unsynced_in_doubt__an_empty_or_oversized_mark_is)
{
	char large[4096];

	tempdir_write(dir, "unsynced", "");
	ck_assert(unsynced_in_doubt(dir));
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = i + 1 < sizeof(large) ? 'x' : '\0';
	tempdir_write(dir, "unsynced", large);
	ck_assert(unsynced_in_doubt(dir));
}
END_TEST

START_TEST(unsynced_clear__takes_the_mark_away_and_may_be_repeated)
{
	struct sp_error err = { 0 };

	tempdir_write(dir, "unsynced", "00000000-0000-0000-0000-000000000000\n");
	ck_assert_int_eq(unsynced_clear(dir, &err), 0);
	ck_assert(!file_exists(tempdir_path(dir, "unsynced")));
	ck_assert(!unsynced_in_doubt(dir));
	ck_assert_int_eq(unsynced_clear(dir, &err), 0);
}
END_TEST

START_TEST(unsynced_mark__where_it_cannot_be_left_says_so)
{
	struct sp_error err = { 0 };

	ck_assert_int_lt(unsynced_mark(tempdir_path(dir, "missing"), &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "unsynced"));
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		unsynced_in_doubt__without_a_mark_it_is_not,
		unsynced_in_doubt__a_mark_of_this_boot_is_none,
		unsynced_in_doubt__a_mark_of_another_boot_is,
		unsynced_in_doubt__an_empty_or_oversized_mark_is,
		unsynced_clear__takes_the_mark_away_and_may_be_repeated,
		unsynced_mark__where_it_cannot_be_left_says_so,
	};

	return suite_run_in_folder("unsynced", tests, sizeof(tests) / sizeof(tests[0]), 10, dir);
}
