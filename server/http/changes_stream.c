#include "server/http/changes_stream.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"

struct changes_stream {
	struct api *api;
	struct request *rq;
	struct changes_query q; /* since and epoch: where the last feed ended */
	bool from_leader;       /* ends when this pod does not lead */
	int64_t until_ms;
	struct buf feed; /* the one under way */
	size_t sent;     /* bytes of it */
	bool waited;     /* it was laid aside since that feed */
	bool last;       /* nothing follows that feed */
};

bool
changes_may_wait(const struct api *api, const struct request *rq)
{
	return !atomic_load(&api->stopping) && !request_pressed(rq);
}

/* Whether anything may be said at all: the client takes it for the leader's. */
static bool
may_speak(const struct changes_stream *s)
{
	return !s->from_leader || s->api->repl->ops->role(s->api->repl) == ROLE_LEADER;
}

static void
note_feed(struct changes_stream *s, const struct changes_cost *made)
{
	s->q.since = made->seq;
	s->q.epoch = made->epoch;
	s->waited = false;
	/* A client that is so far behind asks again. */
	s->last = s->last || !made->cut;
}

/* Make the next feed from the view; an empty one, too. */
static int
write_feed(struct changes_stream *s, struct store_view *view, struct sp_error *err)
{
	struct counters *n = &s->api->counters;
	struct changes_cost made = { 0 };
	int rc = changes_write(view, &s->q, &s->feed, &made, err);

	atomic_fetch_add(&n->changes_records_read, made.records);
	if (rc < 0) {
		buf_reset(&s->feed);
		return rc;
	}
	atomic_fetch_add(&n->changes_requests, 1);
	atomic_fetch_add(&n->changes_bytes_sent, s->feed.len);
	note_feed(s, &made);
	return 0;
}

/* What follows the feed that was sent: 1 if it is in s->feed, 0 if there is nothing new and the stream may wait for it,
 * or why there is nothing. */
static int
look(struct changes_stream *s, struct sp_error *err)
{
	struct store_view *view;
	struct position here;
	int rc;

	rc = store_view_begin_feed(s->api->store, &view, err);
	if (rc < 0)
		return rc;
	rc = store_view_position(view, &here, err);
	if (rc == 0)
		rc = changes_check(&here, &s->q, err);
	if (rc == 0 && here.seq == s->q.since && here.consistent) {
		/* A wake without news is another's: a change of role, the end of the server. */
		s->last = s->waited || clock_mono_ms() >= s->until_ms || !changes_may_wait(s->api, s->rq);
		if (!s->last)
			goto out;
	}
	if (rc == 0)
		rc = write_feed(s, view, err);
	rc = rc == 0 ? 1 : rc;
out:
	store_view_end(view);
	return rc;
}

/* Make the next feed. False: the stream was laid aside until there is one, and is not to be touched. */
static bool
next_feed(struct changes_stream *s)
{
	struct sp_error err = { 0 };
	int rc = 0;

	buf_reset(&s->feed);
	s->sent = 0;
	if (!may_speak(s)) {
		s->last = true;
		return true;
	}
	rc = look(s, &err);
	if (rc == 0) {
		s->waited = true;
		waiters_add(s->api->waiters, s->rq, s->q.since + 1, s->until_ms);
		return false;
	}
	if (rc < 0) {
		s->last = true;
		log_debug("the stream of changes ends", LOG_STR("why", err.text));
	}
	return true;
}

static int64_t
read_stream(void *arg, uint64_t offset, char *out, size_t max)
{
	struct changes_stream *s = arg;
	size_t n;

	(void)offset;
	if (s->sent == s->feed.len && !s->last && !next_feed(s))
		return REQUEST_SOURCE_LATER;
	n = s->feed.len - s->sent < max ? s->feed.len - s->sent : max;
	memcpy(out, s->feed.data + s->sent, n);
	s->sent += n;
	return (int64_t)n;
}

static void
free_stream(void *arg)
{
	struct changes_stream *s = arg;

	buf_release(&s->feed);
	free(s);
}

void
changes_stream_begin(struct call *c, const struct changes_query *q, bool from_leader, int64_t until_ms,
    struct buf *feed, const struct changes_cost *made)
{
	struct changes_stream *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		api_problem(c, 503, "no_memory", "out of memory");
		return;
	}
	*s = (struct changes_stream){
		.api = c->api, .rq = c->rq, .q = *q, .from_leader = from_leader, .until_ms = until_ms
	};
	buf_init(&s->feed, CHANGES_STREAM_BYTES_MAX);
	if (feed != NULL && made != NULL) {
		s->feed = *feed;
		s->feed.limit = CHANGES_STREAM_BYTES_MAX;
		buf_init(feed, 0);
		note_feed(s, made);
	}
	request_set_source_bytes(c->rq, CHANGES_STREAM_BYTES_MAX);
	request_reply_stream(c->rq, 200, FEED_CONTENT_TYPE, REQUEST_LENGTH_UNKNOWN, read_stream, free_stream, s);
}
