/* The configuration: golden files (tests/unit/conf/golden), properties, and what is made from the schema. Run from the
 * top of the tree. */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"
#include "conf/store_driver.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define GOLDEN          "tests/unit/conf/golden"
#define ENVIRONMENT_MAX 64

static const char *const pod_1[] = { "POD_NAME=mystore-1", NULL };
static struct sp_error err;
static struct conf conf;

static void
setup(void)
{
	memset(&err, 0, sizeof(err));
	memset(&conf, 0, sizeof(conf));
}

static int
parse(const char *text)
{
	return conf_parse("test.ini", text, strlen(text), pod_1, &conf, &err);
}

static void
read_file(const char *path, struct buf *out)
{
	buf_init(out, 1 << 20);
	ck_assert_msg(file_read_all(path, out, &err) == 0, "%s", err.text);
}

static void
assert_prints_and_parses_again(const struct conf *c)
{
	struct buf first, second;
	struct conf again = { 0 }, expected = *c;

	buf_init(&first, CONF_FILE_MAX);
	buf_init(&second, CONF_FILE_MAX);
	ck_assert_int_eq(conf_print(c, &first), 0);
	ck_assert_msg(
	    conf_parse("print", first.data, first.len, NULL, &again, &err) == 0, "%s\n%s", err.text, first.data);
	ck_assert_int_eq(conf_print(&again, &second), 0);
	ck_assert_str_eq(first.data, second.data);
	memset(again.hash, 0, sizeof(again.hash));
	memset(expected.hash, 0, sizeof(expected.hash));
	ck_assert_int_eq(memcmp(&again, &expected, sizeof(again)), 0);
	buf_release(&first);
	buf_release(&second);
}

/* --- Golden files. --- */

/* Lines of `text` as environ(7); the text is cut in place. */
static void
split_environment(char *text, const char *out[ENVIRONMENT_MAX])
{
	size_t count = 0;
	char *line;

	while ((line = strsep(&text, "\n")) != NULL && count + 1 < ENVIRONMENT_MAX)
		if (line[0] != '\0')
			out[count++] = line;
	out[count] = NULL;
}

static void
compare_golden(const char *path, const char *text)
{
	struct buf expected;

	if (getenv("GOLDEN_WRITE") != NULL) {
		ck_assert_int_eq(file_write_atomic(path, text, strlen(text), 0644, &err), 0);
		return;
	}
	read_file(path, &expected);
	ck_assert_msg(strcmp(expected.data, text) == 0, "%s: expected:\n%s\nfound:\n%s", path, expected.data, text);
	buf_release(&expected);
}

static void
check_golden(const char *name)
{
	const char *const *environment = pod_1;
	const char *variables[ENVIRONMENT_MAX];
	char path[300], shown[100];
	struct buf text, variables_text, outcome;
	int rc;

	snprintf(path, sizeof(path), GOLDEN "/%.100s.env", name);
	buf_init(&variables_text, 1 << 16);
	if (file_exists(path)) {
		ck_assert_int_eq(file_read_all(path, &variables_text, &err), 0);
		split_environment(variables_text.data, variables);
		environment = variables;
	}
	snprintf(path, sizeof(path), GOLDEN "/%.100s.ini", name);
	snprintf(shown, sizeof(shown), "%.90s.ini", name);
	read_file(path, &text);
	buf_init(&outcome, CONF_FILE_MAX);
	rc = conf_parse(shown, text.data, text.len, environment, &conf, &err);
	if (strncmp(name, "err_", 4) == 0) {
		ck_assert_msg(rc == SP_ECONF, "%s", name);
		ck_assert_int_eq(err.code, SP_ECONF);
		buf_printf(&outcome, "%s\n", err.text);
		snprintf(path, sizeof(path), GOLDEN "/%.100s.err", name);
	} else {
		ck_assert_msg(rc == 0, "%s: %s", name, err.text);
		ck_assert_int_eq(conf_print(&conf, &outcome), 0);
		snprintf(path, sizeof(path), GOLDEN "/%.100s.print", name);
		assert_prints_and_parses_again(&conf);
	}
	compare_golden(path, outcome.data);
	buf_release(&outcome);
	buf_release(&text);
	buf_release(&variables_text);
}

START_TEST(conf_golden__each_file_has_its_outcome)
{
	DIR *dir = opendir(GOLDEN);
	struct dirent *entry;
	int count = 0;

	ck_assert_msg(dir != NULL, "run from the top of the tree");
	while ((entry = readdir(dir)) != NULL) {
		char name[256];
		size_t len = strlen(entry->d_name);

		if (len < 5 || strcmp(entry->d_name + len - 4, ".ini") != 0)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)len - 4, entry->d_name);
		check_golden(name);
		count++;
	}
	closedir(dir);
	ck_assert_int_ge(count, 15);
}
END_TEST

/* --- Values. --- */

START_TEST(conf_parse__empty_file_is_all_defaults)
{
	ck_assert_int_eq(parse(""), 0);
	ck_assert_str_eq(conf.pod.name, "mystore-1");
	ck_assert_str_eq(conf.pod.name_space, "default");
	ck_assert_str_eq(conf.pod.service, "seedpod-headless");
	ck_assert_str_eq(conf.server_listen, "0.0.0.0:9876");
	ck_assert_uint_eq(conf.server_map_size, 64ull << 30);
	ck_assert_uint_eq(conf.server_max_value, 8u << 20);
	ck_assert_int_eq(conf.server_tombstone_keep_ms, 86400000);
	ck_assert_int_eq(conf.server_snapshot_hold_ms, 60000);
	ck_assert_double_eq(conf.bootstrap_reseed_ratio, 0.5);
	ck_assert_int_eq(conf.sync_mode, CONF_SYNC_STREAM);
	ck_assert_uint_eq(conf.sync_batch_bytes, 4u << 20);
	ck_assert_int_eq(conf.readiness_leader_loss, CONF_LOSS_SERVE);
	ck_assert_int_eq(conf.log_level, LOG_INFO);
	ck_assert_int_eq(conf.log_format, LOG_LOGFMT);
}
END_TEST

START_TEST(conf_parse__words_are_their_enums)
{
	ck_assert_int_eq(
	    parse("[server]\ndurability=async\nfollower_writes=reject\n[bootstrap]\ndonor=leader\n"
		  "compression=zstd\n[sync]\nmode=poll\non_divergence=reseed\n[readiness]\nleader_loss=unready\n"
		  "[log]\nlevel=warn\nformat=json\n"),
	    0);
	ck_assert_int_eq(conf.server_durability, CONF_DURABILITY_ASYNC);
	ck_assert_int_eq(conf.server_follower_writes, CONF_WRITES_REJECT);
	ck_assert_int_eq(conf.bootstrap_donor, CONF_DONOR_LEADER);
	ck_assert_int_eq(conf.bootstrap_compression, CONF_COMPRESSION_ZSTD);
	ck_assert_int_eq(conf.sync_mode, CONF_SYNC_POLL);
	ck_assert_int_eq(conf.sync_on_divergence, CONF_DIVERGENCE_RESEED);
	ck_assert_int_eq(conf.readiness_leader_loss, CONF_LOSS_UNREADY);
	ck_assert_int_eq(conf.log_level, LOG_WARN);
	ck_assert_int_eq(conf.log_format, LOG_JSON);
}
END_TEST

START_TEST(conf_parse__bounds_themselves_are_allowed)
{
	ck_assert_msg(parse("[server]\nmap_size=16TiB\nmin_seq_wait=60s\ntombstone_keep=3650d\n[sync]\ninterval=100ms\n"
			    "[replication]\nleader_ordinal=9999\n[bootstrap]\nreseed_ratio=1000\n") == 0,
	    "%s", err.text);
	ck_assert_int_eq(parse("[server]\nmap_size=17TiB\n"), SP_ECONF);
	ck_assert_int_eq(parse("[server]\nmin_seq_wait=60001ms\n"), SP_ECONF);
	ck_assert_int_eq(parse("[server]\nmap_size=99999999TiB\n"), SP_ECONF);
}
END_TEST

START_TEST(conf_parse__failure_tells_where_to_report_it_and_leaves_the_rest_alone)
{
	memset(&conf, 0x5a, sizeof(conf));
	ck_assert_int_eq(parse("[log]\nlevel = loud\n[pod]\ntermination_log = /said\n"), SP_ECONF);
	ck_assert_str_eq(conf.pod_termination_log, "/said");
	memset(conf.pod_termination_log, 0x5a, sizeof(conf.pod_termination_log));
	for (size_t i = 0; i < sizeof(conf); i++)
		ck_assert_int_eq(((unsigned char *)&conf)[i], 0x5a);
}
END_TEST

START_TEST(conf_parse__hash_is_of_the_bytes)
{
	char expected[DIGEST_HEX_SIZE];

	digest_to_hex(digest_of("[log]\n", 6), expected);
	ck_assert_int_eq(parse("[log]\n"), 0);
	ck_assert_str_eq(conf.hash, expected);
	ck_assert_int_eq(parse(""), 0);
	/* What `xxh128sum /dev/null` prints. */
	ck_assert_str_eq(conf.hash, "99aa06d3014798d86001c324468d497f");
}
END_TEST

START_TEST(conf_parse__longest_line_is_read_whole)
{
	char text[400] = "[server]\ndata_dir = /", line_end[] = "\n";
	size_t used = strlen(text);

	/* 197 bytes: what inih takes. */
	memset(text + used, 'd', 197 - strlen("data_dir = /"));
	ck_assert_msg(parse(text) == 0, "%s", err.text);
	ck_assert_uint_eq(strlen(conf.server_data_dir), 197 - strlen("data_dir = "));
	assert_prints_and_parses_again(&conf);
	strncat(text, line_end, 2);
	ck_assert_int_eq(parse(text), 0);
	memcpy(text + strlen(text) - 1, "d\n", 3);
	ck_assert_int_eq(parse(text), SP_ECONF);
	ck_assert_str_eq(err.text, "test.ini:2: line longer than 197 bytes; put comments on lines of their own");
}
END_TEST

START_TEST(conf_parse__filled_in_text_too_long_to_print)
{
	char name[200], text[200], variable[240];
	const char *environment[] = { variable, NULL };

	memset(name, 'n', sizeof(name));
	snprintf(name + 150, sizeof(name) - 150, "-0");
	snprintf(variable, sizeof(variable), "POD_NAME=%s", name);
	snprintf(text, sizeof(text), "[server]\ndata_dir = /{name}/{name}\n");
	ck_assert_int_eq(conf_parse("t", text, strlen(text), environment, &conf, &err), SP_ECONF);
	ck_assert_ptr_nonnull(strstr(err.text, "is longer than 186 bytes"));
}
END_TEST

START_TEST(conf_parse__more_mistakes_than_fit_are_counted)
{
	char text[4000] = "[log]\n";

	for (int i = 0; i < 60; i++)
		strncat(text, "unknown_key_with_a_long_name = 1\n", sizeof(text) - strlen(text) - 1);
	ck_assert_int_eq(parse(text), SP_ECONF);
	ck_assert_ptr_nonnull(strstr(err.text, "test.ini:2: "));
	ck_assert_ptr_nonnull(strstr(err.text, " more"));
	ck_assert_int_eq(strncmp(strrchr(err.text, '\n'), "\n... and ", 9), 0);
}
END_TEST

START_TEST(conf_parse__name_from_the_host_or_an_explanation)
{
	char host[256];
	int rc = conf_parse("t", "", 0, NULL, &conf, &err);

	ck_assert_int_eq(gethostname(host, sizeof(host)), 0);
	host[strcspn(host, ".")] = '\0';
	if (rc == 0) {
		ck_assert_str_eq(conf.pod.name, host);
	} else {
		ck_assert_ptr_nonnull(strstr(err.text, host));
		ck_assert_ptr_nonnull(strstr(err.text, "name = mystore-0"));
		ck_assert_ptr_nonnull(strstr(err.text, "POD_NAME"));
		/* One mistake, not one for each text that holds {name}. */
		ck_assert_ptr_null(strchr(err.text, '\n'));
	}
}
END_TEST

START_TEST(conf_parse__listen_forms)
{
	static const char *const good[] = { "0.0.0.0:1", "localhost:65535", "[::]:9876", "[fe80::1]:80", "a.b-c.d:80" };
	static const char *const bad[] = { "", ":9876", "host", "host:", "host:0", "host:65536", "host:http", "::1:80",
		"[::1]", "[::1]80", "[::1:80", "[host]:80", "-x:80", "a_b:80", "http://a:80", "host:80/", "host:+80" };
	char text[100];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(text, sizeof(text), "[server]\nlisten = %s\n", good[i]);
		ck_assert_msg(parse(text) == 0, "%s: %s", good[i], err.text);
		ck_assert_str_eq(conf.server_listen, good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "[server]\nlisten = %s\n", bad[i]);
		ck_assert_msg(parse(text) == SP_ECONF, "%s", bad[i]);
		ck_assert_ptr_nonnull(strstr(err.text, "test.ini:2: [server] listen: "));
		ck_assert_ptr_nonnull(strstr(err.text, "allowed: host:port or [IPv6]:port"));
	}
}
END_TEST

START_TEST(conf_parse__url_forms)
{
	static const char *const good[] = { "http://{name}", "https://{name}.x:443", "http://[fd00::{ordinal}]:80" };
	static const char *const bad[] = { "", "{name}:9876", "http://", "http://:80", "http://a/", "http://a/b",
		"http://u@a", "http://a?b", "http://a:x", "HTTP://a", "http://a b" };
	char text[100];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(text, sizeof(text), "[pod]\npeer_url = %s\n", good[i]);
		ck_assert_msg(parse(text) == 0, "%s: %s", good[i], err.text);
		ck_assert_str_eq(conf.pod_peer_url, good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "[pod]\npeer_url = %s\n", bad[i]);
		ck_assert_msg(parse(text) == SP_ECONF, "%s", bad[i]);
	}
}
END_TEST

/* --- What follows from a configuration. --- */

START_TEST(conf_peer_url__for_any_ordinal)
{
	char url[100], small[20];

	ck_assert_int_eq(parse(""), 0);
	ck_assert_int_eq(conf_peer_url(&conf, 7, url, sizeof(url), &err), 0);
	ck_assert_str_eq(url, "http://mystore-7.seedpod-headless.default.svc:9876");
	ck_assert_int_eq(conf_peer_url(&conf, 7, small, sizeof(small), &err), SP_ETOOBIG);
}
END_TEST

START_TEST(conf_is_leader__by_ordinal)
{
	ck_assert_int_eq(parse(""), 0);
	ck_assert(!conf_is_leader(&conf));
	ck_assert_int_eq(parse("[replication]\nleader_ordinal = 1\n"), 0);
	ck_assert(conf_is_leader(&conf));
}
END_TEST

START_TEST(conf_store_dir__is_in_the_data_dir)
{
	char path[100], small[10];

	ck_assert_int_eq(parse("[server]\ndata_dir = /srv/{ordinal}/\n"), 0);
	ck_assert_int_eq(conf_store_dir(&conf, path, sizeof(path), &err), 0);
	ck_assert_str_eq(path, "/srv/1/store");
	ck_assert_int_eq(conf_store_dir(&conf, small, sizeof(small), &err), SP_ETOOBIG);
}
END_TEST

START_TEST(conf_store_driver__is_the_one_configured)
{
	struct driver *driver;

	ck_assert_int_eq(parse(""), 0);
	ck_assert_ptr_null(conf_store_driver(&conf, &err));
	ck_assert_int_eq(err.code, SP_ECONF);
	ck_assert_int_eq(parse("[store]\ndriver = exec\ncommand = /x\npath = /data/x\n[driver]\nuser = a\n"), 0);
	driver = conf_store_driver(&conf, &err);
	ck_assert_msg(driver != NULL, "%s", err.text);
	ck_assert_str_eq(driver->ops->name, "exec");
	driver->ops->free(driver);
}
END_TEST

START_TEST(conf_merge_live__takes_live_keys_and_tells_the_others)
{
	struct buf changed, restart;
	struct conf from;

	buf_init(&changed, 10000);
	buf_init(&restart, 10000);
	ck_assert_int_eq(parse("[sync]\ninterval = 1s\nmode = poll\n[server]\nthreads = 3\ndata_dir = /x\n"), 0);
	from = conf;
	ck_assert_int_eq(parse(""), 0);
	ck_assert_int_eq(conf_merge_live(&conf, &from, &changed, &restart), 0);
	ck_assert_str_eq(changed.data, "sync.mode: stream -> poll\nsync.interval: 10s -> 1s");
	ck_assert_str_eq(restart.data, "server.data_dir: /var/lib/seedpod -> /x\nserver.threads: 0 -> 3");
	ck_assert_int_eq(conf.sync_interval_ms, 1000);
	ck_assert_int_eq(conf.sync_mode, CONF_SYNC_POLL);
	ck_assert_uint_eq(conf.server_threads, 0);
	ck_assert_str_eq(conf.hash, from.hash);
	buf_release(&changed);
	buf_release(&restart);
}
END_TEST

START_TEST(conf_merge_live__free_keys_wait_for_a_restart)
{
	struct buf changed, restart;
	struct conf from;

	buf_init(&changed, 10000);
	buf_init(&restart, 10000);
	ck_assert_int_eq(parse("[driver]\nsame = 1\nuser = b\nnew = 2\n"), 0);
	from = conf;
	ck_assert_int_eq(parse("[driver]\nuser = a\nsame = 1\nold = 3\n"), 0);
	ck_assert_int_eq(conf_merge_live(&conf, &from, &changed, &restart), 0);
	ck_assert_str_eq(changed.data, "");
	ck_assert_str_eq(restart.data, "driver.user: a -> b\ndriver.old: 3 -> (removed)\ndriver.new: (none) -> 2");
	ck_assert_uint_eq(conf.driver_key_count, 3);
	ck_assert_str_eq(conf.driver_keys[0].value, "a");
	buf_release(&changed);
	buf_release(&restart);
}
END_TEST

START_TEST(conf_merge_live__no_room_to_tell_changes_nothing)
{
	struct buf changed, restart;
	struct conf from;

	buf_init(&changed, 10);
	buf_init(&restart, 10);
	ck_assert_int_eq(parse("[sync]\ninterval = 1s\n"), 0);
	from = conf;
	ck_assert_int_eq(parse(""), 0);
	ck_assert_int_eq(conf_merge_live(&conf, &from, &changed, &restart), SP_ETOOBIG);
	ck_assert_int_eq(conf.sync_interval_ms, 10000);
	buf_release(&changed);
	buf_release(&restart);
}
END_TEST

/* Any valid value of each key survives being printed and read. */
START_TEST(conf_print__parses_again_whatever_the_values)
{
	srandom(1);
	for (int i = 0; i < 500; i++) {
		char text[2000];
		long n = random();

		snprintf(text, sizeof(text),
		    "[pod]\nname = s%ld-%ld\nservice = {set}-x%ld\n[server]\nlisten = 127.0.0.1:%ld\ndata_dir = /d/%ld "
		    "{name}\nthreads = %ld\nmap_size = %ldKiB\nmax_value = %ld\nmin_seq_wait = %ldms\n"
		    "tombstone_keep = %ldm\n[bootstrap]\nattempts = %ld\nreseed_ratio = %.17g\nrate_limit = %ld\n"
		    "[sync]\nmode = %s\ninterval = %ldms\n[readiness]\nmax_lag = %lds\nmax_lag_changes = %ld\n",
		    n, n % 10000, n % 77, n % 65535 + 1, n, n % 257, 16384 + n % 100000, 1024 + n % 1000000, n % 60001,
		    n % 1000 + 1, n % 1000001, (double)(n % 999983) / 1000.7, n, n % 2 ? "poll" : "stream",
		    100 + n % 86000000, 1 + n % 86400, n);
		ck_assert_msg(parse(text) == 0, "%s\n%s", err.text, text);
		assert_prints_and_parses_again(&conf);
	}
}
END_TEST

/* No text, however broken, does harm (under the sanitizers above all). */
START_TEST(conf_parse__survives_damaged_files)
{
	struct buf sample;
	int accepted = 0;

	read_file("conf/seedpod.ini", &sample);
	srandom(2);
	for (int i = 0; i < 2000; i++) {
		struct buf text;
		size_t len = (size_t)random() % sample.len;

		buf_init(&text, CONF_FILE_MAX);
		ck_assert_int_eq(buf_add(&text, sample.data, len), 0);
		for (int j = 0; j < i % 8 && len > 0; j++)
			text.data[(size_t)random() % len] = (char)(random() % 256);
		accepted += conf_parse("fuzz", text.data, text.len, pod_1, &conf, &err) == 0;
		buf_release(&text);
	}
	ck_assert_int_gt(accepted, 0);
	ck_assert_int_lt(accepted, 2000);
	buf_release(&sample);
}
END_TEST

/* --- Files. --- */

static char dir[TEMPDIR_MAX];

START_TEST(conf_load__reads_a_file_with_the_environment)
{
	tempdir_make(dir);
	tempdir_write(dir, "a.ini", "[sync]\ninterval = 3s\n");
	setenv("POD_NAME", "mystore-4", 1);
	setenv("SEEDPOD_SYNC_STALL_TIMEOUT", "7s", 1);
	ck_assert_msg(conf_load(tempdir_path(dir, "a.ini"), &conf, &err) == 0, "%s", err.text);
	ck_assert_int_eq(conf.sync_interval_ms, 3000);
	ck_assert_int_eq(conf.sync_stall_timeout_ms, 7000);
	ck_assert_uint_eq(conf.pod.ordinal, 4);
	unsetenv("SEEDPOD_SYNC_STALL_TIMEOUT");
	tempdir_remove(dir);
}
END_TEST

START_TEST(conf_load__cannot_be_read)
{
	char big[1000];

	tempdir_make(dir);
	ck_assert_int_eq(conf_load(tempdir_path(dir, "none.ini"), &conf, &err), SP_ENOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.text, "none.ini"));
	ck_assert_int_eq(conf_load(dir, &conf, &err), SP_ECONF);
	memset(big, '#', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	tempdir_write(dir, "big.ini", "");
	ck_assert_int_eq(truncate(tempdir_path(dir, "big.ini"), CONF_FILE_MAX + 1), 0);
	ck_assert_int_eq(conf_load(tempdir_path(dir, "big.ini"), &conf, &err), SP_ETOOBIG);
	tempdir_remove(dir);
}
END_TEST

START_TEST(conf_load__size_that_does_not_fit_what_was_read)
{
	/* Files of /proc say that they are empty and are not: to us, as if they had grown meanwhile. */
	ck_assert_int_eq(conf_load("/proc/self/status", &conf, &err), SP_EAGAIN);
	ck_assert_ptr_nonnull(strstr(err.text, "changed while it was read"));
}
END_TEST

static atomic_bool writer_stop;
static int64_t slowest_write_ms; /* the writer's; read when it has ended */

/* Write one of two files in place, over and over, as an editor that knows no better does. */
static void *
rewrite(void *path)
{
	static const char *const texts[] = { "[sync]\ninterval = 1s\nstall_timeout = 1s\n",
		"[sync]\ninterval = 20s\nstall_timeout = 20s\n# longer\n" };

	for (unsigned i = 0; !atomic_load(&writer_stop); i++) {
		int64_t began = clock_mono_ms();
		FILE *f = fopen(path, "w");

		if (f != NULL) {
			fputs(texts[i % 2], f);
			fclose(f);
		}
		if (clock_mono_ms() - began > slowest_write_ms)
			slowest_write_ms = clock_mono_ms() - began;
		if (i % 16 == 0)
			usleep(30000);
	}
	return NULL;
}

START_TEST(conf_load__file_that_changes_is_whole_or_tried_again)
{
	char path[TEMPDIR_MAX];
	pthread_t writer;
	int loaded = 0, again = 0, torn = 0;

	tempdir_make(dir);
	setenv("POD_NAME", "mystore-1", 1);
	snprintf(path, sizeof(path), "%s", tempdir_path(dir, "a.ini"));
	tempdir_write(dir, "a.ini", "[sync]\ninterval = 1s\nstall_timeout = 1s\n");
	atomic_store(&writer_stop, false);
	ck_assert_int_eq(pthread_create(&writer, NULL, rewrite, path), 0);
	for (int i = 0; i < 4000 && (loaded < 5 || again < 5); i++) {
		int rc = conf_load(path, &conf, &err);

		if (rc == 0) {
			torn += conf.sync_interval_ms != conf.sync_stall_timeout_ms;
			loaded++;
		} else {
			ck_assert_msg(rc == SP_EAGAIN, "%s", err.text);
			again++;
		}
	}
	atomic_store(&writer_stop, true);
	pthread_join(writer, NULL);
	ck_assert_int_ge(loaded, 1);
	ck_assert_int_ge(again, 1);
	/* A writer that rests in the middle of its work for longer than conf_load() waits cannot be told from one that
	 * is done; on a busy machine the scheduler may make it so. */
	ck_assert_msg(torn == 0 || slowest_write_ms >= 15, "%d torn, slowest write %d ms", torn, (int)slowest_write_ms);
	tempdir_remove(dir);
}
END_TEST

/* --- What is made from the schema. --- */

START_TEST(conf_sample__is_committed_and_parses_to_the_defaults)
{
	struct buf made, committed;
	struct conf defaults;

	buf_init(&made, 1 << 20);
	ck_assert_int_eq(conf_write_sample(&made), 0);
	read_file("conf/seedpod.ini", &committed);
	ck_assert_msg(strcmp(made.data, committed.data) == 0, "conf/seedpod.ini: run make docs");
	ck_assert_int_eq(parse(""), 0);
	defaults = conf;
	ck_assert_msg(parse(made.data) == 0, "%s", err.text);
	memcpy(conf.hash, defaults.hash, sizeof(conf.hash));
	ck_assert_int_eq(memcmp(&conf, &defaults, sizeof(conf)), 0);
	buf_release(&made);
	buf_release(&committed);
}
END_TEST

/* The lines of `path` between the two marker lines are exactly `expected`. */
static void
assert_between(const char *path, const char *begin, const char *end, const char *expected)
{
	struct buf text;
	char *from, *to;

	read_file(path, &text);
	from = strstr(text.data, begin);
	ck_assert_msg(from != NULL, "%s: no marker", path);
	from += strlen(begin);
	to = strstr(from, end);
	ck_assert_msg(to != NULL, "%s: no end marker", path);
	*to = '\0';
	ck_assert_msg(strcmp(from, expected) == 0, "%s: run make docs", path);
	buf_release(&text);
}

START_TEST(conf_docs__are_committed_as_the_schema_says)
{
	struct buf made;

	buf_init(&made, 1 << 20);
	ck_assert_int_eq(conf_write_markdown(&made), 0);
	assert_between("docs/configuration.md", "<!-- schema -->\n", "<!-- /schema -->\n", made.data);
	buf_reset(&made);
	ck_assert_int_eq(conf_write_mdoc(&made), 0);
	assert_between("docs/man/seedpod.ini.5", "\n.\\\" schema\n", ".\\\" /schema\n", made.data);
	buf_release(&made);
}
END_TEST

START_TEST(conf_write__no_room)
{
	for (size_t limit = 0; limit < 3000; limit += 7) {
		struct buf small;

		buf_init(&small, limit);
		ck_assert_int_eq(conf_write_sample(&small), SP_ETOOBIG);
		buf_reset(&small);
		ck_assert_int_eq(conf_write_markdown(&small), SP_ETOOBIG);
		buf_reset(&small);
		ck_assert_int_eq(conf_write_mdoc(&small), SP_ETOOBIG);
		buf_release(&small);
	}
}
END_TEST

int
main(void)
{
	TCase *tests = tcase_create("conf");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, conf_golden__each_file_has_its_outcome);
	tcase_add_test(tests, conf_parse__empty_file_is_all_defaults);
	tcase_add_test(tests, conf_parse__words_are_their_enums);
	tcase_add_test(tests, conf_parse__bounds_themselves_are_allowed);
	tcase_add_test(tests, conf_parse__failure_tells_where_to_report_it_and_leaves_the_rest_alone);
	tcase_add_test(tests, conf_parse__hash_is_of_the_bytes);
	tcase_add_test(tests, conf_parse__longest_line_is_read_whole);
	tcase_add_test(tests, conf_parse__filled_in_text_too_long_to_print);
	tcase_add_test(tests, conf_parse__more_mistakes_than_fit_are_counted);
	tcase_add_test(tests, conf_parse__name_from_the_host_or_an_explanation);
	tcase_add_test(tests, conf_parse__listen_forms);
	tcase_add_test(tests, conf_parse__url_forms);
	tcase_add_test(tests, conf_peer_url__for_any_ordinal);
	tcase_add_test(tests, conf_is_leader__by_ordinal);
	tcase_add_test(tests, conf_store_dir__is_in_the_data_dir);
	tcase_add_test(tests, conf_store_driver__is_the_one_configured);
	tcase_add_test(tests, conf_merge_live__takes_live_keys_and_tells_the_others);
	tcase_add_test(tests, conf_merge_live__free_keys_wait_for_a_restart);
	tcase_add_test(tests, conf_merge_live__no_room_to_tell_changes_nothing);
	tcase_add_test(tests, conf_print__parses_again_whatever_the_values);
	tcase_add_test(tests, conf_parse__survives_damaged_files);
	tcase_add_test(tests, conf_load__reads_a_file_with_the_environment);
	tcase_add_test(tests, conf_load__cannot_be_read);
	tcase_add_test(tests, conf_load__size_that_does_not_fit_what_was_read);
	tcase_add_test(tests, conf_load__file_that_changes_is_whole_or_tried_again);
	tcase_add_test(tests, conf_sample__is_committed_and_parses_to_the_defaults);
	tcase_add_test(tests, conf_docs__are_committed_as_the_schema_says);
	tcase_add_test(tests, conf_write__no_room);
	return suite_run_case("conf", tests);
}
