/* The pages, asked for over HTTP. */
#include "sidecar/pages.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "sidecar/metrics_page.h"
#include "sidecar/view.h"
#include "tests/lib/suite.h"

static struct conf conf;
static struct pages pages;
static struct listener *listener;
static struct http_client *client;
static struct http_reply reply;

static void
setup(void)
{
	static const char text[] = "[pod]\nname = store-1\n";
	struct listener_options o = { .address = "127.0.0.1:0", .threads = 1, .handle = pages_handle, .arg = &pages };
	struct sp_error err = { 0 };

	ck_assert_int_eq(http_setup(NULL), 0);
	ck_assert_msg(conf_parse("test.ini", text, strlen(text), NULL, &conf, &err) == 0, "%s", err.text);
	pages = (struct pages){ .state = state_new(&conf, clock_mono_ms()) };
	listener = listener_new(&o, &err);
	ck_assert_msg(listener != NULL, "%s", err.text);
	client = http_client_new(&(struct http_client_options){ .stall_timeout_ms = 5000 }, &err);
	ck_assert_ptr_nonnull(client);
	http_reply_init(&reply, 1 << 20);
}

static void
teardown(void)
{
	http_reply_release(&reply);
	http_client_free(client);
	listener_stop(listener);
	listener_free(listener, 1000);
	state_free(pages.state);
	http_teardown();
}

static void
make_well(void)
{
	struct position own = {
		.cluster = "c", .epoch = 3, .seq = 10, .keys = 4, .consistent = true, .history_count = 1
	};
	struct position leader = own;
	int64_t now_ms = clock_mono_ms();

	leader.role = ROLE_LEADER;
	state_server_answered(pages.state, state_ticket(pages.state), &own, now_ms);
	state_set_leader_url(pages.state, "http://store-0:9876");
	state_leader_position(pages.state, &leader, now_ms, 5000);
	state_set_target(pages.state, state_life(pages.state), 10);
	ck_assert(state_prove(pages.state, state_life(pages.state)));
}

static long
ask(const char *method, const char *path)
{
	struct sp_error err = { 0 };
	char url[128];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", listener_port(listener), path);
	http_reply_release(&reply);
	http_reply_init(&reply, 1 << 20);
	ck_assert_msg(http_call(client, &(struct http_request_out){ .method = method, .url = url, .timeout_ms = 5000 },
			  &reply, &err) == 0,
	    "%s", err.text);
	return reply.status;
}

START_TEST(pages_readyz__tells_why_not)
{
	ck_assert_int_eq(ask("GET", "/readyz"), 503);
	ck_assert_str_eq(reply.body.data, "server was not asked yet\n");
	ck_assert_int_eq(ask("GET", "/readyz?verbose"), 503);
	ck_assert_str_eq(reply.body.data, "[-]server was not asked yet\nnot ready\n");
}
END_TEST

START_TEST(pages_readyz__tells_each_check)
{
	make_well();
	ck_assert_int_eq(ask("GET", "/readyz"), 200);
	ck_assert_str_eq(reply.body.data, "ok\n");
	ck_assert_int_eq(ask("GET", "/readyz?verbose=1"), 200);
	ck_assert_ptr_nonnull(strstr(reply.body.data, "[+]server ok\n[+]history ok\n[+]proof ok"));
	ck_assert_ptr_nonnull(strstr(reply.body.data, "[+]lag 0.0s <= 10s\nready\n"));
	state_set_diverged(pages.state, state_life(pages.state), "expected x, found y");
	ck_assert_int_eq(ask("GET", "/readyz"), 503);
	ck_assert_str_eq(reply.body.data, "history diverged: expected x, found y\n");
}
END_TEST

START_TEST(pages_livez__asks_the_loops_alone)
{
	ck_assert_int_eq(ask("GET", "/livez"), 200);
	ck_assert_int_eq(ask("GET", "/livez?verbose"), 200);
	ck_assert_str_eq(reply.body.data, "[+]loops ok\nlive\n");
	state_beat(pages.state, HEART_WATCH, clock_mono_ms() - VIEW_HEART_GRACE_MS - 1);
	ck_assert_int_eq(ask("GET", "/livez"), 503);
	ck_assert_ptr_nonnull(strstr(reply.body.data, "watch of the server does not turn"));
}
END_TEST

START_TEST(pages_methods__head_is_get_without_body_others_are_405)
{
	char allow[32];

	make_well();
	ck_assert_int_eq(ask("HEAD", "/readyz"), 200);
	ck_assert_uint_eq(reply.body.len, 0);
	ck_assert_int_eq(ask("POST", "/readyz"), 405);
	ck_assert(http_reply_header(&reply, "Allow", allow, sizeof(allow)));
	ck_assert_str_eq(allow, "GET, HEAD");
	ck_assert_int_eq(ask("GET", "/other"), 404);
	ck_assert_int_eq(ask("GET", "/"), 404);
}
END_TEST

START_TEST(pages_status__is_json_with_everything)
{
	static const char *const names[] = { "pod", "role", "mode", "state", "position", "leader_position", "leader",
		"lag", "stale", "proven", "ready", "checks", "last_error", "config", "seed", "uptime_seconds",
		"version" };
	struct sp_error err = { .code = SP_EGAP, .text = "broken \xc3 text" };
	json_t *root;

	make_well();
	state_count_error(pages.state, REASON_GAP, &err);
	state_set_seed(pages.state, "{\"bytes\": 7}", 12);
	ck_assert_int_eq(ask("GET", "/status"), 200);
	root = json_loads(reply.body.data, 0, NULL);
	ck_assert_ptr_nonnull(root);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_msg(json_object_get(root, names[i]) != NULL, "%s", names[i]);
	ck_assert_str_eq(json_string_value(json_object_get(root, "state")), "in sync");
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(root, "position"), "seq")), 10);
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(root, "seed"), "bytes")), 7);
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(root, "config"), "hash")), conf.hash);
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(root, "last_error"), "code")), "SP_EGAP");
	ck_assert_ptr_nonnull(json_object_get(json_object_get(root, "last_error"), "text"));
	ck_assert_uint_eq(json_array_size(json_object_get(root, "checks")), 5);
	json_decref(root);
}
END_TEST

START_TEST(pages_metrics__has_every_name_and_the_servers_after_it)
{
	static const char *const lines[] = { "seedpod_ready 1\n", "seedpod_seq 10\n", "seedpod_leader_seq 10\n",
		"seedpod_lag_changes 0\n", "seedpod_lag_seconds 0\n", "seedpod_applied_changes_total 0\n",
		"seedpod_sync_errors_total{reason=\"unreachable\"} 0\n",
		"seedpod_sync_errors_total{reason=\"gap\"} 1\n", "seedpod_sync_errors_total{reason=\"reseed\"} 0\n",
		"seedpod_digest_mismatch_total 0\n", "seedpod_config_reload_success 1\n",
		"seedpod_config_reload_timestamp_seconds ", "seedpod_config_info{hash=\"",
		"seedpod_snapshot_bytes_total 7\n", "seedpod_snapshot_duration_seconds 1.5\n",
		"seedpod_build_info{version=\"", "seedpod_role{role=\"follower\"} 1\n", "seedpod_epoch 3\n",
		"seedpod_keys 4\n", "seedpod_stale 0\n", "seedpod_reseeds_total 0\n",
		"seedpod_leader_contact_age_seconds ", "server_total 3\n" };
	static const char seed[] = "{\"bytes\": 7, \"seconds\": 1.5}";
	struct sp_error err = { .code = SP_EGAP };
	char type[64];

	make_well();
	state_count_error(pages.state, REASON_GAP, &err);
	state_set_seed(pages.state, seed, strlen(seed));
	state_set_server_metrics(pages.state, "server_total 3\n", 15);
	ck_assert_int_eq(ask("GET", "/metrics"), 200);
	ck_assert(http_reply_header(&reply, "Content-Type", type, sizeof(type)));
	ck_assert_str_eq(type, METRICS_PAGE_TYPE);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		ck_assert_msg(strstr(reply.body.data, lines[i]) != NULL, "%s", lines[i]);
}
END_TEST

START_TEST(pages_metrics__names_of_our_own_are_not_adopted)
{
	struct buf server, out;

	buf_init(&server, 4096);
	buf_init(&out, 4096);
	ck_assert_int_eq(buf_adds(&server, "# HELP seedpod_seq theirs\n# TYPE seedpod_seq gauge\nseedpod_seq 1\n"
					   "seedpod_build_info{version=\"1\"} 1\n"
					   "# HELP seedpod_seq_other x\nseedpod_seq_other{a=\"b\"} 2\n\ncut"),
	    0);
	ck_assert_int_eq(metrics_page_adopt(&server, &out), 0);
	ck_assert_str_eq(out.data, "# HELP seedpod_seq_other x\nseedpod_seq_other{a=\"b\"} 2\n");
	buf_release(&server);
	buf_release(&out);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		pages_readyz__tells_why_not,
		pages_readyz__tells_each_check,
		pages_livez__asks_the_loops_alone,
		pages_methods__head_is_get_without_body_others_are_405,
		pages_status__is_json_with_everything,
		pages_metrics__has_every_name_and_the_servers_after_it,
		pages_metrics__names_of_our_own_are_not_adopted,
	};

	return suite_run_fixture("sidecar pages", tests, sizeof(tests) / sizeof(tests[0]), 30, setup, teardown);
}
