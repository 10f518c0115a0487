#include "server/replication/pull.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "lib/protocol/peer.h"

#define FEED_BYTES      (256u << 10) /* asked for at once: followers that are further behind are the sidecar's */
#define FEED_BYTES_MOST (1u << 20)   /* taken */

struct pull {
	struct repl *repl;
	struct store *store;

	struct http_client *client; /* made with the thread, which it belongs to; any may cancel */

	/* The puller's own. */
	struct buf feeds[2];   /* the one that is applied, and the one that is on its way */
	unsigned at;           /* which is the former */
	struct repl_feed feed; /* that one, while it is applied */

	/* Under lock. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool runs, stopping;
	struct pull_call *call; /* under way, or about to be */
	bool applied;           /* the feed that was submitted is done with */
};

struct pull *
pull_new(struct repl *repl, struct store *store, struct sp_error *err)
{
	struct pull *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		sp_error_set(err, SP_ENOMEM, "pull");
		return NULL;
	}
	p->repl = repl;
	p->store = store;
	for (int i = 0; i < 2; i++)
		buf_init(&p->feeds[i], FEED_BYTES_MOST);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	return p;
}

/* --- One pull, on the puller's thread --- */

static void
feed_done(struct repl_feed *f)
{
	struct pull *p = f->arg;

	pthread_mutex_lock(&p->lock);
	p->applied = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

/* Have the feed at hand applied. */
static int
begin_apply(struct pull *p, const struct feed_info *info, struct sp_error *err)
{
	p->feed = (struct repl_feed){
		.data = p->feeds[p->at].data, .len = p->feeds[p->at].len, .info = *info, .done = feed_done, .arg = p
	};
	p->applied = false;
	return p->repl->ops->apply(p->repl, &p->feed, err);
}

/* Wait until that is done. */
static int
end_apply(struct pull *p, struct sp_error *err)
{
	pthread_mutex_lock(&p->lock);
	while (!p->applied)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	if (p->feed.code < 0)
		*err = p->feed.err;
	return p->feed.code;
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

/* Ask for what follows `here`, into the buffer that is not at hand. The leader may wait until the pull's end. */
static int
ask(struct pull *p, const struct pull_call *call, const struct position *here, int64_t end_ms,
    struct peer_changes_call *next, struct sp_error *err)
{
	int64_t left_ms = end_ms - clock_mono_ms();
	struct peer_changes_options o = { .since = here->seq,
		.cluster = here->cluster,
		.epoch = here->epoch,
		.wait_ms = left_ms > 0 ? left_ms : 0,
		.batch_bytes = FEED_BYTES };

	return peer_changes_begin(next, p->client, call->url, &o, &p->feeds[1 - p->at], err);
}

/* The answer, which is at hand then: 0 if it continues from `here`. */
static int
take(struct pull *p, const struct position *here, struct peer_changes_call *next, struct feed_info *info,
    struct sp_error *err)
{
	int rc = peer_changes_end(next, err);

	if (rc == 0) {
		p->at = 1 - p->at;
		rc = feed_check(p->feeds[p->at].data, p->feeds[p->at].len, info, err);
	}
	if (rc == 0 && (!info->cut || info->since != here->seq || strcmp(info->cluster, here->cluster) != 0))
		rc = sp_error_set(err, SP_EGAP, "the feed does not lead to a cut from here");
	/* Nothing new: then the contents must be equal. */
	if (rc == 0 && info->records == 0 &&
	    (info->seq != here->seq || info->epoch != here->epoch || info->history_count != here->history_count ||
		!digest_equal(info->digest, here->digest)))
		rc = sp_error_set(err, SP_EGAP, "the leader stands elsewhere without a change");
	return rc;
}

static void
count_feed(struct pull_call *call, const struct feed_info *info, size_t bytes)
{
	call->feeds++;
	call->records += info->records;
	call->bytes += bytes;
	call->horizon = info->horizon;
}

/* Feed after feed, until the time is over or something else than a plain feed comes. */
static int
pull_feeds(
    struct pull *p, struct pull_call *call, struct position *here, struct peer_changes_call *next, struct sp_error *err)
{
	int64_t end_ms = clock_mono_ms() + call->for_ms;
	struct sp_error ask_err = { 0 };
	struct feed_info info = { 0 };
	bool last = false;
	int rc, asked;

	rc = ask(p, call, here, end_ms, next, err);
	while (rc == 0 && !last) {
		rc = take(p, here, next, &info, err);
		if (rc < 0)
			break;
		here->seq = info.seq;
		here->epoch = info.epoch;
		here->digest = info.digest;
		here->history_count = info.history_count;
		last = clock_mono_ms() >= end_ms || info.records == 0 || is_stopping(p);
		if (info.records > 0 && (rc = begin_apply(p, &info, err)) < 0)
			break;
		/* On its way while the disk is at work. */
		asked = last ? 0 : ask(p, call, here, end_ms, next, &ask_err);
		if (info.records > 0 && (rc = end_apply(p, err)) < 0)
			break;
		count_feed(call, &info, p->feeds[p->at].len);
		if (asked < 0) {
			*err = ask_err;
			rc = asked;
		}
	}
	return rc;
}

static void
run_call(struct pull *p, struct pull_call *call)
{
	struct peer_changes_call next = { .client = NULL };
	struct sp_error err = { 0 };
	struct position here;
	int rc;

	rc = store_position(p->store, &here, &err);
	if (rc == 0 && !here.consistent)
		rc = sp_error_set(&err, SP_EGAP, "the store is not on a cut");
	if (rc == 0)
		rc = pull_feeds(p, call, &here, &next, &err);
	peer_changes_drop(&next);
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
		p->client = http_client_new(&(struct http_client_options){ .stall_timeout_ms = PULL_MS_MAX }, err);
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
	for (int i = 0; i < 2; i++)
		buf_release(&p->feeds[i]);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->changed);
	free(p);
}
