/* The command line, as a user sees it: exit codes, and what goes to standard output and standard error. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/cli.h"
#include "lib/base/file.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define GOES_ON (-1)

static char dir[TEMPDIR_MAX];
static struct cli_option options[5];
static struct cli cli;
static struct buf out, err_out;

static void
setup(void)
{
	static const struct cli_option fresh[5] = {
		{ .name = "plan", .help = "show facts and action, and change nothing" },
		{ .name = "position", .help = "print the position", .offline = true },
		{ .name = "store", .argument = "DIR", .help = "the store's folder" },
		{ .name = "leave", .help = "leave the cluster", .online = true },
	};

	memcpy(options, fresh, sizeof(options));
	cli = (struct cli){ .program = "seedpod-init",
		.summary =
		    "Look at the volume and the peers of a pod, and seed the volume where that is what it needs.",
		.after_help = "Exit codes: 0 the server may start.",
		.options = options };
	tempdir_make(dir);
	setenv("POD_NAME", "mystore-1", 1);
	unsetenv("SEEDPOD_CONFIG");
	buf_init(&out, 1 << 20);
	buf_init(&err_out, 1 << 20);
}

static void
teardown(void)
{
	buf_release(&out);
	buf_release(&err_out);
	tempdir_remove(dir);
}

/* Send `fd` to a file; the old one comes back. */
static int
divert(int fd, const char *name)
{
	int saved = dup(fd), file = open(tempdir_path(dir, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(saved, 0);
	ck_assert_int_ge(dup2(file, fd), 0);
	close(file);
	return saved;
}

static void
restore(int fd, int saved)
{
	ck_assert_int_ge(dup2(saved, fd), 0);
	close(saved);
}

/* Run cli_parse() with those words (ended by NULL) and keep what it writes. */
static int
run(const char *first, const char *second, const char *third)
{
	char *argv[] = { (char *)"seedpod-init", (char *)first, (char *)second, (char *)third, NULL };
	int argc = 1, saved_out, saved_err, rc;

	while (argv[argc] != NULL)
		argc++;
	fflush(stdout);
	saved_out = divert(STDOUT_FILENO, "out");
	saved_err = divert(STDERR_FILENO, "err");
	rc = cli_parse(&cli, argc, argv);
	fflush(stdout);
	restore(STDOUT_FILENO, saved_out);
	restore(STDERR_FILENO, saved_err);
	buf_reset(&out);
	buf_reset(&err_out);
	ck_assert_int_eq(file_read_all(tempdir_path(dir, "out"), &out, NULL), 0);
	ck_assert_int_eq(file_read_all(tempdir_path(dir, "err"), &err_out, NULL), 0);
	return rc;
}

START_TEST(cli_help__is_formatted)
{
	ck_assert_int_eq(run("--help", NULL, NULL), 0);
	ck_assert_str_eq(err_out.data, "");
	ck_assert_str_eq(out.data, "Usage: seedpod-init [OPTION]...\n"
				   "Look at the volume and the peers of a pod, and seed the volume where that is\n"
				   "what it needs.\n"
				   "\n"
				   "Options:\n"
				   "  --plan         show facts and action, and change nothing\n"
				   "  --position     print the position\n"
				   "  --store DIR    the store's folder\n"
				   "  --leave        leave the cluster\n"
				   "  --config FILE  read the configuration from FILE (default: $SEEDPOD_CONFIG,\n"
				   "                 then /etc/seedpod/seedpod.ini)\n"
				   "  --check        check the configuration, report every mistake in it, and exit\n"
				   "  --print        print the effective configuration, and exit\n"
				   "  --help         show this help, and exit\n"
				   "  --version      print the version, and exit\n"
				   "\n"
				   "Exit codes: 0 the server may start.\n");
}
END_TEST

START_TEST(cli_help__long_option_gets_a_line_of_its_own)
{
	options[0].name = "an-option-with-a-rather-long-name";
	options[1].name = NULL;
	cli.after_help = NULL;
	ck_assert_int_eq(run("--help", NULL, NULL), 0);
	ck_assert_ptr_nonnull(
	    strstr(out.data, "\n  --an-option-with-a-rather-long-name\n                          show facts"));
}
END_TEST

START_TEST(cli_version__names_the_program)
{
	ck_assert_int_eq(run("--version", NULL, NULL), 0);
	ck_assert_str_eq(out.data, "seedpod-init 0.1.0\n");
}
END_TEST

START_TEST(cli_check__good_file)
{
	const char *path = tempdir_path(dir, "a.ini");
	char expected[TEMPDIR_MAX + 10];

	tempdir_write(dir, "a.ini", "[log]\nlevel = warn\n");
	ck_assert_int_eq(run("--check", "--config", path), 0);
	snprintf(expected, sizeof(expected), "%s: ok\n", path);
	ck_assert_str_eq(out.data, expected);
	ck_assert_str_eq(err_out.data, "");
}
END_TEST

START_TEST(cli_check__bad_file_is_78_with_every_mistake)
{
	const char *path = tempdir_path(dir, "a.ini");

	tempdir_write(dir, "a.ini", "[log]\nlevel = loud\nformat = xml\n");
	ck_assert_int_eq(run("--check", "--config", path), 78);
	ck_assert_str_eq(out.data, "");
	ck_assert_int_eq(strncmp(err_out.data, path, strlen(path)), 0);
	ck_assert_ptr_nonnull(strstr(err_out.data, "a.ini:2: [log] level: "));
	ck_assert_ptr_nonnull(strstr(err_out.data, "a.ini:3: [log] format: "));
	/* The same without --check. */
	ck_assert_int_eq(run("--config", path, NULL), 78);
}
END_TEST

START_TEST(cli_check__other_store_only_if_the_program_can)
{
	const char *path = tempdir_path(dir, "a.ini");

	tempdir_write(dir, "a.ini", "[store]\ndriver = exec\ncommand = /bin/x\npath = /data/x\n");
	ck_assert_int_eq(run("--check", "--config", path), 78);
	ck_assert_ptr_nonnull(strstr(err_out.data, "a.ini: [store] driver: seedpod-init does not work with"));
	ck_assert_int_eq(run("--config", path, NULL), 78);
	cli.other_stores = true;
	ck_assert_int_eq(run("--check", "--config", path), 0);
	ck_assert_int_eq(run("--config", path, NULL), GOES_ON);
}
END_TEST

START_TEST(cli_print__parses_again)
{
	struct conf again;
	struct sp_error err = { 0 };

	tempdir_write(dir, "a.ini", "[log]\nlevel = warn\n[server]\ndata_dir = /srv/{name}\n");
	ck_assert_int_eq(run("--print", "--config", tempdir_path(dir, "a.ini")), 0);
	ck_assert_msg(conf_parse("print", out.data, out.len, NULL, &again, &err) == 0, "%s", err.text);
	ck_assert_str_eq(again.server_data_dir, "/srv/mystore-1");
	ck_assert_int_eq(again.log_level, LOG_WARN);
}
END_TEST

START_TEST(cli_parse__goes_on_with_the_configuration)
{
	tempdir_write(dir, "a.ini", "[sync]\ninterval = 3s\n");
	ck_assert_int_eq(run("--plan", "--config", tempdir_path(dir, "a.ini")), GOES_ON);
	ck_assert_str_eq(out.data, "");
	ck_assert_str_eq(err_out.data, "");
	ck_assert_int_eq(cli.conf.sync_interval_ms, 3000);
	ck_assert(options[0].given);
	ck_assert(!options[1].given);
	ck_assert_ptr_null(options[2].value);
}
END_TEST

START_TEST(cli_config__from_the_environment)
{
	tempdir_write(dir, "env.ini", "[sync]\ninterval = 4s\n");
	tempdir_write(dir, "a.ini", "[sync]\ninterval = 3s\n");
	setenv("SEEDPOD_CONFIG", tempdir_path(dir, "env.ini"), 1);
	ck_assert_int_eq(run(NULL, NULL, NULL), GOES_ON);
	ck_assert_int_eq(cli.conf.sync_interval_ms, 4000);
	ck_assert_int_eq(run("--config", tempdir_path(dir, "a.ini"), NULL), GOES_ON);
	ck_assert_int_eq(cli.conf.sync_interval_ms, 3000);
	setenv("SEEDPOD_CONFIG", "", 1);
	run("--help", NULL, NULL);
	ck_assert_str_eq(cli.config_path, CONF_DEFAULT_PATH);
}
END_TEST

START_TEST(cli_config__missing_file_is_78)
{
	ck_assert_int_eq(run("--config", tempdir_path(dir, "none.ini"), NULL), 78);
	ck_assert_ptr_nonnull(strstr(err_out.data, "seedpod-init: configuration: "));
	ck_assert_ptr_nonnull(strstr(err_out.data, "none.ini"));
}
END_TEST

START_TEST(cli_config__that_never_settles_is_75)
{
	ck_assert_int_eq(run("--config", "/proc/self/status", NULL), 75);
	ck_assert_ptr_nonnull(strstr(err_out.data, "changed while it was read"));
}
END_TEST

START_TEST(cli_offline__loads_no_configuration)
{
	setenv("SEEDPOD_CONFIG", tempdir_path(dir, "none.ini"), 1);
	ck_assert_int_eq(run("--position", "--store", "/x"), GOES_ON);
	ck_assert(options[1].given);
	ck_assert_str_eq(options[2].value, "/x");
	ck_assert_int_eq(run("--position", "--check", NULL), 78);
	ck_assert_int_eq(run("--position", "--leave", NULL), 78);
}
END_TEST

START_TEST(cli_usage__mistakes_are_64_with_a_hint)
{
	static const char *const words[] = { "--colour", "stray", "--config", "--check=yes", "-x", "--p" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		ck_assert_msg(run(words[i], NULL, NULL) == 64, "%s", words[i]);
		ck_assert_str_eq(out.data, "");
		ck_assert_msg(strstr(err_out.data, words[i]) != NULL, "%s: %s", words[i], err_out.data);
		ck_assert_ptr_nonnull(strstr(err_out.data, "seedpod-init: "));
		ck_assert_ptr_nonnull(strstr(err_out.data, "Try 'seedpod-init --help'."));
	}
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		cli_help__is_formatted,
		cli_help__long_option_gets_a_line_of_its_own,
		cli_version__names_the_program,
		cli_check__good_file,
		cli_check__bad_file_is_78_with_every_mistake,
		cli_check__other_store_only_if_the_program_can,
		cli_print__parses_again,
		cli_parse__goes_on_with_the_configuration,
		cli_config__from_the_environment,
		cli_config__missing_file_is_78,
		cli_config__that_never_settles_is_75,
		cli_offline__loads_no_configuration,
		cli_usage__mistakes_are_64_with_a_hint,
	};

	return suite_run_fixture("cli", tests, sizeof(tests) / sizeof(tests[0]), 30, setup, teardown);
}
