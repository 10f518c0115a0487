#include "server/http/waiters.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/cond.h"

struct waiter {
	struct request *rq;
	uint64_t seq;
	int64_t deadline_ms;
	struct waiter *next;
};

struct waiters {
	pthread_t thread; /* wakes those whose time is over */

	/* Under lock. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct waiter *first;
	unsigned count;
	uint64_t seq; /* the newest that was notified */
	bool stopping;
};

/* Take out the requests that need not wait any longer. Returns a list of them; resume them without
 * the lock. */
static struct waiter *
take_due(struct waiters *w, int64_t now)
{
	struct waiter *due = NULL, **at = &w->first, *one;

	while ((one = *at) != NULL) {
		if (!w->stopping && one->seq > w->seq && one->deadline_ms > now) {
			at = &one->next;
			continue;
		}
		*at = one->next;
		one->next = due;
		due = one;
		w->count--;
	}
	return due;
}

static void
resume_all(struct waiter *due)
{
	struct waiter *next;

	for (; due != NULL; due = next) {
		next = due->next;
		request_resume(due->rq);
		free(due);
	}
}

static int64_t
next_deadline(const struct waiters *w)
{
	int64_t first = INT64_MAX;

	for (const struct waiter *one = w->first; one != NULL; one = one->next)
		if (one->deadline_ms < first)
			first = one->deadline_ms;
	return first;
}

static void *
watch_deadlines(void *arg)
{
	struct waiters *w = arg;
	struct waiter *due;

	pthread_mutex_lock(&w->lock);
	while (!w->stopping) {
		int64_t deadline = next_deadline(w);

		if (deadline == INT64_MAX)
			pthread_cond_wait(&w->changed, &w->lock);
		else
			cond_wait_until(&w->changed, &w->lock, deadline);
		due = take_due(w, clock_mono_ms());
		pthread_mutex_unlock(&w->lock);
		resume_all(due);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

struct waiters *
waiters_new(struct sp_error *err)
{
	struct waiters *w = calloc(1, sizeof(*w));
	int rc;

	if (w == NULL) {
		sp_error_set(err, SP_ENOMEM, "waiters");
		return NULL;
	}
	pthread_mutex_init(&w->lock, NULL);
	cond_init(&w->changed);
	rc = pthread_create(&w->thread, NULL, watch_deadlines, w);
	if (rc != 0) {
		sp_error_errno(err, rc, "waiters");
		pthread_mutex_destroy(&w->lock);
		pthread_cond_destroy(&w->changed);
		free(w);
		return NULL;
	}
	return w;
}

void
waiters_stop(struct waiters *w)
{
	struct waiter *due;

	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	due = take_due(w, 0);
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	resume_all(due);
}

void
waiters_free(struct waiters *w)
{
	if (w == NULL)
		return;
	waiters_stop(w);
	pthread_join(w->thread, NULL);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->changed);
	free(w);
}

void
waiters_add(struct waiters *w, struct request *rq, uint64_t seq, int64_t deadline_ms)
{
	struct waiter *one = malloc(sizeof(*one));

	/* Before anybody else can know of it. */
	request_suspend(rq);
	if (one == NULL) {
		request_resume(rq);
		return;
	}
	*one = (struct waiter){ .rq = rq, .seq = seq, .deadline_ms = deadline_ms };
	pthread_mutex_lock(&w->lock);
	/* The commit that it waits for may have come between its look at the store and now. */
	if (w->stopping || w->seq >= seq) {
		pthread_mutex_unlock(&w->lock);
		request_resume(rq);
		free(one);
		return;
	}
	one->next = w->first;
	w->first = one;
	w->count++;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

void
waiters_notify(struct waiters *w, uint64_t seq)
{
	struct waiter *due;

	pthread_mutex_lock(&w->lock);
	w->seq = seq;
	due = take_due(w, 0);
	pthread_mutex_unlock(&w->lock);
	resume_all(due);
}

void
waiters_wake(struct waiters *w)
{
	struct waiter *all;

	pthread_mutex_lock(&w->lock);
	all = w->first;
	w->first = NULL;
	w->count = 0;
	pthread_mutex_unlock(&w->lock);
	resume_all(all);
}

unsigned
waiters_count(struct waiters *w)
{
	unsigned n;

	pthread_mutex_lock(&w->lock);
	n = w->count;
	pthread_mutex_unlock(&w->lock);
	return n;
}
