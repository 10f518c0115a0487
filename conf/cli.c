#include "conf/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/access_control.h"
#include "conf/schema.h"
#include "lib/base/clock.h"
#include "lib/base/sandbox.h"
#include "lib/base/version.h"

/* Columns of --help. */
#define HELP_WIDTH      80
#define HELP_INDENT_MAX 26

/* A configuration that changes while it is read is read again, so often, after so long. */
#define LOAD_TRIES    5
#define LOAD_RETRY_MS 100

#define PROGRAM_OPTIONS_MAX 32

enum shared { SHARED_CONFIG, SHARED_CHECK, SHARED_PRINT, SHARED_HELP, SHARED_VERSION, SHARED_COUNT };

static const struct cli_option shared_options[SHARED_COUNT] = {
	[SHARED_CONFIG] = { .name = "config",
	    .argument = "FILE",
	    .help = "read the configuration from FILE (default: $SEEDPOD_CONFIG, then " CONF_DEFAULT_PATH ")" },
	[SHARED_CHECK] = { .name = "check", .help = "check the configuration, report every mistake in it, and exit" },
	[SHARED_PRINT] = { .name = "print", .help = "print the effective configuration, and exit" },
	[SHARED_HELP] = { .name = "help", .help = "show this help, and exit" },
	[SHARED_VERSION] = { .name = "version", .help = "print the version, and exit" },
};

static void
option_label(const struct cli_option *o, char *out, size_t size)
{
	snprintf(
	    out, size, "  --%s%s%s", o->name, o->argument != NULL ? " " : "", o->argument != NULL ? o->argument : "");
}

/* Print `text` in words, from column `at` on, each further line indented by `indent`. */
static void
print_wrapped(const char *text, size_t at, size_t indent)
{
	while (*text != '\0') {
		size_t len = strcspn(text, " ");

		if (at > indent && at + 1 + len > HELP_WIDTH) {
			printf("\n%*s", (int)indent, "");
			at = indent;
		} else if (at > indent) {
			putchar(' ');
			at++;
		}
		printf("%.*s", (int)len, text);
		at += len;
		text += len + strspn(text + len, " ");
	}
	putchar('\n');
}

static void
print_option(const struct cli_option *o, size_t indent)
{
	char label[80];
	size_t len;

	option_label(o, label, sizeof(label));
	len = strlen(label);
	if (len + 2 <= indent)
		printf("%-*s", (int)indent, label);
	else
		printf("%s\n%*s", label, (int)indent, "");
	print_wrapped(o->help, indent, indent);
}

/* The column at which help texts begin: after the longest option that leaves them room. */
static size_t
help_indent(const struct cli *cli)
{
	size_t indent = 0;
	char label[80];

	for (size_t i = 0; i < SHARED_COUNT; i++) {
		option_label(&shared_options[i], label, sizeof(label));
		indent = strlen(label) + 2 > indent ? strlen(label) + 2 : indent;
	}
	for (const struct cli_option *o = cli->options; o != NULL && o->name != NULL; o++) {
		option_label(o, label, sizeof(label));
		indent = strlen(label) + 2 > indent ? strlen(label) + 2 : indent;
	}
	return indent < HELP_INDENT_MAX ? indent : HELP_INDENT_MAX;
}

static void
print_help(const struct cli *cli)
{
	size_t indent = help_indent(cli);

	printf("Usage: %s [OPTION]...\n", cli->program);
	print_wrapped(cli->summary, 0, 0);
	printf("\nOptions:\n");
	for (const struct cli_option *o = cli->options; o != NULL && o->name != NULL; o++)
		print_option(o, indent);
	for (size_t i = 0; i < SHARED_COUNT; i++)
		print_option(&shared_options[i], indent);
	if (cli->after_help != NULL)
		printf("\n%s%s", cli->after_help, cli->after_help[strlen(cli->after_help) - 1] == '\n' ? "" : "\n");
}

static int
usage(const struct cli *cli, const char *what, const char *which)
{
	fprintf(stderr, "%s: %s%s\nTry '%s --help'.\n", cli->program, what, which, cli->program);
	return sp_code_exit(SP_EUSAGE);
}

/* The option that getopt_long() refused, by the word of the command line at which it stopped. */
static int
usage_of_option(const struct cli *cli, int found, char **argv)
{
	const char *word = optind > 0 && argv[optind - 1] != NULL ? argv[optind - 1] : "";

	return usage(cli, found == ':' ? "an argument is missing after " : "unknown or ambiguous option ", word);
}

/* Fill `given` and `value` of the options on the command line. -1 to continue, or the exit code. */
static int
parse_options(struct cli *cli, struct cli_option shared[SHARED_COUNT], int argc, char **argv)
{
	struct option table[SHARED_COUNT + PROGRAM_OPTIONS_MAX + 1] = { 0 };
	struct cli_option *by_value[SHARED_COUNT + PROGRAM_OPTIONS_MAX];
	int count = 0, found;

	for (; count < SHARED_COUNT; count++)
		by_value[count] = &shared[count];
	for (struct cli_option *o = cli->options; o != NULL && o->name != NULL; o++) {
		if (count == SHARED_COUNT + PROGRAM_OPTIONS_MAX)
			return usage(cli, "too many options are known: ", o->name);
		o->given = false;
		o->value = NULL;
		by_value[count++] = o;
	}
	for (int i = 0; i < count; i++)
		table[i] = (struct option){ .name = by_value[i]->name,
			.has_arg = by_value[i]->argument != NULL ? required_argument : no_argument,
			.val = 256 + i };
	optind = 0;
	opterr = 0;
	while ((found = getopt_long(argc, argv, ":", table, NULL)) != -1) {
		if (found < 256)
			return usage_of_option(cli, found, argv);
		by_value[found - 256]->given = true;
		by_value[found - 256]->value = optarg;
	}
	if (optind < argc)
		return usage(cli, "unexpected argument ", argv[optind]);
	return -1;
}

static int
load(struct cli *cli, struct sp_error *err)
{
	int rc = SP_EAGAIN;

	for (int i = 0; i < LOAD_TRIES && rc == SP_EAGAIN; i++) {
		if (i > 0)
			clock_sleep_ms(LOAD_RETRY_MS);
		rc = conf_load(cli->config_path, &cli->conf, err);
	}
	if (rc == 0 && cli->conf.store_driver != CONF_DRIVER_SEEDPOD && !cli->other_stores)
		rc = sp_error_set(err, SP_ECONF, "%s: [store] driver: %s does not work with stores of this driver",
		    cli->config_path, cli->program);
	return rc;
}

/* Say why there is no configuration. Its mistakes stand as "file:line:", which editors and people find their way by. */
static int
report(const struct cli *cli, int rc, const struct sp_error *err)
{
	if (rc == SP_ECONF)
		fprintf(stderr, "%s\n", err->text);
	else
		fprintf(stderr, "%s: configuration: %s\n", cli->program, err->text);
	/* To the caller of the program these are one error: the configuration is wrong. */
	if (rc == SP_ENOTFOUND || rc == SP_EVOLUME || rc == SP_ETOOBIG)
		rc = SP_ECONF;
	return sp_code_exit(rc);
}

static int
print_configuration(const struct cli *cli)
{
	struct buf text;
	int rc;

	buf_init(&text, CONF_FILE_MAX);
	rc = conf_print(&cli->conf, &text);
	if (rc == 0 && (fputs(text.data, stdout) == EOF || fflush(stdout) == EOF))
		rc = SP_EIO;
	buf_release(&text);
	if (rc < 0)
		fprintf(stderr, "%s: print the configuration: %s\n", cli->program, sp_code_text(rc));
	return sp_code_exit(rc);
}

static bool
is_offline(const struct cli *cli)
{
	bool offline = false;

	for (const struct cli_option *o = cli->options; o != NULL && o->name != NULL; o++) {
		if (o->online && o->given)
			return false;
		offline |= o->offline && o->given;
	}
	return offline;
}

/* Where there is no file to say it. */
static void
default_termination_log(struct conf *c)
{
	const char *path = getenv("SEEDPOD_POD_TERMINATION_LOG");

	if (path == NULL)
		path = schema_find("pod", "termination_log")->default_text;
	snprintf(c->pod_termination_log, sizeof(c->pod_termination_log), "%s", path);
}

int
cli_parse(struct cli *cli, int argc, char **argv)
{
	struct cli_option shared[SHARED_COUNT];
	struct sp_error err = { 0 };
	int rc;

	sandbox_enter();
	memcpy(shared, shared_options, sizeof(shared));
	log_setup(cli->program, LOG_INFO, LOG_LOGFMT);
	cli->config_path = getenv("SEEDPOD_CONFIG");
	if (cli->config_path == NULL || cli->config_path[0] == '\0')
		cli->config_path = CONF_DEFAULT_PATH;
	if ((rc = parse_options(cli, shared, argc, argv)) >= 0)
		return rc;
	if (shared[SHARED_CONFIG].given)
		cli->config_path = shared[SHARED_CONFIG].value;
	if (shared[SHARED_HELP].given) {
		print_help(cli);
		return 0;
	}
	if (shared[SHARED_VERSION].given) {
		printf("%s %s\n", cli->program, SEEDPOD_VERSION);
		return 0;
	}
	if (is_offline(cli) && !shared[SHARED_CHECK].given && !shared[SHARED_PRINT].given)
		return -1;
	default_termination_log(&cli->conf);
	if ((rc = load(cli, &err)) < 0) {
		if (!shared[SHARED_CHECK].given && !shared[SHARED_PRINT].given)
			cli->refused = err;
		return report(cli, rc, &err);
	}
	if (shared[SHARED_PRINT].given)
		return print_configuration(cli);
	if (shared[SHARED_CHECK].given) {
		if ((rc = access_control_check(&cli->conf, &err)) < 0)
			return report(cli, rc, &err);
		printf("%s: ok\n", cli->config_path);
		return 0;
	}
	log_configure(cli->conf.log_level, cli->conf.log_format);
	return -1;
}
