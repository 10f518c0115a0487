#include "tests/lib/suite.h"

#include <stdlib.h>

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

	tcase_set_timeout(all, timeout_s);
	if (setup != NULL)
		tcase_add_checked_fixture(all, setup, teardown);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(all, tests[i]);
	return suite_run_case(name, all);
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
