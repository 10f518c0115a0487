/* seedpod-sidecar: keeps a follower equal to its leader, and reports the pod's state. This file
 * only wires. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/access_control.h"
#include "conf/cli.h"
#include "conf/reload.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/memory.h"
#include "lib/base/version.h"
#include "lib/driver/driver_seedpod.h"
#include "lib/net/http_client.h"
#include "lib/net/listener.h"
#include "sidecar/announce.h"
#include "sidecar/container.h"
#include "sidecar/leave.h"
#include "sidecar/pages.h"
#include "sidecar/role.h"
#include "sidecar/state.h"
#include "sidecar/sync.h"
#include "sidecar/watch.h"

#define WATCH_TIMEOUT_MS 5000
#define STOP_MS          1500 /* what the loops have to end in after a signal */
#define PATH_SIZE        1024

enum { OPTION_PROBE, OPTION_LINGER, OPTION_LEAVE, OPTION_ROLE, OPTION_FORCE, OPTION_END };

static struct cli_option options[] = {
	[OPTION_PROBE] = { .name = "probe",
	    .argument = "URL",
	    .help = "ask a page, print its first line, and exit: 0 where it said 200, else 1 (for exec probes); with "
		    "https:// as [tls] says",
	    .offline = true },
	[OPTION_LINGER] = { .name = "linger",
	    .argument = "SECONDS",
	    .help = "wait so long, and exit (for preStop hooks)",
	    .offline = true },
	[OPTION_LEAVE] = { .name = "leave",
	    .online = true,
	    .argument = "WHEN",
	    .help =
		"mode raft: take this pod out of the cluster, and exit: \"now\", or \"scaled\" (for preStop hooks): "
		"only where its StatefulSet counts it no more; with --linger, waits after it" },
	[OPTION_ROLE] = { .name = "role",
	    .online = true,
	    .argument = "ROLE",
	    .help = "mode static: \"leader\" has this pod take over the lead, without the loss of a write, and exit; "
		    "\"follower\" has it hand the lead to the follower that is furthest on. It holds until "
		    "replication.leader_ordinal changes" },
	[OPTION_FORCE] = { .name = "force",
	    .online = true,
	    .help = "with --role leader: lead although the pod that holds the lead cannot be asked; what only that pod "
		    "has is "
		    "lost" },
	[OPTION_END] = { .name = NULL },
};

static const char after_help[] =
    "Pages on [sidecar] listen (default 0.0.0.0:9877):\n"
    "  /livez             200 while this program's own loops turn\n"
    "  /readyz[?verbose]  200 when the pod is ready, 503 and the reason when it is not\n"
    "  /metrics           Prometheus text format, the server's samples included\n"
    "  /status            JSON: position, leader, lag, checks, last error, configuration\n"
    "\n"
    "Exit codes: 0 stopped in order; 64 usage; 70 internal error; 71 out of memory; 74 "
    "input/output error;\n"
    "77 permission; 78 configuration, or an address that is in use.\n"
    "--probe: 0 where the page said 200, else 1. --leave: 0 it left or is to stay; 69 no "
    "member could be reached;\n"
    "75 no leader made the change in time; 77 the StatefulSet may not be read.\n"
    "--role: 0 the pod has that role; 69 no pod that holds the lead answers; 75 not in time, the old "
    "leader leads\non.\n";

/* Everything that runs, in the order in which it is made. */
struct sidecar {
	struct cli cli;
	struct access_control access_control;
	const struct http_access *peer_access; /* the rules for peers */
	struct state *state;
	struct driver *sync_driver;
	struct driver *watch_driver;
	struct reseed_options reseed;
	struct sync *sync;
	struct watch *watch;
	struct reload *reload;
	struct announce *announce; /* NULL: no service account's token is mounted */
	struct pages pages;
	struct listener *listener;

	/* The watch's thread alone. */
};

static void
conf_changed(const struct conf *now, void *arg)
{
	struct sidecar *sc = arg;

	access_control_name_leader(&sc->access_control, now->replication_leader_ordinal);
	state_set_conf(sc->state, now);
	sync_wake(sc->sync);
}

static void
server_changed(void *arg)
{
	struct sidecar *sc = arg;

	sync_wake(sc->sync);
}

static void
tick(void *arg, int64_t now_ms)
{
	struct sidecar *sc = arg;

	sync_guard(sc->sync, now_ms);
	access_control_look(&sc->access_control);
}

static int
start_sync(struct sidecar *sc, struct sp_error *err)
{
	const struct conf *conf = &sc->cli.conf;
	struct driver_seedpod_options d = { .control_socket = conf->server_control_socket };
	struct follower_options f = { .state = sc->state, .reseed = reseed_with_init, .reseed_arg = &sc->reseed };

	sc->sync_driver = driver_seedpod_new(&d, err);
	if (sc->sync_driver == NULL)
		return err->code;
	sc->reseed.driver = sc->sync_driver;
	sc->reseed.config_path = sc->cli.config_path;
	f.driver = sc->sync_driver;
	f.access = sc->peer_access;
	f.lead_from = driver_seedpod_lead_from;
	f.tell_leader = driver_seedpod_follow;
	sc->sync = sync_new(&f, err);
	return sc->sync != NULL ? 0 : err->code;
}

static int
start_watch(struct sidecar *sc, struct sp_error *err)
{
	const struct conf *conf = &sc->cli.conf;
	struct driver_seedpod_options d = { .control_socket = conf->server_control_socket,
		.timeout_ms = WATCH_TIMEOUT_MS };
	char seed_path[PATH_SIZE];
	struct watch_options w = {
		.state = sc->state,
		.metrics = driver_seedpod_metrics,
		.seed_path = seed_path,
		.changed = server_changed,
		.tick = tick,
		.arg = sc,
	};

	if (file_join(seed_path, sizeof(seed_path), conf->server_data_dir, "seed.json", err) < 0)
		return err->code;
	sc->watch_driver = driver_seedpod_new(&d, err);
	if (sc->watch_driver == NULL)
		return err->code;
	w.driver = sc->watch_driver;
	sc->watch = watch_new(&w, err);
	return sc->watch != NULL ? 0 : err->code;
}

static int
start_announce(struct sidecar *sc, struct sp_error *err)
{
	struct announce_options a = { .state = sc->state, .reload = sc->reload };

	if (!kube_has_account(&a.kube))
		return 0;
	sc->announce = announce_new(&a, err);
	return sc->announce != NULL ? 0 : err->code;
}

static int
start(struct sidecar *sc, struct sp_error *err)
{
	struct listener_options l = { .address = sc->cli.conf.sidecar_listen,
		.threads = 1,
		.connection_limit = 256,
		.handle = pages_handle,
		.admit = pages_admit,
		.refuse = pages_refuse,
		.arg = &sc->pages };
	struct memory_limit limit;
	struct memory_budgets budgets;
	int rc;

	memory_limit_read("", &limit);
	memory_budgets_of(limit.bytes, &budgets);
	l.body_budget_bytes = budgets.bodies;
	l.reply_budget_bytes = budgets.answers;
	rc = access_control_open(&sc->access_control, &sc->cli.conf, err);
	if (rc < 0)
		return rc;
	sc->peer_access = access_control_for_peers(&sc->access_control);
	if (sc->cli.conf.sidecar_tls == CONF_ON)
		l.tls = sc->access_control.serving;
	sc->pages.access_control = &sc->access_control;
	sc->state = state_new(&sc->cli.conf, clock_mono_ms());
	rc = start_sync(sc, err);
	if (rc < 0)
		return sp_error_wrap(err, "start the sync");
	rc = start_watch(sc, err);
	if (rc < 0)
		return sp_error_wrap(err, "start the watch of the server");
	sc->reload = reload_new(sc->cli.config_path, &sc->cli.conf, conf_changed, sc, err);
	if (sc->reload == NULL)
		return sp_error_wrap(err, "watch the configuration");
	rc = start_announce(sc, err);
	if (rc < 0)
		return rc;
	sc->pages.state = sc->state;
	sc->pages.reload = sc->reload;
	sc->listener = listener_new(&l, err);
	return sc->listener != NULL ? 0 : err->code;
}

/* In the order in which nothing is used after its end. A loop that is held up in a call is left behind: what it may be
 * doing (an apply, a look) is the server's to finish, and this process ends. */
static void
stop(struct sidecar *sc)
{
	bool ended = true;

	if (sc->listener != NULL)
		listener_stop(sc->listener);
	listener_free(sc->listener, 200);
	if (sc->announce != NULL && !announce_stop(sc->announce, STOP_MS / 3))
		_exit(0); /* in the midst of a call to the API server, which need not be waited for */
	announce_free(sc->announce);
	reload_free(sc->reload);
	if (sc->watch != NULL && !watch_stop(sc->watch, STOP_MS / 3))
		ended = false;
	if (sc->sync != NULL && !sync_stop(sc->sync, STOP_MS))
		ended = false;
	if (!ended) {
		log_warn("stopped in the midst of a call to the server");
		_exit(0);
	}
	watch_free(sc->watch);
	sync_free(sc->sync);
	if (sc->watch_driver != NULL)
		sc->watch_driver->ops->free(sc->watch_driver);
	if (sc->sync_driver != NULL)
		sc->sync_driver->ops->free(sc->sync_driver);
	state_free(sc->state);
	http_teardown();
	access_control_close(&sc->access_control);
}

static void
block_signals(sigset_t *signals)
{
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(signals);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, signals, NULL);
}

static int
run(struct sidecar *sc)
{
	struct sp_error err = { 0 };
	sigset_t signals;
	int got = 0;
	int rc;

	block_signals(&signals);
	rc = http_setup(&err);
	if (rc == 0)
		rc = start(sc, &err);
	if (rc == 0) {
		log_info("serving", LOG_STR("version", SEEDPOD_VERSION), LOG_STR("pod", sc->cli.conf.pod.name),
		    LOG_STR("listen", sc->cli.conf.sidecar_listen), LOG_STR("config", sc->cli.conf.hash));
		sigwait(&signals, &got);
		log_info("stopping", LOG_STR("signal", got == SIGINT ? "SIGINT" : "SIGTERM"));
	} else {
		log_error("cannot start", LOG_STR("code", sp_code_name(rc)), LOG_STR("error", err.text));
	}
	stop(sc);
	if (rc == 0)
		log_info("stopped");
	return sp_code_exit(rc);
}

/* In a preStop hook a failure must not delay the pod's end: it is reported, and the pod goes on to
 * linger. */
static int
leave_and_linger(const struct conf *conf)
{
	const char *when = options[OPTION_LEAVE].value;
	struct leave_options o = { .conf = conf, .always = strcmp(when, "now") == 0 };
	enum leave_outcome outcome = LEAVE_STAYS;
	struct sp_error err = { 0 };
	struct access_control access_control = { 0 };
	int rc;

	if (!o.always && strcmp(when, "scaled") != 0) {
		fprintf(stderr, "seedpod-sidecar: --leave takes now or scaled\n");
		return sp_code_exit(SP_EUSAGE);
	}
	if ((rc = http_setup(&err)) == 0 && (rc = access_control_open(&access_control, conf, &err)) == 0)
		o.access = access_control_for_peers(&access_control);
	if (rc == 0)
		rc = leave(&o, &outcome, &err);
	if (rc < 0)
		log_error("did not leave", LOG_STR("code", sp_code_name(rc)), LOG_STR("error", err.text));
	else
		log_info(outcome == LEAVE_LEFT ? "left the cluster" : "stays: the StatefulSet counts this pod");
	http_teardown();
	access_control_close(&access_control);
	if (options[OPTION_LINGER].given && container_linger(options[OPTION_LINGER].value) != 0)
		return sp_code_exit(SP_EUSAGE);
	return sp_code_exit(rc);
}

static int
set_role(const struct conf *conf)
{
	const char *role = options[OPTION_ROLE].value;
	struct role_options o = { .conf = conf,
		.leader = strcmp(role, "leader") == 0,
		.force = options[OPTION_FORCE].given,
		.timeout_ms = ROLE_TIMEOUT_MS };
	struct sp_error err = { 0 };
	struct access_control access_control = { 0 };
	char told[256] = "";
	int rc;

	if ((!o.leader && strcmp(role, "follower") != 0) || (o.force && !o.leader)) {
		fprintf(stderr, "seedpod-sidecar: --role takes leader or follower, and --force goes with leader\n");
		return sp_code_exit(SP_EUSAGE);
	}
	if ((rc = http_setup(&err)) == 0 && (rc = access_control_open(&access_control, conf, &err)) == 0) {
		o.access = access_control_for_peers(&access_control);
		rc = role_set(&o, told, sizeof(told), &err);
	}
	if (rc == 0)
		printf("%s: %s\n", conf->pod.name, told);
	else
		fprintf(stderr, "seedpod-sidecar: %s: %s\n", conf->pod.name, err.text);
	http_teardown();
	access_control_close(&access_control);
	return sp_code_exit(rc);
}

int
main(int argc, char **argv)
{
	static struct sidecar sc;
	int exit_code;

	/* Few threads that allocate little: one arena keeps the idle pod small. */
	mallopt(M_ARENA_MAX, 1);
	sc.cli.program = "seedpod-sidecar";
	sc.cli.summary = "Keeps a follower's store equal to its leader's, and says whether the pod is ready.";
	sc.cli.after_help = after_help;
	sc.cli.options = options;
	exit_code = cli_parse(&sc.cli, argc, argv);
	if (exit_code >= 0)
		return exit_code;
	if (options[OPTION_PROBE].given)
		return container_probe(options[OPTION_PROBE].value, sc.cli.config_path);
	if (options[OPTION_LEAVE].given)
		return leave_and_linger(&sc.cli.conf);
	if (options[OPTION_ROLE].given)
		return set_role(&sc.cli.conf);
	if (options[OPTION_FORCE].given) {
		fprintf(stderr, "seedpod-sidecar: --force goes with --role leader\n");
		return sp_code_exit(SP_EUSAGE);
	}
	if (options[OPTION_LINGER].given)
		return container_linger(options[OPTION_LINGER].value);
	return run(&sc);
}
