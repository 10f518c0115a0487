/* What the handlers share, seen from outside: statuses, refusals, redirects, parameters. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/net/http_client.h"
#include "server/http/json_bytes.h"
#include "server/http/router.h"
#include "server/replication/static/repl_static.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

#define SELF   "http://mystore-0.svc:9876"
#define LEADER "http://mystore-7.svc:9876"

static char dir[TEMPDIR_MAX];
static struct api api;
static struct listener *listener;
static struct http_client *client;
static struct http_reply reply;
static struct sp_error err;

static void
committed(const struct position *now, void *arg)
{
	(void)arg;
	waiters_notify(api.waiters, now->seq);
}

static void
serve(bool leads)
{
	struct committer_options o = { .committed = committed };
	struct repl_static_options r = { .leads = leads, .self_url = SELF, .leader_url = LEADER };

	tempdir_make(dir);
	o.store = api.store = test_store_new(dir);
	r.committer = api.committer = committer_new(&o, &err);
	api.waiters = waiters_new(&err);
	api.snapshots = snapshots_new(api.store, &api.counters, "mystore-0", 60000, &err);
	api.repl = repl_static_new(&r, &err);
	api.max_value = 1 << 20;
	memory_budgets_of(MEMORY_UNLIMITED, &api.budgets);
	ck_assert_int_eq(api.repl->ops->attached(api.repl, &err), 0);
	ck_assert_int_eq(http_setup(&err), 0);
	listener = http_serve(&api, "127.0.0.1:0", 2, &err);
	ck_assert_msg(listener != NULL, "%s", err.text);
	client = http_client_new(&(struct http_client_options){ .stall_timeout_ms = 10000 }, &err);
	http_reply_init(&reply, 8 << 20);
}

static void
setup(void)
{
	signal(SIGPIPE, SIG_IGN);
}

static void
teardown(void)
{
	if (listener == NULL)
		return;
	waiters_stop(api.waiters);
	committer_stop(api.committer);
	listener_free(listener, 10000);
	http_reply_release(&reply);
	http_client_free(client);
	snapshots_free(api.snapshots);
	waiters_free(api.waiters);
	api.repl->ops->free(api.repl);
	committer_free(api.committer);
	store_free(api.store);
	tempdir_remove(dir);
	http_teardown();
}

static void
call(const char *method, const char *path, const char *body, const char *header)
{
	const char *headers[] = { header, NULL };
	char url[4000];
	struct http_request_out rq = { .method = method,
		.url = url,
		.headers = header != NULL ? headers : NULL,
		.body = body,
		.body_len = body != NULL ? strlen(body) : 0 };

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", listener_port(listener), path);
	http_reply_release(&reply);
	http_reply_init(&reply, 8 << 20);
	ck_assert_msg(http_call(client, &rq, &reply, &err) == 0, "%s", err.text);
}

static const char *
header(const char *name)
{
	static char value[1000];

	return http_reply_header(&reply, name, value, sizeof(value)) ? value : "";
}

/* The answer is application/problem+json with these. */
static void
assert_problem(int status, const char *code)
{
	json_t *body = json_loadb(reply.body.data, reply.body.len, 0, NULL);

	ck_assert_msg(reply.status == status, "%ld %s", reply.status, reply.body.data);
	ck_assert_str_eq(header("content-type"), "application/problem+json");
	ck_assert_ptr_nonnull(body);
	ck_assert_int_eq(json_integer_value(json_object_get(body, "status")), status);
	ck_assert_str_eq(json_string_value(json_object_get(body, "code")), code);
	ck_assert_uint_gt(json_string_length(json_object_get(body, "title")), 0);
	ck_assert_uint_gt(json_string_length(json_object_get(body, "detail")), 0);
	ck_assert_str_eq(json_string_value(json_object_get(body, "type")), "about:blank");
	ck_assert_str_eq(header("retry-after"), status == 503 ? "1" : "");
	json_decref(body);
}

START_TEST(api_status__each_failure_has_one)
{
	static const struct {
		int code;
		unsigned status;
	} cases[] = { { SP_EUSAGE, 400 }, { SP_ENOTFOUND, 404 }, { SP_EGAP, 409 }, { SP_EDIVERGED, 409 },
		{ SP_EDIGEST, 409 }, { SP_EHORIZON, 410 }, { SP_EPRECOND, 412 }, { SP_ETOOBIG, 413 },
		{ SP_EAGAIN, 503 }, { SP_ENOMEM, 503 }, { SP_ENOSPACE, 507 }, { SP_EBADDATA, 500 }, { SP_EIO, 500 },
		{ SP_EINTERNAL, 500 }, { -9999, 500 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_uint_eq(api_status(cases[i].code), cases[i].status);
}
END_TEST

START_TEST(json_bytes_set__text_or_base64)
{
	json_t *o = json_object();
	char *text;

	ck_assert_int_eq(set_json_bytes(o, "key", "k\xc3\xa4se", 5), 0);
	ck_assert_int_eq(set_json_bytes(o, "value", "\xff\xfe", 2), 0);
	ck_assert_int_eq(set_json_bytes(o, "zero", "a\0b", 3), 0);
	ck_assert_int_eq(set_json_bytes(o, "empty", "", 0), 0);
	text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	ck_assert_str_eq(text, "{\"empty\":\"\",\"key\":\"k\xc3\xa4se\",\"value64\":\"//4=\",\"zero\":\"a\\u0000b\"}");
	free(text);
	json_decref(o);
}
END_TEST

START_TEST(api__refusals_are_problems_on_v1_and_plain_elsewhere)
{
	serve(true);
	call("GET", "/v1/kv/nothing", NULL, NULL);
	assert_problem(404, "SP_ENOTFOUND");
	call("GET", "/v1/nothing", NULL, NULL);
	assert_problem(404, "path");
	call("GET", "/get/nothing", NULL, NULL);
	ck_assert_int_eq(reply.status, 404);
	ck_assert_str_eq(header("content-type"), API_TEXT);
	call("GET", "/get/Nothing1", NULL, NULL);
	ck_assert_int_eq(reply.status, 404);
	call("GET", "/", NULL, NULL);
	ck_assert_int_eq(reply.status, 404);
	ck_assert_str_eq(header("content-type"), API_TEXT);
	ck_assert_uint_eq(atomic_load(&api.counters.errors), 0);
}
END_TEST

START_TEST(api__another_method_names_those_there_are)
{
	serve(true);
	call("PATCH", "/v1/kv/a", "x", NULL);
	assert_problem(405, "method");
	ck_assert_str_eq(header("allow"), "GET, HEAD, PUT, DELETE");
	call("POST", "/v1/position", "x", NULL);
	assert_problem(405, "method");
	ck_assert_str_eq(header("allow"), "GET, HEAD");
	call("GET", "/v1/batch", NULL, NULL);
	assert_problem(405, "method");
	ck_assert_str_eq(header("allow"), "POST");
	call("DELETE", "/set/a", NULL, NULL);
	ck_assert_int_eq(reply.status, 405);
	ck_assert_str_eq(header("allow"), "PUT");
}
END_TEST

START_TEST(api__keys_are_decoded_and_bounded)
{
	char path[3 * STORE_KEY_MAX + 100] = "/v1/kv/";
	struct store_record r;
	struct store_view *v;

	serve(true);
	call("PUT", "/v1/kv/a%2Fb%00%ff", "value", NULL);
	ck_assert_int_eq(reply.status, 204);
	ck_assert_str_eq(header("seedpod-seq"), "1");
	ck_assert_str_eq(header("etag"), "\"1\"");
	ck_assert_int_eq(store_view_begin(api.store, &v, &err), 0);
	ck_assert_int_eq(store_view_get(v, "a/b\0\xff", 5, &r, &err), 0);
	store_view_end(v);
	call("GET", "/v1/kv/%61%2fb%00%FF", NULL, NULL);
	ck_assert_str_eq(reply.body.data, "value");
	call("GET", "/v1/kv/", NULL, NULL);
	assert_problem(400, "key");
	call("PUT", "/v1/kv/%zz", "x", NULL);
	assert_problem(400, "key");
	/* The longest key, every byte escaped; and one byte more, both ways. */
	for (unsigned i = 0; i < STORE_KEY_MAX; i++)
		memcpy(path + 7 + 3 * i, "%6b", 4);
	call("PUT", path, "x", NULL);
	ck_assert_int_eq(reply.status, 204);
	memcpy(path + 7 + 3 * STORE_KEY_MAX, "k", 2);
	call("PUT", path, "x", NULL);
	assert_problem(414, "key");
	memset(path + 7, 'k', STORE_KEY_MAX + 1);
	path[7 + STORE_KEY_MAX + 1] = '\0';
	call("PUT", path, "x", NULL);
	assert_problem(414, "key");
	path[7 + STORE_KEY_MAX] = '\0';
	call("GET", path, NULL, NULL);
	ck_assert_int_eq(reply.status, 200);
}
END_TEST

START_TEST(api_query__numbers_and_durations)
{
	static const char *const bad[] = { "/v1/kv?limit=abc", "/v1/kv?limit=", "/v1/kv?limit", "/v1/kv?limit=-1",
		"/v1/kv?limit=1x", "/v1/kv?limit=+1", "/v1/kv?limit=0x10", "/v1/kv?limit=99999999999999999999999",
		"/v1/kv?limit=%zz", "/v1/changes?since=x", "/v1/changes?since=9223372036854775808",
		"/v1/changes?wait=5", "/v1/changes?wait=s", "/v1/changes?wait=-1s", "/v1/changes?wait=1.5s",
		"/v1/changes?wait=1d", "/v1/changes?wait=99999999999999999999s", "/v1/changes?wait=" };
	static const char *const good[] = { "/v1/kv?limit=1", "/v1/kv", "/v1/changes", "/v1/changes?since=0&wait=1ms",
		"/v1/changes?since=0&wait=0s", "/v1/changes?wait=2h", "/v1/changes?wait=1m&limit=10" };

	serve(true);
	call("PUT", "/v1/kv/a", "1", NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		call("GET", bad[i], NULL, NULL);
		ck_assert_msg(reply.status == 400, "%s: %ld", bad[i], reply.status);
		assert_problem(400, "query");
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		call("GET", good[i], NULL, NULL);
		ck_assert_msg(reply.status == 200, "%s: %ld %s", good[i], reply.status, reply.body.data);
	}
}
END_TEST

START_TEST(api_redirect__writes_at_a_follower_go_to_the_leader)
{
	serve(false);
	call("PUT", "/v1/kv/a%2Fb?x=1&y=%20", "value", NULL);
	ck_assert_int_eq(reply.status, 307);
	ck_assert_str_eq(header("location"), LEADER "/v1/kv/a%2Fb?x=1&y=%20");
	call("PUT", "/set/abc", "value", NULL);
	ck_assert_int_eq(reply.status, 307);
	ck_assert_str_eq(header("location"), LEADER "/set/abc");
	call("DELETE", "/v1/kv/a", NULL, NULL);
	ck_assert_int_eq(reply.status, 307);
	call("POST", "/v1/batch", "{\"op\":\"put\",\"key\":\"a\",\"value\":\"1\"}", NULL);
	ck_assert_int_eq(reply.status, 307);
	ck_assert_uint_eq(atomic_load(&api.counters.redirects), 4);
	ck_assert_uint_eq(test_store_position(api.store).seq, 0);
	/* Reads are served. */
	call("GET", "/v1/kv/a", NULL, NULL);
	assert_problem(404, "SP_ENOTFOUND");
	atomic_store(&api.reject_writes, true);
	call("PUT", "/v1/kv/a", "value", NULL);
	assert_problem(403, "follower");
	call("PUT", "/set/abc", "value", NULL);
	ck_assert_int_eq(reply.status, 403);
}
END_TEST

START_TEST(api_redirect__without_a_leader_it_is_503)
{
	serve(true);
	ck_assert_int_eq(api.repl->ops->set_role(api.repl, ROLE_FOLLOWER, &err), 0);
	call("PUT", "/v1/kv/a", "value", NULL);
	assert_problem(503, "no_leader");
	ck_assert_uint_eq(atomic_load(&api.counters.errors), 1);
}
END_TEST

/* A read that asks for more than this replica has gets it in time, or is sent to the leader. */
START_TEST(api_min_seq__waits_and_then_redirects)
{
	serve(false);
	atomic_store(&api.min_seq_wait_ms, 20);
	call("GET", "/v1/kv/a?x", NULL, "Seedpod-Min-Seq: 1");
	ck_assert_int_eq(reply.status, 307);
	ck_assert_str_eq(header("location"), LEADER "/v1/kv/a?x");
	call("GET", "/v1/kv/a", NULL, "Seedpod-Min-Seq: 0");
	ck_assert_int_eq(reply.status, 404);
	call("GET", "/v1/kv/a", NULL, "Seedpod-Min-Seq: x");
	ck_assert_int_eq(reply.status, 400);
}
END_TEST

START_TEST(api_writes__conditions)
{
	serve(true);
	call("PUT", "/v1/kv/a", "1", "If-None-Match: *");
	ck_assert_int_eq(reply.status, 204);
	call("PUT", "/v1/kv/a", "2", "If-None-Match: *");
	assert_problem(412, "SP_EPRECOND");
	call("PUT", "/v1/kv/a", "2", "If-Match: \"7\"");
	assert_problem(412, "SP_EPRECOND");
	call("PUT", "/v1/kv/a", "2", "If-Match: \"1\"");
	ck_assert_int_eq(reply.status, 204);
	ck_assert_str_eq(header("etag"), "\"2\"");
	call("GET", "/v1/kv/a", NULL, "If-None-Match: \"2\"");
	ck_assert_int_eq(reply.status, 304);
	call("GET", "/v1/kv/a", NULL, "If-None-Match: \"1\"");
	ck_assert_int_eq(reply.status, 200);
	ck_assert_str_eq(reply.body.data, "2");
	call("DELETE", "/v1/kv/a", NULL, "If-Match: \"1\"");
	assert_problem(412, "SP_EPRECOND");
	call("DELETE", "/v1/kv/a", NULL, NULL);
	ck_assert_int_eq(reply.status, 204);
	ck_assert_str_eq(header("seedpod-seq"), "3");
	call("DELETE", "/v1/kv/a", NULL, NULL);
	assert_problem(404, "SP_ENOTFOUND");
}
END_TEST

START_TEST(api__too_large_and_released_and_stopping)
{
	static char value[(1 << 20) + 2];
	struct position p;

	serve(true);
	memset(value, 'v', sizeof(value) - 1);
	call("PUT", "/v1/kv/a", value, NULL);
	assert_problem(413, "SP_ETOOBIG");
	call("PUT", "/set/a", value, NULL);
	ck_assert_int_eq(reply.status, 413);
	value[sizeof(value) - 2] = '\0';
	call("PUT", "/v1/kv/a", value, NULL);
	ck_assert_int_eq(reply.status, 204);
	ck_assert_int_eq(api_position_of(&api, &p, &err), 0);
	ck_assert(p.writable);
	ck_assert_int_eq(p.role, ROLE_LEADER);
	ck_assert_str_eq(p.leader, SELF);
	ck_assert_str_eq(p.mode, "static");
	atomic_store(&api.stopping, true);
	ck_assert_int_eq(api_position_of(&api, &p, &err), 0);
	ck_assert(!p.writable);
	store_detach(api.store);
	ck_assert_int_eq(api_position_of(&api, &p, &err), SP_EAGAIN);
	call("GET", "/v1/position", NULL, NULL);
	assert_problem(503, "SP_EAGAIN");
	call("GET", "/v1/kv/a", NULL, NULL);
	assert_problem(503, "SP_EAGAIN");
	call("PUT", "/v1/kv/a", "x", NULL);
	assert_problem(503, "SP_EAGAIN");
	call("GET", "/v1/snapshot", NULL, NULL);
	assert_problem(503, "SP_EAGAIN");
	call("GET", "/v1/changes", NULL, NULL);
	assert_problem(503, "SP_EAGAIN");
	call("GET", "/v1/kv", NULL, NULL);
	assert_problem(503, "SP_EAGAIN");
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		api_status__each_failure_has_one,
		json_bytes_set__text_or_base64,
		api__refusals_are_problems_on_v1_and_plain_elsewhere,
		api__another_method_names_those_there_are,
		api__keys_are_decoded_and_bounded,
		api_query__numbers_and_durations,
		api_redirect__writes_at_a_follower_go_to_the_leader,
		api_redirect__without_a_leader_it_is_503,
		api_min_seq__waits_and_then_redirects,
		api_writes__conditions,
		api__too_large_and_released_and_stopping,
	};

	return suite_run_fixture("api_reply", tests, sizeof(tests) / sizeof(tests[0]), 60, setup, teardown);
}
