#include "conf/reload.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "lib/base/fault.h"
#include "lib/base/file_stamp.h"

#define LOOK_EVERY_MS 500

/* An editor or a volume that swaps the file may leave a moment without one: this many looks in a row must miss it. */
#define MISSING_LOOKS 3

/* Room for the lists of changed keys: all of them, with long values. */
#define CHANGES_MAX (64u << 10)

struct reload {
	char *path; /* these five are the same from reload_new() on */
	reload_change change;
	void *arg;
	pthread_t thread;
	pthread_cond_t wake;

	/* The watcher's own. */
	struct conf running;
	struct file_stamp seen; /* what was read last; not `there`: the next look reads it, whatever it is */
	unsigned missing;       /* looks in a row that found no file */

	pthread_mutex_t lock; /* guards what follows */
	bool stop;
	struct reload_status status;
};

static void
refuse(struct reload *r, const char *why)
{
	bool told;

	pthread_mutex_lock(&r->lock);
	told = !r->status.success && strcmp(r->status.error, why) == 0;
	r->status.success = false;
	snprintf(r->status.error, sizeof(r->status.error), "%s", why);
	pthread_mutex_unlock(&r->lock);
	if (!told)
		log_warn("configuration refused, the one before stays in force", LOG_STR("file", r->path),
		    LOG_STR("error", why), LOG_STR("hash", r->running.hash));
}

/* The file holds `now`, which is in force. */
static void
acknowledge(struct reload *r, const char *restart)
{
	pthread_mutex_lock(&r->lock);
	r->status.success = true;
	r->status.error[0] = '\0';
	r->status.applied_wall_ms = clock_wall_ms();
	snprintf(r->status.hash, sizeof(r->status.hash), "%s", r->running.hash);
	snprintf(r->status.restart, sizeof(r->status.restart), "%s", restart);
	pthread_mutex_unlock(&r->lock);
}

/* Put a valid configuration in force. */
static void
apply(struct reload *r, const struct conf *fresh)
{
	struct buf changes, restart;
	struct conf next = r->running;

	buf_init(&changes, CHANGES_MAX);
	buf_init(&restart, CHANGES_MAX);
	if (conf_merge_live(&next, fresh, &changes, &restart) < 0) {
		refuse(r, "out of memory");
		r->seen.there = false;
	} else {
		FAULT_POINT("reload.parsed");
		log_configure(next.log_level, next.log_format);
		r->running = next;
		r->change(&r->running, r->arg);
		FAULT_POINT("reload.applied");
		acknowledge(r, restart.data);
		log_info("configuration reloaded", LOG_STR("file", r->path), LOG_STR("hash", next.hash),
		    LOG_STR("changes", changes.data));
		if (restart.len > 0)
			log_warn("configuration keys wait for a restart", LOG_STR("file", r->path),
			    LOG_STR("keys", restart.data));
	}
	buf_release(&restart);
	buf_release(&changes);
}

/* The bytes in force are (again) those of the file: nothing to do, but a failure that was reported is over. */
static void
confirm(struct reload *r)
{
	bool was_refused;

	pthread_mutex_lock(&r->lock);
	was_refused = !r->status.success;
	r->status.success = true;
	r->status.error[0] = '\0';
	pthread_mutex_unlock(&r->lock);
	if (was_refused)
		log_info("configuration is again the one in force", LOG_STR("file", r->path),
		    LOG_STR("hash", r->running.hash));
}

/* A pipe can be read once, which the program's start has done; another one would be waited for, perhaps for ever. */
static void
leave_pipe_alone(struct reload *r, const struct file_stamp *now)
{
	struct sp_error err;

	sp_error_set(&err, SP_ECONF, "%s: is a pipe or a device; allowed is a file", r->path);
	if (r->seen.there)
		refuse(r, err.text);
	r->seen = *now;
}

/* One look at the file, and what follows from it. */
static void
look(struct reload *r)
{
	struct file_stamp now = file_stamp_take(r->path);
	struct conf fresh;
	struct sp_error err = { 0 };
	int rc;

	if (now.there && file_stamp_equal(&now, &r->seen)) {
		r->missing = 0;
		return;
	}
	if (now.there && !S_ISREG(now.stat.st_mode) && !S_ISDIR(now.stat.st_mode)) {
		leave_pipe_alone(r, &now);
		return;
	}
	rc = conf_load(r->path, &fresh, &err);
	if (rc == SP_EAGAIN)
		return;
	if (rc == SP_ENOTFOUND && ++r->missing < MISSING_LOOKS)
		return;
	/* Anything newer than `now` is seen at the next look. After a file that cannot be opened each look is a new
	 * try. */
	r->seen = now;
	r->seen.there = now.there && (rc == 0 || rc == SP_ECONF);
	if (rc != SP_ENOTFOUND)
		r->missing = 0;
	if (rc < 0)
		refuse(r, err.text);
	else if (strcmp(fresh.hash, r->running.hash) == 0)
		confirm(r);
	else
		apply(r, &fresh);
}

/* Wait for the next look. Whether there is to be one. */
static bool
wait_for_turn(struct reload *r)
{
	int64_t until_ms = clock_mono_ms() + LOOK_EVERY_MS;
	bool stop;

	pthread_mutex_lock(&r->lock);
	while (!r->stop && cond_wait_until(&r->wake, &r->lock, until_ms) == 0)
		;
	stop = r->stop;
	pthread_mutex_unlock(&r->lock);
	return !stop;
}

static void *
watch(void *arg)
{
	struct reload *r = arg;

	/* The first look is at once: the file may have changed since the program read it. */
	do
		look(r);
	while (wait_for_turn(r));
	return NULL;
}

static int
init_locks(struct reload *r)
{
	int errnum;

	if ((errnum = cond_init(&r->wake)) != 0)
		return errnum;
	if ((errnum = pthread_mutex_init(&r->lock, NULL)) != 0)
		pthread_cond_destroy(&r->wake);
	return errnum;
}

struct reload *
reload_new(const char *path, const struct conf *running, reload_change change, void *arg, struct sp_error *err)
{
	struct reload *r = calloc(1, sizeof(*r));
	int errnum;

	if (r == NULL) {
		sp_error_set(err, SP_ENOMEM, "watch %s: out of memory", path);
		return NULL;
	}
	r->path = strdup(path);
	if (r->path == NULL) {
		sp_error_set(err, SP_ENOMEM, "watch %s: out of memory", path);
		goto fail_path;
	}
	r->change = change;
	r->arg = arg;
	r->running = *running;
	if ((errnum = init_locks(r)) != 0) {
		sp_error_errno(err, errnum, "watch %s", path);
		goto fail_locks;
	}
	acknowledge(r, "");
	if ((errnum = pthread_create(&r->thread, NULL, watch, r)) != 0) {
		sp_error_errno(err, errnum, "watch %s: start a thread", path);
		goto fail_thread;
	}
	return r;

fail_thread:
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->wake);
fail_locks:
	free(r->path);
fail_path:
	free(r);
	return NULL;
}

void
reload_free(struct reload *r)
{
	if (r == NULL)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->wake);
	free(r->path);
	free(r);
}

void
reload_status(struct reload *r, struct reload_status *out)
{
	pthread_mutex_lock(&r->lock);
	*out = r->status;
	pthread_mutex_unlock(&r->lock);
}
