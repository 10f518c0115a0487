#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "lib/net/listener_internal.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define BODY_LIMIT   1000
#define STREAM_BYTES 3000000
#define DEADLINE_MS  10000

static struct listener *listener;
static struct http_client *client;
static struct http_reply reply;
static struct sp_error err;

/* What the handler saw and did. */
static atomic_uint handled, finished, freed;
static struct request *_Atomic suspended;
static atomic_bool refuse_own;
static unsigned idle_timeout_s = 60;
static unsigned connection_limit;
static size_t reply_budget_bytes;

static size_t
body_limit(struct request *rq, void *arg)
{
	(void)arg;
	return strcmp(request_path(rq), "/large") == 0 ? 3 << 20 : BODY_LIMIT;
}

static int64_t
count_up(void *arg, uint64_t offset, char *out, size_t max)
{
	uint64_t end = *(uint64_t *)arg;
	size_t n = end - offset < max ? (size_t)(end - offset) : max;

	if (end == 1 && offset == 0) {
		out[0] = 'x';
		return 1;
	}
	if (end == 1)
		return -1;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)('a' + (offset + i) % 26);
	return (int64_t)n;
}

static void
count_free(void *arg)
{
	free(arg);
	atomic_fetch_add(&freed, 1);
}

static void
answer_stream(struct request *rq, const char *path)
{
	uint64_t *end = malloc(sizeof(*end));

	*end = strcmp(path, "/broken") == 0 ? 1 : STREAM_BYTES;
	if (strcmp(path, "/small") == 0)
		request_set_source_bytes(rq, 100000);
	if (strcmp(path, "/small") == 0 || strcmp(path, "/endless") == 0)
		*end = UINT64_MAX;
	request_reply_stream(rq, 200, "text/plain",
	    *end == UINT64_MAX || strcmp(path, "/chunked") == 0 ? REQUEST_LENGTH_UNKNOWN : STREAM_BYTES, count_up,
	    count_free, end);
}

/* Has nothing to send until it was resumed: before the first byte, and amid the rest. */
struct late {
	struct request *rq;
	uint64_t sent;
	unsigned waits;
	pthread_t thread;
};

static void *
resume_soon(void *arg)
{
	clock_sleep_ms(5);
	request_resume(arg);
	return NULL;
}

static int64_t
count_late(void *arg, uint64_t offset, char *out, size_t max)
{
	struct late *late = arg;
	size_t n = max < 1000 ? max : 1000;

	ck_assert_uint_eq(offset, late->sent);
	if (late->waits < 3 && late->sent >= late->waits * 1000) {
		request_suspend(late->rq);
		if (late->waits++ == 1)
			request_resume(late->rq);
		else if (pthread_create(&late->thread, NULL, resume_soon, late->rq) == 0)
			pthread_detach(late->thread);
		return REQUEST_SOURCE_LATER;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = 'a' + (char)((offset + i) % 26);
	late->sent += n;
	return (int64_t)n;
}

static void
answer_late(struct request *rq)
{
	struct late *late = calloc(1, sizeof(*late));

	late->rq = rq;
	request_reply_stream(rq, 200, "text/plain", 5000, count_late, count_free, late);
}

static void
answer_query(struct request *rq)
{
	char value[16] = "#", text[64];
	int len = request_query(rq, "q", value, sizeof(value));

	snprintf(text, sizeof(text), "%d:%s", len, len >= 0 ? value : "");
	request_reply(rq, 200, "text/plain", text, strlen(text));
}

/* Answers with what the request said. */
static void
answer_echo(struct request *rq)
{
	const char *header = request_header(rq, "x-TEST");
	struct buf text;
	size_t len;
	const void *body = request_body(rq, &len);

	buf_init(&text, 8 << 20);
	buf_printf(&text, "%s %s %s [%s] ", request_method(rq), request_path(rq), request_target(rq),
	    header != NULL ? header : "");
	buf_add(&text, body, len);
	request_add_header(rq, "X-Answer", "yes");
	request_add_header(rq, "X-Bad", "a\r\nX-Injected: b");
	request_reply_buf(rq, 200, "text/plain", &text);
	ck_assert_uint_eq(text.len, 0);
}

static void
handle(struct request *rq, void *arg)
{
	const char *path = request_path(rq);

	ck_assert_ptr_eq(arg, &listener);
	atomic_fetch_add(&handled, 1);
	if (strcmp(path, "/query") == 0) {
		answer_query(rq);
	} else if (strcmp(path, "/stream") == 0 || strcmp(path, "/chunked") == 0 || strcmp(path, "/broken") == 0 ||
		   strcmp(path, "/small") == 0 || strcmp(path, "/endless") == 0) {
		answer_stream(rq, path);
	} else if (strcmp(path, "/late") == 0) {
		answer_late(rq);
	} else if (strcmp(path, "/suspend") == 0 && request_state(rq) == NULL) {
		request_set_state(rq, strdup("seen"));
		request_suspend(rq);
		atomic_store(&suspended, rq);
	} else if (strcmp(path, "/at-once") == 0 && request_state(rq) == NULL) {
		request_set_state(rq, strdup("at once"));
		request_suspend(rq);
		request_resume(rq);
	} else if (request_state(rq) != NULL) {
		request_reply(rq, 200, "text/plain", request_state(rq), strlen(request_state(rq)));
	} else {
		answer_echo(rq);
	}
}

static void
finish(struct request *rq, void *arg)
{
	ck_assert_ptr_eq(arg, &listener);
	free(request_state(rq));
	atomic_fetch_add(&finished, 1);
}

static void
refuse(struct request *rq, unsigned status, const char *detail, void *arg)
{
	char text[200];

	ck_assert_ptr_eq(arg, &listener);
	if (!atomic_load(&refuse_own))
		return;
	snprintf(text, sizeof(text), "own %u %s", status, detail);
	request_reply(rq, status, "application/x-own", text, strlen(text));
}

static void
start(const char *address)
{
	struct listener_options o = { .address = address,
		.threads = 8,
		.body_budget_bytes = (3 << 20) + (900 << 10),
		.reply_budget_bytes = reply_budget_bytes,
		.connection_limit = connection_limit,
		.idle_timeout_s = idle_timeout_s,
		.body_limit = body_limit,
		.handle = handle,
		.done = finish,
		.refuse = refuse,
		.arg = &listener };

	listener = listener_new(&o, &err);
	ck_assert_msg(listener != NULL, "%s", err.text);
}

static void
setup(void)
{
	ck_assert_int_eq(http_setup(&err), 0);
	client = http_client_new(&(struct http_client_options){ .stall_timeout_ms = DEADLINE_MS }, &err);
	http_reply_init(&reply, 8 << 20);
}

static void
teardown(void)
{
	http_reply_release(&reply);
	http_client_free(client);
	listener_free(listener, 1000);
	http_teardown();
}

static int
call(const char *method, const char *path, const void *body, size_t len, const char *const *headers)
{
	char url[256];
	struct http_request_out rq = {
		.method = method, .url = url, .headers = headers, .body = body, .body_len = len
	};

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", listener_port(listener), path);
	http_reply_release(&reply);
	http_reply_init(&reply, 8 << 20);
	return http_call(client, &rq, &reply, &err);
}

static void
get(const char *path)
{
	ck_assert_msg(call("GET", path, NULL, 0, NULL) == 0, "%s", err.text);
}

/* The listener is a moment later than its client to know that a request is over. */
static void
wait_until(bool (*is_so)(unsigned), unsigned n)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;

	while (!is_so(n) && clock_mono_ms() < deadline)
		clock_sleep_ms(2);
	ck_assert(is_so(n));
}

static bool
finished_are(unsigned n)
{
	return atomic_load(&finished) == n;
}

static bool
suspended_is(unsigned n)
{
	return (atomic_load(&suspended) != NULL) == (n == 1);
}

static bool
connections_are(unsigned n)
{
	return listener_connections(listener) == n;
}

static bool
is_pressed(unsigned n)
{
	(void)n;
	return guard_pressed(listener->guard);
}

static bool
is_eased(unsigned n)
{
	(void)n;
	return !guard_pressed(listener->guard);
}

/* --- A connection of one's own, for what no client does --- */

static int
open_raw(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)listener_port(listener)) };
	struct timeval patience = { .tv_sec = DEADLINE_MS / 1000 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	return fd;
}

static void
send_raw(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Read until the text holds `until`, or the end where that is NULL. */
static const char *
read_raw(int fd, const char *until)
{
	static char text[65536];
	size_t len = 0;
	ssize_t n = 1;

	text[0] = '\0';
	while ((until == NULL || strstr(text, until) == NULL) && len < sizeof(text) - 1) {
		n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
		ck_assert_msg(n >= 0, "no answer after \"%s\"", text);
		if (n == 0)
			break;
		len += (size_t)n;
		text[len] = '\0';
	}
	ck_assert_msg(until == NULL || strstr(text, until) != NULL, "\"%s\" lacks \"%s\"", text, until);
	return text;
}

/* --- Requests and replies --- */

START_TEST(listener__says_what_the_request_says)
{
	static const char *const headers[] = { "X-Test: a value", NULL };
	char value[64];

	start("127.0.0.1:0");
	ck_assert_int_eq(call("POST", "/a%2Fb%00c?x=%20&y", "body\0too", 8, headers), 0);
	ck_assert_int_eq(reply.status, 200);
	ck_assert_uint_eq(reply.body.len, strlen("POST /a%2Fb%00c /a%2Fb%00c?x=%20&y [a value] ") + 8);
	ck_assert_mem_eq(reply.body.data, "POST /a%2Fb%00c /a%2Fb%00c?x=%20&y [a value] body\0too", reply.body.len);
	ck_assert(http_reply_header(&reply, "x-answer", value, sizeof(value)));
	ck_assert_str_eq(value, "yes");
	ck_assert(http_reply_header(&reply, "content-type", value, sizeof(value)));
	ck_assert_str_eq(value, "text/plain");
	/* A header that would be two is none. */
	ck_assert(!http_reply_header(&reply, "x-bad", value, sizeof(value)));
	ck_assert(!http_reply_header(&reply, "x-injected", value, sizeof(value)));
	wait_until(finished_are, 1);
	ck_assert_uint_eq(listener_requests(listener), 0);
	ck_assert_uint_eq(listener_connections(listener), 1);
}
END_TEST

START_TEST(listener__head_has_no_body)
{
	int fd;

	start("127.0.0.1:0");
	fd = open_raw();
	send_raw(fd, "HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n");
	ck_assert_ptr_nonnull(strstr(read_raw(fd, "\r\n\r\n"), "Content-Length: 14\r\n"));
	/* The next answer follows at once. */
	send_raw(fd, "HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	ck_assert_int_eq(strncmp(read_raw(fd, "\r\n\r\n"), "HTTP/1.1 200", 12), 0);
	send_raw(fd, "GET /y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	ck_assert_ptr_nonnull(strstr(read_raw(fd, NULL), "GET /y /y []"));
	close(fd);
	wait_until(finished_are, 3);
	ck_assert_uint_eq(atomic_load(&freed), 1);
}
END_TEST

START_TEST(request_query__decodes)
{
	static const char *const cases[][2] = { { "/query", "-1:" }, { "/query?", "-1:" }, { "/query?p=1", "-1:" },
		{ "/query?q=", "0:" }, { "/query?q", "0:" }, { "/query?q=abc", "3:abc" },
		{ "/query?p=1&q=2&r=3", "1:2" }, { "/query?q=a+b%20c", "5:a b c" }, { "/query?q=a%2Bb", "3:a+b" },
		{ "/query?q=a%26b%3Dc", "5:a&b=c" }, { "/query?q=a=b", "3:a=b" }, { "/query?q=%", "-2:" },
		{ "/query?q=%zz", "-2:" }, { "/query?q=0123456789abcde", "15:0123456789abcde" },
		{ "/query?q=0123456789abcdef", "-2:" }, { "/query?q=1&q=2", "1:1" } };

	start("127.0.0.1:0");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		get(cases[i][0]);
		ck_assert_msg(strcmp(reply.body.data, cases[i][1]) == 0, "%s: %s", cases[i][0], reply.body.data);
	}
}
END_TEST

START_TEST(request_reply_stream__with_a_length_and_without)
{
	static const char *const paths[] = { "/stream", "/chunked" };

	start("127.0.0.1:0");
	for (size_t p = 0; p < 2; p++) {
		get(paths[p]);
		ck_assert_uint_eq(reply.body.len, STREAM_BYTES);
		for (size_t i = 0; i < STREAM_BYTES; i += 997)
			ck_assert_int_eq(reply.body.data[i], 'a' + (char)(i % 26));
		ck_assert_int_eq(reply.content_length, p == 0 ? STREAM_BYTES : -1);
		wait_until(finished_are, (unsigned)p + 1);
		ck_assert_uint_eq(atomic_load(&freed), p + 1);
	}
}
END_TEST

START_TEST(request_reply_stream__a_source_that_breaks_cuts_the_answer_short)
{
	start("127.0.0.1:0");
	ck_assert_int_eq(call("GET", "/broken", NULL, 0, NULL), SP_ETRUNCATED);
	wait_until(finished_are, 1);
	ck_assert_uint_eq(atomic_load(&freed), 1);
}
END_TEST

START_TEST(request_reply_stream__a_source_that_has_nothing_yet_is_asked_again)
{
	start("127.0.0.1:0");
	get("/late");
	ck_assert_uint_eq(reply.body.len, 5000);
	for (size_t i = 0; i < 5000; i++)
		ck_assert_int_eq(reply.body.data[i], 'a' + (char)(i % 26));
	wait_until(finished_are, 1);
	ck_assert_uint_eq(atomic_load(&freed), 1);
}
END_TEST

START_TEST(request_reply_stream__a_client_that_leaves_frees_it)
{
	int fd;

	start("127.0.0.1:0");
	fd = open_raw();
	send_raw(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	read_raw(fd, "\r\n\r\n");
	close(fd);
	wait_until(finished_are, 1);
	ck_assert_uint_eq(atomic_load(&freed), 1);
	wait_until(connections_are, 0);
}
END_TEST

/* --- Bodies --- */

START_TEST(listener__a_body_up_to_the_limit)
{
	static char body[BODY_LIMIT + 1];

	start("127.0.0.1:0");
	memset(body, 'b', sizeof(body));
	ck_assert_int_eq(call("PUT", "/x", body, BODY_LIMIT, NULL), 0);
	ck_assert_int_eq(reply.status, 200);
	ck_assert_uint_ge(reply.body.len, BODY_LIMIT);
	ck_assert_int_eq(call("PUT", "/x", body, BODY_LIMIT + 1, NULL), 0);
	ck_assert_int_eq(reply.status, 413);
	ck_assert_str_eq(reply.body.data, "the body is larger than is allowed here");
	ck_assert_uint_eq(atomic_load(&handled), 1);
	atomic_store(&refuse_own, true);
	ck_assert_int_eq(call("PUT", "/x", body, BODY_LIMIT + 1, NULL), 0);
	ck_assert_int_eq(reply.status, 413);
	ck_assert_str_eq(reply.body.data, "own 413 the body is larger than is allowed here");
	/* The connection is as good as before. */
	get("/x");
	ck_assert_int_eq(reply.status, 200);
	ck_assert_uint_eq(listener_connections(listener), 1);
}
END_TEST

/* Who asks first is told before it has sent anything. */
START_TEST(listener__expect_is_answered_before_the_body)
{
	int fd;

	start("127.0.0.1:0");
	fd = open_raw();
	send_raw(fd, "PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
	ck_assert_int_eq(strncmp(read_raw(fd, "allowed here"), "HTTP/1.1 413", 12), 0);
	close(fd);
	fd = open_raw();
	send_raw(fd, "PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
	read_raw(fd, "100 Continue\r\n\r\n");
	send_raw(fd, "body");
	ck_assert_ptr_nonnull(strstr(read_raw(fd, "] body"), "200 OK"));
	close(fd);
	ck_assert_uint_eq(atomic_load(&handled), 1);
}
END_TEST

START_TEST(listener__a_chunked_body)
{
	char chunk[2000];
	int fd;

	start("127.0.0.1:0");
	fd = open_raw();
	send_raw(
	    fd, "PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n4\r\nmore\r\n0\r\n\r\n");
	read_raw(fd, "] bodymore");
	/* Its length is known only as it comes. */
	send_raw(fd, "PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	snprintf(chunk, sizeof(chunk), "1f4\r\n%0500d\r\n", 0);
	send_raw(fd, chunk);
	send_raw(fd, chunk);
	send_raw(fd, "1\r\nx\r\n0\r\n\r\n");
	ck_assert_int_eq(strncmp(read_raw(fd, "allowed here"), "HTTP/1.1 413", 12), 0);
	close(fd);
	ck_assert_uint_eq(atomic_load(&handled), 1);
}
END_TEST

START_TEST(listener__a_body_far_too_large_is_not_listened_to)
{
	int fd;

	start("127.0.0.1:0");
	fd = open_raw();
	send_raw(fd, "PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n");
	ck_assert_int_eq(strncmp(read_raw(fd, NULL), "HTTP/1.1 413", 12), 0);
	close(fd);
	wait_until(finished_are, 1);
	fd = open_raw();
	send_raw(fd, "PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n");
	ck_assert_int_eq(strncmp(read_raw(fd, NULL), "HTTP/1.1 4", 10), 0);
	close(fd);
	ck_assert_uint_eq(atomic_load(&handled), 0);
}
END_TEST

static void
send_bytes(int fd, size_t len)
{
	char *bytes = calloc(1, len);
	ssize_t n;

	for (size_t sent = 0; sent < len; sent += (size_t)n) {
		n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL);
		ck_assert_int_gt(n, 0);
	}
	free(bytes);
}

/* The memory of all bodies together is bounded; who does not fit comes again. */
START_TEST(listener__bodies_share_a_budget)
{
	static char body[3 << 20];
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	char value[16];
	int fd;

	start("127.0.0.1:0");
	/* One of which nearly all has come. */
	fd = open_raw();
	send_raw(fd, "PUT /large HTTP/1.1\r\nHost: x\r\nContent-Length: 3145728\r\n\r\n");
	send_bytes(fd, sizeof(body) - 1);
	wait_until(is_pressed, 0);
	ck_assert_int_eq(call("PUT", "/large", body, sizeof(body), NULL), 0);
	ck_assert_int_eq(reply.status, 503);
	ck_assert(http_reply_header(&reply, "retry-after", value, sizeof(value)));
	ck_assert_str_eq(value, "1");
	/* Small ones still fit. */
	ck_assert_int_eq(call("PUT", "/large", body, 500000, NULL), 0);
	ck_assert_int_eq(reply.status, 200);
	close(fd);
	do
		ck_assert_int_eq(call("PUT", "/large", body, sizeof(body), NULL), 0);
	while (reply.status != 200 && clock_mono_ms() < deadline);
	ck_assert_int_eq(reply.status, 200);
}
END_TEST

static void
send_chunk(int fd, size_t len)
{
	char head[32];

	snprintf(head, sizeof(head), "%zx\r\n", len);
	send_raw(fd, head);
	send_bytes(fd, len);
	send_raw(fd, "\r\n");
}

/* Many that announce much and send nothing take nothing away from who sends. */
START_TEST(listener__an_announced_body_takes_nothing_before_it_comes)
{
	static char body[1 << 20];
	int fds[20];

	start("127.0.0.1:0");
	for (int i = 0; i < 20; i++) {
		fds[i] = open_raw();
		send_raw(fds[i],
		    "PUT /large HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\nExpect: 100-continue\r\n\r\n");
		read_raw(fds[i], "100 Continue\r\n\r\n");
	}
	ck_assert_int_eq(call("PUT", "/large", body, sizeof(body), NULL), 0);
	ck_assert_int_eq(reply.status, 200);
	for (int i = 0; i < 20; i++)
		close(fds[i]);
}
END_TEST

/* An answer that has no room among the others is a 503 with nothing of its own; its memory is had back each time. */
START_TEST(listener__answers_share_a_budget)
{
	static char body[3 << 20];
	char value[16];

	reply_budget_bytes = 2 << 20;
	start("127.0.0.1:0");
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(call("PUT", "/large", body, 1500000, NULL), 0);
		ck_assert_int_eq(reply.status, 200);
		ck_assert(http_reply_header(&reply, "x-answer", value, sizeof(value)));
	}
	ck_assert_int_eq(call("PUT", "/large", body, 2500000, NULL), 0);
	ck_assert_int_eq(reply.status, 503);
	ck_assert(http_reply_header(&reply, "retry-after", value, sizeof(value)));
	ck_assert(!http_reply_header(&reply, "x-answer", value, sizeof(value)));
}
END_TEST

/* Streams that no client reads: so many find room. */
static unsigned
streams_with_room(const char *path)
{
	char request[64], head[16];
	unsigned n = 0;
	int fds[16];

	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
	for (unsigned i = 0; i < 16; i++) {
		fds[i] = open_raw();
		send_raw(fds[i], request);
		ck_assert_int_eq(recv(fds[i], head, 12, MSG_WAITALL), 12);
		n += memcmp(head + 9, "200", 3) == 0;
	}
	for (unsigned i = 0; i < 16; i++)
		close(fds[i]);
	return n;
}

START_TEST(request_set_source_bytes__leaves_room_for_more_streams)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;

	reply_budget_bytes = 1 << 20;
	start("127.0.0.1:0");
	ck_assert_uint_eq(streams_with_room("/endless"), 2);
	while (listener_requests(listener) > 0 && clock_mono_ms() < deadline)
		clock_sleep_ms(5);
	/* 100,000 bytes and a small block each. */
	ck_assert_uint_eq(streams_with_room("/small"), 7);
}
END_TEST

/* --- Too slow --- */

START_TEST(guard_is_late__each_phase_has_its_time)
{
	/* phase, age, bytes, pressed, late */
	static const struct {
		enum guard_phase phase;
		int64_t age_ms;
		uint64_t bytes;
		bool pressed, late;
	} cases[] = {
		{ GUARD_HEAD, 59000, 0, false, false },
		{ GUARD_HEAD, 61000, 0, false, true },
		{ GUARD_HEAD, 1900, 0, true, false },
		{ GUARD_HEAD, 2100, 0, true, true },
		{ GUARD_BODY, 60000, 0, false, false },
		{ GUARD_BODY, 61000, 60, false, true },
		{ GUARD_BODY, 600000, 600 * 4096, false, false },
		{ GUARD_BODY, 5100, 60, true, true },
		{ GUARD_BODY, 600000, 600 * 4096, true, true },
		{ GUARD_REPLY, 3600000, 3600ull << 20, true, false },
		{ GUARD_REPLY, 3600000, 3600ull << 10, false, true },
		{ GUARD_WHOLE, 120000, 8 << 20, false, false },
		{ GUARD_WHOLE, 200000, 8 << 20, false, true },
		{ GUARD_WHOLE, 12000, 8 << 20, true, false },
		{ GUARD_WHOLE, 14000, 8 << 20, true, true },
		{ GUARD_HANDLED, INT64_MAX, 0, true, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(guard_is_late(cases[i].phase, cases[i].age_ms, cases[i].bytes, 60000, cases[i].pressed) ==
				  cases[i].late,
		    "case %zu", i);
}
END_TEST

/* Each byte ends the silence that the library counts; the head is late all the same. */
START_TEST(listener__a_dripping_head_is_cut_off)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	char byte;
	int fd;

	idle_timeout_s = 2;
	start("127.0.0.1:0");
	fd = open_raw();
	send_raw(fd, "GET / HTTP/1.1\r\nX-Drip: ");
	while (
	    send(fd, "x", 1, MSG_NOSIGNAL) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && clock_mono_ms() < deadline)
		clock_sleep_ms(100);
	ck_assert_int_lt(clock_mono_ms(), deadline);
	close(fd);
	wait_until(connections_are, 0);
	ck_assert_uint_ge(listener_cut(listener), 1);
}
END_TEST

/* Where the places are nearly all taken by those who ask nothing, they have to go. */
START_TEST(listener__idle_connections_give_way_under_pressure)
{
	int fds[8];

	connection_limit = 8;
	start("127.0.0.1:0");
	for (int i = 0; i < 8; i++)
		fds[i] = open_raw();
	get("/x");
	ck_assert_int_eq(reply.status, 200);
	wait_until(is_eased, 0);
	ck_assert_uint_ge(listener_cut(listener), 2);
	for (int i = 0; i < 8; i++)
		close(fds[i]);
}
END_TEST

/* Two that do not fit together, and say so only bit by bit. Where one is through before the other comes, they do fit;
 * so they try again. */
START_TEST(listener__a_chunked_body_takes_of_the_budget_too)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	unsigned sent = 0, refused = 0;
	int fds[2];

	start("127.0.0.1:0");
	while (refused == 0 && clock_mono_ms() < deadline) {
		for (int i = 0; i < 2; i++) {
			fds[i] = open_raw();
			send_raw(fds[i], "PUT /large HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
		}
		for (int i = 0; i < 6; i++)
			send_chunk(fds[i % 2], 900000);
		for (int i = 0; i < 2; i++)
			send_raw(fds[i], "0\r\n\r\n");
		for (int i = 0; i < 2; i++) {
			refused += strncmp(read_raw(fds[i], "\r\n\r\n"), "HTTP/1.1 503", 12) == 0;
			close(fds[i]);
		}
		sent += 2;
	}
	ck_assert_uint_ge(refused, 1);
	wait_until(finished_are, sent);
	ck_assert_uint_eq(atomic_load(&handled), sent - refused);
}
END_TEST

/* --- Suspending --- */

static void *
resume_later(void *arg)
{
	(void)arg;
	wait_until(suspended_is, 1);
	request_resume(atomic_exchange(&suspended, NULL));
	return NULL;
}

START_TEST(request_suspend__is_answered_after_the_resume)
{
	pthread_t thread;

	start("127.0.0.1:0");
	ck_assert_int_eq(pthread_create(&thread, NULL, resume_later, NULL), 0);
	get("/suspend");
	ck_assert_str_eq(reply.body.data, "seen");
	pthread_join(thread, NULL);
	ck_assert_uint_eq(atomic_load(&handled), 2);
	wait_until(finished_are, 1);
	/* Resumed before the handler even returned. */
	for (unsigned i = 0; i < 200; i++) {
		get("/at-once");
		ck_assert_str_eq(reply.body.data, "at once");
	}
}
END_TEST

/* --- Stopping --- */

START_TEST(listener_stop__what_is_under_way_is_answered)
{
	const char *text;
	unsigned port;
	int fd, idle;

	start("127.0.0.1:0");
	port = listener_port(listener);
	ck_assert_uint_gt(port, 0);
	idle = open_raw();
	fd = open_raw();
	send_raw(fd, "GET /suspend HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_until(suspended_is, 1);
	ck_assert_uint_eq(listener_requests(listener), 1);
	listener_stop(listener);
	listener_stop(listener);
	/* No new ones. */
	ck_assert_int_lt(call("GET", "/x", NULL, 0, NULL), 0);
	ck_assert_int_eq(err.code, SP_EUNAVAIL);
	ck_assert_uint_eq(atomic_load(&finished), 0);
	request_resume(atomic_exchange(&suspended, NULL));
	text = read_raw(fd, NULL);
	ck_assert_ptr_nonnull(strstr(text, "200 OK"));
	ck_assert_ptr_nonnull(strcasestr(text, "Connection: close"));
	ck_assert_ptr_nonnull(strstr(text, "\r\n\r\nseen"));
	close(fd);
	listener_free(listener, DEADLINE_MS);
	listener = NULL;
	ck_assert_uint_eq(atomic_load(&finished), 1);
	ck_assert_str_eq(read_raw(idle, NULL), "");
	close(idle);
	listener_free(NULL, 0);
}
END_TEST

static atomic_bool enough;

static void *
ask_again_and_again(void *arg)
{
	static const char request[] = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char answer[1000];

	while (!atomic_load(&enough)) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		to.sin_port = htons((uint16_t)atomic_load((atomic_uint *)arg));
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
			while (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 &&
			       recv(fd, answer, sizeof(answer), 0) > 0 && !atomic_load(&enough))
				;
		close(fd);
	}
	return NULL;
}

START_TEST(listener_stop__while_others_ask)
{
	pthread_t threads[4];
	atomic_uint port = 0;

	atomic_store(&enough, false);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_again_and_again, &port), 0);
	for (unsigned round = 0; round < 300; round++) {
		start("127.0.0.1:0");
		atomic_store(&port, listener_port(listener));
		clock_sleep_ms(round % 3);
		listener_free(listener, DEADLINE_MS);
	}
	listener = NULL;
	atomic_store(&enough, true);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}
END_TEST

/* Whoever does not finish within the grace is cut off. */
START_TEST(listener_free__grace_is_bounded)
{
	int64_t before;
	int fd;

	start("127.0.0.1:0");
	fd = open_raw();
	send_raw(fd, "PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
	for (int64_t deadline = clock_mono_ms() + DEADLINE_MS; listener_requests(listener) == 0;) {
		ck_assert_int_lt(clock_mono_ms(), deadline);
		clock_sleep_ms(1);
	}
	before = clock_mono_ms();
	listener_free(listener, 50);
	listener = NULL;
	ck_assert_int_ge(clock_mono_ms() - before, 50);
	ck_assert_int_lt(clock_mono_ms() - before, 5000);
	ck_assert_uint_eq(atomic_load(&finished), 1);
	ck_assert_uint_eq(atomic_load(&handled), 0);
	close(fd);
}
END_TEST

/* --- Sockets --- */

START_TEST(listener_new__a_unix_socket)
{
	struct http_client_options o = { .stall_timeout_ms = DEADLINE_MS };
	char dir[TEMPDIR_MAX], address[TEMPDIR_MAX + 8];
	const char *path;
	struct stat st;

	tempdir_make(dir);
	path = tempdir_path(dir, "s");
	snprintf(address, sizeof(address), "unix:%s", path);
	start(address);
	ck_assert_uint_eq(listener_port(listener), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	http_client_free(client);
	o.unix_socket = path;
	client = http_client_new(&o, &err);
	get("/x");
	ck_assert_int_eq(reply.status, 200);
	listener_free(listener, DEADLINE_MS);
	listener = NULL;
	/* It goes with its listener. */
	ck_assert_int_lt(stat(path, &st), 0);
	tempdir_remove(dir);
}
END_TEST

START_TEST(listener_new__an_address_that_cannot_be_had)
{
	struct listener_options o = { .address = "127.0.0.1", .handle = handle };
	char address[64];

	ck_assert_ptr_null(listener_new(&o, &err));
	ck_assert_int_eq(err.code, SP_ECONF);
	start("127.0.0.1:0");
	snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(listener));
	o.address = address;
	ck_assert_ptr_null(listener_new(&o, &err));
	ck_assert_int_lt(err.code, 0);
}
END_TEST

START_TEST(listener__what_is_no_http_does_no_harm)
{
	static const char *const texts[] = { "\r\n\r\n\r\n\r\n", "nonsense\r\n\r\n", "GET\r\n\r\n",
		"GET / HTTP/9.9\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" };

	/* The library may miss that a client has gone when that comes with its last bytes; then this ends it. */
	idle_timeout_s = 1;
	start("127.0.0.1:0");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int fd = open_raw();

		send_raw(fd, texts[i]);
		shutdown(fd, SHUT_WR);
		read_raw(fd, NULL);
		close(fd);
	}
	wait_until(connections_are, 0);
	get("/x");
	ck_assert_int_eq(reply.status, 200);
	ck_assert_uint_le(listener_requests(listener), 1);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		listener__says_what_the_request_says,
		listener__head_has_no_body,
		request_query__decodes,
		request_reply_stream__with_a_length_and_without,
		request_reply_stream__a_source_that_breaks_cuts_the_answer_short,
		request_reply_stream__a_source_that_has_nothing_yet_is_asked_again,
		request_reply_stream__a_client_that_leaves_frees_it,
		request_set_source_bytes__leaves_room_for_more_streams,
		listener__a_body_up_to_the_limit,
		listener__expect_is_answered_before_the_body,
		listener__a_chunked_body,
		listener__a_body_far_too_large_is_not_listened_to,
		listener__bodies_share_a_budget,
		listener__an_announced_body_takes_nothing_before_it_comes,
		listener__answers_share_a_budget,
		guard_is_late__each_phase_has_its_time,
		listener__a_dripping_head_is_cut_off,
		listener__idle_connections_give_way_under_pressure,
		listener__a_chunked_body_takes_of_the_budget_too,
		request_suspend__is_answered_after_the_resume,
		listener_stop__what_is_under_way_is_answered,
		listener_stop__while_others_ask,
		listener_free__grace_is_bounded,
		listener_new__a_unix_socket,
		listener_new__an_address_that_cannot_be_had,
		listener__what_is_no_http_does_no_harm,
	};

	return suite_run_fixture("listener", tests, sizeof(tests) / sizeof(tests[0]), 30, setup, teardown);
}
