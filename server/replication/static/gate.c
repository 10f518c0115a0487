/*
 * The gate of mode static: writes wait here while the lead moves (handover.c). Its state belongs to
 * the writer; a thread that the first hand-over starts opens the gate when its time is over.
 */
#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "lib/base/log.h"
#include "server/replication/static/internal.h"

#define HELD_MAX 16384 /* writes that wait */

void
static_report(struct repl_static *r, int state, uint32_t from, uint32_t to, int64_t pause_ms)
{
	pthread_mutex_lock(&r->lock);
	r->report.state = state;
	r->report.from = from;
	r->report.to = to;
	r->report.pause_ms = pause_ms;
	r->report.wall_ms = clock_wall_ms();
	pthread_mutex_unlock(&r->lock);
}

bool
static_hold(struct batch_job *j)
{
	struct repl_static *r = j->owner;

	if (r->held >= HELD_MAX) {
		j->job.code = sp_error_set(&j->job.err, SP_EAGAIN, "too many writes wait while the lead moves");
		return false;
	}
	j->next = NULL;
	if (r->held_last != NULL)
		r->held_last->next = j;
	else
		r->held_first = j;
	r->held_last = j;
	r->held++;
	return true;
}

static void
send_on(struct batch_job *j)
{
	struct sp_error err;

	j->batch->moved = true;
	static_finish_batch(
	    j, sp_error_set(&err, SP_EAGAIN, "another pod takes over writing, and has not begun yet"), &err);
}

void
static_open_gate(struct repl_static *r)
{
	struct batch_job *j = r->held_first, *next;

	if (r->gate == GATE_OPEN)
		return;
	r->gate = GATE_OPEN;
	r->held_first = r->held_last = NULL;
	r->held = 0;
	atomic_store(&r->holds, false);
	pthread_mutex_lock(&r->lock);
	r->deadline_ms = 0;
	pthread_mutex_unlock(&r->lock);
	for (; j != NULL; j = next) {
		next = j->next;
		if (atomic_load(&r->role) != ROLE_LEADER || committer_submit(r->o.committer, &j->job, NULL) < 0)
			send_on(j);
	}
}

void
static_gate_until(struct repl_static *r, int64_t wait_ms)
{
	pthread_mutex_lock(&r->lock);
	r->deadline_ms = clock_mono_ms() + wait_ms;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

static int64_t
pause_so_far(struct repl_static *r)
{
	int64_t began_ms;

	pthread_mutex_lock(&r->lock);
	began_ms = r->hold_began_ms;
	pthread_mutex_unlock(&r->lock);
	return clock_mono_ms() - began_ms;
}

/* The outcome of the hand-over that the gate was closed for. */
void
static_settle(struct repl_static *r, bool done, const char *why)
{
	int64_t pause_ms = pause_so_far(r);

	static_report(r, done ? HANDOVER_DONE : HANDOVER_FAILED, r->o.ordinal, r->gate_to, pause_ms);
	pthread_mutex_lock(&r->lock);
	r->stats.done += done;
	r->stats.failed += !done;
	r->stats.pause_ms = pause_ms;
	pthread_mutex_unlock(&r->lock);
	log_write(done ? LOG_INFO : LOG_WARN, done ? "lead handed over" : "lead not handed over; this pod leads on",
	    LOG_U64("to", r->gate_to), LOG_I64("pause_ms", pause_ms), LOG_U64("held_writes", r->held),
	    LOG_STR("why", why), LOG_END);
}

bool
static_gate_is_due(struct repl_static *r)
{
	bool over;

	pthread_mutex_lock(&r->lock);
	over = r->deadline_ms != 0 && clock_mono_ms() >= r->deadline_ms;
	pthread_mutex_unlock(&r->lock);
	return over;
}

/* --- The deadline --- */

static void *
watch_deadline(void *arg)
{
	struct repl_static *r = arg;

	pthread_mutex_lock(&r->lock);
	while (!r->stopping) {
		if (r->deadline_ms == 0)
			pthread_cond_wait(&r->wake, &r->lock);
		else if (clock_mono_ms() < r->deadline_ms)
			cond_wait_until(&r->wake, &r->lock, r->deadline_ms);
		else {
			pthread_mutex_unlock(&r->lock);
			static_time_over(r);
			clock_sleep_ms(50);
			pthread_mutex_lock(&r->lock);
		}
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

/* A hold without a watch would not end: so it is there first. */
int
static_gate_watch(struct repl_static *r, struct sp_error *err)
{
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	if (r->stopping)
		rc = sp_error_set(err, SP_EAGAIN, "the server is stopping");
	else if (!r->timer_runs && (rc = pthread_create(&r->timer, NULL, watch_deadline, r)) != 0)
		rc = sp_error_errno(err, rc, "start the watch of a hand-over");
	else
		r->timer_runs = true;
	pthread_mutex_unlock(&r->lock);
	return rc;
}
