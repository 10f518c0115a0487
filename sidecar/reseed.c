#include "sidecar/reseed.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/process.h"
#include "lib/driver/driver_seedpod.h"

#define LOOK_MS       50   /* between two looks at the child */
#define KILL_AFTER_MS 1000 /* what it has to end in after SIGTERM */

/* The reverse of sp_code_exit(), where several codes share an exit code: the one that init means most likely. */
static int
code_from_exit(int status)
{
	switch (status) {
	case 64:
		return SP_EUSAGE;
	case 65:
		return SP_EBADDATA;
	case 69:
		return SP_EUNAVAIL;
	case 71:
		return SP_ENOMEM;
	case 73:
		return SP_EVOLUME;
	case 74:
		return SP_EIO;
	case 75:
		return SP_EAGAIN;
	case 77:
		return SP_EPERM;
	case 78:
		return SP_ECONF;
	default:
		return SP_EINTERNAL;
	}
}

/* Wait until the child is over, or call->go_on() says no: then end it, first politely. True if it ended by itself.
 */
static bool
wait_for_child(pid_t pid, const struct reseed_call *call, int *status)
{
	int64_t ended_at_ms = 0;
	int64_t now_ms;
	pid_t got;

	while ((got = waitpid(pid, status, WNOHANG)) == 0 || (got < 0 && errno == EINTR)) {
		now_ms = clock_mono_ms();
		if (ended_at_ms == 0 && !call->go_on(call->go_on_arg)) {
			kill(pid, SIGTERM);
			ended_at_ms = now_ms;
		} else if (ended_at_ms != 0 && now_ms - ended_at_ms > KILL_AFTER_MS) {
			kill(pid, SIGKILL);
		}
		clock_sleep_ms(LOOK_MS);
	}
	return ended_at_ms == 0;
}

int
reseed_run_child(const char *program, char *const *argv, const struct reseed_call *call, struct sp_error *err)
{
	int status = 0;
	pid_t pid;
	int rc;

	rc = process_spawn((const char *const *)argv, -1, -1, &pid);
	if (rc != 0)
		return sp_error_errno(err, rc, "run %s", program);
	if (!wait_for_child(pid, call, &status))
		return sp_error_set(err, SP_ECANCELED, "%s was ended with this program", program);
	if (WIFSIGNALED(status))
		return sp_error_set(err, SP_EINTERNAL, "%s was killed by signal %d", program, WTERMSIG(status));
	if (WEXITSTATUS(status) != 0) {
		rc = code_from_exit(WEXITSTATUS(status));
		return sp_error_set(
		    err, rc, "%s ended with exit code %d (%s)", program, WEXITSTATUS(status), sp_code_text(rc));
	}
	return 0;
}

int
reseed_with_init(void *arg, const struct reseed_call *call, struct sp_error *err)
{
	const struct reseed_options *o = arg;
	char found[PATH_MAX];
	char force[] = "--reseed";
	char option[] = "--config";
	char config[PATH_MAX];
	char min_applied[] = "--min-applied";
	char index[24];
	char *argv[7] = { found };
	struct sp_error open_err = { 0 };
	size_t n = 1;
	int rc;

	if (o->init_program != NULL)
		snprintf(found, sizeof(found), "%s", o->init_program);
	else
		process_find_beside("seedpod-init", found, sizeof(found));
	snprintf(config, sizeof(config), "%s", o->config_path);
	if (call->force)
		argv[n++] = force;
	if (call->min_applied > 0) {
		snprintf(index, sizeof(index), "%" PRIu64, call->min_applied);
		argv[n++] = min_applied;
		argv[n++] = index;
	}
	argv[n++] = option;
	argv[n++] = config;

	if (driver_seedpod_release(o->driver, err) < 0)
		return sp_error_wrap(err, "ask the server to release its store");
	FAULT_POINT("reseed.released");
	log_info("seedpod-init begins", LOG_STR("program", found), LOG_BOOL("reseed", call->force));
	rc = reseed_run_child(found, argv, call, err);
	FAULT_POINT("reseed.seeded");
	/* Opened again in any case: after a failure the store of before is still there and may serve. */
	if (driver_seedpod_open(o->driver, &open_err) < 0 && rc == 0) {
		*err = open_err;
		return sp_error_wrap(err, "ask the server to open the new store");
	}
	return rc;
}
