/* seedpod-server: the store server. This file only wires: options, signals, start and stop. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "conf/cli.h"
#include "lib/base/log.h"
#include "lib/base/version.h"
#include "lib/net/http_client.h"
#include "server/local.h"
#include "server/offline.h"
#include "server/server.h"

#define TICK_S 1

enum {
	OPTION_POSITION,
	OPTION_VERIFY,
	OPTION_STORE,
	OPTION_ID,
	OPTION_CLUSTER,
	OPTION_PORT,
	OPTION_JOIN,
	OPTION_DATA_DIR,
	OPTION_END
};

static struct cli_option options[] = {
	[OPTION_POSITION] = { .name = "position",
	    .help = "print the position of a store that no server has open, and exit",
	    .offline = true },
	[OPTION_VERIFY] = { .name = "verify",
	    .help = "read a store that no server has open, check every record, and exit",
	    .offline = true },
	[OPTION_STORE] = { .name = "store",
	    .argument = "DIR",
	    .help = "the store for --position and --verify",
	    .offline = true },
	[OPTION_ID] = { .name = "id",
	    .argument = "N",
	    .help = "without a file: be member N of a raft cluster; with --cluster and --port",
	    .offline = true },
	[OPTION_CLUSTER] = { .name = "cluster",
	    .argument = "URLS",
	    .help = "the members' URLs for one another, http://host:port, with commas; the raft port is the one below",
	    .offline = true },
	[OPTION_PORT] = { .name = "port", .argument = "P", .help = "the port for clients", .offline = true },
	[OPTION_JOIN] = { .name = "join", .help = "join a cluster that is there, also as member 1", .offline = true },
	[OPTION_DATA_DIR] = { .name = "data-dir",
	    .argument = "DIR",
	    .help = "the member's folder (./seedpod-N)",
	    .offline = true },
	[OPTION_END] = { .name = NULL },
};

static const char after_help[] =
    "It serves the store in data_dir on [server] listen (9876), and the pod's own containers on control_socket.\n"
    "Try:  curl -X PUT -d hello localhost:9876/v1/kv/greeting && curl localhost:9876/v1/kv/greeting\n"
    "\n"
    "Exit codes: 0 stopped in order; 64 usage; 65 the store is damaged or none; 70 internal error; 71 out of memory;\n"
    "73 the volume cannot be written; 74 an fsync failed; 75 another process has the data directory; 77 permission; 78 "
    "configuration.\n";

static int
run_offline(void)
{
	const char *dir = options[OPTION_STORE].value;

	if (dir == NULL || options[OPTION_POSITION].given == options[OPTION_VERIFY].given) {
		fprintf(stderr, "seedpod-server: --store DIR and one of --position and --verify go together\n"
				"Try 'seedpod-server --help'.\n");
		return sp_code_exit(SP_EUSAGE);
	}
	return options[OPTION_VERIFY].given ? offline_verify(dir) : offline_position(dir);
}

static int
serve_until_told(
    const struct conf *conf, const char *config_path, const struct server_cluster *cluster, const sigset_t *signals)
{
	const struct timespec tick = { .tv_sec = TICK_S };
	struct sp_error err = { 0 };
	struct server *server;
	bool goes_on = true;
	int signal_number;

	if (http_setup(&err) < 0 || server_start(conf, config_path, cluster, &server, &err) < 0) {
		log_error("cannot start", LOG_STR("error", err.text), LOG_STR("code", sp_code_name(err.code)));
		return sp_code_exit(err.code);
	}
	while (goes_on && (signal_number = sigtimedwait(signals, NULL, &tick)) <= 0)
		goes_on = server_tick(server);
	log_info("stopping", LOG_STR("why", !goes_on                   ? "removed from the cluster"
					    : signal_number == SIGTERM ? "SIGTERM"
								       : "SIGINT"));
	server_stop(server);
	log_info("stopped");
	return 0;
}

/* A member of a cluster on the command line. */
static int
serve_member(const sigset_t *signals)
{
	const struct local_options o = { .id = options[OPTION_ID].value,
		.cluster = options[OPTION_CLUSTER].value,
		.port = options[OPTION_PORT].value,
		.data_dir = options[OPTION_DATA_DIR].value,
		.join = options[OPTION_JOIN].given };
	struct sp_error err = { 0 };
	struct local *l = calloc(1, sizeof(*l));
	int rc = l != NULL ? local_init(l, &o, &err) : sp_error_set(&err, SP_ENOMEM, "start");

	if (rc < 0) {
		fprintf(stderr, "seedpod-server: %s\nTry 'seedpod-server --help'.\n", err.text);
		free(l);
		return sp_code_exit(rc);
	}
	log_info("starting", LOG_STR("version", SEEDPOD_VERSION), LOG_U64("member", l->cluster.number),
	    LOG_STR("data_dir", l->conf.server_data_dir));
	rc = serve_until_told(&l->conf, NULL, &l->cluster, signals);
	local_release(l);
	free(l);
	return rc;
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
	if (options[OPTION_POSITION].given || options[OPTION_VERIFY].given || options[OPTION_STORE].given)
		return run_offline();
	for (size_t i = OPTION_ID; i <= OPTION_DATA_DIR; i++)
		if (options[i].given)
			return serve_member(&signals);
	log_info("starting", LOG_STR("version", SEEDPOD_VERSION), LOG_STR("pod", cli.conf.pod.name),
	    LOG_STR("config", cli.config_path), LOG_STR("config_hash", cli.conf.hash));
	return serve_until_told(&cli.conf, cli.config_path, NULL, &signals);
}
