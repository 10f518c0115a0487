#include "sidecar/watch.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "sidecar/metrics_page.h"
#include "sidecar/thread.h"
#include "sidecar/view.h"

#define METRICS_LIMIT_BYTES (1u << 20)
#define SEED_LIMIT_BYTES    (64u << 10)
#define CALL_MS             8000 /* no look at the server takes longer: main.c gives its driver 5 s */
#define SLICE_MS            250  /* readiness is stepped at least so often between two looks */

struct watch {
	struct watch_options o;
	char *seed_path;
	struct timespec seed_time; /* of the file that the state has */
	int64_t metrics_due_ms;
	struct bell bell;
	pthread_t thread;
	atomic_bool stopping;
};

static void
look_at_server(struct watch *w)
{
	uint64_t ticket = state_ticket(w->o.state);
	struct sp_error err = { 0 };
	struct position p;
	bool changed;

	if (w->o.driver->ops->position(w->o.driver, &p, &err) < 0)
		changed = state_server_failed(w->o.state, &err);
	else
		changed = state_server_answered(w->o.state, ticket, &p, clock_mono_ms());
	if (changed && w->o.changed != NULL)
		w->o.changed(w->o.arg);
}

static void
take_metrics(struct watch *w, int64_t now_ms)
{
	struct buf text, ours;

	if (w->o.metrics == NULL || now_ms < w->metrics_due_ms)
		return;
	w->metrics_due_ms = now_ms + w->o.metrics_every_ms;
	buf_init(&text, METRICS_LIMIT_BYTES);
	buf_init(&ours, METRICS_LIMIT_BYTES);
	/* A server that does not answer has no samples: none is shown rather than an old one. */
	if (w->o.metrics(w->o.driver, &text, NULL) < 0 || metrics_page_adopt(&text, &ours) < 0)
		state_set_server_metrics(w->o.state, NULL, 0);
	else
		state_set_server_metrics(w->o.state, ours.data, ours.len);
	buf_release(&ours);
	buf_release(&text);
}

static void
take_seed(struct watch *w)
{
	struct stat st;
	struct buf text;

	if (w->seed_path == NULL)
		return;
	if (stat(w->seed_path, &st) != 0) {
		if (w->seed_time.tv_sec != 0)
			state_set_seed(w->o.state, NULL, 0);
		w->seed_time.tv_sec = 0;
		return;
	}
	if (st.st_mtim.tv_sec == w->seed_time.tv_sec && st.st_mtim.tv_nsec == w->seed_time.tv_nsec)
		return;
	buf_init(&text, SEED_LIMIT_BYTES);
	if (file_read_all(w->seed_path, &text, NULL) == 0) {
		state_set_seed(w->o.state, text.data, text.len);
		w->seed_time = st.st_mtim;
	}
	buf_release(&text);
}

/* Readiness is a matter of time too: it is stepped also between requests. */
static void
step_readiness(struct watch *w)
{
	struct readiness r;

	view_readiness(w->o.state, clock_mono_ms(), &r);
}

static void *
run(void *arg)
{
	struct watch *w = arg;
	int64_t due_ms;

	while (!atomic_load(&w->stopping)) {
		due_ms = clock_mono_ms() + w->o.interval_ms;
		state_beat(w->o.state, HEART_WATCH, due_ms + 2 * CALL_MS);
		look_at_server(w);
		take_metrics(w, clock_mono_ms());
		take_seed(w);
		do {
			if (w->o.tick != NULL)
				w->o.tick(w->o.arg, clock_mono_ms());
			step_readiness(w);
			bell_wait(&w->bell, w->o.interval_ms < SLICE_MS ? w->o.interval_ms : SLICE_MS);
		} while (!atomic_load(&w->stopping) && clock_mono_ms() < due_ms);
	}
	return NULL;
}

struct watch *
watch_new(const struct watch_options *o, struct sp_error *err)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		sp_error_set(err, SP_ENOMEM, "out of memory");
		return NULL;
	}
	w->o = *o;
	if (w->o.interval_ms == 0)
		w->o.interval_ms = 500;
	if (w->o.metrics_every_ms == 0)
		w->o.metrics_every_ms = 2000;
	if (o->seed_path != NULL && (w->seed_path = strdup(o->seed_path)) == NULL) {
		sp_error_set(err, SP_ENOMEM, "out of memory");
		goto fail_memory;
	}
	if (bell_init(&w->bell, err) < 0)
		goto fail_memory;
	if (thread_start(&w->thread, "watch", run, w, err) < 0)
		goto fail_bell;
	return w;

fail_bell:
	bell_release(&w->bell);
fail_memory:
	free(w->seed_path);
	free(w);
	return NULL;
}

bool
watch_stop(struct watch *w, int64_t timeout_ms)
{
	atomic_store(&w->stopping, true);
	bell_ring(&w->bell);
	return thread_join(w->thread, timeout_ms);
}

void
watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	bell_release(&w->bell);
	free(w->seed_path);
	free(w);
}
