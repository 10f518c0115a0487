/* Running seedpod-init as a child: its exit codes, its end. */
#include "sidecar/reseed.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "tests/lib/suite.h"

static bool
go_on(void *arg)
{
	bool *on = arg;

	return *on;
}

static int
run_shell(const char *script, bool on, struct sp_error *err)
{
	char text[128];
	char shell[] = "sh", option[] = "-c";
	char *argv[] = { shell, option, text, NULL };
	struct reseed_call call = { .go_on = go_on, .go_on_arg = &on };

	snprintf(text, sizeof(text), "%s", script);
	return reseed_run_child("sh", argv, &call, err);
}

START_TEST(reseed_child__exit_codes_are_told_by_name)
{
	static const struct {
		const char *script;
		int code;
	} rows[] = {
		{ "exit 64", SP_EUSAGE },
		{ "exit 65", SP_EBADDATA },
		{ "exit 69", SP_EUNAVAIL },
		{ "exit 71", SP_ENOMEM },
		{ "exit 73", SP_EVOLUME },
		{ "exit 74", SP_EIO },
		{ "exit 75", SP_EAGAIN },
		{ "exit 77", SP_EPERM },
		{ "exit 78", SP_ECONF },
		{ "exit 3", SP_EINTERNAL },
		{ "kill -9 $$", SP_EINTERNAL },
	};
	struct sp_error err;

	ck_assert_int_eq(run_shell("exit 0", true, &err), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(&err, 0, sizeof(err));
		ck_assert_int_eq(run_shell(rows[i].script, true, &err), rows[i].code);
		ck_assert_int_eq(err.code, rows[i].code);
	}
}
END_TEST

START_TEST(reseed_child__gets_no_descriptor_but_the_standard_three)
{
	static const char script[] = "for d in 3 4 5 6 7 8 9; do [ ! -e /proc/$$/fd/$d ] || exit 75; done";
	int ours = dup(STDERR_FILENO);
	struct sp_error err = { 0 };

	ck_assert_int_ge(ours, 3);
	ck_assert_msg(run_shell(script, true, &err) == 0, "%s", err.text);
	close(ours);
}
END_TEST

START_TEST(reseed_child__program_that_is_not_there)
{
	char name[] = "seedpod-there-is-no-such-program";
	char *argv[] = { name, NULL };
	bool on = true;
	struct reseed_call call = { .go_on = go_on, .go_on_arg = &on };
	struct sp_error err = { 0 };

	ck_assert_int_eq(reseed_run_child(name, argv, &call, &err), SP_ENOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.text, name));
}
END_TEST

START_TEST(reseed_child__is_ended_when_told)
{
	int64_t began_ms = clock_mono_ms();
	struct sp_error err = { 0 };

	ck_assert_int_eq(run_shell("exec sleep 60", false, &err), SP_ECANCELED);
	ck_assert_int_lt(clock_mono_ms() - began_ms, 5000);
}
END_TEST

START_TEST(reseed_child__that_does_not_listen_is_killed)
{
	int64_t began_ms = clock_mono_ms();
	struct sp_error err = { 0 };

	ck_assert_int_eq(run_shell("trap '' TERM; while :; do sleep 0.1; done", false, &err), SP_ECANCELED);
	ck_assert_int_lt(clock_mono_ms() - began_ms, 10000);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		reseed_child__exit_codes_are_told_by_name,
		reseed_child__gets_no_descriptor_but_the_standard_three,
		reseed_child__program_that_is_not_there,
		reseed_child__is_ended_when_told,
		reseed_child__that_does_not_listen_is_killed,
	};

	return suite_run("sidecar reseed", tests, sizeof(tests) / sizeof(tests[0]), 60);
}
