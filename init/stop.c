#include "init/stop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "lib/base/log.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* on the monotonic clock: see stop_setup() */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_t waiter;
static bool waiter_runs; /* of the main thread */

/* Under `lock`. */
static bool requested;
static bool ending; /* the waiter shall end, without a request to stop */
static struct http_client *watched;

static void
make_condition(void)
{
	cond_init(&changed);
}

static void
stop_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
}

static void *
wait_for_signals(void *arg)
{
	sigset_t set;
	bool last;
	int number;

	(void)arg;
	stop_signals(&set);
	while (sigwait(&set, &number) == 0) {
		pthread_mutex_lock(&lock);
		last = ending;
		pthread_mutex_unlock(&lock);
		if (last)
			break;
		log_info("asked to stop", LOG_STR("signal", number == SIGTERM ? "SIGTERM" : "SIGINT"));
		stop_request();
	}
	return NULL;
}

int
stop_setup(struct sp_error *err)
{
	sigset_t set;
	int rc;

	stop_signals(&set);
	if ((rc = pthread_sigmask(SIG_BLOCK, &set, NULL)) != 0)
		return sp_error_errno(err, rc, "block signals");
	if ((rc = pthread_create(&waiter, NULL, wait_for_signals, NULL)) != 0)
		return sp_error_errno(err, rc, "start the thread that waits for signals");
	waiter_runs = true;
	return 0;
}

void
stop_teardown(void)
{
	if (!waiter_runs)
		return;
	pthread_mutex_lock(&lock);
	ending = true;
	pthread_mutex_unlock(&lock);
	pthread_kill(waiter, SIGTERM);
	pthread_join(waiter, NULL);
	waiter_runs = false;
}

void
stop_request(void)
{
	pthread_once(&once, make_condition);
	pthread_mutex_lock(&lock);
	requested = true;
	if (watched != NULL)
		http_client_cancel(watched);
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

bool
stop_requested(void)
{
	bool answer;

	pthread_mutex_lock(&lock);
	answer = requested;
	pthread_mutex_unlock(&lock);
	return answer;
}

bool
stop_wait_ms(int64_t ms)
{
	int64_t until_ms = clock_mono_ms() + ms;
	bool answer;

	pthread_once(&once, make_condition);
	pthread_mutex_lock(&lock);
	while (!requested && cond_wait_until(&changed, &lock, until_ms) != ETIMEDOUT)
		continue;
	answer = requested;
	pthread_mutex_unlock(&lock);
	return answer;
}

void
stop_watch(struct http_client *c)
{
	pthread_mutex_lock(&lock);
	watched = c;
	if (c != NULL && requested)
		http_client_cancel(c);
	pthread_mutex_unlock(&lock);
}
