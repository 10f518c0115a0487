/* seedpod-init: makes a pod's volume ready, then ends, so that the server may start. This file only wires. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/access_control.h"
#include "conf/cli.h"
#include "init/failure.h"
#include "init/run.h"
#include "init/show.h"
#include "init/stop.h"
#include "init/termination.h"
#include "lib/base/log.h"
#include "lib/base/number.h"
#include "lib/driver/driver_seedpod.h"
#include "lib/net/http_client.h"

#define SHOW_BYTES_MAX (16u << 20)

enum { OPTION_PLAN, OPTION_JSON, OPTION_RESEED, OPTION_MIN_APPLIED, OPTION_END };

static struct cli_option options[] = {
	[OPTION_PLAN] = { .name = "plan", .help = "show the facts and what would be done, change nothing, and exit" },
	[OPTION_JSON] = { .name = "json", .help = "with --plan: as one line of JSON" },
	[OPTION_RESEED] = { .name = "reseed",
	    .help =
		"replace a store that is not equal to the leader's, diverged or behind (the sidecar asks for this)" },
	[OPTION_MIN_APPLIED] = { .name = "min-applied",
	    .argument = "INDEX",
	    .help = "in mode raft: seed only from a member that has applied this index (the sidecar asks for this)" },
	[OPTION_END] = { .name = NULL },
};

static const char after_help[] =
    "Exit codes:\n"
    "  0   the server may start\n"
    "  64  usage\n"
    "  65  the snapshot was bad, or this store has diverged: nothing was overwritten\n"
    "  69  no donor could be reached, or it stalled\n"
    "  70  internal error\n"
    "  71  out of memory\n"
    "  73  the volume cannot be written, or is too small\n"
    "  74  input/output error\n"
    "  75  try again: asked to stop, the donor has no store yet, or a server has this store open\n"
    "  77  permission denied\n"
    "  78  configuration\n";

static int
check_store(void *arg, const char *store_dir, struct position *out, struct sp_error *err)
{
	(void)arg;
	return driver_seedpod_read_offline(NULL, store_dir, out, err);
}

static void
look_at_doors(void *arg)
{
	access_control_look(arg);
}

static int
print_plan(const struct run_options *run, bool json, struct sp_error *err)
{
	struct facts facts;
	struct plan plan;
	struct buf out;
	int rc;

	if ((rc = run_plan(run, &facts, &plan, err)) < 0)
		return rc;
	buf_init(&out, SHOW_BYTES_MAX);
	rc = json ? show_json(&facts, &plan, &out) : show_text(&facts, &plan, &out);
	if (rc < 0)
		sp_error_set(err, rc, "show the plan: %s", sp_code_text(rc));
	else if (fputs(out.data, stdout) == EOF || fflush(stdout) == EOF)
		rc = sp_error_errno(err, errno, "show the plan");
	buf_release(&out);
	facts_release(&facts);
	return rc;
}

/* An index of raft's log: digits alone. */
static int
parse_index(const char *text, uint64_t *out, struct sp_error *err)
{
	if (!number_from_text(text, UINT64_MAX, out))
		return sp_error_set(err, SP_EUSAGE, "--min-applied takes a whole number, not \"%.40s\"", text);
	return 0;
}

/* The store is read offline: this process holds the volume's lock. With --plan it does not, so a server goes first. */
static int
work(const struct conf *conf, struct access_control *access_control, struct seed_report *report, struct sp_error *err)
{
	bool plan = options[OPTION_PLAN].given;
	struct run_options run = { .conf = conf,
		.reseed = options[OPTION_RESEED].given,
		.check = check_store,
		.look = look_at_doors,
		.look_arg = access_control,
		.access = access_control_for_peers(access_control),
		.tls = access_control->serving,
		.tokens = access_control->tokens };
	struct volume volume;
	int rc;

	if (options[OPTION_JSON].given && !plan)
		return sp_error_set(err, SP_EUSAGE, "--json goes with --plan");
	if (options[OPTION_MIN_APPLIED].given &&
	    (rc = parse_index(options[OPTION_MIN_APPLIED].value, &run.min_applied, err)) < 0)
		return rc;
	if ((rc = volume_init(&volume, conf->server_data_dir, err)) < 0)
		return rc;
	run.driver = driver_seedpod_new(
	    &(struct driver_seedpod_options){ .control_socket = plan ? conf->server_control_socket : NULL,
		.store_dir = plan ? volume_store_to_be(&volume) : volume.store },
	    err);
	if (run.driver == NULL)
		return err->code;
	rc = plan ? print_plan(&run, options[OPTION_JSON].given, err) : run_init(&run, report, err);
	run.driver->ops->free(run.driver);
	return rc;
}

/* The termination message, and the record of it on the volume `data_dir` (NULL: none). */
static void
tell_failure(const struct conf *conf, const char *data_dir, const struct seed_report *report,
    const struct sp_error *err, int exit_code)
{
	char *line = termination_line(report, err, exit_code);

	if (line == NULL) {
		log_warn("no termination message: the error is no text");
		return;
	}
	termination_write(conf->pod_termination_log, line);
	if (data_dir != NULL)
		failure_note(data_dir, line);
	free(line);
}

/* The log of a start that failed before is gone by now: what it said goes into this one's, and into the pod's status.
 */
static void
tell_earlier_failures(const struct conf *conf)
{
	struct buf earlier;

	buf_init(&earlier, FAILURE_BYTES_MAX);
	failure_take(conf->server_data_dir, &earlier);
	if (earlier.len > 0) {
		log_warn("earlier starts failed", LOG_STR("what", earlier.data));
		termination_write(conf->pod_termination_log, earlier.data);
	}
	buf_release(&earlier);
}

int
main(int argc, char **argv)
{
	struct cli cli = { .program = "seedpod-init",
		.summary =
		    "Makes a pod's volume ready for its server: looks at the volume and at the peers, decides, and "
		    "seeds the volume from a verified snapshot where that is needed.",
		.after_help = after_help,
		.options = options };
	struct seed_report report = { .phase = "facts" };
	struct sp_error err = { 0 };
	struct access_control access_control = { 0 };
	int rc, exit_code;

	if ((exit_code = cli_parse(&cli, argc, argv)) >= 0) {
		report.phase = "configuration";
		if (cli.refused.code != 0 && !options[OPTION_PLAN].given)
			tell_failure(&cli.conf, NULL, &report, &cli.refused, exit_code);
		return exit_code;
	}
	if ((rc = http_setup(&err)) == 0)
		rc = access_control_open(&access_control, &cli.conf, &err);
	if (rc == 0 && (rc = stop_setup(&err)) == 0)
		rc = work(&cli.conf, &access_control, &report, &err);
	exit_code = sp_code_exit(rc);
	if (rc < 0) {
		log_error("init failed", LOG_STR("phase", report.phase), LOG_STR("donor", report.donor),
		    LOG_U64("bytes", report.bytes), LOG_STR("expected", report.expected),
		    LOG_STR("found", report.found), LOG_STR("error", err.text), LOG_I64("exit_code", exit_code));
		if (!options[OPTION_PLAN].given)
			tell_failure(&cli.conf, cli.conf.server_data_dir, &report, &err, exit_code);
	} else if (!options[OPTION_PLAN].given) {
		tell_earlier_failures(&cli.conf);
		log_info("the server may start");
	}
	stop_teardown();
	http_teardown();
	access_control_close(&access_control);
	return exit_code;
}
