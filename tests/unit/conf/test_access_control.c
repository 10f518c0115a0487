/* Which URLs the access rules take for a peer, and by which name. */
#include "conf/access_control.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define TOKEN "peer-token-0123456789"

static char dir[TEMPDIR_MAX];
static struct conf conf;
static struct access_control access_control;
static struct sp_error err;

/* store-1 of a set whose leader is store-0, with `more` in its configuration. */
static void
open_access_control(const char *more)
{
	static const char *const environment[] = { "POD_NAME=store-1", "POD_NAMESPACE=shop", NULL };
	char text[8192];

	snprintf(text, sizeof(text), "[auth]\ntokens = %s\n%s", dir, more);
	memset(&err, 0, sizeof(err));
	tempdir_write(dir, "peer", TOKEN "\n");
	ck_assert_msg(conf_parse("t", text, strlen(text), environment, &conf, &err) == 0, "%s", err.text);
	ck_assert_msg(access_control_open(&access_control, &conf, &err) == 0, "%s", err.text);
	(void)access_control_for_peers(&access_control);
}

static void
setup(void)
{
	tempdir_make(dir);
}

static void
teardown(void)
{
	access_control_close(&access_control);
	tempdir_remove(dir);
}

static bool
is_peer(const char *url, char name[256])
{
	name[0] = '\0';
	return access_control.access_rules.is_peer(access_control.access_rules.arg, url, name, 256);
}

START_TEST(access_control__only_peers_are_shown_the_token)
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

	open_access_control("");
	for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++)
		ck_assert_msg(is_peer(peers[i], name), "%s is no peer", peers[i]);
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++)
		ck_assert_msg(!is_peer(strangers[i], name), "\"%s\" is a peer", strangers[i]);
	ck_assert(access_control.access_rules.token(access_control.access_rules.arg, token, sizeof(token)));
	ck_assert_str_eq(token, TOKEN);
}
END_TEST

START_TEST(access_control__a_leader_beyond_max_peers_is_one)
{
	char name[256];

	open_access_control("[replication]\nleader_ordinal = 40\n");
	ck_assert(is_peer("http://store-40.seedpod-headless.shop.svc:9876/v1/position", name));
	ck_assert(!is_peer("http://store-39.seedpod-headless.shop.svc:9876/v1/position", name));
}
END_TEST

START_TEST(access_control__the_name_is_that_of_the_pod_that_is_asked)
{
	char name[256];

	open_access_control(
	    "[pod]\npeer_url = https://10.0.0.{ordinal}:9876\n[tls]\npeer_name = {name}.{set}.example\n");
	ck_assert(is_peer("https://10.0.0.3:9876/v1/position", name));
	ck_assert_str_eq(name, "store-3.store.example");
	ck_assert(is_peer("https://10.0.0.13:9876/v1/position", name));
	ck_assert_str_eq(name, "store-13.store.example");
}
END_TEST

START_TEST(access_control__at_home_the_name_is_what_peers_know_this_pod_by)
{
	char name[256];

	open_access_control("[pod]\npeer_url = https://{name}.{service}.{namespace}.svc:9876\n");
	(void)access_control_at_home(&access_control);
	ck_assert(is_peer("https://127.0.0.1:9876/status", name));
	ck_assert_str_eq(name, "store-1.seedpod-headless.shop.svc");
	ck_assert_ptr_null(access_control.access_rules.token);
	access_control_close(&access_control);
	open_access_control("[pod]\npeer_url = https://[fd00::{ordinal}]:9876\n[tls]\npeer_name = {name}.example\n");
	(void)access_control_at_home(&access_control);
	ck_assert(is_peer("https://127.0.0.1:9876/status", name));
	ck_assert_str_eq(name, "store-1.example");
}
END_TEST

START_TEST(access_control_open__files_that_are_not_there_are_a_configuration_error)
{
	static const char *const environment[] = { "POD_NAME=store-1", NULL };
	static const char *const texts[] = { "[auth]\ntokens = /nonexistent\n", "[tls]\nca = /nonexistent\n",
		"[tls]\ncert = /nonexistent\nkey = /nonexistent\n" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		ck_assert_int_eq(conf_parse("t", texts[i], strlen(texts[i]), environment, &conf, &err), 0);
		ck_assert_int_eq(access_control_open(&access_control, &conf, &err), SP_ECONF);
		ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent"));
		ck_assert_int_lt(access_control_check(&conf, &err), 0);
	}
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		access_control__only_peers_are_shown_the_token,
		access_control__a_leader_beyond_max_peers_is_one,
		access_control__the_name_is_that_of_the_pod_that_is_asked,
		access_control__at_home_the_name_is_what_peers_know_this_pod_by,
		access_control_open__files_that_are_not_there_are_a_configuration_error,
	};

	return suite_run_fixture("doors", tests, sizeof(tests) / sizeof(tests[0]), 10, setup, teardown);
}
