#include "sidecar/thread.h"

#include <time.h>

#define STACK_BYTES (256u << 10)

int
thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg, struct sp_error *err)
{
	pthread_attr_t attr;
	int rc;

	rc = pthread_attr_init(&attr);
	if (rc != 0)
		return sp_error_errno(err, rc, "start thread %s", name);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	rc = pthread_create(thread, &attr, run, arg);
	pthread_attr_destroy(&attr);
	if (rc != 0)
		return sp_error_errno(err, rc, "start thread %s", name);
	pthread_setname_np(*thread, name);
	return 0;
}

static struct timespec
in_future(clockid_t clock, int64_t ms)
{
	struct timespec at;

	clock_gettime(clock, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += (ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

bool
thread_join(pthread_t thread, int64_t timeout_ms)
{
	struct timespec at = in_future(CLOCK_REALTIME, timeout_ms);

	return pthread_timedjoin_np(thread, NULL, &at) == 0;
}

int
bell_init(struct bell *b, struct sp_error *err)
{
	pthread_condattr_t attr;
	int rc;

	b->rung = false;
	rc = pthread_mutex_init(&b->mutex, NULL);
	if (rc != 0)
		return sp_error_errno(err, rc, "make a mutex");
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	rc = pthread_cond_init(&b->cond, &attr);
	pthread_condattr_destroy(&attr);
	if (rc != 0) {
		pthread_mutex_destroy(&b->mutex);
		return sp_error_errno(err, rc, "make a condition");
	}
	return 0;
}

void
bell_release(struct bell *b)
{
	pthread_cond_destroy(&b->cond);
	pthread_mutex_destroy(&b->mutex);
}

void
bell_ring(struct bell *b)
{
	pthread_mutex_lock(&b->mutex);
	b->rung = true;
	pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->mutex);
}

void
bell_wait(struct bell *b, int64_t timeout_ms)
{
	struct timespec at = in_future(CLOCK_MONOTONIC, timeout_ms);

	pthread_mutex_lock(&b->mutex);
	while (!b->rung && pthread_cond_timedwait(&b->cond, &b->mutex, &at) == 0)
		;
	b->rung = false;
	pthread_mutex_unlock(&b->mutex);
}
