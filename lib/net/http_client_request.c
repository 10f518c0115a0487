/* Turns a request into options of curl. */
#include "lib/net/http_client_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/version.h"

#define RATE_BUFFER_MIN 1024u /* the least that curl takes */

static bool
has_header(const struct http_request_out *rq, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; rq->headers != NULL && rq->headers[i] != NULL; i++)
		if (strncasecmp(rq->headers[i], name, len) == 0 && rq->headers[i][len] == ':')
			return true;
	return false;
}

static int
append_header(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (longer == NULL)
		return SP_ENOMEM;
	*list = longer;
	return 0;
}

/* The caller's headers, and those that keep curl from adding its own. */
static int
set_headers(struct http_exchange *x, const struct http_request_out *rq)
{
	for (size_t i = 0; rq->headers != NULL && rq->headers[i] != NULL; i++)
		if (append_header(&x->headers, rq->headers[i]) < 0)
			return SP_ENOMEM;
	if (append_header(&x->headers, "Expect:") < 0)
		return SP_ENOMEM;
	if (rq->body != NULL && !has_header(rq, "Content-Type") && append_header(&x->headers, "Content-Type:") < 0)
		return SP_ENOMEM;
	if (rq->accept_zstd && append_header(&x->headers, "Accept-Encoding: zstd") < 0)
		return SP_ENOMEM;
	curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
	return 0;
}

static void
set_method(CURL *easy, const struct http_request_out *rq)
{
	const char *method = rq->method != NULL ? rq->method : "GET";

	if (rq->body != NULL || strcmp(method, "POST") == 0) {
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, rq->body != NULL ? rq->body : "");
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body_len);
		curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)HTTP_RECEIVE_BUFFER);
		if (strcmp(method, "POST") != 0)
			curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
	} else if (strcmp(method, "HEAD") == 0) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	} else if (strcmp(method, "GET") != 0) {
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
	}
}

/* Small steps where the rate is limited, so that curl's waiting between them stays far below any stall timeout. */
static long
receive_buffer(uint64_t rate_limit)
{
	if (rate_limit == 0 || rate_limit / 4 > HTTP_RECEIVE_BUFFER)
		return (long)HTTP_RECEIVE_BUFFER;
	return rate_limit / 4 < RATE_BUFFER_MIN ? (long)RATE_BUFFER_MIN : (long)(rate_limit / 4);
}

int
http_request_set_up(struct http_exchange *x, const struct http_manner *manner, const struct http_request_out *rq)
{
	CURL *easy = x->easy;

	curl_easy_reset(easy);
	if (curl_easy_setopt(easy, CURLOPT_URL, rq->url) != CURLE_OK)
		return SP_ENOMEM;
	if (manner->unix_socket != NULL &&
	    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, manner->unix_socket) != CURLE_OK)
		return SP_ENOMEM;
	if (manner->ca_file != NULL) {
		if (curl_easy_setopt(easy, CURLOPT_CAINFO, manner->ca_file) != CURLE_OK)
			return SP_ENOMEM;
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* none of the system's authorities beside it */
	}
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* a cluster's proxy is not for its own pods */
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "seedpod/" SEEDPOD_VERSION);
	curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L); /* a pod that comes back has another address */
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* never wait for a name server's thread */
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)manner->connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, receive_buffer(manner->rate_limit));
	curl_easy_setopt(easy, CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)manner->rate_limit);
	set_method(easy, rq);
	if (manner->unix_socket == NULL && http_access_prepare(x, manner->access, rq->url) < 0)
		return SP_ENOMEM;
	return set_headers(x, rq);
}

char *
http_request_describe(const struct http_manner *manner, const struct http_request_out *rq)
{
	const char *method = rq->method != NULL ? rq->method : "GET";
	const char *target = manner->unix_socket != NULL ? strchr(strstr(rq->url, "//") + 2, '/') : rq->url;
	size_t size = strlen(method) + strlen(rq->url) + 2;
	char *text;

	if (manner->unix_socket != NULL)
		size += strlen(" through ") + strlen(manner->unix_socket) + 1;
	if ((text = malloc(size)) == NULL)
		return NULL;
	snprintf(text, size, "%s %s%s%s", method, target != NULL ? target : "/",
	    manner->unix_socket != NULL ? " through " : "", manner->unix_socket != NULL ? manner->unix_socket : "");
	return text;
}
