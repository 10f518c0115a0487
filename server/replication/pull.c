#include "server/replication/pull.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "lib/protocol/peer.h"

#define FEED_BYTES      (256u << 10) /* asked for at once: followers that are further behind are the sidecar's */
#define FEED_BYTES_MOST (1u << 20)   /* taken */
#define FEEDS_MOST      32           /* applied together */

struct pull {
	struct repl *repl;
	struct store *store;

	/* The puller's own. */
	struct http_client *client; /* made with the thread; any may cancel */
	struct peer_changes_stream stream;
	struct repl_feed feeds[FEEDS_MOST]; /* that were received and not applied yet, in the stream's memory */
	unsigned count;

	const struct http_access *access; /* or NULL */

	/* Under lock. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool runs, stopping;
	struct pull_call *call; /* under way, or about to be */
	unsigned under_way;     /* feeds that are being applied */
};

struct pull *
pull_new(struct repl *repl, struct store *store, const struct http_access *access, struct sp_error *err)
{
	struct pull *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		sp_error_set(err, SP_ENOMEM, "pull");
		return NULL;
	}
	p->repl = repl;
	p->store = store;
	p->access = access;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	return p;
}

/* --- One pull, on the puller's thread --- */

static void
count_feed(struct pull_call *call, const struct feed_info *info, size_t bytes)
{
	call->feeds++;
	call->records += info->records;
	call->bytes += bytes;
	call->horizon = info->horizon;
}

/* On the thread that applied it. */
static void
feed_done(struct repl_feed *f)
{
	struct pull *p = f->arg;

	pthread_mutex_lock(&p->lock);
	if (--p->under_way == 0)
		pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

/* Apply the feeds that were received, and count them. 0, or why the first of those that were not was not. */
static int
apply(struct pull *p, struct pull_call *call, struct sp_error *err)
{
	unsigned count = p->count;
	int rc;

	if (count == 0)
		return 0;
	for (unsigned i = 0; i + 1 < count; i++)
		p->feeds[i].next = &p->feeds[i + 1];
	p->count = 0;
	p->under_way = count;
	rc = p->repl->ops->apply(p->repl, p->feeds, err);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&p->lock);
	while (p->under_way > 0)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < count; i++) {
		if (p->feeds[i].code < 0) {
			*err = p->feeds[i].err;
			return p->feeds[i].code;
		}
		count_feed(call, &p->feeds[i].info, p->feeds[i].len);
	}
	return 0;
}

static bool
is_stopping(struct pull *p)
{
	bool stopping;

	pthread_mutex_lock(&p->lock);
	stopping = p->stopping;
	pthread_mutex_unlock(&p->lock);
	return stopping;
}

/* Ask for what follows `here`. The leader may answer until the pull's end. */
static int
ask(struct pull *p, const struct pull_call *call, const struct position *here, int64_t left_ms, struct sp_error *err)
{
	struct peer_changes_options o = { .since = here->seq,
		.cluster = here->cluster,
		.epoch = here->epoch,
		.wait_ms = left_ms,
		.batch_bytes = FEED_BYTES,
		.limit_bytes = FEED_BYTES_MOST,
		.timeout_ms = left_ms + PULL_MS_MAX };

	return peer_changes_open(&p->stream, p->client, call->url, &o, err);
}

/* Whether a feed continues from `here`, where the store will be once all that was received is applied. */
static int
check(const void *data, size_t len, const struct position *here, struct feed_info *info, struct sp_error *err)
{
	int rc = feed_check(data, len, info, err);

	if (rc < 0)
		return rc;
	if (!info->cut || info->since != here->seq || strcmp(info->cluster, here->cluster) != 0)
		return sp_error_set(err, SP_EGAP, "the feed does not lead to a cut from here");
	/* Nothing new: then the contents must be equal. */
	if (info->records == 0 &&
	    (info->seq != here->seq || info->epoch != here->epoch || info->history_count != here->history_count ||
		!digest_equal(info->digest, here->digest)))
		return sp_error_set(err, SP_EGAP, "the leader stands elsewhere without a change");
	return 0;
}

/* Receive one feed. */
static int
receive(struct pull *p, const void *data, size_t len, struct position *here, struct sp_error *err)
{
	struct repl_feed *f = &p->feeds[p->count];
	int rc;

	*f = (struct repl_feed){ .data = data, .len = len, .done = feed_done, .arg = p, .here = true };
	rc = check(data, len, here, &f->info, err);
	if (rc < 0)
		return rc;
	p->count++;
	here->seq = f->info.seq;
	here->epoch = f->info.epoch;
	here->digest = f->info.digest;
	here->history_count = f->info.history_count;
	return 0;
}

/* One answer, feed after feed. Those that are at hand are applied together. *over: an empty one ended it. */
static int
take_answer(struct pull *p, struct pull_call *call, struct position *here, bool *over, struct sp_error *err)
{
	const struct repl_feed *last;
	const void *data;
	bool any = false;
	size_t len;
	int rc;

	p->count = 0;
	while ((rc = peer_changes_next(&p->stream, &data, &len, err)) == 1) {
		rc = receive(p, data, len, here, err);
		if (rc < 0)
			break;
		any = true;
		last = &p->feeds[p->count - 1];
		*over = last->info.records == 0;
		if (!*over && p->count < FEEDS_MOST && peer_changes_at_hand(&p->stream))
			continue;
		/* An empty one has nothing to be applied. */
		p->count -= *over ? 1 : 0;
		if ((rc = apply(p, call, err)) < 0)
			break;
		if (*over)
			count_feed(call, &last->info, len);
	}
	if (rc == 0 && !any)
		rc = sp_error_set(err, SP_EGAP, "the leader's answer has no feed");
	return rc;
}

/* Answer after answer, until the time is over or something else than plain feeds comes. */
static int
pull_feeds(struct pull *p, struct pull_call *call, struct position *here, struct sp_error *err)
{
	int64_t end_ms = clock_mono_ms() + call->for_ms, left_ms = call->for_ms;
	bool over = false;
	int rc;

	do {
		rc = ask(p, call, here, left_ms, err);
		if (rc == 0)
			rc = take_answer(p, call, here, &over, err);
		peer_changes_close(&p->stream);
		left_ms = end_ms - clock_mono_ms();
	} while (rc == 0 && !over && left_ms > 0 && !is_stopping(p));
	return rc;
}

static void
run_call(struct pull *p, struct pull_call *call)
{
	struct sp_error err = { 0 };
	struct position here;
	int rc;

	rc = store_position(p->store, &here, &err);
	if (rc == 0 && !here.consistent)
		rc = sp_error_set(&err, SP_EGAP, "the store is not on a cut");
	if (rc == 0)
		rc = pull_feeds(p, call, &here, &err);
	call->clean = rc == 0;
	call->err = err;
}

static void *
puller(void *arg)
{
	struct pull *p = arg;
	struct pull_call *call;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (p->call == NULL && !p->stopping)
			pthread_cond_wait(&p->changed, &p->lock);
		if (p->call == NULL)
			break;
		pthread_mutex_unlock(&p->lock);
		run_call(p, p->call);
		pthread_mutex_lock(&p->lock);
		call = p->call;
		p->call = NULL;
		/* The callback may bring the next call at once. */
		pthread_mutex_unlock(&p->lock);
		call->done(call);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* --- Any thread --- */

/* With the lock held. */
static int
start_thread(struct pull *p, struct sp_error *err)
{
	int rc;

	if (p->client == NULL)
		p->client = http_client_new(
		    &(struct http_client_options){ .access = p->access, .stall_timeout_ms = 2 * PULL_MS_MAX }, err);
	if (p->client == NULL)
		return err->code;
	rc = pthread_create(&p->thread, NULL, puller, p);
	if (rc != 0)
		return sp_error_errno(err, rc, "start the puller");
	p->runs = true;
	return 0;
}

int
pull_start(struct pull *p, struct pull_call *call, struct sp_error *err)
{
	int rc = 0;

	pthread_mutex_lock(&p->lock);
	if (p->stopping || p->call != NULL)
		rc = sp_error_set(err, SP_EAGAIN, p->stopping ? "the server is stopping" : "a pull is under way");
	else if (!p->runs)
		rc = start_thread(p, err);
	if (rc == 0) {
		p->call = call;
		pthread_cond_broadcast(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

void
pull_stop(struct pull *p)
{
	bool runs;

	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	runs = p->runs;
	p->runs = false;
	pthread_cond_broadcast(&p->changed);
	if (p->client != NULL)
		http_client_cancel(p->client);
	pthread_mutex_unlock(&p->lock);
	if (runs)
		pthread_join(p->thread, NULL);
}

void
pull_free(struct pull *p)
{
	if (p == NULL)
		return;
	pull_stop(p);
	http_client_free(p->client);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->changed);
	free(p);
}
