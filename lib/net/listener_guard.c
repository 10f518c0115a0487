#include "lib/net/listener_guard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "lib/base/clock.h"
#include "lib/base/cond.h"

#define LOOK_MS          250
#define PRESSED_LOOK_MS  25
#define CUT_AT_ONCE      100
#define SHARES           7
#define PRESSED_HEAD_MS  2000
#define GRACE_MS         60000 /* before a rate is looked at */
#define PRESSED_GRACE_MS 5000
#define BYTES_PER_S      (4u << 10)  /* the least, on an average */
#define WHOLE_PER_S      (64u << 10) /* of an answer that takes memory as long as it is under way */
#define PRESSED_FACTOR   16          /* so much more under pressure */

struct guarded {
	struct guarded *before, *next; /* under the guard's lock */
	int fd;
	bool cut; /* under the guard's lock */
	atomic_int phase;
	atomic_int_fast64_t since_ms;
	atomic_uint_fast64_t bytes;
};

struct guard {
	struct guard_options o;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct guarded *first; /* under lock */
	bool ending;           /* under lock */
	atomic_uint count;
	atomic_uint_fast64_t cut;
};

bool
guard_is_late(enum guard_phase phase, int64_t age_ms, uint64_t bytes, unsigned head_ms, bool pressed)
{
	uint64_t rate = (uint64_t)(phase == GUARD_WHOLE ? WHOLE_PER_S : BYTES_PER_S) * (pressed ? PRESSED_FACTOR : 1);
	int64_t grace_ms = pressed ? PRESSED_GRACE_MS : GRACE_MS;

	switch (phase) {
	case GUARD_HEAD:
		return age_ms > (pressed && PRESSED_HEAD_MS < head_ms ? PRESSED_HEAD_MS : (int64_t)head_ms);
	case GUARD_BODY:
	case GUARD_REPLY:
	case GUARD_WHOLE:
		return age_ms > grace_ms && (uint64_t)(age_ms - grace_ms) > bytes * 1000 / rate;
	case GUARD_HANDLED:
		break;
	}
	return false;
}

bool
guard_pressed(const struct guard *g)
{
	return atomic_load(&g->count) > g->o.connection_limit / 4 * 3 ||
	       (g->o.short_of != NULL && g->o.short_of(g->o.arg));
}

/*
 * With the lock held: no thread closes a descriptor while we shut it.
 *
 * libmicrohttpd 0.9.75 takes events in batches of 128 and, where it got exactly so many, waits for more before it looks
 * at those: so never as many at once, and those that it has not closed by the next look are shut once more, a share of
 * them each time, which wakes it.
 */
static void
look(struct guard *g, unsigned number)
{
	int64_t now_ms = clock_mono_ms();
	bool pressed = guard_pressed(g);
	unsigned most = CUT_AT_ONCE;

	for (struct guarded *c = g->first; c != NULL && most > 0; c = c->next) {
		if (c->cut) {
			if ((unsigned)c->fd % SHARES == number % SHARES)
				shutdown(c->fd, SHUT_RDWR);
			continue;
		}
		if (!guard_is_late((enum guard_phase)atomic_load(&c->phase),
			now_ms - (int64_t)atomic_load(&c->since_ms), atomic_load(&c->bytes), g->o.head_ms, pressed))
			continue;
		c->cut = true;
		atomic_fetch_add(&g->cut, 1);
		shutdown(c->fd, SHUT_RDWR);
		most--;
	}
}

static void *
run(void *arg)
{
	struct guard *g = arg;
	unsigned number = 0;

	pthread_mutex_lock(&g->lock);
	while (!g->ending) {
		look(g, number++);
		cond_wait_until(&g->wake, &g->lock, clock_mono_ms() + (guard_pressed(g) ? PRESSED_LOOK_MS : LOOK_MS));
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

struct guard *
guard_new(const struct guard_options *o, struct sp_error *err)
{
	struct guard *g = calloc(1, sizeof(*g));
	int rc;

	if (g == NULL) {
		sp_error_set(err, SP_ENOMEM, "watch the connections");
		return NULL;
	}
	g->o = *o;
	pthread_mutex_init(&g->lock, NULL);
	cond_init(&g->wake);
	rc = pthread_create(&g->thread, NULL, run, g);
	if (rc == 0)
		return g;
	sp_error_errno(err, rc, "watch the connections");
	pthread_cond_destroy(&g->wake);
	pthread_mutex_destroy(&g->lock);
	free(g);
	return NULL;
}

void
guard_free(struct guard *g)
{
	if (g == NULL)
		return;
	pthread_mutex_lock(&g->lock);
	g->ending = true;
	pthread_cond_signal(&g->wake);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->thread, NULL);
	pthread_cond_destroy(&g->wake);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

struct guarded *
guard_opened(struct guard *g, int fd)
{
	struct guarded *c = calloc(1, sizeof(*c));

	atomic_fetch_add(&g->count, 1);
	if (c == NULL)
		return NULL;
	c->fd = fd;
	guard_phase(c, GUARD_HEAD);
	pthread_mutex_lock(&g->lock);
	c->next = g->first;
	if (c->next != NULL)
		c->next->before = c;
	g->first = c;
	pthread_mutex_unlock(&g->lock);
	return c;
}

void
guard_closed(struct guard *g, struct guarded *c)
{
	atomic_fetch_sub(&g->count, 1);
	if (c == NULL)
		return;
	pthread_mutex_lock(&g->lock);
	if (c->before != NULL)
		c->before->next = c->next;
	else
		g->first = c->next;
	if (c->next != NULL)
		c->next->before = c->before;
	pthread_mutex_unlock(&g->lock);
	free(c);
}

void
guard_phase(struct guarded *c, enum guard_phase phase)
{
	if (c == NULL)
		return;
	/* The looker may see these in any mixture for a moment: it must not see an old time with a phase that has a
	 * limit. */
	atomic_store(&c->phase, GUARD_HANDLED);
	atomic_store(&c->bytes, 0);
	atomic_store(&c->since_ms, clock_mono_ms());
	atomic_store(&c->phase, (int)phase);
}

void
guard_moved(struct guarded *c, uint64_t bytes)
{
	if (c != NULL)
		atomic_fetch_add(&c->bytes, bytes);
}

uint64_t
guard_cut(const struct guard *g)
{
	return atomic_load(&g->cut);
}
