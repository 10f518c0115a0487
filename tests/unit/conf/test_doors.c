/* Whom the door of the peers takes for a peer, and by which name. */
#include "conf/doors.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define TOKEN "peer-token-0123456789"

static char dir[TEMPDIR_MAX];
static struct conf conf;
static struct doors doors;
static struct sp_error err;

/* store-1 of a set whose leader is store-0, with `more` in its configuration. */
static void
open_doors(const char *more)
{
	static const char *const environment[] = { "POD_NAME=store-1", "POD_NAMESPACE=shop", NULL };
	char text[8192];

	snprintf(text, sizeof(text), "[auth]\ntokens = %s\n%s", dir, more);
	memset(&err, 0, sizeof(err));
	tempdir_write(dir, "peer", TOKEN "\n");
	ck_assert_msg(conf_parse("t", text, strlen(text), environment, &conf, &err) == 0, "%s", err.text);
	ck_assert_msg(doors_open(&doors, &conf, &err) == 0, "%s", err.text);
	doors_use(&doors);
}

static void
setup(void)
{
	tempdir_make(dir);
}

static void
teardown(void)
{
	doors_close(&doors);
	tempdir_remove(dir);
}

static bool
is_peer(const char *url, char name[256])
{
	name[0] = '\0';
	return doors.door.is_peer(doors.door.arg, url, name, 256);
}

START_TEST(doors__only_peers_are_shown_the_token)
{
	static const char *const peers[] = { "http://store-0.seedpod-headless.shop.svc:9876/v1/position",
		"http://store-15.seedpod-headless.shop.svc:9876/v1/changes?since=0",
		"HTTP://store-0.SEEDPOD-headless.shop.svc:9876", "http://store-0.seedpod-headless.shop.svc:9876?x" };
	static const char *const strangers[] = { "http://store-0.seedpod-headless.shop.svc:98765/v1/position",
		"http://store-0.seedpod-headless.shop.svc:9876@evil.example/", "http://evil.example/",
		"http://store-0.seedpod-headless.shop.svc.evil.example:9876/",
		"http://store-16.seedpod-headless.shop.svc:9876/", "https://store-0.seedpod-headless.shop.svc:9876/",
		"http://other-0.seedpod-headless.shop.svc:9876/", "" };
	char name[256], token[HTTP_TOKEN_MAX];

	open_doors("");
	for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++)
		ck_assert_msg(is_peer(peers[i], name), "%s is no peer", peers[i]);
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++)
		ck_assert_msg(!is_peer(strangers[i], name), "«%s» is a peer", strangers[i]);
	ck_assert(doors.door.token(doors.door.arg, token, sizeof(token)));
	ck_assert_str_eq(token, TOKEN);
}
END_TEST

START_TEST(doors__a_leader_beyond_max_peers_is_one)
{
	char name[256];

	open_doors("[replication]\nleader_ordinal = 40\n");
	ck_assert(is_peer("http://store-40.seedpod-headless.shop.svc:9876/v1/position", name));
	ck_assert(!is_peer("http://store-39.seedpod-headless.shop.svc:9876/v1/position", name));
}
END_TEST

START_TEST(doors__the_name_is_that_of_the_pod_that_is_asked)
{
	char name[256];

	open_doors("[pod]\npeer_url = https://10.0.0.{ordinal}:9876\n[tls]\npeer_name = {name}.{set}.example\n");
	ck_assert(is_peer("https://10.0.0.3:9876/v1/position", name));
	ck_assert_str_eq(name, "store-3.store.example");
	ck_assert(is_peer("https://10.0.0.13:9876/v1/position", name));
	ck_assert_str_eq(name, "store-13.store.example");
}
END_TEST

START_TEST(doors__at_home_the_name_is_what_peers_know_this_pod_by)
{
	char name[256];

	open_doors("[pod]\npeer_url = https://{name}.{service}.{namespace}.svc:9876\n");
	doors_use_at_home(&doors);
	ck_assert(is_peer("https://127.0.0.1:9876/status", name));
	ck_assert_str_eq(name, "store-1.seedpod-headless.shop.svc");
	ck_assert_ptr_null(doors.door.token);
	doors_close(&doors);
	open_doors("[pod]\npeer_url = https://[fd00::{ordinal}]:9876\n[tls]\npeer_name = {name}.example\n");
	doors_use_at_home(&doors);
	ck_assert(is_peer("https://127.0.0.1:9876/status", name));
	ck_assert_str_eq(name, "store-1.example");
}
END_TEST

START_TEST(doors_open__files_that_are_not_there_are_a_configuration_error)
{
	static const char *const environment[] = { "POD_NAME=store-1", NULL };
	static const char *const texts[] = { "[auth]\ntokens = /nonexistent\n", "[tls]\nca = /nonexistent\n",
		"[tls]\ncert = /nonexistent\nkey = /nonexistent\n" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		ck_assert_int_eq(conf_parse("t", texts[i], strlen(texts[i]), environment, &conf, &err), 0);
		ck_assert_int_eq(doors_open(&doors, &conf, &err), SP_ECONF);
		ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent"));
		ck_assert_int_lt(doors_check(&conf, &err), 0);
	}
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		doors__only_peers_are_shown_the_token,
		doors__a_leader_beyond_max_peers_is_one,
		doors__the_name_is_that_of_the_pod_that_is_asked,
		doors__at_home_the_name_is_what_peers_know_this_pod_by,
		doors_open__files_that_are_not_there_are_a_configuration_error,
	};

	return suite_run_fixture("doors", tests, sizeof(tests) / sizeof(tests[0]), 10, setup, teardown);
}
