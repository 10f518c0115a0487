/* The requests of peers: position, change feed, snapshot. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "server/http/api.h"
#include "server/http/changes.h"
#include "server/http/changes_stream.h"

#define WAIT_MAX_MS          60000
#define LIMIT_MAX            1000000000ull
#define NDJSON_LIMIT_DEFAULT 1000
#define ZSTD_BYTES           (2u << 20) /* what compressing a snapshot holds: a frame's input, output, and the compressor */

static void
reply_position(struct call *c)
{
	struct position p;
	struct sp_error err;
	char *text;
	int rc;

	rc = api_position_of(c->api, &p, &err);
	if (rc < 0) {
		/* On the network "no store" is temporary; the control socket distinguishes the
		 * two. */
		api_problem(c, rc == SP_ENOTFOUND && c->handler == api_control_position ? 404 : 503, sp_code_name(rc),
		    err.text);
		return;
	}
	text = position_to_json(&p);
	if (text == NULL)
		api_problem(c, 503, "no_memory", "out of memory");
	else
		request_reply(c->rq, 200, API_JSON, text, strlen(text));
	free(text);
}

void
api_position(struct call *c)
{
	reply_position(c);
}

void
api_control_position(struct call *c)
{
	reply_position(c);
}

/* --- The change feed --- */

/* A request for the feed. */
struct changes_request {
	struct changes_query q;
	int64_t wait_ms;
	bool stream;      /* the answer is to stay open for so long */
	bool from_leader; /* it is of use only if this pod leads */
};

/* Whether the query has this word under this name. */
static bool
query_is(const struct call *c, const char *name, const char *word)
{
	char text[16];

	return request_query(c->rq, name, text, sizeof(text)) > 0 && strcmp(text, word) == 0;
}

static bool
read_changes_query(struct call *c, struct changes_request *out)
{
	const char *accept = request_header(c->rq, "Accept");
	struct changes_query *q = &out->q;
	int len = request_query(c->rq, "cluster", q->cluster, sizeof(q->cluster));
	uint64_t most = CHANGES_BYTES_MAX;

	q->ndjson = accept == NULL || strstr(accept, FEED_CONTENT_TYPE) == NULL;
	if (len == REQUEST_QUERY_BAD) {
		api_problem(c, 400, "query", "cluster must be a UUID");
		return false;
	}
	if (len == REQUEST_QUERY_ABSENT)
		q->cluster[0] = '\0';
	/* No more than answers may hold. */
	if (c->api->budgets.answers < most)
		most = c->api->budgets.answers;
	if (!api_query_number(c, "bytes", CHANGES_BYTES_DEFAULT, CHANGES_BYTES_MAX, &q->bytes))
		return false;
	q->bytes = q->bytes < most ? q->bytes : most;
	out->stream = !q->ndjson && query_is(c, "stream", "1");
	out->from_leader = query_is(c, "from", "leader");
	return api_query_number(c, "since", 0, INT64_MAX, &q->since) &&
	       api_query_number(c, "epoch", 0, INT64_MAX, &q->epoch) &&
	       api_query_number(c, "limit", q->ndjson ? NDJSON_LIMIT_DEFAULT : LIMIT_MAX, LIMIT_MAX, &q->limit) &&
	       api_query_duration(c, "wait", out->stream ? CHANGES_STREAM_MS_MAX : WAIT_MAX_MS, &out->wait_ms);
}

/* With nothing to report, wait for the next change once: keep the answer open, or suspend the request. False: not if
 * connections run short, since a waiting request keeps one. */
static bool
wait_for_change(struct call *c, const struct changes_request *r)
{
	int64_t until_ms = clock_mono_ms() + r->wait_ms;

	if (c->stage != CALL_NEW || !changes_may_wait(c->api, c->rq))
		return false;
	c->stage = CALL_WAITED;
	if (r->stream)
		changes_stream_begin(c, &r->q, r->from_leader, until_ms, NULL, NULL);
	else
		waiters_add(c->api->waiters, c->rq, r->q.since + 1, until_ms);
	return true;
}

static void
reply_changes(struct call *c, struct store_view *view, const struct changes_request *r)
{
	struct counters *n = &c->api->counters;
	struct changes_cost made = { 0 };
	struct sp_error err = { 0 };
	struct buf body;
	int rc;

	/* Escapes make JSON up to six times as long; what it holds is bounded all the same. */
	buf_init(&body, r->q.ndjson ? 2 * (size_t)FEED_BYTES_MAX : FEED_BYTES_MAX);
	rc = changes_write(view, &r->q, &body, &made, &err);
	atomic_fetch_add(&n->changes_requests, 1);
	atomic_fetch_add(&n->changes_records_read, made.records);
	if (rc < 0) {
		log_error("the change feed broke off", LOG_STR("error", err.text));
		api_error(c, &err);
		buf_release(&body);
		return;
	}
	atomic_fetch_add(&n->changes_bytes_sent, body.len);
	if (r->stream && r->wait_ms > 0 && made.cut && body.len <= CHANGES_STREAM_BYTES_MAX &&
	    changes_may_wait(c->api, c->rq))
		changes_stream_begin(c, &r->q, r->from_leader, clock_mono_ms() + r->wait_ms, &body, &made);
	else
		request_reply_buf(c->rq, 200, r->q.ndjson ? API_NDJSON : FEED_CONTENT_TYPE, &body);
	buf_release(&body);
}

void
api_changes(struct call *c)
{
	struct changes_request r;
	struct store_view *view;
	struct position here;
	struct sp_error err = { 0 };
	int rc;

	if (!read_changes_query(c, &r))
		return;
	/* A sidecar takes what it is given for the leader's, and says so; a pod that was demoted
	 * must not act as if it led. */
	if (r.from_leader && c->api->repl->ops->role(c->api->repl) != ROLE_LEADER) {
		api_problem(c, 503, "no_leader", "this pod does not lead");
		return;
	}
	rc = store_view_begin_feed(c->api->store, &view, &err);
	if (rc < 0) {
		api_problem(c, 503, sp_code_name(rc), err.text);
		return;
	}
	rc = store_view_position(view, &here, &err);
	if (rc == 0)
		rc = changes_check(&here, &r.q, &err);
	if (rc < 0) {
		store_view_end(view);
		api_error(c, &err);
		return;
	}
	/* The view must not be kept while the request waits, nor the request be touched once it was handed over. */
	if (r.wait_ms > 0 && here.seq == r.q.since && here.consistent) {
		store_view_end(view);
		if (wait_for_change(c, &r))
			return;
		rc = store_view_begin_feed(c->api->store, &view, &err);
		if (rc < 0) {
			api_problem(c, 503, sp_code_name(rc), err.text);
			return;
		}
	}
	reply_changes(c, view, &r);
	store_view_end(view);
}

/* --- The snapshot --- */

static int64_t
read_stream(void *arg, uint64_t offset, char *out, size_t max)
{
	(void)offset;
	return snapshot_stream_read(arg, out, max);
}

static void
free_stream(void *arg)
{
	snapshot_stream_free(arg);
}

static void
add_snapshot_headers(struct call *c, const struct snapshot *s, uint64_t offset)
{
	char number[32];

	request_add_header(c->rq, "Seedpod-Snapshot-Id", snapshot_id(s));
	snprintf(number, sizeof(number), "%" PRIu64, snapshot_position(s)->seq);
	request_add_header(c->rq, "Seedpod-Seq", number);
	snprintf(number, sizeof(number), "%" PRIu64, offset);
	request_add_header(c->rq, "Seedpod-Offset", number);
	snprintf(number, sizeof(number), "%" PRIu64, snapshot_length(s));
	request_add_header(c->rq, "Seedpod-Snapshot-Length", number);
}

/* "zstd", but not "zstd;q=0" (RFC 9110, 12.4.2). */
static bool
accepts_zstd(const struct call *c)
{
	const char *encodings = request_header(c->rq, "Accept-Encoding");
	const char *zstd = encodings != NULL ? strstr(encodings, "zstd") : NULL;

	if (zstd == NULL)
		return false;
	zstd += strlen("zstd");
	zstd += strspn(zstd, "; \t");
	return strncmp(zstd, "q=", 2) != 0 || strtod(zstd + 2, NULL) > 0;
}

/* The request of a pod that passes on the snapshot that it gets. */
struct passing {
	bool wanted;
	uint64_t pod; /* its ordinal */
	uint64_t lag, min_seq;
};

/* False: the call was answered. */
static bool
read_passing(struct call *c, struct passing *out)
{
	char text[32];

	out->wanted = request_query(c->rq, "pod", text, sizeof(text)) != REQUEST_QUERY_ABSENT;
	return api_query_number(c, "pod", 0, UINT32_MAX, &out->pod) &&
	       api_query_number(c, "lag", 0, INT64_MAX, &out->lag) &&
	       api_query_number(c, "min_seq", 0, INT64_MAX, &out->min_seq);
}

/* Take a reference: by id, or for a pod that passes on what others get already, or a fresh one. */
static int
find_snapshot(
    struct call *c, const char *id, const struct passing *passing, struct snapshot **out, struct sp_error *err)
{
	if (passing->wanted && id == NULL &&
	    (*out = snapshots_find_passed_on(c->api->snapshots, passing->lag, passing->min_seq)) != NULL)
		return 0;
	return snapshots_acquire(c->api->snapshots, id, out, err);
}

/* Enough pods are being sent this snapshot, whose id is among the headers: point the caller to one of them. */
static void
point_to_sibling(struct call *c, unsigned sibling)
{
	char number[16], detail[128];

	snprintf(number, sizeof(number), "%u", sibling);
	request_add_header(c->rq, "Seedpod-Sibling", number);
	snprintf(detail, sizeof(detail), "other pods are being sent this snapshot; pod %u passes it on", sibling);
	api_problem(c, 503, "SP_EAGAIN", detail);
}

void
api_snapshot(struct call *c)
{
	bool zstd = accepts_zstd(c);
	struct passing passing;
	unsigned sibling = 0;
	char id[SNAPSHOT_ID_SIZE];
	int id_len = request_query(c->rq, "id", id, sizeof(id));
	struct snapshot_stream *stream;
	struct snapshot *s;
	struct sp_error err;
	uint64_t offset, length;
	int rc;

	if (id_len == REQUEST_QUERY_BAD || id_len == 0) {
		api_problem(c, 400, "query", "id must be a snapshot's UUID");
		return;
	}
	if (!api_query_number(c, "offset", 0, INT64_MAX, &offset) || !read_passing(c, &passing))
		return;
	if (id_len == REQUEST_QUERY_ABSENT && offset > 0) {
		api_problem(c, 400, "query", "offset goes with the id of the snapshot that it belongs to");
		return;
	}
	/* A backup that is taken after a write holds that write. */
	if (id_len == REQUEST_QUERY_ABSENT && !api_flushed(c))
		return;
	if (zstd && !request_charge(c->rq, ZSTD_BYTES)) {
		api_problem(c, 503, "SP_EAGAIN", "too many compressed snapshots at once");
		return;
	}
	rc = find_snapshot(c, id_len > 0 ? id : NULL, &passing, &s, &err);
	if (rc < 0) {
		/* An id that is not held any more is gone; no store is a state that passes. */
		api_problem(
		    c, rc == SP_ENOTFOUND ? (id_len > 0 ? 410 : 503) : api_status(rc), sp_code_name(rc), err.text);
		return;
	}
	length = snapshot_length(s);
	add_snapshot_headers(c, s, offset);
	stream = snapshot_stream_new(s, offset, zstd, &err);
	if (stream == NULL) {
		api_error(c, &err);
		return;
	}
	if (passing.wanted && !snapshot_stream_place(stream, (unsigned)passing.pod, &sibling)) {
		snapshot_stream_free(stream);
		point_to_sibling(c, sibling);
		return;
	}
	log_info("snapshot begins", LOG_STR("id", snapshot_id(s)), LOG_U64("offset", offset), LOG_U64("bytes", length),
	    LOG_BOOL("zstd", zstd));
	if (zstd)
		request_add_header(c->rq, "Content-Encoding", "zstd");
	request_reply_stream(c->rq, 200, "application/x-tar", zstd ? REQUEST_LENGTH_UNKNOWN : length - offset,
	    read_stream, free_stream, stream);
}
