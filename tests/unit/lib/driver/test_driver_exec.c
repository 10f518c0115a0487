/* The driver that runs an executable: each way in which a verb can end, with drivers of a few lines of shell. */
#include "lib/driver/driver_exec.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

static char dir[TEMPDIR_MAX];
static struct driver *driver;
static struct sp_error err;

#define POSITION "{\"cluster\":\"c-1\",\"epoch\":2,\"seq\":9,\"history\":[[1,0],[2,5]],\"role\":\"leader\"}"
#define DESCRIBE                                                                                                       \
	"{\"contract\":1,\"store\":\"files\",\"carrier\":\"none\",\"proof\":\"position\","                             \
	"\"verbs\":[\"position\",\"snapshot\",\"restore\",\"verify\",\"cleanup\"]}"

/* A driver whose verbs `describe` and `cleanup` work, and the rest is `body`, a part of a case statement. */
static void
make_driver(const char *body, int64_t timeout_ms)
{
	static const struct driver_exec_key keys[] = { { "user", "a b" }, { "x_1", "" } };
	static char command[TEMPDIR_MAX], data[TEMPDIR_MAX];
	char script[8192];

	snprintf(command, sizeof(command), "%s", tempdir_path(dir, "driver"));
	snprintf(data, sizeof(data), "%s", tempdir_path(dir, "data"));
	snprintf(script, sizeof(script),
	    "#!/bin/sh\nD=%s\ncase $1 in\n%s\ndescribe) echo '" DESCRIBE "';;\ncleanup) echo x >>$D/cleaned;;\n"
	    "position) echo '" POSITION "';;\n*) exit 64;;\nesac\n",
	    dir, body);
	tempdir_write(dir, "driver", script);
	ck_assert_int_eq(chmod(command, 0700), 0);
	driver = driver_exec_new(&(struct driver_exec_options){ .command = command,
				     .data = data,
				     .lock_dir = dir,
				     .secrets_dir = "/run/secrets/x",
				     .pod = "pg-1",
				     .ordinal = 1,
				     .timeout_ms = timeout_ms,
				     .idle_timeout_ms = timeout_ms,
				     .keys = keys,
				     .key_count = 2 },
	    &err);
	ck_assert_msg(driver != NULL, "%s", err.text);
}

static void
drop_driver(void)
{
	driver->ops->free(driver);
	driver = NULL;
}

static bool
was_cleaned(void)
{
	return file_exists(tempdir_path(dir, "cleaned"));
}

static int
collect(void *arg, const void *data, size_t len, struct sp_error *e)
{
	int rc = buf_add(arg, data, len);

	return rc < 0 ? sp_error_set(e, rc, "no room") : 0;
}

/* So many bytes, then the end. */
static int
next_zeros(void *arg, const void **data, size_t *len, struct sp_error *e)
{
	static const char zeros[32768];
	size_t *left = arg;

	(void)e;
	if (*left == 0)
		return 0;
	*data = zeros;
	*len = *left < sizeof(zeros) ? *left : sizeof(zeros);
	*left -= *len;
	return 1;
}

START_TEST(driver_exec_report__is_what_the_store_says)
{
	struct driver_report r;
	struct driver_traits t;

	make_driver("", 20000);
	ck_assert_msg(driver->ops->report(driver, &r, &err) == 0, "%s", err.text);
	ck_assert_str_eq(r.position.cluster, "c-1");
	ck_assert_uint_eq(r.position.seq, 9);
	ck_assert_uint_eq(r.position.history_count, 2);
	ck_assert(!r.has_digest);
	ck_assert_msg(driver->ops->traits(driver, &t, &err) == 0, "%s", err.text);
	ck_assert_str_eq(t.store, "files");
	ck_assert_int_eq(t.carrier, DRIVER_CARRIER_NONE);
	ck_assert_ptr_null(driver->ops->follow);
	ck_assert_ptr_null(driver->ops->changes);
	ck_assert(!was_cleaned());
	drop_driver();
}
END_TEST

START_TEST(driver_exec__environment_is_made_anew)
{
	struct buf text;

	setenv("SECRET_OF_THE_POD", "x", 1);
	setenv("LD_LIBRARY_PATH", "/nowhere", 1);
	make_driver("restore) env >$D/env; cat >/dev/null; ls -l /proc/self/fd >$D/fds;;", 20000);
	ck_assert_int_eq(driver_exec_set(driver, ROLE_LEADER, true, "pg-0.pg", NULL, &err), 0);
	ck_assert_msg(driver->ops->restore(driver, "/t", next_zeros, &(size_t){ 5 }, &err) == 0, "%s", err.text);
	buf_init(&text, 1 << 20);
	ck_assert_int_eq(file_read_all(tempdir_path(dir, "env"), &text, NULL), 0);
	ck_assert_ptr_null(strstr(text.data, "SECRET_OF_THE_POD"));
	ck_assert_ptr_null(strstr(text.data, "LD_LIBRARY_PATH"));
	ck_assert_ptr_nonnull(strstr(text.data, "SEEDPOD_CONTRACT=1\n"));
	ck_assert_ptr_nonnull(strstr(text.data, "SEEDPOD_DRIVER_USER=a b\n"));
	ck_assert_ptr_nonnull(strstr(text.data, "SEEDPOD_DRIVER_X_1=\n"));
	ck_assert_ptr_nonnull(strstr(text.data, "SEEDPOD_TARGET=/t\n"));
	ck_assert_ptr_nonnull(strstr(text.data, "SEEDPOD_ROLE=leader\n"));
	ck_assert_ptr_nonnull(strstr(text.data, "SEEDPOD_ONLINE=1\n"));
	ck_assert_ptr_nonnull(strstr(text.data, "SEEDPOD_LEADER_HOST=pg-0.pg\n"));
	ck_assert_ptr_nonnull(strstr(text.data, "SEEDPOD_SECRETS_DIR=/run/secrets/x\n"));
	buf_release(&text);
	drop_driver();
}
END_TEST

static const struct {
	int exit_code, rc;
} codes[] = { { 1, SP_EINTERNAL }, { 64, SP_EUSAGE }, { 65, SP_EBADDATA }, { 66, SP_ENOTFOUND }, { 69, SP_EUNAVAIL },
	{ 70, SP_EINTERNAL }, { 73, SP_ENOSPACE }, { 74, SP_EIO }, { 75, SP_EAGAIN }, { 76, SP_EDIVERGED },
	{ 77, SP_EPERM }, { 78, SP_ECONF }, { 200, SP_EINTERNAL } };

START_TEST(driver_exec__exit_codes)
{
	struct driver_report r = { .position.seq = 4711 };
	char body[200];

	snprintf(body, sizeof(body), "verify) echo first >&2; echo the reason >&2; exit %d;;", codes[_i].exit_code);
	make_driver(body, 20000);
	ck_assert_int_eq(driver->ops->verify(driver, dir, &r, &err), codes[_i].rc);
	ck_assert_ptr_nonnull(strstr(err.text, "verify: exit code"));
	ck_assert_ptr_nonnull(strstr(err.text, "the reason"));
	ck_assert_uint_eq(r.position.seq, 4711);
	ck_assert(was_cleaned());
	drop_driver();
}
END_TEST

/* Snapshots that are none, each with its reason. */
static const struct {
	const char *body, *named;
	int rc;
} bad_snapshots[] = {
	{ "snapshot) echo '" POSITION "' >&3;;", "not one byte", SP_EBADDATA },
	{ "snapshot) echo data;;", "trailer", SP_EBADDATA },
	{ "snapshot) echo data; echo '{\"cluster\":\"c' >&3;;", "trailer", SP_EBADDATA },
	{ "snapshot) echo data; echo '" POSITION POSITION "' >&3;;", "trailer", SP_EBADDATA },
	{ "snapshot) echo data; yes >&3;;", "bytes of trailer", SP_ETOOBIG },
	{ "snapshot) echo data; echo '" POSITION "' >&3; exit 74;;", "exit code 74", SP_EIO },
	{ "snapshot) echo data; echo '" POSITION "' >&3; kill -9 $$;;", "signal 9", SP_EINTERNAL },
	{ "snapshot) echo data; exec sleep 600;;", "no byte for", SP_ESTALLED },
	{ "snapshot) echo data; sleep 600 & wait;;", "no byte for", SP_ESTALLED },
};

START_TEST(driver_exec_payload__bad_ones_are_refused)
{
	struct driver_report r = { .position.seq = 4711 };
	struct buf out;

	buf_init(&out, 1 << 20);
	make_driver(bad_snapshots[_i].body, 1500);
	ck_assert_msg(driver->ops->payload(driver, collect, &out, &r, &err) == bad_snapshots[_i].rc, "%s", err.text);
	ck_assert_msg(strstr(err.text, bad_snapshots[_i].named) != NULL, "%s", err.text);
	ck_assert_uint_eq(r.position.seq, 4711);
	ck_assert(was_cleaned());
	buf_release(&out);
	drop_driver();
}
END_TEST

START_TEST(driver_exec_payload__bytes_and_position)
{
	struct driver_report r;
	struct buf out;

	buf_init(&out, 8 << 20);
	make_driver("snapshot) head -c 3000000 /dev/zero; echo '" POSITION "' >&3;;", 20000);
	ck_assert_msg(driver->ops->payload(driver, collect, &out, &r, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(out.len, 3000000);
	ck_assert_uint_eq(r.position.seq, 9);
	ck_assert(!was_cleaned());
	out.limit = out.len + 1000;
	ck_assert_int_eq(driver->ops->payload(driver, collect, &out, &r, &err), SP_ETOOBIG);
	ck_assert(was_cleaned());
	buf_release(&out);
	drop_driver();
}
END_TEST

START_TEST(driver_exec_restore__input_must_be_read_to_its_end)
{
	make_driver("restore) [ $SEEDPOD_TARGET = /whole ] && exec cat >$D/got; head -c 10 >/dev/null;;", 20000);
	ck_assert_int_eq(driver->ops->restore(driver, "/part", next_zeros, &(size_t){ 1 << 20 }, &err), SP_EINTERNAL);
	ck_assert_ptr_nonnull(strstr(err.text, "not read to the end"));
	ck_assert_int_eq(driver->ops->restore(driver, "/whole", next_zeros, &(size_t){ 0 }, &err), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "not one byte"));
	ck_assert_msg(
	    driver->ops->restore(driver, "/whole", next_zeros, &(size_t){ 1 << 20 }, &err) == 0, "%s", err.text);
	drop_driver();
}
END_TEST

/* The processes of the group are gone when the verb has been killed. */
START_TEST(driver_exec__whole_group_is_killed)
{
	struct driver_report r;
	struct buf text;
	long pid;

	make_driver("verify) sleep 600 & echo $! >$D/pid; wait;;", 1500);
	ck_assert_int_eq(driver->ops->verify(driver, dir, &r, &err), SP_ESTALLED);
	buf_init(&text, 100);
	ck_assert_int_eq(file_read_all(tempdir_path(dir, "pid"), &text, NULL), 0);
	pid = strtol(text.data, NULL, 10);
	ck_assert_int_gt(pid, 1);
	for (int i = 0; i < 1000 && kill((pid_t)pid, 0) == 0; i++) {
		char path[64], state[200] = "";
		FILE *f;

		/* A zombie that nobody waits for is as dead. */
		snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
		if ((f = fopen(path, "r")) != NULL) {
			if (fgets(state, sizeof(state), f) == NULL)
				state[0] = '\0';
			fclose(f);
		}
		if (strstr(state, ") Z ") != NULL)
			break;
		ck_assert_int_lt(i, 999);
		clock_sleep_ms(10);
	}
	buf_release(&text);
	drop_driver();
}
END_TEST

static void *
cancel_soon(void *arg)
{
	for (int i = 0; i < 2000 && !file_exists(tempdir_path(arg, "begun")); i++)
		clock_sleep_ms(10);
	driver_exec_cancel(driver);
	return NULL;
}

START_TEST(driver_exec_cancel__ends_the_verb_and_those_after_it)
{
	struct driver_report r;
	pthread_t thread;

	make_driver("verify) : >$D/begun; exec sleep 600;;", 60000);
	ck_assert_int_eq(pthread_create(&thread, NULL, cancel_soon, dir), 0);
	ck_assert_int_eq(driver->ops->verify(driver, dir, &r, &err), SP_ECANCELED);
	pthread_join(thread, NULL);
	ck_assert(was_cleaned());
	ck_assert_int_eq(driver->ops->report(driver, &r, &err), SP_ECANCELED);
	drop_driver();
}
END_TEST

/* Answers to `describe` and `position` that are refused. */
START_TEST(driver_exec__answers_are_checked)
{
	static const char *const positions[] = { "", "[]", "{}", "garbage",
		"{\"cluster\":\"a b\",\"epoch\":1,\"seq\":1,\"history\":[[1,0]],\"role\":\"leader\"}",
		"{\"cluster\":\"c\",\"epoch\":-1,\"seq\":1,\"history\":[[1,0]],\"role\":\"leader\"}",
		"{\"cluster\":\"c\",\"epoch\":1,\"seq\":1.5,\"history\":[[1,0]],\"role\":\"leader\"}",
		"{\"cluster\":\"c\",\"epoch\":1,\"seq\":18446744073709551615,\"history\":[[1,0]],\"role\":\"leader\"}",
		"{\"cluster\":\"c\",\"epoch\":1,\"seq\":1,\"history\":[],\"role\":\"leader\"}",
		"{\"cluster\":\"c\",\"epoch\":1,\"seq\":1,\"history\":[[1]],\"role\":\"leader\"}",
		"{\"cluster\":\"c\",\"epoch\":1,\"seq\":1,\"history\":[[2,0]],\"role\":\"leader\"}",
		"{\"cluster\":\"c\",\"epoch\":1,\"seq\":1,\"history\":[[1,2]],\"role\":\"leader\"}",
		"{\"cluster\":\"c\",\"epoch\":1,\"seq\":1,\"history\":[[1,0]]}",
		"{\"cluster\":\"c\",\"epoch\":1,\"seq\":1,\"history\":[[1,0]],\"role\":\"king\"}",
		"{\"cluster\":\"c\",\"epoch\":1,\"seq\":1,\"history\":[[1,0]],\"role\":\"leader\",\"digest\":\"xy\"}",
		POSITION POSITION };
	struct driver_report r = { .position.seq = 4711 };
	char body[1000];

	for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
		snprintf(body, sizeof(body), "position) echo '%s';;", positions[i]);
		make_driver(body, 20000);
		ck_assert_msg(driver->ops->report(driver, &r, &err) == SP_EBADDATA, "%s", positions[i]);
		ck_assert_uint_eq(r.position.seq, 4711);
		drop_driver();
	}
	make_driver("position) yes;;", 20000);
	ck_assert_int_eq(driver->ops->report(driver, &r, &err), SP_ETOOBIG);
	drop_driver();
}
END_TEST

START_TEST(driver_exec_traits__other_contracts_and_missing_verbs)
{
	static const struct {
		const char *text, *named;
		int rc;
	} cases[] = {
		{ "{\"contract\":2}", "speaks contract 2", SP_ECONF },
		{ "{\"contract\":\"1\"}", "\"contract\"", SP_EBADDATA },
		{ "{\"contract\":1,\"store\":\"A\"}", "\"store\"", SP_EBADDATA },
		{ "{\"contract\":1,\"store\":\"a\",\"carrier\":\"x\"}", "\"carrier\"", SP_EBADDATA },
		{ "{\"contract\":1,\"store\":\"a\",\"carrier\":\"none\",\"proof\":1}", "\"proof\"", SP_EBADDATA },
		{ "{\"contract\":1,\"store\":\"a\",\"carrier\":\"none\",\"proof\":\"digest\",\"verbs\":[\"position\"]}",
		    "lacks \"snapshot\"", SP_EBADDATA },
		{ "{\"contract\":1,\"store\":\"a\",\"carrier\":\"native\",\"proof\":\"digest\","
		  "\"verbs\":[\"position\",\"snapshot\",\"restore\",\"verify\",\"cleanup\",\"new\"]}",
		    "lacks \"follow\"", SP_EBADDATA },
	};
	struct driver_traits t;
	char body[1000];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(body, sizeof(body), "describe) echo '%s';;", cases[i].text);
		make_driver(body, 20000);
		ck_assert_msg(driver->ops->traits(driver, &t, &err) == cases[i].rc, "%s", err.text);
		ck_assert_msg(strstr(err.text, cases[i].named) != NULL, "%s", err.text);
		drop_driver();
	}
}
END_TEST

START_TEST(driver_exec_new__what_is_missing)
{
	struct driver_report r;

	ck_assert_ptr_null(driver_exec_new(&(struct driver_exec_options){ .command = "/x" }, &err));
	ck_assert_int_eq(err.code, SP_ECONF);
	driver = driver_exec_new(
	    &(struct driver_exec_options){ .command = "/nowhere/x", .data = "/d", .lock_dir = dir, .pod = "p-0" },
	    &err);
	ck_assert_int_eq(driver->ops->report(driver, &r, &err), SP_ECONF);
	drop_driver();
}
END_TEST

int
main(void)
{
	TCase *all = tcase_create("driver_exec");

	suite_case_in_folder(all, dir);
	tcase_set_timeout(all, 60);
	tcase_add_test(all, driver_exec_report__is_what_the_store_says);
	tcase_add_test(all, driver_exec__environment_is_made_anew);
	tcase_add_loop_test(all, driver_exec__exit_codes, 0, (int)(sizeof(codes) / sizeof(codes[0])));
	tcase_add_loop_test(
	    all, driver_exec_payload__bad_ones_are_refused, 0, (int)(sizeof(bad_snapshots) / sizeof(bad_snapshots[0])));
	tcase_add_test(all, driver_exec_payload__bytes_and_position);
	tcase_add_test(all, driver_exec_restore__input_must_be_read_to_its_end);
	tcase_add_test(all, driver_exec__whole_group_is_killed);
	tcase_add_test(all, driver_exec_cancel__ends_the_verb_and_those_after_it);
	tcase_add_test(all, driver_exec__answers_are_checked);
	tcase_add_test(all, driver_exec_traits__other_contracts_and_missing_verbs);
	tcase_add_test(all, driver_exec_new__what_is_missing);
	return suite_run_case("driver_exec", all);
}
