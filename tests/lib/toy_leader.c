#include "tests/lib/toy_leader.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "lib/protocol/feed.h"

#define TICK_MS 5

static void
reply_position(struct toy_leader *l, struct request *rq)
{
	struct position p = toy_position(&l->store);
	char *text = position_to_json(&p);

	if (text == NULL)
		abort();
	request_reply(rq, 200, "application/json", text, strlen(text));
	free(text);
}

/* Returns the seq that it leads to. */
static uint64_t
make_feed(struct toy_leader *l, uint64_t since, struct buf *feed)
{
	int mood = atomic_load(&l->mood);
	struct feed_info info;

	toy_feed(&l->store, since, atomic_load(&l->batch), feed);
	if (feed_check(feed->data, feed->len, &info, NULL) < 0)
		abort();
	if (mood == TOY_GARBAGE)
		feed->data[feed->len / 2] ^= 1;
	if (mood == TOY_CUT_SHORT)
		feed->len -= 10;
	return info.seq;
}

static void
reply_feed(struct toy_leader *l, struct request *rq, uint64_t since)
{
	struct buf feed;

	buf_init(&feed, FEED_BYTES_MAX);
	make_feed(l, since, &feed);
	request_reply_buf(rq, 200, FEED_CONTENT_TYPE, &feed);
	buf_release(&feed);
}

/* Lay it aside until there is news, or until_ms. False, and not laid aside, where nobody will look at it again: a
 * request that stays suspended would be the end of us when the listener is freed. */
static bool
lay_aside(struct toy_leader *l, struct request *rq, uint64_t since, int64_t until_ms)
{
	size_t i = 0;

	pthread_mutex_lock(&l->mutex);
	if (l->closed) {
		pthread_mutex_unlock(&l->mutex);
		return false;
	}
	request_set_state(rq, l);
	request_suspend(rq);
	while (i < TOY_PENDING_MAX && l->pending[i].rq != NULL)
		i++;
	if (i == TOY_PENDING_MAX)
		abort();
	l->pending[i].rq = rq;
	l->pending[i].until_ms = until_ms;
	l->pending[i].since = since;
	pthread_mutex_unlock(&l->mutex);
	return true;
}

static long long
number(const struct request *rq, const char *name)
{
	char text[32];
	char *end;
	long long n;

	if (request_query(rq, name, text, sizeof(text)) < 0)
		return 0;
	n = strtoll(text, &end, 10);
	return strcmp(end, "s") == 0 ? n * 1000 : n;
}

/* --- A feed that stays open --- */

struct toy_stream {
	struct toy_leader *leader;
	struct request *rq;
	uint64_t since;
	int64_t until_ms;
	struct buf feed;
	size_t sent;
	bool last;
};

static int64_t
read_stream(void *arg, uint64_t offset, char *out, size_t max)
{
	struct toy_stream *s = arg;
	struct toy_leader *l = s->leader;
	bool silent = atomic_load(&l->mood) == TOY_SILENT;
	bool news = toy_position(&l->store).seq > s->since;
	size_t n;

	(void)offset;
	if (s->sent == s->feed.len && !s->last) {
		s->last = clock_mono_ms() >= s->until_ms;
		if ((silent || (!news && !s->last)) &&
		    lay_aside(l, s->rq, silent ? UINT64_MAX : s->since, silent ? INT64_MAX : s->until_ms))
			return REQUEST_SOURCE_LATER;
		if (silent)
			return -1;
		buf_reset(&s->feed);
		s->sent = 0;
		s->since = make_feed(l, s->since, &s->feed);
		s->last = s->last || !news || atomic_load(&l->mood) == TOY_CUT_SHORT;
		atomic_fetch_add(&l->feeds, 1);
	}
	n = s->feed.len - s->sent < max ? s->feed.len - s->sent : max;
	/* In pieces, whose borders are nowhere in particular. */
	if (n > 50)
		n = 50;
	memcpy(out, s->feed.data + s->sent, n);
	s->sent += n;
	return (int64_t)n;
}

static void
free_stream(void *arg)
{
	struct toy_stream *s = arg;

	buf_release(&s->feed);
	free(s);
}

static void
reply_stream(struct toy_leader *l, struct request *rq, uint64_t since, long long wait_ms)
{
	struct toy_stream *s = calloc(1, sizeof(*s));

	if (s == NULL)
		abort();
	*s = (struct toy_stream){ .leader = l, .rq = rq, .since = since, .until_ms = clock_mono_ms() + wait_ms };
	buf_init(&s->feed, FEED_BYTES_MAX);
	request_reply_stream(rq, 200, FEED_CONTENT_TYPE, REQUEST_LENGTH_UNKNOWN, read_stream, free_stream, s);
}

static void
changes(struct toy_leader *l, struct request *rq)
{
	uint64_t since = (uint64_t)number(rq, "since");
	long long wait_ms = number(rq, "wait");
	int mood = atomic_load(&l->mood);

	if (request_state(rq) == NULL) {
		atomic_fetch_add(&l->changes, 1);
		atomic_store(&l->last_wait_ms, wait_ms);
	}
	if (mood == TOY_HORIZON || mood == TOY_STRANGE)
		request_reply(rq, mood == TOY_HORIZON ? 410 : 409, "text/plain", "no\n", 3);
	else if (atomic_load(&l->streams) && number(rq, "stream") == 1)
		reply_stream(l, rq, since, wait_ms);
	else if (wait_ms <= 0 || request_state(rq) != NULL || toy_position(&l->store).seq > since ||
		 !lay_aside(l, rq, since, clock_mono_ms() + wait_ms))
		reply_feed(l, rq, since);
}

static void
handle(struct request *rq, void *arg)
{
	struct toy_leader *l = arg;
	bool is_position = strcmp(request_path(rq), "/v1/position") == 0;

	if (is_position && request_state(rq) == NULL)
		atomic_fetch_add(&l->positions, 1);
	if (atomic_load(&l->mood) == TOY_SILENT && lay_aside(l, rq, UINT64_MAX, INT64_MAX))
		return;
	if (atomic_load(&l->mood) == TOY_DOWN)
		request_reply(rq, 503, "text/plain", "down\n", 5);
	else if (is_position)
		reply_position(l, rq);
	else
		changes(l, rq);
}

static void *
tick(void *arg)
{
	struct toy_leader *l = arg;
	bool stopping;
	uint64_t seq;

	do {
		stopping = atomic_load(&l->stopping);
		seq = toy_position(&l->store).seq;
		pthread_mutex_lock(&l->mutex);
		for (size_t i = 0; i < TOY_PENDING_MAX; i++) {
			struct request *rq = l->pending[i].rq;

			if (rq == NULL)
				continue;
			if (!stopping && seq <= l->pending[i].since && clock_mono_ms() < l->pending[i].until_ms)
				continue;
			l->pending[i].rq = NULL;
			request_resume(rq);
		}
		l->closed = stopping;
		pthread_mutex_unlock(&l->mutex);
		clock_sleep_ms(TICK_MS);
	} while (!stopping);
	return NULL;
}

void
toy_leader_start(struct toy_leader *l, unsigned port)
{
	struct sp_error err = { 0 };
	struct listener_options o = { .threads = 2, .handle = handle, .arg = l };
	unsigned own = (unsigned)getpid();
	char host[32], address[48];

	snprintf(host, sizeof(host), "127.%u.%u.%u", 64 + (own >> 16 & 63), own >> 8 & 255, own & 255);
	snprintf(address, sizeof(address), "%s:%u", host, port);
	o.address = address;
	atomic_store(&l->stopping, false);
	if (atomic_load(&l->batch) == 0)
		atomic_store(&l->batch, TOY_RECORDS_MAX);
	memset(l->pending, 0, sizeof(l->pending));
	l->closed = false;
	pthread_mutex_init(&l->mutex, NULL);
	l->listener = listener_new(&o, &err);
	if (l->listener == NULL) {
		fprintf(stderr, "toy leader: %s\n", err.text);
		abort();
	}
	l->port = listener_port(l->listener);
	snprintf(l->url, sizeof(l->url), "http://%s:%u", host, l->port);
	if (pthread_create(&l->ticker, NULL, tick, l) != 0)
		abort();
}

void
toy_pair_start(struct toy_leader *l, struct toy_store *follower, struct toy_driver *d)
{
	memset(l, 0, sizeof(*l));
	ck_assert_int_eq(http_setup(NULL), 0);
	toy_init(&l->store, ROLE_LEADER);
	toy_leader_start(l, 0);
	toy_init(follower, ROLE_FOLLOWER);
	toy_driver_init(d, follower);
}

void
toy_leader_stop(struct toy_leader *l)
{
	if (l->listener == NULL)
		return;
	atomic_store(&l->stopping, true);
	listener_stop(l->listener);
	pthread_join(l->ticker, NULL);
	listener_free(l->listener, 1000);
	l->listener = NULL;
	pthread_mutex_destroy(&l->mutex);
}
