/*
 * The HTTP client: every request that seedpod sends goes through here (owner of curl.h).
 *
 * Two ways to ask: http_call() for an answer that fits in memory, and http_stream_…() to pull an answer of any length.
 *
 *	struct http_client *c = http_client_new(&(struct http_client_options){ .stall_timeout_ms = 30000 }, &err);
 *	struct http_reply reply;
 *	http_reply_init(&reply, 1 << 20);
 *	if (http_call(c, &(struct http_request_out){ .url = url, .timeout_ms = 2000 }, &reply, &err) < 0) …
 *	http_reply_release(&reply);
 *	http_client_free(c);
 *
 * A client belongs to one thread at a time and keeps its connection between calls; http_client_cancel() alone may be
 * called from another thread. Redirects are not followed. Only http and https URLs are spoken. Call http_setup() once,
 * before the first thread starts.
 *
 * Errors: SP_EUNAVAIL (name not found, refused, unreachable, no answer in time), SP_ESTALLED (next to nothing for
 * stall_timeout_ms), SP_ETRUNCATED (closed before the end), SP_ETOOBIG (answer or headers over their limit),
 * SP_ECANCELED, SP_EBADDATA (not HTTP), SP_EPERM (one side does not trust the other's certificate), SP_ENOMEM. The text
 * names the URL and says how many bytes had come. An HTTP status that is not 2xx is not an error here: the caller looks
 * at `status`.
 */
#ifndef LIB_NET_HTTP_CLIENT_H_
#define LIB_NET_HTTP_CLIENT_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"

struct tls;

/*
 * The access rules for peers: how this program and a peer that it asks over TCP authenticate to
 * each other. A client that has none shows neither a certificate nor a token.
 */
struct http_access {
	struct tls *tls; /* our certificate, and the authorities that theirs must come from; NULL: none, the system's */

	/*
	 * Whether `url` is a peer's: only a peer is shown the certificate and the token, and held to the authorities.
	 * `name` (of size bytes) becomes the name that its certificate must bear; left "", that is the URL's host.
	 */
	bool (*is_peer)(void *arg, const char *url, char *name, size_t size);

	/* The token to show, into out[size]: true, or false if there is none. NULL: there is none. */
	bool (*token)(void *arg, char *out, size_t size);
	void *arg;
};

#define HTTP_TOKEN_MAX 520 /* bytes, with NUL */

int http_setup(struct sp_error *err);

void http_teardown(void);

struct http_client_options {
	const char *unix_socket; /* path: speak through this Unix socket whatever the URL's host; NULL: TCP */
	const char
	    *ca_file; /* PEM: the authorities that an https peer's certificate must come from; NULL: the system's */
	const struct http_access *access; /* the rules for peers; must outlive the client. NULL: none */
	int64_t connect_timeout_ms;       /* 0: 5 s */
	int64_t stall_timeout_ms;         /* an answer that is silent for so long, once asked for, or brings less than
					   * HTTP_LEAST_BYTES in it, has stalled; 0: 30 s */
	uint64_t rate_limit;              /* bytes a second received, 0: none */
};

struct http_client;
struct http_client *http_client_new(const struct http_client_options *options, struct sp_error *err);
void http_client_free(struct http_client *c);

/* Make the call under way (and the next one, if none is) end at once with SP_ECANCELED. Any thread. */
void http_client_cancel(struct http_client *c);

/* Change stall_timeout_ms and rate_limit for later calls. The owner's thread. */
void http_client_configure(struct http_client *c, int64_t stall_timeout_ms, uint64_t rate_limit);

/* One request. All memory stays the caller's and must last as long as the call. */
struct http_request_out {
	const char *method; /* NULL: GET */
	const char *url;
	const char *const *headers; /* "Name: value" strings, ended by NULL; or NULL */
	const void *body;           /* NULL: none */
	size_t body_len;
	int64_t timeout_ms;  /* the whole call; 0: bounded by stalls alone */
	int64_t patience_ms; /* how long the peer may be silent on purpose (a long poll) on top of stall_timeout_ms */
	bool accept_zstd;    /* of a stream: offer zstd; the answer arrives decompressed */
};

#define HTTP_LEAST_BYTES 1024  /* fewer where rate_limit does not allow as many */
#define HTTP_HEADERS_MAX 16384 /* bytes of answer headers that are taken */

struct http_reply {
	long status;
	bool silent;        /* a server accepted the connection and did not answer in time */
	struct buf headers; /* "name: value\n" lines, names in lower case */
	struct buf body;
	int64_t content_length; /* as announced, -1 if it was not */
};

void http_reply_init(struct http_reply *r, size_t body_limit_bytes);
void http_reply_release(struct http_reply *r);

/* The value of a header (name in any case) copied to out[size] and true, or false. Longer values do not match. */
bool http_reply_header(const struct http_reply *r, const char *name, char *out, size_t size);

/* Ask and wait for the whole answer. On failure the reply holds what came, for messages. */
int http_call(struct http_client *c, const struct http_request_out *rq, struct http_reply *reply, struct sp_error *err);

/* Whether the last call of http_call() got as far as an answer's first byte, from the right party:
 * over TLS, from the peer that was asked. */
bool http_client_heard(const struct http_client *c);

/*
 * Ask n peers at once and wait until all have answered or timeout_ms is over. results[i] is 0 or the SP_E… code of that
 * call, errs[i] its story. `c` lends its thread's right to ask and can be cancelled, which ends all at once and is this
 * call's own failure (SP_ECANCELED); its options do not count, and its socket is not used.
 */
int http_call_all(struct http_client *c, const struct http_request_out *rqs, struct http_reply *replies, int *results,
    struct sp_error *errs, size_t n, int64_t timeout_ms, struct sp_error *err);

/*
 * Pull an answer: http_stream_open() returns once the headers are in (reply->status, ->headers, ->content_length);
 * where the status is 200 or 206 the body then comes from http_stream_read(), else up to the reply's limit of it is in
 * reply->body and the stream is at its end. A stream occupies its client until http_stream_close().
 */
int http_stream_open(
    struct http_client *c, const struct http_request_out *rq, struct http_reply *reply, struct sp_error *err);

/*
 * The next piece: *data and *len are valid until the next call on this client. Returns 1 with a piece, 0 at the end
 * (every announced byte came), or an error. Holds at most about 1 MiB however fast the peer is.
 */
int http_stream_read(struct http_client *c, const void **data, size_t *len, struct sp_error *err);

/* End it; if it is not at its end, the connection is closed. Safe without an open stream. */
void http_stream_close(struct http_client *c);

#endif
