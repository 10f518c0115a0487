#include "lib/net/http_client_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"

#define CONNECT_TIMEOUT_MS 5000
#define STALL_TIMEOUT_MS   30000

int
http_setup(struct sp_error *err)
{
	CURLcode rc = curl_global_init(CURL_GLOBAL_DEFAULT);

	if (rc != CURLE_OK)
		return sp_error_set(err, SP_EINTERNAL, "set up the HTTP client: %s", curl_easy_strerror(rc));
	return 0;
}

void
http_teardown(void)
{
	curl_global_cleanup();
}

struct http_client *
http_client_new(const struct http_client_options *options, struct sp_error *err)
{
	struct http_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		goto fail;
	atomic_init(&c->cancel, false);
	buf_init(&c->stream, HTTP_STREAM_BUFFER + HTTP_RECEIVE_BUFFER);
	c->manner.connect_timeout_ms =
	    options->connect_timeout_ms > 0 ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
	http_client_configure(c, options->stall_timeout_ms, options->rate_limit);
	if (options->unix_socket != NULL && (c->unix_socket = strdup(options->unix_socket)) == NULL)
		goto fail;
	c->manner.unix_socket = c->unix_socket;
	if (options->ca_file != NULL && (c->ca_file = strdup(options->ca_file)) == NULL)
		goto fail;
	c->manner.ca_file = c->ca_file;
	c->manner.access = options->access;
	if ((c->multi = curl_multi_init()) == NULL || (c->easy = curl_easy_init()) == NULL)
		goto fail;
	return c;

fail:
	http_client_free(c);
	sp_error_set(err, SP_ENOMEM, "make an HTTP client: out of memory");
	return NULL;
}

void
http_client_free(struct http_client *c)
{
	if (c == NULL)
		return;
	http_stream_close(c);
	if (c->easy != NULL)
		curl_easy_cleanup(c->easy);
	if (c->multi != NULL)
		curl_multi_cleanup(c->multi);
	buf_release(&c->stream);
	free(c->unix_socket);
	free(c->ca_file);
	free(c);
}

void
http_client_cancel(struct http_client *c)
{
	atomic_store(&c->cancel, true);
	curl_multi_wakeup(c->multi);
}

void
http_client_configure(struct http_client *c, int64_t stall_timeout_ms, uint64_t rate_limit)
{
	c->manner.stall_timeout_ms = stall_timeout_ms > 0 ? stall_timeout_ms : STALL_TIMEOUT_MS;
	c->manner.rate_limit = rate_limit;
}

void
http_reply_init(struct http_reply *r, size_t body_limit_bytes)
{
	r->status = 0;
	r->silent = false;
	r->content_length = -1;
	buf_init(&r->headers, HTTP_HEADERS_MAX);
	buf_init(&r->body, body_limit_bytes);
}

void
http_reply_release(struct http_reply *r)
{
	buf_release(&r->headers);
	buf_release(&r->body);
}

bool
http_reply_header(const struct http_reply *r, const char *name, char *out, size_t size)
{
	size_t name_len = strlen(name), len;
	const char *line, *end;

	for (line = r->headers.data; *line != '\0'; line = end + 1) {
		if ((end = strchr(line, '\n')) == NULL)
			return false;
		if (strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
			continue;
		line += name_len + 1;
		while (line < end && (*line == ' ' || *line == '\t'))
			line++;
		len = (size_t)(end - line);
		if (len >= size)
			return false;
		memcpy(out, line, len);
		out[len] = '\0';
		return true;
	}
	return false;
}

int
http_client_begin(struct http_client *c, const struct http_request_out *rq, struct http_reply *reply,
    struct buf *stream, struct sp_error *err)
{
	int rc;

	http_stream_close(c);
	reply->status = 0;
	reply->silent = false;
	reply->content_length = -1;
	buf_reset(&reply->headers);
	buf_reset(&reply->body);
	memset(&c->exchange, 0, sizeof(c->exchange));
	c->exchange.reply = reply;
	c->exchange.stream = stream;
	if ((rc = http_exchange_start(&c->exchange, c->multi, c->easy, &c->manner, rq, err)) < 0)
		return rc;
	c->busy = true;
	return 0;
}

void
http_client_end(struct http_client *c)
{
	if (!c->busy)
		return;
	http_exchange_stop(&c->exchange, c->multi);
	c->busy = false;
}

int64_t
http_client_round(struct http_client *c)
{
	struct http_exchange *x = &c->exchange;

	if (atomic_exchange(&c->cancel, false)) {
		http_exchange_fail(x, SP_ECANCELED, "canceled");
		return 0;
	}
	http_turn(c->multi);
	return http_exchange_check(x, clock_mono_ms());
}

int
http_call(struct http_client *c, const struct http_request_out *rq, struct http_reply *reply, struct sp_error *err)
{
	struct http_exchange *x = &c->exchange;
	int64_t wait_ms;
	int rc = http_client_begin(c, rq, reply, NULL, err);

	if (rc < 0)
		return rc;
	while (!x->finished) {
		wait_ms = http_client_round(c);
		if (!x->finished)
			http_wait(c->multi, wait_ms);
	}
	rc = x->result;
	if (rc < 0 && err != NULL)
		*err = x->err;
	http_client_end(c);
	return rc;
}

bool
http_client_heard(const struct http_client *c)
{
	return c->exchange.header_bytes > 0;
}

/* Turn until all of `exchanges` have ended or the deadline is over. False if the client was cancelled. */
static bool
drive_all(struct http_client *c, struct http_exchange *exchanges, size_t n, int64_t deadline_ms)
{
	for (;;) {
		int64_t now_ms = clock_mono_ms(), wait_ms = deadline_ms - now_ms;
		bool open = false;

		if (atomic_exchange(&c->cancel, false))
			return false;
		http_turn(c->multi);
		for (size_t i = 0; i < n; i++) {
			int64_t left_ms = exchanges[i].easy != NULL ? http_exchange_check(&exchanges[i], now_ms) : 0;

			if (exchanges[i].finished)
				continue;
			open = true;
			wait_ms = left_ms < wait_ms ? left_ms : wait_ms;
		}
		if (!open || now_ms >= deadline_ms)
			return true;
		http_wait(c->multi, wait_ms < 0 ? 0 : wait_ms);
	}
}

/* Start one of http_call_all()'s calls; a failure is that call's own result. */
static void
start_one(struct http_client *c, struct http_exchange *x, const struct http_request_out *rq, struct http_reply *reply,
    int64_t timeout_ms)
{
	const struct http_manner manner = {
		.access = c->manner.access, .connect_timeout_ms = timeout_ms, .stall_timeout_ms = timeout_ms
	};
	struct http_request_out bounded = *rq;
	CURL *easy = curl_easy_init();

	if (bounded.timeout_ms <= 0 || bounded.timeout_ms > timeout_ms)
		bounded.timeout_ms = timeout_ms;
	x->reply = reply;
	if (easy == NULL)
		x->result = sp_error_set(&x->err, SP_ENOMEM, "%s: out of memory", rq->url);
	else
		x->result = http_exchange_start(x, c->multi, easy, &manner, &bounded, &x->err);
	if (x->result < 0) {
		x->finished = true;
		x->easy = NULL;
		curl_easy_cleanup(easy);
	}
}

static void
finish_one(struct http_exchange *x, CURLM *multi, int *result, struct sp_error *err)
{
	CURL *easy = x->easy;

	if (!x->finished)
		http_exchange_fail_late(x, SP_EUNAVAIL, "no answer in time");
	*result = x->result;
	*err = x->err;
	if (easy == NULL)
		return;
	http_exchange_stop(x, multi);
	curl_easy_cleanup(easy);
}

int
http_call_all(struct http_client *c, const struct http_request_out *rqs, struct http_reply *replies, int *results,
    struct sp_error *errs, size_t n, int64_t timeout_ms, struct sp_error *err)
{
	int64_t deadline_ms = clock_mono_ms() + timeout_ms;
	struct http_exchange *exchanges;
	bool whole;

	if (n == 0)
		return 0;
	http_stream_close(c);
	if ((exchanges = calloc(n, sizeof(*exchanges))) == NULL)
		return sp_error_set(err, SP_ENOMEM, "ask %zu peers: out of memory", n);
	for (size_t i = 0; i < n; i++)
		start_one(c, &exchanges[i], &rqs[i], &replies[i], timeout_ms);
	whole = drive_all(c, exchanges, n, deadline_ms);
	for (size_t i = 0; i < n; i++)
		finish_one(&exchanges[i], c->multi, &results[i], &errs[i]);
	free(exchanges);
	return whole ? 0 : sp_error_set(err, SP_ECANCELED, "ask %zu peers: canceled", n);
}
