/* Live configuration, in a folder laid out as a ConfigMap volume is. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/reload.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

/* How long a change may take to be in force: a contract. */
#define IN_FORCE_MS 2000

/* How long a test waits before it gives up on anything else. */
#define PATIENCE_MS 10000

static char dir[TEMPDIR_MAX], path[TEMPDIR_MAX];
static struct reload *reload;
static struct sp_error err;
static unsigned generation;

/* What the callback was given last. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct conf now;
static unsigned calls;

static void
take(const struct conf *conf, void *arg)
{
	ck_assert_ptr_eq(arg, &calls);
	pthread_mutex_lock(&lock);
	now = *conf;
	calls++;
	pthread_mutex_unlock(&lock);
}

/* As the kubelet updates a volume: a new folder with the files, then ..data swapped to it by rename. */
static void
publish(const char *text)
{
	char folder[64], name[96], old[64];

	snprintf(folder, sizeof(folder), "..2026_11_20_%u", ++generation);
	snprintf(name, sizeof(name), "%s/seedpod.ini", folder);
	snprintf(old, sizeof(old), "..2026_11_20_%u", generation - 1);
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, folder), &err), 0);
	tempdir_write(dir, name, text);
	ck_assert_int_eq(symlink(folder, tempdir_path(dir, "..data_tmp")), 0);
	ck_assert_int_eq(rename(tempdir_path(dir, "..data_tmp"), tempdir_path(dir, "..data")), 0);
	ck_assert_int_eq(file_remove_tree(tempdir_path(dir, old), &err), 0);
}

/* Publish the first text and watch it. */
static void
begin(const char *text)
{
	struct conf running;

	publish(text);
	ck_assert_int_eq(symlink("..data/seedpod.ini", path), 0);
	ck_assert_msg(conf_load(path, &running, &err) == 0, "%s", err.text);
	reload = reload_new(path, &running, take, &calls, &err);
	ck_assert_ptr_nonnull(reload);
}

static void
setup(void)
{
	memset(&err, 0, sizeof(err));
	memset(&now, 0, sizeof(now));
	calls = generation = 0;
	setenv("POD_NAME", "mystore-1", 1);
	log_configure(LOG_ERROR, LOG_LOGFMT);
	tempdir_make(dir);
	snprintf(path, sizeof(path), "%s", tempdir_path(dir, "seedpod.ini"));
}

static void
teardown(void)
{
	reload_free(reload);
	reload = NULL;
	tempdir_remove(dir);
}

static unsigned
calls_so_far(void)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = calls;
	pthread_mutex_unlock(&lock);
	return n;
}

/* Wait until the configuration has been handed over `n` times; how long that took. */
static int64_t
wait_for_calls(unsigned n)
{
	int64_t began = clock_mono_ms();

	while (calls_so_far() < n && clock_mono_ms() - began < PATIENCE_MS)
		clock_sleep_ms(5);
	ck_assert_uint_eq(calls_so_far(), n);
	return clock_mono_ms() - began;
}

static struct reload_status
wait_for_success(bool success)
{
	int64_t deadline = clock_mono_ms() + PATIENCE_MS;
	struct reload_status status;

	for (;;) {
		reload_status(reload, &status);
		if (status.success == success)
			return status;
		ck_assert_msg(clock_mono_ms() < deadline, "success stays %d: %s", !success, status.error);
		clock_sleep_ms(5);
	}
}

/* The status once it is about the text with that hash. The callback returns before the status is set. */
static struct reload_status
wait_for_hash(const char *hash)
{
	int64_t deadline = clock_mono_ms() + PATIENCE_MS;
	struct reload_status status;

	for (;;) {
		reload_status(reload, &status);
		if (strcmp(status.hash, hash) == 0)
			return status;
		ck_assert_msg(clock_mono_ms() < deadline, "hash stays %s", status.hash);
		clock_sleep_ms(5);
	}
}

static void
hash_of(const char *text, char out[DIGEST_HEX_SIZE])
{
	digest_to_hex(digest_of(text, strlen(text)), out);
}

/* Long enough for several looks, where it is to be seen that nothing happens. */
static void
let_it_look(void)
{
	clock_sleep_ms(1200);
}

static void
replace_plain(const char *text)
{
	tempdir_write(dir, "seedpod.ini", text);
}

/* Change the interval by `write`, and see that it is in force in time, at least once of three times: a machine may
 * stand still meanwhile. The text in force. */
static const char *
change_in_time(void (*write)(const char *text))
{
	static char text[128];
	unsigned before;

	for (int i = 0; i < 3; i++) {
		snprintf(text, sizeof(text), "[sync]\ninterval = %dms\n[log]\nlevel = error\n", 250 + i);
		before = calls_so_far();
		write(text);
		if (wait_for_calls(before + 1) < IN_FORCE_MS) {
			ck_assert_int_eq(now.sync_interval_ms, 250 + i);
			return text;
		}
	}
	ck_abort_msg("three changes in a row took more than %d ms", IN_FORCE_MS);
	return NULL;
}

START_TEST(reload__swapped_volume_is_in_force_within_two_seconds)
{
	const char *text;
	struct reload_status status;
	char hash[DIGEST_HEX_SIZE];
	int64_t before = clock_wall_ms();

	begin("[sync]\ninterval = 10s\n[log]\nlevel = error\n");
	text = change_in_time(publish);
	hash_of(text, hash);
	status = wait_for_hash(hash);
	ck_assert_str_eq(now.hash, hash);
	ck_assert(status.success);
	ck_assert_str_eq(status.error, "");
	ck_assert_str_eq(status.restart, "");
	ck_assert_int_ge(status.applied_wall_ms, before);
}
END_TEST

START_TEST(reload__broken_file_is_refused_whole)
{
	static const char *const good = "[sync]\ninterval = 10s\n[log]\nlevel = error\n";
	struct reload_status status;
	char hash[DIGEST_HEX_SIZE];

	begin(good);
	publish("[sync]\ninterval = 1s\nbatch_bytes = 1\n[readiness]\nmax_lagg = 1s\n[log]\nlevel = error\n");
	status = wait_for_success(false);
	hash_of(good, hash);
	ck_assert_str_eq(status.hash, hash);
	ck_assert_ptr_nonnull(strstr(status.error, "seedpod.ini:3: [sync] batch_bytes: "));
	ck_assert_ptr_nonnull(strstr(status.error, "seedpod.ini:5: [readiness] max_lagg: unknown key"));
	ck_assert_uint_eq(calls_so_far(), 0);

	/* The next good one is taken, and is the next after the first. */
	publish("[sync]\ninterval = 2s\n[log]\nlevel = error\n");
	wait_for_calls(1);
	ck_assert_int_eq(now.sync_interval_ms, 2000);
	status = wait_for_success(true);
	ck_assert_str_eq(status.error, "");
}
END_TEST

START_TEST(reload__file_repaired_to_the_one_in_force)
{
	static const char *const good = "[log]\nlevel = error\n";
	struct reload_status status;

	begin(good);
	publish("[log]\nlevel = loud\n");
	wait_for_success(false);
	publish(good);
	status = wait_for_success(true);
	ck_assert_str_eq(status.error, "");
	ck_assert_uint_eq(calls_so_far(), 0);
}
END_TEST

START_TEST(reload__keys_that_need_a_restart_are_told)
{
	struct reload_status status;

	begin("[log]\nlevel = error\n");
	publish("[log]\nlevel = error\n[server]\nthreads = 7\ndata_dir = /elsewhere\n[sync]\nmode = poll\n");
	wait_for_calls(1);
	ck_assert_int_eq(now.sync_mode, CONF_SYNC_POLL);
	ck_assert_uint_eq(now.server_threads, 0);
	ck_assert_str_eq(now.server_data_dir, "/var/lib/seedpod");
	status = wait_for_hash(now.hash);
	ck_assert(status.success);
	ck_assert_str_eq(status.restart, "server.data_dir: /var/lib/seedpod -> /elsewhere\nserver.threads: 0 -> 7");

	/* Taken back, nothing waits any more. */
	publish("[log]\nlevel = error\n[sync]\nmode = poll\n");
	wait_for_calls(2);
	status = wait_for_hash(now.hash);
	ck_assert_str_eq(status.restart, "");
}
END_TEST

START_TEST(reload__missing_for_a_moment_is_no_failure)
{
	struct reload_status status;

	begin("[log]\nlevel = error\n");
	ck_assert_int_eq(rename(tempdir_path(dir, "..data"), tempdir_path(dir, "away")), 0);
	clock_sleep_ms(600);
	ck_assert_int_eq(rename(tempdir_path(dir, "away"), tempdir_path(dir, "..data")), 0);
	let_it_look();
	reload_status(reload, &status);
	ck_assert_msg(status.success, "%s", status.error);
	ck_assert_uint_eq(calls_so_far(), 0);
}
END_TEST

START_TEST(reload__missing_for_long_is_told_and_mends)
{
	struct reload_status status;

	begin("[log]\nlevel = error\n");
	ck_assert_int_eq(rename(tempdir_path(dir, "..data"), tempdir_path(dir, "away")), 0);
	status = wait_for_success(false);
	ck_assert_ptr_nonnull(strstr(status.error, "seedpod.ini"));
	ck_assert_int_eq(rename(tempdir_path(dir, "away"), tempdir_path(dir, "..data")), 0);
	wait_for_success(true);
	ck_assert_uint_eq(calls_so_far(), 0);
	publish("[log]\nlevel = error\n[sync]\ninterval = 1s\n");
	wait_for_calls(1);
}
END_TEST

START_TEST(reload__plain_file_replaced_or_written_in_place)
{
	struct conf running;
	int64_t interval_ms;
	unsigned before;
	FILE *f;

	tempdir_write(dir, "seedpod.ini", "[log]\nlevel = error\n");
	ck_assert_int_eq(conf_load(path, &running, &err), 0);
	reload = reload_new(path, &running, take, &calls, &err);
	change_in_time(replace_plain);
	interval_ms = now.sync_interval_ms;
	before = calls_so_far();
	f = fopen(path, "a");
	ck_assert_ptr_nonnull(f);
	fputs("[readiness]\nmax_lag = 3s\n", f);
	fclose(f);
	wait_for_calls(before + 1);
	ck_assert_int_eq(now.sync_interval_ms, interval_ms);
	ck_assert_int_eq(now.readiness_max_lag_ms, 3000);
}
END_TEST

/* Whoever opens a pipe waits for somebody to write to it: the watch, and with it the program's end. */
START_TEST(reload__pipe_in_the_files_place_is_refused_and_not_waited_for)
{
	static const char *const text = "[log]\nlevel = error\n[sync]\ninterval = 1s\n";
	struct reload_status status;

	begin("[log]\nlevel = error\n");
	wait_for_success(true);
	let_it_look();
	ck_assert_int_eq(mkfifo(tempdir_path(dir, "fifo"), 0600), 0);
	ck_assert_int_eq(rename(tempdir_path(dir, "fifo"), path), 0);
	status = wait_for_success(false);
	ck_assert_ptr_nonnull(strstr(status.error, "allowed is a file"));
	ck_assert_uint_eq(calls_so_far(), 0);
	ck_assert_int_eq(unlink(path), 0);
	tempdir_write(dir, "seedpod.ini", text);
	wait_for_calls(1);
	wait_for_success(true);
}
END_TEST

/* "seedpod-server --config <(…)": there is nothing in it any more. */
START_TEST(reload__pipe_that_the_program_was_started_with_is_not_read_again)
{
	struct reload_status status;
	struct conf running;

	tempdir_write(dir, "once.ini", "[log]\nlevel = error\n");
	ck_assert_int_eq(conf_load(tempdir_path(dir, "once.ini"), &running, &err), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	reload = reload_new(path, &running, take, &calls, &err);
	let_it_look();
	reload_status(reload, &status);
	ck_assert(status.success);
	ck_assert_uint_eq(calls_so_far(), 0);
}
END_TEST

START_TEST(reload__change_before_the_watch_began)
{
	struct conf running;

	tempdir_write(dir, "seedpod.ini", "[log]\nlevel = error\n");
	ck_assert_int_eq(conf_load(path, &running, &err), 0);
	tempdir_write(dir, "seedpod.ini", "[log]\nlevel = error\n[sync]\ninterval = 1s\n");
	reload = reload_new(path, &running, take, &calls, &err);
	wait_for_calls(1);
	ck_assert_int_eq(now.sync_interval_ms, 1000);
}
END_TEST

START_TEST(reload__touched_file_is_no_change)
{
	static const char *const text = "[log]\nlevel = error\n";
	struct reload_status status;

	begin(text);
	publish(text);
	let_it_look();
	reload_status(reload, &status);
	ck_assert(status.success);
	ck_assert_uint_eq(calls_so_far(), 0);
}
END_TEST

START_TEST(reload__comment_alone_is_acknowledged)
{
	static const char *const text = "# a comment\n[log]\nlevel = error\n";
	char hash[DIGEST_HEX_SIZE];

	begin("[log]\nlevel = error\n");
	publish(text);
	hash_of(text, hash);
	wait_for_hash(hash);
	ck_assert_uint_eq(calls_so_far(), 1);
	ck_assert_str_eq(now.hash, hash);
}
END_TEST

START_TEST(reload_free__is_prompt_and_takes_null)
{
	struct conf running;
	int64_t began, took_ms = INT64_MAX;

	tempdir_write(dir, "seedpod.ini", "[log]\nlevel = error\n");
	ck_assert_int_eq(conf_load(path, &running, &err), 0);
	for (int tries = 0; tries < 3 && took_ms >= 400; tries++) {
		reload = reload_new(path, &running, take, &calls, &err);
		ck_assert_ptr_nonnull(reload);
		began = clock_mono_ms();
		reload_free(reload);
		reload = NULL;
		took_ms = clock_mono_ms() - began;
	}
	ck_assert_int_lt(took_ms, 400);
	reload_free(NULL);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		reload__swapped_volume_is_in_force_within_two_seconds,
		reload__broken_file_is_refused_whole,
		reload__file_repaired_to_the_one_in_force,
		reload__keys_that_need_a_restart_are_told,
		reload__missing_for_a_moment_is_no_failure,
		reload__missing_for_long_is_told_and_mends,
		reload__plain_file_replaced_or_written_in_place,
		reload__pipe_in_the_files_place_is_refused_and_not_waited_for,
		reload__pipe_that_the_program_was_started_with_is_not_read_again,
		reload__change_before_the_watch_began,
		reload__touched_file_is_no_change,
		reload__comment_alone_is_acknowledged,
		reload_free__is_prompt_and_takes_null,
	};

	return suite_run_fixture("conf_reload", tests, sizeof(tests) / sizeof(tests[0]), 60, setup, teardown);
}
