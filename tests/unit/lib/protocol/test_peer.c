/* What peers answer, as the protocol reads it; and the seedpod driver, which reads the same through a socket or a
 * child. */
#include "lib/protocol/peer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/process.h"
#include "lib/driver/driver_seedpod.h"
#include "lib/protocol/feed.h"
#include "tests/lib/peer_server.h"
#include "tests/lib/suite.h"

#define CLUSTER "6f1c2f7e-35a1-4a4c-9f0e-0123456789ab"
#define POSITION                                                                                                       \
	"{\"cluster\":\"" CLUSTER "\",\"epoch\":3,\"seq\":17,\"digest\":\"000102030405060708090a0b0c0d0e0f\","         \
	"\"keys\":5,\"horizon\":2,\"consistent\":true,\"role\":\"leader\"}"

/* One answer for every request; the last request is kept. */
struct script {
	int status;
	const char *type;
	const char *body;
	char request[2048];
};

/* The peer answers in threads of its own. */
static pthread_mutex_t script_lock = PTHREAD_MUTEX_INITIALIZER;

static bool
play(int fd, const char *request, void *arg)
{
	struct script *s = arg, now;
	char head[256];

	pthread_mutex_lock(&script_lock);
	snprintf(s->request, sizeof(s->request), "%s", request);
	now = *s;
	pthread_mutex_unlock(&script_lock);
	snprintf(head, sizeof(head), "HTTP/1.1 %d x\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", now.status,
	    now.type != NULL ? now.type : "application/json", strlen(now.body));
	return peer_send_text(fd, head) && peer_send_text(fd, now.body);
}

/* What the next requests are answered with. */
static void
say(struct script *s, int status, const char *type, const char *body)
{
	pthread_mutex_lock(&script_lock);
	s->status = status;
	s->type = type;
	s->body = body;
	pthread_mutex_unlock(&script_lock);
}

/* The last request, which has been answered. */
static const char *
asked(struct script *s)
{
	pthread_mutex_lock(&script_lock);
	pthread_mutex_unlock(&script_lock);
	return s->request;
}

static struct http_client *http;
static struct peer_server *server;
static struct script script;
static struct sp_error err;
static char base[128], dir[64], socket_path[128];

static void
set_up(void)
{
	memset(&err, 0, sizeof(err));
	memset(&script, 0, sizeof(script));
	server = peer_server_new(play, &script);
	peer_server_url(server, "", base, sizeof(base));
	http = http_client_new(&(struct http_client_options){ .stall_timeout_ms = 2000 }, &err);
	ck_assert_ptr_nonnull(http);
	snprintf(dir, sizeof(dir), "/tmp/test_peer.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(socket_path, sizeof(socket_path), "%s/control.sock", dir);
}

static void
tear_down(void)
{
	http_client_free(http);
	peer_server_free(server);
	file_remove_tree(dir, NULL);
}

static int
position_of(int status, const char *body, struct position *out)
{
	say(&script, status, NULL, body);
	return peer_position(http, base, 2000, out, &err);
}

START_TEST(peer_position__reads_it)
{
	struct position p;

	ck_assert_int_eq(position_of(200, POSITION, &p), 0);
	ck_assert(strncmp(asked(&script), "GET /v1/position HTTP/1.1\r\n", 27) == 0);
	ck_assert_str_eq(p.cluster, CLUSTER);
	ck_assert_uint_eq(p.epoch, 3);
	ck_assert_uint_eq(p.seq, 17);
}
END_TEST

START_TEST(peer_position__tells_no_store_from_nonsense)
{
	struct position p;

	ck_assert_int_eq(position_of(503, "{\"title\":\"x\",\"detail\":\"no store is open\"}", &p), SP_EUNAVAIL);
	ck_assert_ptr_nonnull(strstr(err.text, "no store is open"));
	ck_assert_int_eq(position_of(200, "<html>hello</html>", &p), SP_EBADDATA);
	ck_assert_int_eq(position_of(404, "nothing here", &p), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "nothing here"));
	peer_refused_url(base, sizeof(base));
	ck_assert_int_eq(peer_position(http, base, 2000, &p, &err), SP_EUNAVAIL);
}
END_TEST

/* As a Redis answers to HTTP. */
static bool
answer_like_redis(int fd, const char *request, void *arg)
{
	(void)request;
	(void)arg;
	peer_send_text(fd, "-ERR wrong number of arguments for 'get' command\r\n");
	return false;
}

static void
assert_no_seedpod(const char *told, const char *url)
{
	char want[256];

	snprintf(want, sizeof(want), "%s does not speak seedpod's protocol: ", strstr(url, "://") + 3);
	ck_assert_msg(strncmp(told, want, strlen(want)) == 0, "%s", told);
}

START_TEST(peer_position__names_what_is_no_seedpod)
{
	struct peer_server *redis = peer_server_new(answer_like_redis, NULL);
	struct peer_answer answers[2];
	char redis_url[128];
	const char *urls[] = { base, redis_url };
	struct position p;

	peer_server_url(redis, "", redis_url, sizeof(redis_url));
	ck_assert_int_eq(position_of(200, "<html>hello</html>", &p), SP_EBADDATA);
	assert_no_seedpod(err.text, base);
	ck_assert_int_eq(position_of(404, "nothing here", &p), SP_EBADDATA);
	assert_no_seedpod(err.text, base);
	ck_assert_int_eq(peer_position(http, redis_url, 2000, &p, &err), SP_EBADDATA);
	assert_no_seedpod(err.text, redis_url);
	ck_assert_int_eq(peer_positions(http, urls, answers, 2, 2000, &err), 0);
	assert_no_seedpod(answers[0].err.text, base);
	assert_no_seedpod(answers[1].err.text, redis_url);
	ck_assert(answers[1].unclear && !answers[1].reached);
	/* A seedpod that says no is one. */
	ck_assert_int_eq(position_of(404, "{\"title\":\"x\",\"code\":\"SP_ENOTFOUND\"}", &p), SP_EBADDATA);
	ck_assert_ptr_null(strstr(err.text, "protocol"));
	ck_assert_int_eq(position_of(401, "who are you", &p), SP_EPERM);
	ck_assert_ptr_null(strstr(err.text, "protocol"));
	peer_server_free(redis);
}
END_TEST

START_TEST(peer_positions__tells_reached_from_absent)
{
	struct script empty = { .status = 503, .body = "" };
	struct peer_server *other = peer_server_new(play, &empty);
	char other_url[128], gone[128];
	const char *urls[] = { base, other_url, gone };
	struct peer_answer answers[3];

	peer_server_url(other, "", other_url, sizeof(other_url));
	peer_refused_url(gone, sizeof(gone));
	say(&script, 200, NULL, POSITION);
	ck_assert_int_eq(peer_positions(http, urls, answers, 3, 2000, &err), 0);
	ck_assert(answers[0].reached && answers[0].has_store);
	ck_assert_uint_eq(answers[0].position.seq, 17);
	ck_assert(answers[1].reached && !answers[1].has_store);
	ck_assert_int_eq(answers[1].err.code, SP_EUNAVAIL);
	ck_assert(!answers[2].reached && !answers[2].has_store);
	ck_assert(!answers[0].unclear && !answers[1].unclear && !answers[2].unclear);
	peer_server_free(other);
}
END_TEST

/* A peer of which more is to be told than what it answers. */
static bool
say_nothing(int fd, const char *request, void *arg)
{
	(void)request;
	(void)arg;
	peer_stall(fd);
	return false;
}

static bool
close_without_a_word(int fd, const char *request, void *arg)
{
	(void)fd;
	(void)request;
	(void)arg;
	return false;
}

static bool
begin_and_stall(int fd, const char *request, void *arg)
{
	(void)request;
	(void)arg;
	peer_send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
	peer_stall(fd);
	return false;
}

static bool
speak_another_protocol(int fd, const char *request, void *arg)
{
	(void)request;
	(void)arg;
	peer_send_text(fd, "-ERR unknown command\r\n");
	return false;
}

/* Who is there and leaves open what it has is told from who is not there, and from who has nothing. */
static bool
is_unclear(peer_handler handle, void *arg)
{
	struct peer_server *peer = peer_server_new(handle, arg);
	struct peer_answer answer;
	char url[128];
	const char *urls[] = { url };

	peer_server_url(peer, "", url, sizeof(url));
	ck_assert_int_eq(peer_positions(http, urls, &answer, 1, 500, &err), 0);
	ck_assert(!answer.has_store);
	peer_server_free(peer);
	return answer.unclear;
}

START_TEST(peer_positions__tells_who_leaves_open_what_it_has)
{
	static const struct {
		struct script script;
		bool unclear;
	} said[] = {
		{ { .status = 503, .body = "{\"code\":\"SP_ENOTFOUND\",\"detail\":\"no store\"}" }, false },
		{ { .status = 503, .body = "{\"code\":\"SP_EAGAIN\",\"detail\":\"released\"}" }, true },
		{ { .status = 503, .body = "no healthy upstream" }, false },
		{ { .status = 401, .body = "" }, true },
		{ { .status = 500, .body = "" }, true },
		{ { .status = 200, .body = "{}" }, true },
	};

	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
		struct script now = said[i].script;

		ck_assert_msg(is_unclear(play, &now) == said[i].unclear, "status %d: %s", now.status, now.body);
	}
	ck_assert(is_unclear(say_nothing, NULL));
	ck_assert(is_unclear(begin_and_stall, NULL));
	ck_assert(is_unclear(speak_another_protocol, NULL));
	ck_assert(!is_unclear(close_without_a_word, NULL));
}
END_TEST

static int
changes(int status, const char *type, const char *body, struct buf *feed)
{
	say(&script, status, type, body);
	return peer_changes(http, base,
	    &(struct peer_changes_options){
		.since = 9, .cluster = CLUSTER, .epoch = 3, .wait_ms = 1500, .batch_bytes = 4096 },
	    feed, &err);
}

START_TEST(peer_changes__asks_and_maps_refusals)
{
	struct buf feed;

	buf_init(&feed, 1000);
	buf_adds(&feed, "old");
	ck_assert_int_eq(changes(200, FEED_CONTENT_TYPE, "SPFEED1", &feed), 0);
	ck_assert_str_eq(feed.data, "SPFEED1");
	ck_assert(
	    strncmp(asked(&script),
		"GET /v1/changes?from=leader&since=9&bytes=4096&wait=1500ms&cluster=" CLUSTER "&epoch=3 HTTP/1.1\r\n",
		107) == 0);
	ck_assert_ptr_nonnull(strstr(asked(&script), "Accept: " FEED_CONTENT_TYPE "\r\n"));
	ck_assert_int_eq(changes(410, "text/plain", "gone", &feed), SP_EHORIZON);
	ck_assert_uint_eq(feed.len, 0);
	ck_assert_int_eq(changes(409, "text/plain", "not yours", &feed), SP_EDIVERGED);
	ck_assert_ptr_nonnull(strstr(err.text, "not yours"));
	ck_assert_int_eq(changes(503, "text/plain", "", &feed), SP_EUNAVAIL);
	ck_assert_int_eq(changes(500, "text/plain", "", &feed), SP_EBADDATA);
	ck_assert_int_eq(changes(200, "application/x-ndjson", "{}", &feed), SP_EBADDATA);
	feed.limit = 3;
	ck_assert_int_eq(changes(200, FEED_CONTENT_TYPE, "SPFEED1", &feed), SP_ETOOBIG);
	ck_assert_uint_eq(feed.limit, 3);
	buf_release(&feed);
}
END_TEST

/* --- A feed that stays open --- */

static struct {
	struct buf bytes;
	size_t piece; /* sent at once, each as a chunk */
	bool ends;    /* with the last chunk; else the connection is closed */
} flow;

static bool
play_stream(int fd, const char *request, void *arg)
{
	struct script *s = arg;
	char head[32];

	pthread_mutex_lock(&script_lock);
	snprintf(s->request, sizeof(s->request), "%s", request);
	pthread_mutex_unlock(&script_lock);
	if (!peer_send_text(
		fd, "HTTP/1.1 200 OK\r\nContent-Type: " FEED_CONTENT_TYPE "\r\nTransfer-Encoding: chunked\r\n\r\n"))
		return false;
	for (size_t at = 0, n; at < flow.bytes.len; at += n) {
		n = flow.bytes.len - at < flow.piece ? flow.bytes.len - at : flow.piece;
		snprintf(head, sizeof(head), "%zx\r\n", n);
		if (!peer_send_text(fd, head) || !peer_send(fd, flow.bytes.data + at, n) || !peer_send_text(fd, "\r\n"))
			return false;
	}
	return flow.ends && peer_send_text(fd, "0\r\n\r\n");
}

/* A feed of `records` records after `since`. */
static void
add_feed(uint64_t since, unsigned records)
{
	struct position p = { .cluster = CLUSTER,
		.epoch = 3,
		.seq = since + records,
		.history_count = 1,
		.history = { { .epoch = 3 } } };
	struct buf one;

	buf_init(&one, 1 << 20);
	feed_write_header(&one, &p, since);
	for (unsigned i = 1; i <= records; i++)
		feed_write_put(&one, since + i, "key", 3, "value", 5);
	feed_write_cut(&one, &p);
	feed_write_end(&one, records);
	buf_add(&flow.bytes, one.data, one.len);
	buf_release(&one);
}

static int
open_stream(struct peer_changes_stream *x, size_t limit)
{
	return peer_changes_open(x, http, base,
	    &(struct peer_changes_options){ .since = 9,
		.cluster = CLUSTER,
		.epoch = 3,
		.wait_ms = 1500,
		.batch_bytes = 4096,
		.limit_bytes = limit,
		.timeout_ms = 5000 },
	    &err);
}

static void
begin_flow(size_t piece, bool ends)
{
	peer_server_free(server);
	server = peer_server_new(play_stream, &script);
	peer_server_url(server, "", base, sizeof(base));
	buf_init(&flow.bytes, 1 << 20);
	flow.piece = piece;
	flow.ends = ends;
}

START_TEST(peer_changes_next__finds_each_feed_however_they_are_cut_up)
{
	static const size_t pieces[] = { 1, 7, 100, 1 << 20 };
	struct peer_changes_stream x;
	struct feed_info info;
	const void *data;
	size_t len;
	uint64_t since = 9;

	begin_flow(pieces[_i], true);
	for (unsigned i = 0; i < 20; i++)
		add_feed(9 + (i > 0 ? i * (i - 1) / 2 : 0), i);
	ck_assert_msg(open_stream(&x, 10000) == 0, "%s", err.text);
	ck_assert_ptr_nonnull(strstr(asked(&script),
	    "GET /v1/changes?from=leader&since=9&bytes=4096&wait=1500ms&stream=1&cluster=" CLUSTER "&epoch=3 "));
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_msg(peer_changes_next(&x, &data, &len, &err) == 1, "%s", err.text);
		ck_assert_msg(feed_check(data, len, &info, &err) == 0, "%s", err.text);
		ck_assert_uint_eq(info.since, since);
		ck_assert_uint_eq(info.records, i);
		since = info.seq;
	}
	ck_assert_int_eq(peer_changes_next(&x, &data, &len, &err), 0);
	peer_changes_close(&x);
	peer_changes_close(&x);
	buf_release(&flow.bytes);
}
END_TEST

START_TEST(peer_changes_next__an_answer_that_ends_within_a_feed_is_truncated)
{
	struct peer_changes_stream x;
	const void *data;
	size_t len;

	begin_flow(1 << 20, _i == 0);
	add_feed(9, 1);
	add_feed(10, 1);
	flow.bytes.len -= 3;
	ck_assert_int_eq(open_stream(&x, 10000), 0);
	ck_assert_int_eq(peer_changes_next(&x, &data, &len, &err), 1);
	ck_assert_int_eq(peer_changes_next(&x, &data, &len, &err), SP_ETRUNCATED);
	peer_changes_close(&x);
	buf_release(&flow.bytes);
}
END_TEST

START_TEST(peer_changes_next__a_large_feed_and_bytes_that_are_none_are_refused)
{
	struct peer_changes_stream x;
	const void *data;
	size_t len;

	begin_flow(_i == 0 ? 100 : 1 << 20, true);
	add_feed(9, 10);
	ck_assert_int_eq(open_stream(&x, 150), 0);
	ck_assert_int_eq(peer_changes_next(&x, &data, &len, &err), SP_ETOOBIG);
	peer_changes_close(&x);
	flow.bytes.data[3] = 'x';
	ck_assert_int_eq(open_stream(&x, 10000), 0);
	ck_assert_int_eq(peer_changes_next(&x, &data, &len, &err), SP_EBADDATA);
	peer_changes_close(&x);
	buf_release(&flow.bytes);
}
END_TEST

START_TEST(peer_changes_open__maps_refusals)
{
	struct peer_changes_stream x;

	say(&script, 409, "text/plain", "not yours");
	ck_assert_int_eq(open_stream(&x, 10000), SP_EDIVERGED);
	ck_assert_ptr_nonnull(strstr(err.text, "not yours"));
	peer_changes_close(&x);
	say(&script, 503, "text/plain", "");
	ck_assert_int_eq(open_stream(&x, 10000), SP_EUNAVAIL);
	say(&script, 200, "application/x-ndjson", "{}");
	ck_assert_int_eq(open_stream(&x, 10000), SP_EBADDATA);
}
END_TEST

/* --- The driver --- */

static struct peer_server *control;
static struct script answers;

static struct driver *
driver_on(int status, const char *body)
{
	struct driver *d;

	answers = (struct script){ .status = status, .body = body };
	control = peer_server_new_unix(socket_path, play, &answers);
	d = driver_seedpod_new(
	    &(struct driver_seedpod_options){ .control_socket = socket_path, .timeout_ms = 2000 }, &err);
	ck_assert_ptr_nonnull(d);
	return d;
}

static void
driver_off(struct driver *d)
{
	d->ops->free(d);
	peer_server_free(control);
}

static void
answer(int status, const char *body)
{
	say(&answers, status, NULL, body);
}

START_TEST(driver_seedpod__verbs_through_the_control_socket)
{
	struct driver *d = driver_on(200, POSITION);
	struct position p;
	struct digest digest;
	struct buf metrics;

	ck_assert_int_eq(d->ops->position(d, &p, &err), 0);
	ck_assert_uint_eq(p.seq, 17);
	ck_assert_int_eq(d->ops->apply(d, "feed", 4, &p, &err), 0);
	ck_assert(strncmp(asked(&answers), "POST /apply HTTP/1.1\r\n", 22) == 0);
	ck_assert_ptr_nonnull(strstr(asked(&answers), "\r\n\r\nfeed"));
	answer(200, "{\"digest\":\"000102030405060708090a0b0c0d0e0f\",\"seq\":17}");
	ck_assert_int_eq(d->ops->digest(d, &digest, &err), 0);
	ck_assert_uint_eq(digest.low, 0x08090a0b0c0d0e0fu);
	answer(200, "{}");
	ck_assert_int_eq(d->ops->digest(d, &digest, &err), SP_EBADDATA);
	answer(200, "seedpod_x 1\n");
	buf_init(&metrics, 1000);
	ck_assert_int_eq(driver_seedpod_metrics(d, &metrics, &err), 0);
	ck_assert_str_eq(metrics.data, "seedpod_x 1\n");
	buf_release(&metrics);
	answer(200, "");
	ck_assert_int_eq(driver_seedpod_release(d, &err), 0);
	ck_assert(strncmp(asked(&answers), "POST /release ", 14) == 0);
	ck_assert_int_eq(driver_seedpod_open(d, &err), 0);
	ck_assert(strncmp(asked(&answers), "POST /open ", 11) == 0);
	driver_off(d);
}
END_TEST

static int
count_bytes(void *arg, const void *data, size_t len, struct sp_error *e)
{
	size_t *total = arg;

	(void)data;
	*total += len;
	return *total > 5 ? sp_error_set(e, SP_ENOSPACE, "enough") : 0;
}

START_TEST(driver_seedpod__snapshot_goes_into_the_sink)
{
	struct driver *d = driver_on(200, "12345");
	size_t total = 0;

	ck_assert_int_eq(d->ops->snapshot(d, count_bytes, &total, &err), 0);
	ck_assert_uint_eq(total, 5);
	answer(200, "123456");
	total = 0;
	ck_assert_int_eq(d->ops->snapshot(d, count_bytes, &total, &err), SP_ENOSPACE);
	answer(503, "released");
	ck_assert_int_eq(d->ops->snapshot(d, count_bytes, &total, &err), SP_EAGAIN);
	driver_off(d);
}
END_TEST

START_TEST(driver_seedpod__refusals_keep_their_code)
{
	static const struct {
		int status;
		const char *body;
		int code;
	} cases[] = {
		{ 404, "", SP_ENOTFOUND },
		{ 503, "", SP_EAGAIN },
		{ 507, "", SP_ENOSPACE },
		{ 413, "", SP_ETOOBIG },
		{ 400, "", SP_EBADDATA },
		{ 409, "{\"code\":\"SP_EGAP\"}", SP_EGAP },
		{ 409, "{\"code\":\"SP_EDIVERGED\"}", SP_EDIVERGED },
		{ 409, "{\"code\":\"SP_EDIGEST\"}", SP_EDIGEST },
		{ 409, "{\"code\":\"SP_EWHATEVER\"}", SP_EBADDATA },
	};
	struct driver *d = driver_on(200, "");
	struct position p;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		answer(cases[i].status, cases[i].body);
		ck_assert_int_eq(d->ops->apply(d, "x", 1, &p, &err), cases[i].code);
	}
	driver_off(d);
}
END_TEST

/* A program that stands in for seedpod-server. */
static void
make_program(char path[160], const char *script_text)
{
	snprintf(path, 160, "%s/server", dir);
	ck_assert_int_eq(file_write_atomic(path, script_text, strlen(script_text), 0700, &err), 0);
}

static void
make_store(char path[160])
{
	char data[200];

	snprintf(path, 160, "%s/store", dir);
	snprintf(data, sizeof(data), "%s/data.mdb", path);
	ck_assert_int_eq(file_make_dirs(path, &err), 0);
	ck_assert_int_eq(file_write_atomic(data, "x", 1, 0600, &err), 0);
}

START_TEST(driver_seedpod__reads_a_store_without_a_server)
{
	char program[160], store[160];
	struct position p;
	struct driver *d;

	make_program(program, "#!/bin/sh\n[ \"$1 $2\" = '--position --store' ] && echo '" POSITION "'\n");
	snprintf(store, sizeof(store), "%s/store", dir);
	ck_assert_int_eq(driver_seedpod_read_offline(program, store, &p, &err), SP_ENOTFOUND);
	make_store(store);
	ck_assert_int_eq(driver_seedpod_read_offline(program, store, &p, &err), 0);
	ck_assert_uint_eq(p.seq, 17);

	/* With a socket that nobody serves, and with none at all. */
	for (int i = 0; i < 2; i++) {
		memset(&p, 0, sizeof(p));
		d = driver_seedpod_new(
		    &(struct driver_seedpod_options){
			.control_socket = i == 0 ? socket_path : NULL, .store_dir = store, .server_program = program },
		    &err);
		ck_assert_int_eq(d->ops->position(d, &p, &err), 0);
		ck_assert_uint_eq(p.seq, 17);
		ck_assert_int_eq(d->ops->apply(d, "x", 1, &p, &err), SP_EUNAVAIL);
		d->ops->free(d);
	}
}
END_TEST

START_TEST(driver_seedpod__a_damaged_store_is_told_with_the_programs_words)
{
	char program[160], store[160];
	struct position p;

	make_store(store);
	make_program(program, "#!/bin/sh\necho 'no LMDB image' >&2\nexit 65\n");
	ck_assert_int_eq(driver_seedpod_read_offline(program, store, &p, &err), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "no LMDB image"));
	make_program(program, "#!/bin/sh\nexit 77\n");
	ck_assert_int_eq(driver_seedpod_read_offline(program, store, &p, &err), SP_EPERM);
	make_program(program, "#!/bin/sh\nkill -9 $$\n");
	ck_assert_int_eq(driver_seedpod_read_offline(program, store, &p, &err), SP_EINTERNAL);
	ck_assert_ptr_nonnull(strstr(err.text, "137"));
	make_program(program, "#!/bin/sh\necho nonsense\n");
	ck_assert_int_eq(driver_seedpod_read_offline(program, store, &p, &err), SP_EBADDATA);
	ck_assert_int_eq(driver_seedpod_read_offline("/nonexistent/server", store, &p, &err), SP_EINTERNAL);
}
END_TEST

/* --- Programs --- */

static int
run(const char *shell, int64_t timeout_ms, size_t limit, struct process_result *result, struct buf *out)
{
	const char *argv[] = { "sh", "-c", shell, NULL };

	buf_init(out, limit);
	return process_run(argv, timeout_ms, out, result, &err);
}

START_TEST(process_run__tells_output_complaint_and_exit_code)
{
	struct process_result result;
	struct buf out;

	ck_assert_int_eq(run("echo out; echo oh no >&2; exit 3", 5000, 100, &result, &out), 0);
	ck_assert_str_eq(out.data, "out\n");
	ck_assert_str_eq(result.said, "oh no ");
	ck_assert_int_eq(result.exit_code, 3);
	buf_release(&out);
	ck_assert_int_eq(run("head -c 1000000 /dev/zero | tr '\\0' x >&2", 5000, 100, &result, &out), 0);
	ck_assert_uint_eq(strlen(result.said), PROCESS_SAID_MAX - 1);
	buf_release(&out);
}
END_TEST

START_TEST(process_run__hands_on_no_descriptor_but_the_standard_three)
{
	struct process_result result;
	int ours = dup(STDERR_FILENO);
	struct buf out;

	ck_assert_int_ge(ours, 3);
	ck_assert_int_eq(
	    run("for d in 3 4 5 6 7 8 9; do [ ! -e /proc/$$/fd/$d ] || echo $d; done", 5000, 100, &result, &out), 0);
	ck_assert_str_eq(out.data, "");
	buf_release(&out);
	close(ours);
}
END_TEST

START_TEST(process_run__ends_what_talks_too_much_or_takes_too_long)
{
	struct process_result result;
	struct buf out;

	ck_assert_int_eq(run("while :; do echo and on and on; done", 5000, 1000, &result, &out), SP_ETOOBIG);
	buf_release(&out);
	ck_assert_int_eq(run("exec sleep 60", 100, 1000, &result, &out), SP_ESTALLED);
	buf_release(&out);
	ck_assert_int_eq(run("exec sleep 60 >&- 2>&-", 100, 1000, &result, &out), SP_ESTALLED);
	buf_release(&out);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("peer");
	int failed;

	if (http_setup(&err) < 0)
		return 1;
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, peer_position__reads_it);
	tcase_add_test(tc, peer_position__tells_no_store_from_nonsense);
	tcase_add_test(tc, peer_position__names_what_is_no_seedpod);
	tcase_add_test(tc, peer_positions__tells_reached_from_absent);
	tcase_add_test(tc, peer_positions__tells_who_leaves_open_what_it_has);
	tcase_add_test(tc, peer_changes__asks_and_maps_refusals);
	tcase_add_loop_test(tc, peer_changes_next__finds_each_feed_however_they_are_cut_up, 0, 4);
	tcase_add_loop_test(tc, peer_changes_next__an_answer_that_ends_within_a_feed_is_truncated, 0, 2);
	tcase_add_loop_test(tc, peer_changes_next__a_large_feed_and_bytes_that_are_none_are_refused, 0, 2);
	tcase_add_test(tc, peer_changes_open__maps_refusals);
	tcase_add_test(tc, driver_seedpod__verbs_through_the_control_socket);
	tcase_add_test(tc, driver_seedpod__snapshot_goes_into_the_sink);
	tcase_add_test(tc, driver_seedpod__refusals_keep_their_code);
	tcase_add_test(tc, driver_seedpod__reads_a_store_without_a_server);
	tcase_add_test(tc, driver_seedpod__a_damaged_store_is_told_with_the_programs_words);
	tcase_add_test(tc, process_run__tells_output_complaint_and_exit_code);
	tcase_add_test(tc, process_run__hands_on_no_descriptor_but_the_standard_three);
	tcase_add_test(tc, process_run__ends_what_talks_too_much_or_takes_too_long);
	failed = suite_run_case("peer", tc);
	http_teardown();
	return failed;
}
