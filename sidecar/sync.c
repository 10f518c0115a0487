#include "sidecar/sync.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "sidecar/thread.h"

struct sync {
	struct state *state;
	struct follower *follower; /* the thread's own */
	struct bell bell;
	pthread_t thread;
	atomic_bool stopping;
};

static void *
run(void *arg)
{
	struct sync *s = arg;
	int64_t wait_ms;

	while (!atomic_load(&s->stopping)) {
		wait_ms = follower_turn(s->follower);
		if (wait_ms <= 0)
			continue;
		state_beat(s->state, HEART_SYNC, clock_mono_ms() + wait_ms);
		bell_wait(&s->bell, wait_ms);
	}
	return NULL;
}

struct sync *
sync_new(const struct follower_options *o, struct sp_error *err)
{
	struct sync *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		sp_error_set(err, SP_ENOMEM, "out of memory");
		return NULL;
	}
	s->state = o->state;
	if (bell_init(&s->bell, err) < 0)
		goto fail_memory;
	s->follower = follower_new(o, err);
	if (s->follower == NULL)
		goto fail_bell;
	if (thread_start(&s->thread, "sync", run, s, err) < 0)
		goto fail_follower;
	return s;

fail_follower:
	follower_free(s->follower);
fail_bell:
	bell_release(&s->bell);
fail_memory:
	free(s);
	return NULL;
}

void
sync_wake(struct sync *s)
{
	bell_ring(&s->bell);
	follower_interrupt(s->follower);
}

void
sync_guard(struct sync *s, int64_t now_ms)
{
	follower_guard(s->follower, now_ms);
}

bool
sync_stop(struct sync *s, int64_t timeout_ms)
{
	atomic_store(&s->stopping, true);
	follower_end(s->follower);
	bell_ring(&s->bell);
	return thread_join(s->thread, timeout_ms);
}

void
sync_free(struct sync *s)
{
	if (s == NULL)
		return;
	follower_free(s->follower);
	bell_release(&s->bell);
	free(s);
}
