/*
 * What peers and the control socket answer. The input is an answer, "200 type/of-body" on a line and then the body;
 * every question is asked with it. The HTTP client's own calls are replaced here.
 */
#include <stdio.h>
#include <string.h>

#include "lib/driver/driver_seedpod.h"
#include "lib/protocol/feed.h"
#include "lib/protocol/peer.h"
#include "tests/fuzz/shared.h"

static struct driver *driver;

/* The present answer. */
static long status;
static char type[80];
static const char *body;
static size_t body_len;

int
http_call(struct http_client *c, const struct http_request_out *rq, struct http_reply *reply, struct sp_error *err)
{
	(void)c;
	reply->status = status;
	if (buf_printf(&reply->headers, "content-type: %s\n", type) < 0 || buf_add(&reply->body, body, body_len) < 0)
		return sp_error_set(err, SP_ETOOBIG, "GET %s: too much", rq->url);
	return 0;
}

int
http_call_all(struct http_client *c, const struct http_request_out *rqs, struct http_reply *replies, int *results,
    struct sp_error *errs, size_t n, int64_t timeout_ms, struct sp_error *err)
{
	(void)c;
	(void)timeout_ms;
	(void)err;
	for (size_t i = 0; i < n; i++)
		results[i] = http_call(NULL, &rqs[i], &replies[i], &errs[i]);
	return 0;
}

/* A stream hands the answer out in pieces. */
static size_t streamed;

int
http_stream_open(
    struct http_client *c, const struct http_request_out *rq, struct http_reply *reply, struct sp_error *err)
{
	streamed = 0;
	return http_call(c, rq, reply, err);
}

int
http_stream_read(struct http_client *c, const void **data, size_t *len, struct sp_error *err)
{
	(void)c;
	(void)err;
	if (streamed == body_len)
		return 0;
	*len = 1 + (streamed * 7 + body_len) % 97;
	if (*len > body_len - streamed)
		*len = body_len - streamed;
	*data = body + streamed;
	streamed += *len;
	return 1;
}

void
http_stream_close(struct http_client *c)
{
	(void)c;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct driver_seedpod_options o = { .control_socket = "/nowhere" };
	struct sp_error err = { 0 };

	(void)argc;
	(void)argv;
	driver = driver_seedpod_new(&o, &err);
	FUZZ_REQUIRE(driver != NULL);
	return 0;
}

/* A failure is told, and a position is one. */
static void
check(int rc, const struct sp_error *err, const struct position *p)
{
	if (rc < 0)
		fuzz_require_error(rc, err);
	else if (p != NULL)
		FUZZ_REQUIRE(p->history_count >= 1 && p->history_count <= POSITION_HISTORY_MAX);
}

/* One feed behind the other, without a gap, until there is none or the answer ends. */
static void
read_stream(const struct peer_changes_options *o)
{
	static char client; /* never looked at */
	struct peer_changes_stream x;
	struct sp_error err = { 0 };
	const void *data;
	size_t len, at = 0;
	int rc = peer_changes_open(&x, (struct http_client *)&client, "http://store-0:9876", o, &err);

	if (rc == 0) {
		while ((rc = peer_changes_next(&x, &data, &len, &err)) == 1) {
			FUZZ_REQUIRE(len > 0 && len <= o->limit_bytes && at + len <= body_len);
			FUZZ_REQUIRE(memcmp(data, body + at, len) == 0);
			at += len;
		}
		FUZZ_REQUIRE(rc < 0 || at == body_len);
		peer_changes_close(&x);
	}
	check(rc, &err, NULL);
}

static void
ask(void)
{
	static const char *const urls[] = { "http://store-0:9876", "http://store-1:9876" };
	struct peer_changes_options o = { .since = 1, .cluster = "x", .epoch = 1, .wait_ms = 1, .batch_bytes = 1 };
	struct peer_answer answers[2];
	struct sp_error err = { 0 };
	struct position p;
	struct digest d;
	struct buf feed;
	int rc;

	check(peer_position(NULL, urls[0], 1, &p, &err), &err, &p);
	FUZZ_REQUIRE(peer_positions(NULL, urls, answers, 2, 1, &err) == 0);
	for (size_t i = 0; i < 2; i++)
		check(answers[i].has_store ? 0 : answers[i].err.code, &answers[i].err, &answers[i].position);
	buf_init(&feed, 1u << 20);
	rc = peer_changes(NULL, urls[0], &o, &feed, &err);
	check(rc, &err, NULL);
	FUZZ_REQUIRE(rc == 0 ? status == 200 && feed.len == body_len : feed.len == 0);
	buf_release(&feed);
	o.limit_bytes = 1u << 16;
	read_stream(&o);
	check(driver->ops->position(driver, &p, &err), &err, &p);
	check(driver->ops->apply(driver, "", 0, &p, &err), &err, &p);
	check(driver->ops->digest(driver, &d, &err), &err, NULL);
	check(driver_seedpod_release(driver, &err), &err, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *newline = memchr(data, '\n', size);
	char line[96];

	if (newline == NULL || newline == data || (size_t)(newline - data) >= sizeof(line))
		return 0;
	memcpy(line, data, (size_t)(newline - data));
	line[newline - data] = '\0';
	type[0] = '\0';
	if (sscanf(line, "%3ld %79[^\n]", &status, type) < 1 || status < 100)
		return 0;
	body = (const char *)newline + 1;
	body_len = size - (size_t)(newline + 1 - data);
	ask();
	return 0;
}
