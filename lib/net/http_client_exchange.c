#include "lib/net/http_client_internal.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"

/* A header line of the answer: the whole block is bounded, names are kept in lower case. */
static int
keep_header(struct buf *out, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	size_t start = out->len, name_len;
	int rc;

	if (colon == NULL)
		return 0;
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		len--;
	if ((rc = buf_add(out, line, len)) < 0 || (rc = buf_add(out, "\n", 1)) < 0)
		return rc;
	name_len = (size_t)(colon - line);
	for (size_t i = 0; i < name_len; i++)
		out->data[start + i] = (char)tolower((unsigned char)out->data[start + i]);
	return 0;
}

static void
end_of_headers(struct http_exchange *x)
{
	curl_off_t length = -1;
	long status = 0;

	curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200)
		return; /* 100 and its like: the answer itself is still to come */
	if (curl_easy_getinfo(x->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length) != CURLE_OK)
		length = -1;
	x->headers_done = true;
	x->heard_ms = clock_mono_ms();
	x->content_length = length;
	x->reply->status = status;
	x->reply->content_length = length;
	x->streaming = x->stream != NULL && (status == 200 || status == 206);
}

static size_t
on_header(char *data, size_t size, size_t count, void *arg)
{
	struct http_exchange *x = arg;
	size_t len = size * count;
	int rc;

	if (x->header_bytes == 0)
		x->heard_ms = clock_mono_ms();
	x->header_bytes += len;
	if (x->header_bytes > HTTP_HEADERS_MAX) {
		http_exchange_fail(x, SP_ETOOBIG, "the answer's headers are larger than 16384 bytes");
		return 0;
	}
	if (x->headers_done)
		return len; /* trailers, of which nothing is expected */
	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) {
		buf_reset(&x->reply->headers);
		return len;
	}
	if (len <= 2 && data[0] != ':') {
		end_of_headers(x);
		return len;
	}
	if ((rc = keep_header(&x->reply->headers, data, len)) < 0) {
		http_exchange_fail(x, rc, "keep the answer's headers");
		return 0;
	}
	return len;
}

/* A byte now and then is no answer: only a certain amount of them ends the peer's silence. */
static void
get_on(struct http_exchange *x, size_t len)
{
	x->body_bytes += len;
	x->heard += len;
	if (x->heard < x->least)
		return;
	x->heard = 0;
	x->heard_ms = clock_mono_ms();
}

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	struct http_exchange *x = arg;
	size_t len = size * count;
	char text[96];
	int rc;

	if (x->streaming) {
		if (x->stream->len > 0 && x->stream->len + len > HTTP_STREAM_BUFFER) {
			x->paused = true;
			return CURL_WRITEFUNC_PAUSE;
		}
		if ((rc = buf_add(x->stream, data, len)) < 0) {
			http_exchange_fail(x, rc, "keep a piece of the answer");
			return 0;
		}
		get_on(x, len);
		return len;
	}
	if ((rc = buf_add(&x->reply->body, data, len)) < 0) {
		snprintf(text, sizeof(text), "the answer is larger than %zu bytes", x->reply->body.limit);
		http_exchange_fail(x, rc, rc == SP_ETOOBIG ? text : "keep the answer");
		return 0;
	}
	get_on(x, len);
	return len;
}

void
http_exchange_fail(struct http_exchange *x, int code, const char *text)
{
	if (x->result != 0)
		return;
	x->result = sp_error_set(&x->err, code, "%s: %s", x->what, text);
	x->finished = true;
}

void
http_exchange_fail_late(struct http_exchange *x, int code, const char *text)
{
	curl_off_t connected = 0;

	if (x->reply != NULL && curl_easy_getinfo(x->easy, CURLINFO_CONNECT_TIME_T, &connected) == CURLE_OK)
		x->reply->silent = connected > 0;
	http_exchange_fail(x, code, text);
}

/* A server is there, but did not prove that it is the one that was asked, or does not accept us as
 * a peer. */
static void
fail_tls(struct http_exchange *x, const char *why)
{
	char text[CURL_ERROR_SIZE + 64];

	snprintf(text, sizeof(text), "no TLS connection: %s", why);
	http_exchange_fail(x, SP_EPERM, text);
}

/* The connection ended before the answer did. */
static void
fail_cut_short(struct http_exchange *x)
{
	char text[128];

	if (x->headers_done && x->content_length >= 0)
		snprintf(text, sizeof(text), "connection closed after %" PRIu64 " of %" PRId64 " bytes", x->body_bytes,
		    x->content_length);
	else
		snprintf(text, sizeof(text), "connection closed after %" PRIu64 " bytes, before the answer's end",
		    x->header_bytes + x->body_bytes);
	if (x->header_bytes > 0)
		http_exchange_fail(x, SP_ETRUNCATED, text);
	else if (strstr(x->curl_text, " alert ") != NULL)
		fail_tls(x, x->curl_text); /* with TLS 1.3, a peer that refuses our certificate says so only here */
	else
		http_exchange_fail(x, SP_EUNAVAIL, "connection closed without an answer");
}

/* Curl's verdict in our terms. An earlier verdict of a callback or a deadline stands. */
static void
finish(struct http_exchange *x, CURLcode rc)
{
	const char *text = x->curl_text[0] != '\0' ? x->curl_text : curl_easy_strerror(rc);
	long number = 0;

	switch (rc) {
	case CURLE_OK:
		if (!x->headers_done)
			fail_cut_short(x);
		break;
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
		fail_cut_short(x);
		break;
	case CURLE_UNSUPPORTED_PROTOCOL: /* the URL's scheme was checked: this is an answer without a status line */
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_TOO_MANY_REDIRECTS:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		http_exchange_fail(x, SP_EBADDATA, text);
		break;
	case CURLE_OUT_OF_MEMORY:
		/* Curl says so, too, of a header line that outgrows its own bound. */
		if (!x->headers_done && x->header_bytes > 0)
			http_exchange_fail(x, SP_ETOOBIG, "a header line of the answer is too long");
		else
			http_exchange_fail(x, SP_ENOMEM, text);
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_ISSUER_ERROR:
		fail_tls(x, text);
		break;
	case CURLE_URL_MALFORMAT:
		http_exchange_fail(x, SP_ECONF, text);
		break;
	case CURLE_FAILED_INIT:
	case CURLE_BAD_FUNCTION_ARGUMENT:
		http_exchange_fail(x, SP_EINTERNAL, text);
		break;
	case CURLE_OPERATION_TIMEDOUT:
		http_exchange_fail_late(x, SP_EUNAVAIL, text);
		break;
	case CURLE_COULDNT_CONNECT:
		if (x->on_socket && curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &number) == CURLE_OK && number != 0)
			text = strerror((int)number); /* curl's own words name a host and a port */
		http_exchange_fail(x, SP_EUNAVAIL, text);
		break;
	default:
		http_exchange_fail(x, SP_EUNAVAIL, text);
	}
	x->finished = true;
}

void
http_turn(CURLM *multi)
{
	struct http_exchange *x;
	CURLMsg *message;
	int running, left;

	curl_multi_perform(multi, &running);
	while ((message = curl_multi_info_read(multi, &left)) != NULL) {
		if (message->msg != CURLMSG_DONE)
			continue;
		if (curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&x) == CURLE_OK && x != NULL)
			finish(x, message->data.result);
	}
}

void
http_wait(CURLM *multi, int64_t wait_ms)
{
	curl_multi_poll(multi, NULL, 0, wait_ms > 60000 ? 60000 : (int)wait_ms, NULL);
}

/* Sending a request is a sign of life just as receiving is. */
static void
look_at_upload(struct http_exchange *x, int64_t now_ms)
{
	curl_off_t connected = 0, sent = 0;

	curl_easy_getinfo(x->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
	curl_easy_getinfo(x->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
	if (connected == 0 || sent != x->sent)
		x->heard_ms = now_ms; /* not connected yet: that has a limit of its own */
	x->sent = sent;
}

int64_t
http_exchange_check(struct http_exchange *x, int64_t now_ms)
{
	int64_t silence_ms = x->stall_ms + (x->header_bytes == 0 ? x->patience_ms : 0);
	int64_t left_ms;
	char text[128];

	if (x->finished)
		return 0;
	if (x->timeout_ms > 0 && now_ms - x->started_ms >= x->timeout_ms) {
		snprintf(text, sizeof(text), "no whole answer within %" PRId64 " ms (%" PRIu64 " bytes had come)",
		    x->timeout_ms, x->body_bytes);
		http_exchange_fail_late(x, SP_EUNAVAIL, text);
		return 0;
	}
	look_at_upload(x, now_ms);
	if (now_ms - x->heard_ms >= silence_ms) {
		/* A peer that sends next to nothing is "silent", too. */
		if (x->headers_done && x->content_length >= 0)
			snprintf(text, sizeof(text), "silent for %" PRId64 " ms after %" PRIu64 " of %" PRId64 " bytes",
			    silence_ms, x->body_bytes, x->content_length);
		else
			snprintf(text, sizeof(text), "silent for %" PRId64 " ms after %" PRIu64 " bytes", silence_ms,
			    x->body_bytes);
		http_exchange_fail_late(x, SP_ESTALLED, text);
		return 0;
	}
	left_ms = silence_ms - (now_ms - x->heard_ms);
	if (x->timeout_ms > 0 && x->timeout_ms - (now_ms - x->started_ms) < left_ms)
		left_ms = x->timeout_ms - (now_ms - x->started_ms);
	return left_ms;
}

int
http_exchange_start(struct http_exchange *x, CURLM *multi, CURL *easy, const struct http_manner *manner,
    const struct http_request_out *rq, struct sp_error *err)
{
	x->easy = easy;
	x->on_socket = manner->unix_socket != NULL;
	if (strncasecmp(rq->url, "http://", 7) != 0 && strncasecmp(rq->url, "https://", 8) != 0)
		return sp_error_set(err, SP_ECONF, "%s: only http and https URLs can be asked", rq->url);
	if ((x->what = http_request_describe(manner, rq)) == NULL || http_request_set_up(x, manner, rq) < 0)
		goto out_of_memory;
	curl_easy_setopt(easy, CURLOPT_PRIVATE, x);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->curl_text);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
	x->started_ms = x->heard_ms = clock_mono_ms();
	x->stall_ms = manner->stall_timeout_ms;
	x->least = HTTP_LEAST_BYTES;
	if (manner->rate_limit > 0 && manner->rate_limit * (uint64_t)x->stall_ms / 4000 < x->least)
		x->least = manner->rate_limit * (uint64_t)x->stall_ms / 4000 + 1;
	x->timeout_ms = rq->timeout_ms;
	x->patience_ms = rq->patience_ms;
	x->content_length = -1;
	if (curl_multi_add_handle(multi, easy) != CURLM_OK)
		goto out_of_memory;
	return 0;

out_of_memory:
	curl_slist_free_all(x->headers);
	curl_slist_free_all(x->connect_to);
	free(x->what);
	x->headers = x->connect_to = NULL;
	x->what = NULL;
	return sp_error_set(err, SP_ENOMEM, "%s: out of memory", rq->url);
}

void
http_exchange_stop(struct http_exchange *x, CURLM *multi)
{
	curl_multi_remove_handle(multi, x->easy);
	curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(x->easy, CURLOPT_CONNECT_TO, NULL);
	curl_easy_setopt(x->easy, CURLOPT_ERRORBUFFER, NULL);
	curl_slist_free_all(x->headers);
	curl_slist_free_all(x->connect_to);
	free(x->what);
	x->headers = x->connect_to = NULL;
	x->what = NULL;
}
