#include "tests/lib/suite.h"

#include <stdlib.h>

#include "tests/lib/tempdir.h"

static char *folder; /* of suite_case_in_folder() */

static int
run_tests(const char *name, TCase *all, const TTest *const *tests, size_t count, double timeout_s)
{
	tcase_set_timeout(all, timeout_s);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(all, tests[i]);
	return suite_run_case(name, all);
}

int
suite_run(const char *name, const TTest *const *tests, size_t count, double timeout_s)
{
	return suite_run_fixture(name, tests, count, timeout_s, NULL, NULL);
}

int
suite_run_fixture(
    const char *name, const TTest *const *tests, size_t count, double timeout_s, SFun setup, SFun teardown)
{
	TCase *all = tcase_create(name);

	if (setup != NULL)
		tcase_add_checked_fixture(all, setup, teardown);
	return run_tests(name, all, tests, count, timeout_s);
}

static void
make_folder(void)
{
	tempdir_make(folder);
}

static void
remove_folder(void)
{
	tempdir_remove(folder);
}

void
suite_case_in_folder(TCase *all, char *dir)
{
	folder = dir;
	tcase_add_checked_fixture(all, make_folder, remove_folder);
}

int
suite_run_in_folder(const char *name, const TTest *const *tests, size_t count, double timeout_s, char *dir)
{
	TCase *all = tcase_create(name);

	suite_case_in_folder(all, dir);
	return run_tests(name, all, tests, count, timeout_s);
}

int
suite_run_case(const char *name, TCase *all)
{
	Suite *suite = suite_create(name);
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, all);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
