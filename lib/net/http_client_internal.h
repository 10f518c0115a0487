/*
 * Shared by the files of the HTTP client (http_client.c and http_client_*.c); no other file
 * includes this.
 *
 * An exchange is one request with its answer. It is added to a curl multi handle, which http_turn() moves on; curl's
 * callbacks fill the reply. The exchange measures silence itself, in milliseconds, because curl's own low-speed limit
 * counts whole seconds of an average and cannot tell a long poll from a dead peer.
 */
#ifndef LIB_NET_HTTP_CLIENT_INTERNAL_H_
#define LIB_NET_HTTP_CLIENT_INTERNAL_H_

#include <stdatomic.h>

#include <curl/curl.h>

#include "lib/net/http_client.h"

#define HTTP_STREAM_BUFFER  (1u << 20)   /* a stream pauses when it holds so many bytes */
#define HTTP_RECEIVE_BUFFER (512u << 10) /* curl's own buffer: the largest piece that a callback gets */

/* How connections behave: the client's options with the defaults filled in. */
struct http_manner {
	const char *unix_socket;
	const char *ca_file;
	const struct http_access *access; /* or NULL */
	int64_t connect_timeout_ms;
	int64_t stall_timeout_ms;
	uint64_t rate_limit;
};

struct http_exchange {
	CURL *easy; /* the caller's; its settings are the exchange's while that lasts */
	struct curl_slist *headers;
	struct curl_slist *connect_to; /* where the URL's name is not the one to be verified */
	char *what;                    /* "GET http://…", for messages */
	bool on_socket;                /* a Unix one */

	struct http_reply *reply; /* NULL once a stream's headers were handed over */
	struct buf *stream;       /* where the body of a 200 or 206 goes; NULL: into the reply, as any other */
	bool streaming;           /* the headers have said so */
	bool paused;              /* curl holds a piece back, because `stream` is full */

	bool headers_done;
	bool finished; /* curl has ended it, or it was abandoned: `result` is final */
	size_t header_bytes;
	uint64_t body_bytes;    /* as they came over the wire */
	int64_t content_length; /* as announced, or -1 */
	curl_off_t sent;        /* request bytes that had left when last looked at */

	int64_t started_ms;
	int64_t heard_ms; /* when the peer last got on, or when waiting for it began */
	uint64_t heard;   /* bytes of body since then */
	uint64_t least;   /* so many are getting on */
	int64_t left_ms;  /* when a stream's caller was last given something; 0: not yet */
	int64_t stall_ms;
	int64_t timeout_ms;  /* 0: none */
	int64_t patience_ms; /* more silence that is granted until the answer begins */

	int result; /* 0 or the SP_E… code */
	struct sp_error err;
	char curl_text[CURL_ERROR_SIZE];
};

/* Set up what the access rules ask for (http_client_access.c): TLS, the name to be verified, the token. After the URL
 * was set. */
int http_access_prepare(struct http_exchange *x, const struct http_access *access, const char *url);

/* Set x->easy, of which nothing is left from before, up for `rq`: all but where the answer goes.
 * SP_ENOMEM; what it leaves in `x` is then the caller's to free (http_client_request.c). */
int http_request_set_up(struct http_exchange *x, const struct http_manner *manner, const struct http_request_out *rq);

/* "GET http://store-0:9876/v1/position", "GET /position through /run/seedpod/control.sock"; NULL when out of memory. */
char *http_request_describe(const struct http_manner *manner, const struct http_request_out *rq);

/* Set `easy` up for `rq` and add it to `multi`. On failure nothing is left to stop. */
int http_exchange_start(struct http_exchange *x, CURLM *multi, CURL *easy, const struct http_manner *manner,
    const struct http_request_out *rq, struct sp_error *err);

/* Take it off `multi` and free what it holds; `easy` stays. A connection that is not at its answer's end is closed. */
void http_exchange_stop(struct http_exchange *x, CURLM *multi);

/* End it now with a code and a text of our own. */
void http_exchange_fail(struct http_exchange *x, int code, const char *text);

/* The same, where the peer took too long: was anybody there? */
void http_exchange_fail_late(struct http_exchange *x, int code, const char *text);

/* Give it up where its time is over. Returns how many milliseconds it may still be silent. */
int64_t http_exchange_check(struct http_exchange *x, int64_t now_ms);

/* Let curl move every exchange of `multi` on, without waiting, and finish those that have ended. */
void http_turn(CURLM *multi);

/* Turn and wait until something moved, or wait_ms are over, or curl_multi_wakeup(). */
void http_wait(CURLM *multi, int64_t wait_ms);

struct http_decoder; /* a stream's zstd decoder, in http_client_stream.c */

struct http_client {
	CURLM *multi;
	CURL *easy;
	char *unix_socket;
	char *ca_file;
	struct http_manner manner;
	struct http_exchange exchange;
	bool busy; /* `exchange` is in use */

	struct buf stream;            /* the piece that http_stream_read() hands out, and what follows it */
	bool handed_out;              /* `stream` holds a piece that the caller is done with at its next read */
	struct http_decoder *decoder; /* NULL: the stream is not compressed */

	atomic_bool cancel; /* set by any thread */
};

/* Begin and end the client's one exchange; `stream` as in struct http_exchange. */
int http_client_begin(struct http_client *c, const struct http_request_out *rq, struct http_reply *reply,
    struct buf *stream, struct sp_error *err);
void http_client_end(struct http_client *c);

/* One round without waiting: cancel, a turn, deadlines. Returns how long may be waited for the next one. */
int64_t http_client_round(struct http_client *c);

#endif
