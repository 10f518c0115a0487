#include "lib/protocol/peer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/protocol/feed.h"
#include "lib/protocol/problem.h"

#define POSITION_BYTES_MAX (64u << 10)
#define PROBLEM_BYTES_MAX  (64u << 10)
#define PIECE_BYTES_MAX    (2u << 20) /* that http_stream_read() hands out at once; amply */

static int
make_url(char out[PEER_URL_MAX], const char *base_url, const char *path, struct sp_error *err)
{
	if (snprintf(out, PEER_URL_MAX, "%s%s", base_url, path) >= PEER_URL_MAX)
		return sp_error_set(err, SP_ETOOBIG, "%s: the URL is too long", base_url);
	return 0;
}

/* The code for a status that says no: our token is not (yet) good there, it cannot for now, or it is no peer. */
static int
refusal_code(long status)
{
	if (status == 401 || status == 403)
		return SP_EPERM;
	return status == 503 || status == 429 ? SP_EUNAVAIL : SP_EBADDATA;
}

/* The server there is not a seedpod: say so before the text of err, under the address as it was
 * asked. */
static int
not_a_seedpod(const char *url, struct sp_error *err)
{
	const char *scheme = strstr(url, "://"), *authority = scheme != NULL ? scheme + 3 : url;

	sp_error_wrap(err, "%.*s does not speak seedpod's protocol", (int)strcspn(authority, "/"), authority);
	err->code = SP_EBADDATA;
	return SP_EBADDATA;
}

/* A call for a position that failed: bytes that are not HTTP come from another program. */
static int
read_failure(const char *url, const struct http_reply *reply, int rc, struct sp_error *err)
{
	return rc == SP_EBADDATA && reply->status == 0 ? not_a_seedpod(url, err) : rc;
}

/* The result of a peer's answer to "where do you stand". */
static int
read_position(const char *url, const struct http_reply *reply, struct position *out, struct sp_error *err)
{
	char text[PROBLEM_TEXT_MAX];

	if (reply->status == 200) {
		if (position_from_json(reply->body.data, reply->body.len, out, err) < 0) {
			sp_error_wrap(err, "GET %s", url);
			return not_a_seedpod(url, err);
		}
		return 0;
	}
	problem_text(&reply->body, text);
	sp_error_set(err, refusal_code(reply->status), "GET %s: status %ld: %s", url, reply->status, text);
	/* A seedpod names a code with each refusal. A proxy in front of one may not, but answers with 401, 403, 429 or
	 * 5xx. */
	if (err->code == SP_EBADDATA && reply->status < 500 && problem_code(&reply->body, 0) == 0)
		return not_a_seedpod(url, err);
	return err->code;
}

int
peer_position(
    struct http_client *c, const char *base_url, int64_t timeout_ms, struct position *out, struct sp_error *err)
{
	struct http_reply reply;
	char url[PEER_URL_MAX];
	struct sp_error local = { 0 };
	int rc;

	if (err == NULL)
		err = &local;
	if ((rc = make_url(url, base_url, "/v1/position", err)) < 0)
		return rc;
	http_reply_init(&reply, POSITION_BYTES_MAX);
	rc = http_call(c, &(struct http_request_out){ .url = url, .timeout_ms = timeout_ms }, &reply, err);
	rc = rc == 0 ? read_position(url, &reply, out, err) : read_failure(url, &reply, rc, err);
	http_reply_release(&reply);
	return rc;
}

/* Everything that one round of questions needs, in arrays that belong together. */
struct round {
	char (*urls)[PEER_URL_MAX];
	struct http_request_out *rqs;
	struct http_reply *replies;
	int *results;
	struct sp_error *errs;
};

static void
round_release(struct round *r)
{
	free(r->urls);
	free(r->rqs);
	free(r->replies);
	free(r->results);
	free(r->errs);
}

static int
round_init(struct round *r, size_t n, struct sp_error *err)
{
	r->urls = calloc(n, sizeof(*r->urls));
	r->rqs = calloc(n, sizeof(*r->rqs));
	r->replies = calloc(n, sizeof(*r->replies));
	r->results = calloc(n, sizeof(*r->results));
	r->errs = calloc(n, sizeof(*r->errs));
	if (r->urls == NULL || r->rqs == NULL || r->replies == NULL || r->results == NULL || r->errs == NULL) {
		round_release(r);
		return sp_error_set(err, SP_ENOMEM, "ask %zu peers: out of memory", n);
	}
	return 0;
}

/*
 * Whether a peer is there, but its store is unknown: it was silent, its answer was not understood,
 * it denied access, or it is a seedpod that cannot say at present. A refused connection, one that
 * closes without an answer, and a proxy's own 503 do not count as a peer.
 */
static bool
is_unclear(const struct http_reply *reply, int result, int code)
{
	int told;

	if (result == 0 && code == SP_EUNAVAIL) {
		told = problem_code(&reply->body, 0);
		return told != 0 && told != SP_ENOTFOUND;
	}
	return reply->status != 0 || reply->silent || code == SP_EPERM || code == SP_EBADDATA || code == SP_ETOOBIG ||
	       code == SP_ETRUNCATED;
}

static void
take_answer(const struct round *r, size_t i, struct peer_answer *out)
{
	memset(out, 0, sizeof(*out));
	out->reached = r->replies[i].status != 0;
	if (r->results[i] < 0) {
		out->err = r->errs[i];
		read_failure(r->urls[i], &r->replies[i], r->results[i], &out->err);
	} else {
		out->has_store = read_position(r->urls[i], &r->replies[i], &out->position, &out->err) == 0;
	}
	out->unclear = !out->has_store && is_unclear(&r->replies[i], r->results[i], out->err.code);
}

int
peer_positions(struct http_client *c, const char *const *urls, struct peer_answer *answers, size_t n,
    int64_t timeout_ms, struct sp_error *err)
{
	struct round r = { 0 };
	int rc;

	if (n == 0)
		return 0;
	if ((rc = round_init(&r, n, err)) < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		if ((rc = make_url(r.urls[i], urls[i], "/v1/position", err)) < 0)
			goto out_urls;
		r.rqs[i].url = r.urls[i];
	}
	for (size_t i = 0; i < n; i++)
		http_reply_init(&r.replies[i], POSITION_BYTES_MAX);
	rc = http_call_all(c, r.rqs, r.replies, r.results, r.errs, n, timeout_ms, err);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			take_answer(&r, i, &answers[i]);
		http_reply_release(&r.replies[i]);
	}
out_urls:
	round_release(&r);
	return rc;
}

static int
changes_url(char out[PEER_URL_MAX], const char *base_url, const struct peer_changes_options *o, bool stream,
    struct sp_error *err)
{
	int n = snprintf(out, PEER_URL_MAX, "%s/v1/changes?%ssince=%" PRIu64 "&bytes=%zu&wait=%" PRId64 "ms%s",
	    base_url, o->anyone ? "" : "from=leader&", o->since, o->batch_bytes, o->wait_ms, stream ? "&stream=1" : "");

	if (n < PEER_URL_MAX && o->cluster != NULL)
		n += snprintf(out + n, PEER_URL_MAX - (size_t)n, "&cluster=%s&epoch=%" PRIu64, o->cluster, o->epoch);
	if (n >= PEER_URL_MAX)
		return sp_error_set(err, SP_ETOOBIG, "%s: the URL is too long", base_url);
	return 0;
}

static int
changes_status(const char *url, const struct http_reply *reply, struct sp_error *err)
{
	char text[PROBLEM_TEXT_MAX], type[64];
	int code;

	if (reply->status == 200) {
		if (http_reply_header(reply, "Content-Type", type, sizeof(type)) &&
		    strcmp(type, FEED_CONTENT_TYPE) == 0)
			return 0;
		return sp_error_set(err, SP_EBADDATA, "GET %s: the answer is not " FEED_CONTENT_TYPE, url);
	}
	if (reply->status == 410)
		code = SP_EHORIZON;
	else if (reply->status == 409)
		code = SP_EDIVERGED;
	else
		code = refusal_code(reply->status);
	problem_text(&reply->body, text);
	return sp_error_set(err, code, "GET %s: status %ld: %s", url, reply->status, text);
}

static const char *const changes_headers[] = { "Accept: " FEED_CONTENT_TYPE, NULL };

int
peer_changes(struct http_client *c, const char *base_url, const struct peer_changes_options *o, struct buf *feed,
    struct sp_error *err)
{
	struct http_request_out rq = { .headers = changes_headers, .patience_ms = o->wait_ms };
	struct http_reply reply;
	char url[PEER_URL_MAX];
	int rc;

	if ((rc = changes_url(url, base_url, o, false, err)) < 0)
		return rc;
	http_reply_init(&reply, 0);
	reply.body = *feed; /* the caller's memory serves as the reply's body */
	rq.url = url;
	rc = http_call(c, &rq, &reply, err);
	if (rc == 0)
		rc = changes_status(url, &reply, err);
	*feed = reply.body;
	buf_init(&reply.body, 0);
	http_reply_release(&reply);
	if (rc < 0)
		buf_reset(feed);
	return rc;
}

int
peer_changes_open(struct peer_changes_stream *x, struct http_client *c, const char *base_url,
    const struct peer_changes_options *o, struct sp_error *err)
{
	struct http_request_out rq = {
		.headers = changes_headers, .patience_ms = o->wait_ms, .timeout_ms = o->timeout_ms
	};
	struct http_reply reply;
	int rc;

	x->client = NULL;
	if ((rc = changes_url(x->url, base_url, o, true, err)) < 0)
		return rc;
	http_reply_init(&reply, PROBLEM_BYTES_MAX);
	rq.url = x->url;
	rc = http_stream_open(c, &rq, &reply, err);
	if (rc == 0) {
		rc = changes_status(x->url, &reply, err);
		if (rc < 0)
			http_stream_close(c);
	}
	http_reply_release(&reply);
	if (rc < 0)
		return rc;
	x->client = c;
	x->limit_bytes = o->limit_bytes;
	x->at = x->cursor = 0;
	buf_init(&x->bytes, o->limit_bytes + PIECE_BYTES_MAX);
	return 0;
}

/* Another piece of the answer, behind what is there of a feed: 1, 0 at the end, or an error. */
static int
read_piece(struct peer_changes_stream *x, struct sp_error *err)
{
	const void *piece;
	size_t len;
	int rc;

	x->bytes.len -= x->at;
	memmove(x->bytes.data, x->bytes.data + x->at, x->bytes.len);
	x->at = 0;
	if (x->bytes.len > x->limit_bytes)
		return sp_error_set(err, SP_ETOOBIG, "GET %s: a feed is larger than %zu bytes", x->url, x->limit_bytes);
	rc = http_stream_read(x->client, &piece, &len, err);
	if (rc == 0 && x->bytes.len > 0)
		return sp_error_set(err, SP_ETRUNCATED, "GET %s: the answer ends within a feed, after %zu bytes of it",
		    x->url, x->bytes.len);
	if (rc != 1)
		return rc;
	rc = buf_add(&x->bytes, piece, len);
	return rc == 0 ? 1 : sp_error_set(err, rc, "GET %s: keep a piece of the answer", x->url);
}

int
peer_changes_next(struct peer_changes_stream *x, const void **data, size_t *len, struct sp_error *err)
{
	int rc;

	while ((rc = feed_measure(x->bytes.data + x->at, x->bytes.len - x->at, &x->cursor, len, err)) == 0)
		if ((rc = read_piece(x, err)) <= 0)
			return rc;
	if (rc == 1 && *len > x->limit_bytes)
		rc = sp_error_set(err, SP_ETOOBIG, "a feed of %zu bytes; at most %zu are taken", *len, x->limit_bytes);
	if (rc < 0)
		return sp_error_wrap(err, "GET %s", x->url);
	*data = x->bytes.data + x->at;
	x->at += *len;
	x->cursor = 0;
	return 1;
}

bool
peer_changes_at_hand(struct peer_changes_stream *x)
{
	size_t len;

	return feed_measure(x->bytes.data + x->at, x->bytes.len - x->at, &x->cursor, &len, NULL) != 0;
}

void
peer_changes_close(struct peer_changes_stream *x)
{
	if (x->client == NULL)
		return;
	http_stream_close(x->client);
	buf_release(&x->bytes);
	x->client = NULL;
}
