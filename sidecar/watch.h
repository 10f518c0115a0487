/*
 * The watch of the local server: a thread that asks it where it stands about twice a second, so that no page ever has
 * to, and now and then for its metrics. It also steps readiness and guards the sync.
 *
 *	struct watch *w = watch_new(&options, &err);
 *	watch_stop(w, 1500) ? watch_free(w) : …;
 */
#ifndef SIDECAR_WATCH_H_
#define SIDECAR_WATCH_H_

#include "lib/driver/driver.h"
#include "sidecar/state.h"

struct watch_options {
	struct state *state;
	struct driver *driver;    /* stays the caller's; used on the watch's thread alone */
	int64_t interval_ms;      /* 0: 500 ms */
	int64_t metrics_every_ms; /* 0: 2 s */
	const char *seed_path;    /* data_dir/seed.json, which init leaves behind; NULL: not looked at */

	/* The server's own samples appended to `out`; NULL: it has none. */
	int (*metrics)(struct driver *d, struct buf *out, struct sp_error *err);

	void (*changed)(void *arg);              /* the server's life changed: the sync should look; or NULL */
	void (*tick)(void *arg, int64_t now_ms); /* at each turn; or NULL */
	void *arg;
};

struct watch;

/* Starts the thread. Strings are copied. */
struct watch *watch_new(const struct watch_options *o, struct sp_error *err);

/* Stop and wait for the thread; false if it had not ended within the time: then it must not be freed. */
bool watch_stop(struct watch *w, int64_t timeout_ms);

/* After watch_stop() returned true. NULL does nothing. */
void watch_free(struct watch *w);

#endif
