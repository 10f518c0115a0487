#include "server/replication/committer.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "lib/base/log.h"
#include "server/replication/commit_group.h"

#define QUEUE_MAX     65536 /* jobs that may wait */
#define ROOM_EVERY_MS 200   /* between looks for room */
#define FULL_QUIET_MS 1000  /* without a refusal for lack of room: it is over */
#define SYNC_EVERY_MS 1000  /* durability = async: how long a commit may be on its way to the disk */

struct committer {
	struct committer_options o;
	pthread_t thread;
	int64_t sync_at_ms; /* monotonic; 0: all is on disk. The writer's own */
	bool lost;          /* the store was not in its place at the last look. The writer's own */
	/* The volume was said to be full, this many writes were refused since, the last one then. The writer's own. */
	bool told_full;
	unsigned long refused;
	int64_t refused_ms;

	/* Under lock. Its holder who set `busy` is the writer until it clears that: its thread, or one that submits. */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool busy;
	struct commit_job *first, *last;
	unsigned queued;
	bool stopping;
	struct committer_stats stats;
};

/* A failed fsync may report success when it is repeated (the kernel forgets the pages), so the
 * server must stop: the next start finds out what is on disk. */
static _Noreturn void
fail_stop(const struct sp_error *err)
{
	log_error(
	    "the store cannot be written; stopping, because what is on disk is not known", LOG_STR("error", err->text));
	_exit(sp_code_exit(SP_EIO)); /* whatever errno said: it is the commit that failed */
}

/* A line when the volume is full, and one when it takes writes again, however many are refused between them. */
static void
tell_full(struct committer *c, const struct sp_error *err)
{
	if (!c->told_full)
		log_error("the volume is full; writes are refused", LOG_STR("error", err->text));
	c->refused = c->told_full ? c->refused + 1 : 1;
	c->told_full = true;
	c->refused_ms = clock_mono_ms();
}

/* A write was stored. Small ones may fit between larger ones that do not. */
static void
tell_room(struct committer *c)
{
	if (!c->told_full || clock_mono_ms() - c->refused_ms < FULL_QUIET_MS)
		return;
	c->told_full = false;
	log_info("the volume has room; writes are stored again", LOG_U64("refused", c->refused));
}

static void
finish(struct committer *c, struct commit_job *job, int code, const struct sp_error *err)
{
	job->code = code;
	if (code < 0 && err != NULL)
		job->err = *err;
	pthread_mutex_lock(&c->lock);
	if (code == 0)
		c->stats.jobs++;
	else
		c->stats.failed++;
	if (code == SP_ENOSPACE) {
		c->stats.no_space++;
		c->stats.full = true;
	}
	pthread_mutex_unlock(&c->lock);
	if (code == SP_ENOSPACE && !c->lost)
		tell_full(c, &job->err);
	job->done(job);
}

static void
finish_all(struct committer *c, struct commit_job *jobs, int code, const struct sp_error *err)
{
	struct commit_job *next;

	for (; jobs != NULL; jobs = next) {
		next = jobs->next;
		/* A job that failed by itself keeps its own reason. */
		if (jobs->code < 0)
			finish(c, jobs, jobs->code, NULL);
		else
			finish(c, jobs, code, err);
	}
}

/* The next group of those that wait, or NULL. With the lock held. */
static struct commit_job *
take_group(struct committer *c)
{
	struct commit_job *group;
	unsigned n;

	if (c->first == NULL)
		return NULL;
	group = commit_group_cut(&c->first, &n);
	if (c->first == NULL)
		c->last = NULL;
	c->queued -= n;
	return group;
}

/* Run each job in the transaction; the code that spoilt it for all, or 0. */
static int
run_jobs(struct commit_job *jobs, struct store_txn *txn, struct sp_error *err)
{
	for (struct commit_job *job = jobs; job != NULL; job = job->next) {
		job->err.code = 0;
		job->code = job->run(job, txn);
		if (store_txn_broken(txn) != 0) {
			*err = job->err;
			job->code = 0;
			return store_txn_broken(txn);
		}
		/* A job of its own transaction undoes all it did by failing. */
		if (job->code < 0 && job->alone) {
			*err = job->err;
			return job->code;
		}
	}
	return 0;
}

/* Writes to a store that was removed would be answered and lost. The server stays: it has the data,
 * for readers and followers, as long as it runs. Entries that raft has committed are elsewhere as
 * well. */
static int
refuse_lost_store(struct committer *c, const struct commit_job *jobs, struct sp_error *err)
{
	static const char text[] =
	    "the store was removed from its volume while the server has it open; delete the pod, so "
	    "that seedpod-init looks who has the data";
	bool lost = !jobs->must && !store_in_place(c->o.store);

	if (lost && !c->lost)
		log_error("no write is taken", LOG_STR("error", text));
	c->lost = lost;
	return lost ? sp_error_set(err, SP_ENOSPACE, text) : 0;
}

static int
begin(struct committer *c, const struct commit_job *jobs, struct store_txn **txn, struct sp_error *err)
{
	size_t bytes = 0;
	int rc;

	if ((rc = refuse_lost_store(c, jobs, err)) < 0)
		return rc;
	if (jobs->alone && jobs->feed == NULL)
		return store_txn_begin(c->o.store, txn, err);
	for (const struct commit_job *job = jobs; job != NULL; job = job->next)
		bytes += job->bytes;
	if (jobs->feed != NULL)
		return store_txn_begin_feed(c->o.store, jobs->feed, bytes, txn, err);
	return store_txn_begin_group(c->o.store, bytes, txn, err);
}

/* One try at a group: 0 when it is on disk. Sets *position to what is readable then. */
static int
try_group(struct committer *c, struct commit_job *jobs, struct position *position, struct sp_error *err)
{
	struct store_txn *txn;
	bool changed;
	int rc;

	rc = begin(c, jobs, &txn, err);
	if (rc < 0)
		return rc;
	rc = run_jobs(jobs, txn, err);
	if (rc < 0) {
		store_txn_abort(txn);
		return rc;
	}
	store_txn_position(txn, position);
	changed = store_txn_changed(txn);
	rc = store_txn_commit(txn, err);
	/* A job that wrote nothing says nothing of the room. */
	if (rc == 0 && changed) {
		pthread_mutex_lock(&c->lock);
		c->stats.full = false;
		pthread_mutex_unlock(&c->lock);
		tell_room(c);
	}
	return rc;
}

/* Try, growing the map as often as that helps. */
static int
try_and_grow(struct committer *c, struct commit_job *jobs, struct position *position, struct sp_error *err)
{
	int rc;

	while ((rc = try_group(c, jobs, position, err)) == SP_EMAPFULL) {
		rc = store_grow(c->o.store, err);
		if (rc < 0)
			return rc;
		log_info("store map grown");
	}
	return rc;
}

/* Wait a moment for room on the volume. False: the writer is to stop. */
static bool
wait_for_room(struct committer *c)
{
	bool stopping;

	clock_sleep_ms(ROOM_EVERY_MS);
	pthread_mutex_lock(&c->lock);
	c->stats.full = true;
	stopping = c->stopping;
	pthread_mutex_unlock(&c->lock);
	return !stopping;
}

static int
commit_group(struct committer *c, struct commit_job *jobs, struct position *position, struct sp_error *err)
{
	bool waited = false;
	int rc;

	while ((rc = try_and_grow(c, jobs, position, err)) == SP_ENOSPACE && jobs->must) {
		if (!waited)
			log_error("no room for what must be stored; waiting for some", LOG_STR("error", err->text));
		waited = true;
		if (!wait_for_room(c))
			return rc;
	}
	if (waited && rc == 0)
		log_info("there is room again");
	return rc;
}

static void
count_commit(struct committer *c, const struct position *position)
{
	pthread_mutex_lock(&c->lock);
	c->stats.commits++;
	pthread_mutex_unlock(&c->lock);
	if (c->o.async && c->sync_at_ms == 0)
		c->sync_at_ms = clock_mono_ms() + SYNC_EVERY_MS;
	if (c->o.committed != NULL)
		c->o.committed(position, c->o.arg);
}

/* durability = async: what was committed since is on its way to the disk at this time at the latest. */
static void
sync_now(struct committer *c)
{
	struct sp_error err;

	c->sync_at_ms = 0;
	if (store_sync(c->o.store, &err) == SP_EIO)
		fail_stop(&err);
}

static void
handle_group(struct committer *c, struct commit_job *jobs)
{
	struct position position;
	struct sp_error err = { 0 };
	struct commit_job *next;
	int rc;

	rc = commit_group(c, jobs, &position, &err);
	/* A volume that became read-only will not heal under us either. */
	if (rc == SP_EIO || rc == SP_EPERM || rc == SP_EVOLUME)
		fail_stop(&err);
	if (rc == 0) {
		count_commit(c, &position);
		finish_all(c, jobs, 0, NULL);
		return;
	}
	if (jobs->next == NULL || rc == SP_EAGAIN || rc == SP_ENOTFOUND) {
		jobs->code = jobs->next == NULL ? 0 : jobs->code;
		finish_all(c, jobs, rc, &err);
		return;
	}
	/* One of several does not fit: each for itself, so that the others need not suffer. */
	for (; jobs != NULL; jobs = next) {
		next = jobs->next;
		jobs->next = NULL;
		handle_group(c, jobs);
	}
}

/* With the lock held. */
static bool
has_work(const struct committer *c)
{
	/* What follows is the writer's own. */
	if (c->busy)
		return false;
	return c->first != NULL || c->stopping || (c->sync_at_ms != 0 && clock_mono_ms() >= c->sync_at_ms);
}

/* Wait for jobs, and for the time to sync. With the lock held. */
static void
wait_for_work(struct committer *c)
{
	if (c->busy || c->sync_at_ms == 0)
		pthread_cond_wait(&c->wake, &c->lock);
	else
		cond_wait_until(&c->wake, &c->lock, c->sync_at_ms);
}

static void *
writer(void *arg)
{
	struct committer *c = arg;
	struct commit_job *jobs;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		while (!has_work(c))
			wait_for_work(c);
		jobs = take_group(c);
		if (jobs == NULL && c->stopping)
			break;
		c->busy = true;
		pthread_mutex_unlock(&c->lock);
		if (jobs != NULL)
			handle_group(c, jobs);
		if (c->sync_at_ms != 0 && clock_mono_ms() >= c->sync_at_ms)
			sync_now(c);
		pthread_mutex_lock(&c->lock);
		c->busy = false;
	}
	pthread_mutex_unlock(&c->lock);
	if (c->sync_at_ms != 0)
		sync_now(c);
	return NULL;
}

struct committer *
committer_new(const struct committer_options *o, struct sp_error *err)
{
	struct committer *c = calloc(1, sizeof(*c));
	int rc;

	if (c == NULL) {
		sp_error_set(err, SP_ENOMEM, "start the writer");
		return NULL;
	}
	c->o = *o;
	pthread_mutex_init(&c->lock, NULL);
	cond_init(&c->wake);
	rc = pthread_create(&c->thread, NULL, writer, c);
	if (rc != 0) {
		sp_error_errno(err, rc, "start the writer");
		pthread_mutex_destroy(&c->lock);
		pthread_cond_destroy(&c->wake);
		free(c);
		return NULL;
	}
	return c;
}

void
committer_stop(struct committer *c)
{
	bool stopped;

	pthread_mutex_lock(&c->lock);
	stopped = c->stopping;
	c->stopping = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	if (!stopped)
		pthread_join(c->thread, NULL);
}

void
committer_free(struct committer *c)
{
	if (c == NULL)
		return;
	committer_stop(c);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->wake);
	free(c);
}

/* Put a list of jobs behind those that wait. With the lock held. */
static int
queue_jobs(struct committer *c, struct commit_job *jobs)
{
	struct commit_job *last = jobs;
	unsigned n = 1;

	for (; last->next != NULL; last = last->next)
		n++;
	if (c->queued + n > QUEUE_MAX || c->stopping)
		return SP_EAGAIN;
	if (c->last != NULL)
		c->last->next = jobs;
	else
		c->first = jobs;
	c->last = last;
	c->queued += n;
	pthread_cond_signal(&c->wake);
	return 0;
}

/* Be the writer for these jobs. `busy` was set by this thread. */
static void
write_here(struct committer *c, struct commit_job *jobs)
{
	unsigned n;

	while (jobs != NULL)
		handle_group(c, commit_group_cut(&jobs, &n));
	pthread_mutex_lock(&c->lock);
	c->busy = false;
	if (c->first != NULL || c->stopping || c->sync_at_ms != 0)
		pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

int
committer_submit_list(struct committer *c, struct commit_job *jobs, bool here, struct sp_error *err)
{
	int rc = 0;

	for (struct commit_job *job = jobs; job != NULL; job = job->next)
		job->code = 0;
	pthread_mutex_lock(&c->lock);
	here = here && !c->busy && c->first == NULL && !c->stopping;
	if (here)
		c->busy = true;
	else
		rc = queue_jobs(c, jobs);
	pthread_mutex_unlock(&c->lock);
	if (here)
		write_here(c, jobs);
	return rc == 0 ? 0 : sp_error_set(err, rc, "too many writes are waiting");
}

int
committer_submit(struct committer *c, struct commit_job *job, struct sp_error *err)
{
	job->next = NULL;
	return committer_submit_list(c, job, false, err);
}

void
committer_stats(struct committer *c, struct committer_stats *out)
{
	pthread_mutex_lock(&c->lock);
	*out = c->stats;
	pthread_mutex_unlock(&c->lock);
}
