/* The HTTP client against peers that refuse, stall, cut short, overflow and talk nonsense. */
#include "lib/net/http_client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zstd.h>

#include "lib/base/clock.h"
#include "tests/lib/peer_server.h"
#include "tests/lib/suite.h"

#define URL_MAX 256

/* What a handler needs to know. */
struct script {
	const char *bytes;   /* sent first */
	size_t len;          /* of bytes; 0: strlen */
	bool stall;          /* then say nothing */
	bool keep;           /* then wait for the next request */
	const char *endless; /* then this, over and over */
	const char *drip;    /* then this, byte by byte */
	int drip_ms;         /* with so long between */
	int delay_ms;        /* before anything */
	int stall_ms;        /* what the client calls a stall; 0: 150 */
	char *request;       /* out: the last request, malloc'ed */
};

static pthread_mutex_t request_lock = PTHREAD_MUTEX_INITIALIZER;

static bool
play(int fd, const char *request, void *arg)
{
	struct script *s = arg;

	/* Two connections may be played at once. */
	pthread_mutex_lock(&request_lock);
	free(s->request);
	s->request = strdup(request);
	pthread_mutex_unlock(&request_lock);
	if (s->delay_ms > 0)
		usleep((useconds_t)s->delay_ms * 1000);
	if (s->bytes != NULL)
		peer_send(fd, s->bytes, s->len > 0 ? s->len : strlen(s->bytes));
	if (s->drip != NULL)
		peer_drip(fd, s->drip, strlen(s->drip), 1, s->drip_ms);
	if (s->endless != NULL)
		peer_endless(fd, s->endless, strlen(s->endless));
	if (s->stall)
		peer_stall(fd);
	return s->keep;
}

static struct http_client *
client(int64_t stall_ms)
{
	struct sp_error err = { 0 };
	struct http_client *c = http_client_new(&(struct http_client_options){ .stall_timeout_ms = stall_ms }, &err);

	ck_assert_ptr_nonnull(c);
	return c;
}

/* Play `s` to one GET and return what http_call() says of it. */
static int
call(struct script *s, const struct http_request_out *wish, struct http_reply *reply, struct sp_error *err)
{
	struct peer_server *server = peer_server_new(play, s);
	struct http_client *c = client(s->stall_ms > 0 ? s->stall_ms : 150);
	struct http_request_out rq = *wish;
	char url[URL_MAX];
	int rc;

	peer_server_url(server, "/x", url, sizeof(url));
	rq.url = url;
	rc = http_call(c, &rq, reply, err);
	http_client_free(c);
	peer_server_free(server);
	return rc;
}

/* The same where the answer itself does not matter. */
static int
verdict(struct script *s, struct sp_error *err)
{
	struct http_reply reply;
	int rc;

	http_reply_init(&reply, 1000);
	rc = call(s, &(struct http_request_out){ 0 }, &reply, err);
	http_reply_release(&reply);
	free(s->request);
	return rc;
}

static int
get(const char *bytes, bool stall, struct sp_error *err)
{
	return verdict(&(struct script){ .bytes = bytes, .stall = stall }, err);
}

START_TEST(http_call__reads_status_headers_and_body)
{
	struct script s = { .bytes = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n"
				     "Seedpod-Seq:  17 \r\nContent-Length: 5\r\n\r\nno\0no",
		.len = 97 };
	struct http_reply reply;
	struct sp_error err = { 0 };
	char value[32];

	s.len = strlen(s.bytes) + 3;
	http_reply_init(&reply, 64);
	ck_assert_int_eq(call(&s, &(struct http_request_out){ 0 }, &reply, &err), 0);
	ck_assert_int_eq(reply.status, 404);
	ck_assert_int_eq(reply.content_length, 5);
	ck_assert_uint_eq(reply.body.len, 5);
	ck_assert_mem_eq(reply.body.data, "no\0no", 5);
	ck_assert(http_reply_header(&reply, "SEEDPOD-seq", value, sizeof(value)));
	ck_assert_str_eq(value, "17");
	ck_assert(!http_reply_header(&reply, "Seedpod", value, sizeof(value)));
	ck_assert(!http_reply_header(&reply, "Content-Type", value, 4));
	ck_assert(strncmp(s.request, "GET /x HTTP/1.1\r\n", 17) == 0);
	http_reply_release(&reply);
	free(s.request);
}
END_TEST

START_TEST(http_call__sends_method_headers_and_body)
{
	struct script s = { .bytes = "HTTP/1.1 204 No Content\r\n\r\n" };
	const char *const headers[] = { "X-One: 1", NULL };
	struct http_reply reply;
	struct sp_error err = { 0 };
	char *body = malloc(300000);

	memset(body, 'b', 299999);
	body[299999] = '\0';
	http_reply_init(&reply, 64);
	ck_assert_int_eq(
	    call(&s,
		&(struct http_request_out){ .method = "POST", .headers = headers, .body = body, .body_len = 299999 },
		&reply, &err),
	    0);
	ck_assert_int_eq(reply.status, 204);
	ck_assert(strncmp(s.request, "POST /x HTTP/1.1\r\n", 18) == 0);
	ck_assert_ptr_nonnull(strstr(s.request, "\r\nX-One: 1\r\n"));
	ck_assert_ptr_nonnull(strstr(s.request, "\r\nContent-Length: 299999\r\n"));
	ck_assert_ptr_null(strstr(s.request, "Expect"));
	ck_assert_ptr_null(strstr(s.request, "Content-Type"));
	ck_assert_str_eq(strstr(s.request, "\r\n\r\n") + 4, body);
	http_reply_release(&reply);
	free(s.request);
	free(body);
}
END_TEST

START_TEST(http_call__keeps_its_connection)
{
	struct script s = { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", .keep = true };
	struct peer_server *server = peer_server_new(play, &s);
	struct http_client *c = client(1000);
	struct http_reply reply;
	struct sp_error err = { 0 };
	char url[URL_MAX];

	http_reply_init(&reply, 64);
	peer_server_url(server, "/x", url, sizeof(url));
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(http_call(c, &(struct http_request_out){ .url = url }, &reply, &err), 0);
		ck_assert_str_eq(reply.body.data, "ok");
	}
	ck_assert_uint_eq(peer_server_requests(server), 3);
	http_client_free(c);
	peer_server_free(server);
	http_reply_release(&reply);
	free(s.request);
}
END_TEST

START_TEST(http_call__does_not_follow_redirects)
{
	struct script s = { .bytes = "HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n" };
	struct http_reply reply;
	struct sp_error err = { 0 };

	http_reply_init(&reply, 64);
	ck_assert_int_eq(call(&s, &(struct http_request_out){ 0 }, &reply, &err), 0);
	ck_assert_int_eq(reply.status, 307);
	http_reply_release(&reply);
	free(s.request);
}
END_TEST

START_TEST(http_call__refused_and_unknown_names_are_unavailable)
{
	struct http_client *c = client(1000);
	struct http_reply reply;
	struct sp_error err = { 0 };
	char url[URL_MAX];

	http_reply_init(&reply, 64);
	peer_refused_url(url, sizeof(url));
	ck_assert_int_eq(http_call(c, &(struct http_request_out){ .url = url }, &reply, &err), SP_EUNAVAIL);
	ck_assert_ptr_nonnull(strstr(err.text, url));
	ck_assert_int_eq(
	    http_call(c, &(struct http_request_out){ .url = "http://no-such-host.invalid:9876/" }, &reply, &err),
	    SP_EUNAVAIL);
	ck_assert_ptr_nonnull(strstr(err.text, "no-such-host.invalid"));
	http_client_free(c);
	http_reply_release(&reply);
}
END_TEST

START_TEST(http_call__other_schemes_are_refused)
{
	struct http_client *c = client(1000);
	struct http_reply reply;
	struct sp_error err = { 0 };

	http_reply_init(&reply, 64);
	ck_assert_int_eq(
	    http_call(c, &(struct http_request_out){ .url = "file:///etc/passwd" }, &reply, &err), SP_ECONF);
	http_client_free(c);
	http_reply_release(&reply);
}
END_TEST

START_TEST(http_call__silence_is_a_stall_and_says_how_far_it_came)
{
	/* Long enough for what is sent to come also from a machine that is busy. */
	struct script begun = {
		.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123", .stall = true, .stall_ms = 1500
	};
	struct sp_error err = { 0 };

	ck_assert_int_eq(get(NULL, true, &err), SP_ESTALLED);
	ck_assert_int_eq(get("HTTP/1.1 200 OK\r\nContent-Len", true, &err), SP_ESTALLED);
	ck_assert_int_eq(verdict(&begun, &err), SP_ESTALLED);
	ck_assert_ptr_nonnull(strstr(err.text, "after 3 of 10 bytes"));
}
END_TEST

START_TEST(http_call__end_before_the_answers_end_is_truncation)
{
	struct sp_error err = { 0 };

	ck_assert_int_eq(get(NULL, false, &err), SP_EUNAVAIL);
	ck_assert_int_eq(get("HTTP/1.1 200 OK\r\nContent-Len", false, &err), SP_ETRUNCATED);
	ck_assert_int_eq(get("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123", false, &err), SP_ETRUNCATED);
	ck_assert_ptr_nonnull(strstr(err.text, "after 3 of 10 bytes"));
	ck_assert_int_eq(
	    get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", false, &err), SP_ETRUNCATED);
}
END_TEST

START_TEST(http_call__what_is_not_http_is_bad_data)
{
	struct sp_error err = { 0 };

	ck_assert_int_eq(get("220 smtp.example ready\r\n\r\n", false, &err), SP_EBADDATA);
}
END_TEST

START_TEST(http_call__body_and_headers_are_bounded)
{
	struct script body = { .bytes = "HTTP/1.1 200 OK\r\n\r\n", .endless = "0123456789" };
	struct script headers = { .bytes = "HTTP/1.1 200 OK\r\n", .endless = "X-Header: value\r\n" };
	struct script line = { .bytes = "HTTP/1.1 200 OK\r\nX-Long: ", .endless = "xxxxxxxxxxxxxxxxxxxxxxxxx" };
	struct script hundreds = { .endless = "HTTP/1.1 100 Continue\r\n\r\n" };
	struct script *all[] = { &body, &headers, &line, &hundreds };
	struct sp_error err = { 0 };

	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(verdict(all[i], &err), SP_ETOOBIG);
}
END_TEST

START_TEST(http_call__timeout_bounds_a_dripping_peer)
{
	struct script s = { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
		.drip = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		.drip_ms = 20,
		.stall_ms = 60000 };
	struct http_reply reply;
	struct sp_error err = { 0 };

	http_reply_init(&reply, 1000);
	ck_assert_int_eq(call(&s, &(struct http_request_out){ .timeout_ms = 100 }, &reply, &err), SP_EUNAVAIL);
	ck_assert_ptr_nonnull(strstr(err.text, "within 100 ms"));
	http_reply_release(&reply);
	free(s.request);
}
END_TEST

/* A byte now and then ends a silence, but not a stall. */
START_TEST(http_call__dripping_is_a_stall)
{
	struct script s = { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
		.drip = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		.drip_ms = 20 };
	struct sp_error err = { 0 };

	ck_assert_int_eq(verdict(&s, &err), SP_ESTALLED);
}
END_TEST

START_TEST(http_call__a_head_that_drips_is_a_stall)
{
	struct script s = { .bytes = "HTTP/1.1 200 OK\r\n", .drip = "A: b\r\nC: d\r\nE: f\r\nG: h\r\n", .drip_ms = 20 };
	struct sp_error err = { 0 };

	ck_assert_int_eq(verdict(&s, &err), SP_ESTALLED);
}
END_TEST

START_TEST(http_call__slow_is_not_a_stall)
{
	struct script s = { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n",
		.drip = "0123456789ab",
		.drip_ms = 50,
		.stall_ms = 6000 }; /* a machine may stand still meanwhile */
	struct http_reply reply;
	struct sp_error err = { 0 };

	http_reply_init(&reply, 1000);
	ck_assert_int_eq(call(&s, &(struct http_request_out){ 0 }, &reply, &err), 0);
	ck_assert_str_eq(reply.body.data, "0123456789ab");
	http_reply_release(&reply);
	free(s.request);
}
END_TEST

START_TEST(http_call__patience_lets_a_long_poll_be_silent)
{
	struct script s = { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", .delay_ms = 400 };
	struct http_reply reply;
	struct sp_error err = { 0 };

	http_reply_init(&reply, 1000);
	ck_assert_int_eq(call(&s, &(struct http_request_out){ .patience_ms = 6000 }, &reply, &err), 0);
	free(s.request);
	s.request = NULL;
	ck_assert_int_eq(call(&s, &(struct http_request_out){ 0 }, &reply, &err), SP_ESTALLED);
	http_reply_release(&reply);
	free(s.request);
}
END_TEST

static void *
cancel_when_asked(void *arg)
{
	void **both = arg;

	while (peer_server_requests(both[0]) == 0)
		usleep(1000);
	http_client_cancel(both[1]);
	return NULL;
}

START_TEST(http_client_cancel__ends_a_call_at_once)
{
	struct script s = { .stall = true };
	struct peer_server *server = peer_server_new(play, &s);
	struct http_client *c = client(60000);
	void *both[] = { server, c };
	struct http_reply reply;
	struct sp_error err = { 0 };
	char url[URL_MAX];
	int64_t begin = clock_mono_ms();
	pthread_t thread;

	http_reply_init(&reply, 64);
	peer_server_url(server, "/x", url, sizeof(url));
	ck_assert_int_eq(pthread_create(&thread, NULL, cancel_when_asked, both), 0);
	ck_assert_int_eq(http_call(c, &(struct http_request_out){ .url = url }, &reply, &err), SP_ECANCELED);
	pthread_join(thread, NULL);
	ck_assert_int_lt(clock_mono_ms() - begin, 5000);

	/* One that comes early ends the next call, and that one only. */
	http_client_cancel(c);
	ck_assert_int_eq(http_call(c, &(struct http_request_out){ .url = url }, &reply, &err), SP_ECANCELED);
	http_client_configure(c, 50, 0);
	ck_assert_int_eq(http_call(c, &(struct http_request_out){ .url = url }, &reply, &err), SP_ESTALLED);
	http_client_free(c);
	peer_server_free(server);
	http_reply_release(&reply);
	free(s.request);
}
END_TEST

START_TEST(http_call__speaks_through_a_unix_socket)
{
	struct script s = { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" };
	char path[] = "/tmp/test_http.XXXXXX", socket_path[64];
	struct peer_server *server;
	struct http_client *c;
	struct http_reply reply;
	struct sp_error err = { 0 };

	ck_assert_ptr_nonnull(mkdtemp(path));
	snprintf(socket_path, sizeof(socket_path), "%s/s", path);
	server = peer_server_new_unix(socket_path, play, &s);
	c = http_client_new(&(struct http_client_options){ .unix_socket = socket_path }, &err);
	http_reply_init(&reply, 64);
	ck_assert_int_eq(http_call(c, &(struct http_request_out){ .url = "http://localhost/x" }, &reply, &err), 0);
	ck_assert_str_eq(reply.body.data, "ok");
	peer_server_free(server);
	unlink(socket_path);

	/* Once nobody listens there, the message names the socket, and not a host. */
	ck_assert_int_eq(
	    http_call(c, &(struct http_request_out){ .url = "http://localhost/x" }, &reply, &err), SP_EUNAVAIL);
	ck_assert_ptr_nonnull(strstr(err.text, "GET /x through /tmp/test_http."));
	ck_assert_ptr_nonnull(strstr(err.text, "No such file or directory"));
	ck_assert_ptr_null(strstr(err.text, "localhost"));
	http_client_free(c);
	http_reply_release(&reply);
	free(s.request);
	rmdir(path);
}
END_TEST

START_TEST(http_call_all__answers_and_failures_side_by_side)
{
	struct script good = { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" }, silent = { .stall = true };
	struct peer_server *a = peer_server_new(play, &good), *b = peer_server_new(play, &silent);
	char urls[4][URL_MAX];
	struct http_request_out rqs[4] = { 0 };
	struct http_reply replies[4];
	struct sp_error errs[4] = { 0 }, err = { 0 };
	struct http_client *c = client(60000);
	int results[4];
	int64_t begin = clock_mono_ms();

	peer_server_url(a, "/a", urls[0], URL_MAX);
	peer_server_url(b, "/b", urls[1], URL_MAX);
	peer_refused_url(urls[2], URL_MAX);
	snprintf(urls[3], URL_MAX, "gopher://x");
	for (size_t i = 0; i < 4; i++) {
		rqs[i].url = urls[i];
		http_reply_init(&replies[i], 100);
	}
	ck_assert_int_eq(http_call_all(c, rqs, replies, results, errs, 4, 300, &err), 0);
	ck_assert_int_lt(clock_mono_ms() - begin, 3000);
	ck_assert_int_eq(results[0], 0);
	ck_assert_str_eq(replies[0].body.data, "ok");
	ck_assert_int_eq(results[1], SP_EUNAVAIL);
	ck_assert_int_eq(results[2], SP_EUNAVAIL);
	ck_assert_int_eq(results[3], SP_ECONF);
	ck_assert_ptr_nonnull(strstr(errs[1].text, "/b"));
	http_client_free(c);
	peer_server_free(a);
	peer_server_free(b);
	for (size_t i = 0; i < 4; i++)
		http_reply_release(&replies[i]);
	free(good.request);
	free(silent.request);
}
END_TEST

START_TEST(http_call_all__canceled_ends_at_once)
{
	struct script s = { .stall = true };
	struct peer_server *server = peer_server_new(play, &s);
	struct http_client *c = client(60000);
	void *both[] = { server, c };
	struct http_request_out rqs[2] = { 0 };
	struct http_reply replies[2];
	struct sp_error errs[2] = { 0 }, err = { 0 };
	char url[URL_MAX];
	int64_t begin = clock_mono_ms();
	int results[2];
	pthread_t thread;

	peer_server_url(server, "/x", url, sizeof(url));
	for (size_t i = 0; i < 2; i++) {
		rqs[i].url = url;
		http_reply_init(&replies[i], 100);
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, cancel_when_asked, both), 0);
	ck_assert_int_eq(http_call_all(c, rqs, replies, results, errs, 2, 30000, &err), SP_ECANCELED);
	pthread_join(thread, NULL);
	ck_assert_int_lt(clock_mono_ms() - begin, 5000);

	/* Of use afterwards, for calls of its own too. */
	ck_assert_int_eq(http_call_all(c, rqs, replies, results, errs, 2, 100, &err), 0);
	ck_assert_int_eq(results[1], SP_EUNAVAIL);
	http_client_configure(c, 50, 0);
	ck_assert_int_eq(http_call(c, &rqs[0], &replies[0], &err), SP_ESTALLED);
	http_client_free(c);
	peer_server_free(server);
	for (size_t i = 0; i < 2; i++)
		http_reply_release(&replies[i]);
	free(s.request);
}
END_TEST

/* --- Streams --- */

#define BIG ((size_t)5 << 20)

static char
pattern(size_t at)
{
	return (char)(at * 2654435761u >> 13);
}

static bool
send_big(int fd, const char *request, void *arg)
{
	char *big = malloc(BIG), head[128];

	(void)request;
	(void)arg;
	for (size_t i = 0; i < BIG; i++)
		big[i] = pattern(i);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", BIG);
	peer_send_text(fd, head);
	peer_send(fd, big, BIG);
	free(big);
	return false;
}

/* Pull to the end; returns the last code and counts the bytes, which must be the pattern's. */
static int
pull(struct http_client *c, size_t *total, size_t *largest, struct sp_error *err)
{
	const void *data;
	size_t len;
	int rc;

	*total = *largest = 0;
	while ((rc = http_stream_read(c, &data, &len, err)) == 1) {
		for (size_t i = 0; i < len; i++)
			if (((const char *)data)[i] != pattern(*total + i))
				ck_abort_msg("wrong byte at %zu", *total + i);
		*total += len;
		*largest = len > *largest ? len : *largest;
	}
	return rc;
}

START_TEST(http_stream__delivers_every_byte_in_bounded_pieces)
{
	struct peer_server *server = peer_server_new(send_big, NULL);
	struct http_client *c = client(5000);
	struct http_reply reply;
	struct sp_error err = { 0 };
	char url[URL_MAX];
	size_t total, largest;

	http_reply_init(&reply, 64);
	peer_server_url(server, "/big", url, sizeof(url));
	ck_assert_int_eq(http_stream_open(c, &(struct http_request_out){ .url = url }, &reply, &err), 0);
	ck_assert_int_eq(reply.status, 200);
	ck_assert_int_eq(reply.content_length, (int64_t)BIG);
	ck_assert_int_eq(pull(c, &total, &largest, &err), 0);
	ck_assert_uint_eq(total, BIG);
	ck_assert_uint_le(largest, 3u << 19);
	http_stream_close(c);
	http_stream_close(c);
	http_client_free(c);
	peer_server_free(server);
	http_reply_release(&reply);
}
END_TEST

START_TEST(http_stream__rate_limit_slows_it_down_and_is_no_stall)
{
	struct peer_server *server = peer_server_new(send_big, NULL);
	struct sp_error err = { 0 };
	struct http_client *c =
	    http_client_new(&(struct http_client_options){ .stall_timeout_ms = 1000, .rate_limit = 5 << 20 }, &err);
	struct http_reply reply;
	char url[URL_MAX];
	size_t total, largest;
	int64_t begin;
	int rc = SP_ESTALLED;

	http_reply_init(&reply, 64);
	peer_server_url(server, "/big", url, sizeof(url));
	/* Again, where it was the machine that stood still. */
	for (int tries = 0; tries < 3 && rc == SP_ESTALLED; tries++) {
		begin = clock_mono_ms();
		ck_assert_int_eq(http_stream_open(c, &(struct http_request_out){ .url = url }, &reply, &err), 0);
		rc = pull(c, &total, &largest, &err);
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_eq(total, BIG);
	ck_assert_int_ge(clock_mono_ms() - begin, 500);
	http_client_free(c);
	peer_server_free(server);
	http_reply_release(&reply);
}
END_TEST

static int
stream(struct script *s, struct http_reply *reply, size_t *total, struct sp_error *err)
{
	struct peer_server *server = peer_server_new(play, s);
	struct http_client *c = client(s->stall_ms > 0 ? s->stall_ms : 150);
	const void *data;
	char url[URL_MAX];
	size_t len;
	int rc;

	*total = 0;
	peer_server_url(server, "/x", url, sizeof(url));
	rc = http_stream_open(c, &(struct http_request_out){ .url = url, .accept_zstd = true }, reply, err);
	if (rc == 0)
		while ((rc = http_stream_read(c, &data, &len, err)) == 1)
			*total += len;
	http_client_free(c);
	peer_server_free(server);
	free(s->request);
	s->request = NULL;
	return rc;
}

START_TEST(http_stream__hands_out_what_came_before_a_failure)
{
	struct script cut = { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234" };
	struct script stalled = { .bytes = cut.bytes, .stall = true, .stall_ms = 1500 };
	struct http_reply reply;
	struct sp_error err = { 0 };
	size_t total;

	http_reply_init(&reply, 64);
	ck_assert_int_eq(stream(&cut, &reply, &total, &err), SP_ETRUNCATED);
	ck_assert_uint_eq(total, 4);
	ck_assert_ptr_nonnull(strstr(err.text, "4 of 10"));
	ck_assert_int_eq(stream(&stalled, &reply, &total, &err), SP_ESTALLED);
	ck_assert_uint_eq(total, 4);
	http_reply_release(&reply);
}
END_TEST

START_TEST(http_stream__refusals_bring_their_text)
{
	struct script refusal = { .bytes = "HTTP/1.1 503 x\r\nContent-Length: 8\r\n\r\nno store" };
	struct script endless = { .bytes = "HTTP/1.1 500 x\r\n\r\n", .endless = "and on and on " };
	struct http_reply reply;
	struct sp_error err = { 0 };
	size_t total;

	http_reply_init(&reply, 64);
	ck_assert_int_eq(stream(&refusal, &reply, &total, &err), 0);
	ck_assert_int_eq(reply.status, 503);
	ck_assert_str_eq(reply.body.data, "no store");
	ck_assert_uint_eq(total, 0);
	ck_assert_int_eq(stream(&endless, &reply, &total, &err), 0);
	ck_assert_int_eq(reply.status, 500);
	http_reply_release(&reply);
}
END_TEST

/* A zstd answer of n frames, each of `size` zero bytes. */
static void
make_zstd(struct script *s, size_t frames, size_t size, size_t cut)
{
	size_t room = 256 + frames * ZSTD_compressBound(size), used;
	char *zeros = calloc(1, size), *out = malloc(room);

	used = (size_t)snprintf(out, room, "HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\n\r\n");
	for (size_t i = 0; i < frames; i++)
		used += ZSTD_compress(out + used, room - used, zeros, size, 3);
	s->bytes = out;
	s->len = used - cut;
	free(zeros);
}

START_TEST(http_stream__zstd_is_undone_in_bounded_memory)
{
	/* Of zstd 0.7. */
	static const char legacy[] =
	    "HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\n\r\n\x27\xb5\x2f\xfd\x00\x78\xfd\x00\x78";
	struct script s = { 0 };
	struct http_reply reply;
	struct sp_error err = { 0 };
	size_t total;

	http_reply_init(&reply, 64);
	make_zstd(&s, 4, (size_t)40 << 20, 0); /* a few KiB that unfold to 160 MiB */
	ck_assert_int_eq(stream(&s, &reply, &total, &err), 0);
	ck_assert_uint_eq(total, (size_t)160 << 20);
	free((void *)(uintptr_t)s.bytes);

	make_zstd(&s, 2, 1000000, 3);
	ck_assert_int_eq(stream(&s, &reply, &total, &err), SP_ETRUNCATED);
	free((void *)(uintptr_t)s.bytes);

	s.bytes = "HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\n\r\nthis is not zstd at all";
	s.len = 0;
	ck_assert_int_eq(stream(&s, &reply, &total, &err), SP_EBADDATA);
	s.bytes = legacy;
	s.len = sizeof(legacy) - 1;
	ck_assert_int_eq(stream(&s, &reply, &total, &err), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "no zstd frame"));
	s.len = 0;
	s.bytes = "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nwhatever";
	ck_assert_int_eq(stream(&s, &reply, &total, &err), SP_EBADDATA);
	http_reply_release(&reply);
}
END_TEST

START_TEST(http_stream__cancel_ends_it)
{
	struct script s = { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234", .stall = true };
	struct peer_server *server = peer_server_new(play, &s);
	struct http_client *c = client(60000);
	struct http_reply reply;
	struct sp_error err = { 0 };
	char url[URL_MAX];
	const void *data;
	size_t len, total = 0;
	int rc;

	http_reply_init(&reply, 64);
	peer_server_url(server, "/x", url, sizeof(url));
	ck_assert_int_eq(http_stream_open(c, &(struct http_request_out){ .url = url }, &reply, &err), 0);
	while (total < 4) {
		ck_assert_int_eq(http_stream_read(c, &data, &len, &err), 1);
		total += len;
	}
	http_client_cancel(c);
	rc = http_stream_read(c, &data, &len, &err);
	ck_assert_int_eq(rc, SP_ECANCELED);
	ck_assert_int_eq(http_stream_read(c, &data, &len, &err), SP_ECANCELED);
	http_client_free(c);
	peer_server_free(server);
	http_reply_release(&reply);
	free(s.request);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("http");
	struct sp_error err = { 0 };
	int failed;

	if (http_setup(&err) < 0)
		return 1;
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, http_call__reads_status_headers_and_body);
	tcase_add_test(tc, http_call__sends_method_headers_and_body);
	tcase_add_test(tc, http_call__keeps_its_connection);
	tcase_add_test(tc, http_call__does_not_follow_redirects);
	tcase_add_test(tc, http_call__refused_and_unknown_names_are_unavailable);
	tcase_add_test(tc, http_call__other_schemes_are_refused);
	tcase_add_test(tc, http_call__silence_is_a_stall_and_says_how_far_it_came);
	tcase_add_test(tc, http_call__end_before_the_answers_end_is_truncation);
	tcase_add_test(tc, http_call__what_is_not_http_is_bad_data);
	tcase_add_test(tc, http_call__body_and_headers_are_bounded);
	tcase_add_test(tc, http_call__timeout_bounds_a_dripping_peer);
	tcase_add_test(tc, http_call__dripping_is_a_stall);
	tcase_add_test(tc, http_call__a_head_that_drips_is_a_stall);
	tcase_add_test(tc, http_call__slow_is_not_a_stall);
	tcase_add_test(tc, http_call__patience_lets_a_long_poll_be_silent);
	tcase_add_test(tc, http_client_cancel__ends_a_call_at_once);
	tcase_add_test(tc, http_call__speaks_through_a_unix_socket);
	tcase_add_test(tc, http_call_all__answers_and_failures_side_by_side);
	tcase_add_test(tc, http_call_all__canceled_ends_at_once);
	tcase_add_test(tc, http_stream__delivers_every_byte_in_bounded_pieces);
	tcase_add_test(tc, http_stream__rate_limit_slows_it_down_and_is_no_stall);
	tcase_add_test(tc, http_stream__hands_out_what_came_before_a_failure);
	tcase_add_test(tc, http_stream__refusals_bring_their_text);
	tcase_add_test(tc, http_stream__zstd_is_undone_in_bounded_memory);
	tcase_add_test(tc, http_stream__cancel_ends_it);
	failed = suite_run_case("http", tc);
	http_teardown();
	return failed;
}
