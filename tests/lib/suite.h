/*
 * The main() of a Check program: each test in a process of its own.
 *
 *	int
 *	main(void)
 *	{
 *		const TTest *tests[] = { buf_add__appends, buf_add__stops_at_the_limit };
 *
 *		return suite_run("buf", tests, sizeof(tests) / sizeof(tests[0]), 10);
 *	}
 */
#ifndef TESTS_LIB_SUITE_H_
#define TESTS_LIB_SUITE_H_

#include <check.h>
#include <stddef.h>

/* Run the tests, each for at most timeout_s seconds. What main() is to return. */
int suite_run(const char *name, const TTest *const *tests, size_t count, double timeout_s);

/* The same with what is done in each test's process before and after it; NULL: nothing. */
int suite_run_fixture(
    const char *name, const TTest *const *tests, size_t count, double timeout_s, SFun setup, SFun teardown);

/* The same, each test with a temporary folder of its own (tests/lib/tempdir.h), whose path is in dir[TEMPDIR_MAX]. */
int suite_run_in_folder(const char *name, const TTest *const *tests, size_t count, double timeout_s, char *dir);

/* The same of a case that the caller has made, which may have loops in it. Takes it over. */
int suite_run_case(const char *name, TCase *all);

/* Such a folder for each test of a case. One case of a program. */
void suite_case_in_folder(TCase *all, char *dir);

#endif
