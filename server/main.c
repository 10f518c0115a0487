/* seedpod-server: the store server. This file only wires: options, signals, start and stop. */
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "conf/cli.h"
#include "lib/http.h"
#include "lib/log.h"
#include "lib/version.h"
#include "server/offline.h"
#include "server/server.h"

#define TICK_S 1

enum { OPTION_POSITION, OPTION_VERIFY, OPTION_STORE, OPTION_END };

static struct cli_option options[] = {
	[OPTION_POSITION] = { .name = "position",
	    .help = "print the position of a store that no server has open, and exit",
	    .offline = true },
	[OPTION_VERIFY] = { .name = "verify",
	    .help = "read a store that no server has open, check every record, and exit",
	    .offline = true },
	[OPTION_STORE] = { .name = "store", .argument = "DIR", .help = "the store for --position and --verify" },
	[OPTION_END] = { .name = NULL },
};

static const char after_help[] =
    "It serves the store in data_dir on [server] listen (9876), and the pod's own containers on control_socket.\n"
    "Try:  curl -X PUT -d hello localhost:9876/v1/kv/greeting && curl localhost:9876/v1/kv/greeting\n"
    "\n"
    "Exit codes: 0 stopped in order; 64 usage; 65 the store is damaged or none; 73 the volume cannot be written;\n"
    "74 an fsync failed; 75 another process has the data directory; 77 permission; 78 configuration.\n";

static int
run_offline(void)
{
	const char *dir = options[OPTION_STORE].value;

	if (dir == NULL) {
		fprintf(stderr, "seedpod-server: --position and --verify need --store DIR\n");
		return sp_code_exit(SP_EUSAGE);
	}
	return options[OPTION_VERIFY].given ? offline_verify(dir) : offline_position(dir);
}

static int
serve_until_told(const struct cli *cli, const sigset_t *signals)
{
	const struct timespec tick = { .tv_sec = TICK_S };
	struct sp_error err = { 0 };
	struct server *server;
	bool goes_on = true;
	int signal_number;

	if (http_setup(&err) < 0 || server_start(&cli->conf, cli->config_path, &server, &err) < 0) {
		log_error("cannot start", LOG_STR("error", err.text), LOG_STR("code", sp_code_name(err.code)));
		return sp_code_exit(err.code);
	}
	while (goes_on && (signal_number = sigtimedwait(signals, NULL, &tick)) <= 0)
		goes_on = server_tick(server);
	log_info("stopping", LOG_STR("why", !goes_on			? "removed from the cluster"
					    : signal_number == SIGTERM ? "SIGTERM"
								       : "SIGINT"));
	server_stop(server);
	log_info("stopped");
	return 0;
}

int
main(int argc, char **argv)
{
	struct cli cli = { .program = "seedpod-server",
		.summary =
		    "Keeps a store of keys, answers clients, and streams snapshots and changes to its followers.",
		.after_help = after_help,
		.options = options };
	sigset_t signals;
	int rc;

	/* Before any thread, so that all of them leave these to the main one. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);

	rc = cli_parse(&cli, argc, argv);
	if (rc >= 0)
		return rc;
	if (options[OPTION_POSITION].given || options[OPTION_VERIFY].given)
		return run_offline();
	log_info("starting", LOG_STR("version", SEEDPOD_VERSION), LOG_STR("pod", cli.conf.pod.name),
	    LOG_STR("config", cli.config_path), LOG_STR("config_hash", cli.conf.hash));
	return serve_until_told(&cli, &signals);
}
