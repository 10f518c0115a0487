/* A pod that ends: whether its StatefulSet still counts it, and how its member leaves. */
#include "sidecar/leave.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/net/http_client.h"
#include "tests/lib/peer_server.h"
#include "tests/lib/suite.h"

/* A Kubernetes API and two members on one server, told apart by their paths. */
static struct {
	struct peer_server *server;
	char url[64];
	const char *statefulset; /* its answer */
	unsigned busy;           /* so many times the leader has another change under way */
	const char *last;        /* the leader's answer in the end */
	bool asked_with_token;
	unsigned asked, deleted;
	pthread_mutex_t lock;
} world = { .lock = PTHREAD_MUTEX_INITIALIZER };

static char dir[64];
static struct conf conf;
static struct sp_error err;
static enum leave_outcome outcome;

#define NO_CONTENT    "HTTP/1.1 204 No Content\r\n\r\n"
#define EMPTY(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\n\r\n"

static void
answer_delete(int fd, const char *request)
{
	char text[256];

	/* /3 is this pod, which sends on to the leader; /0 leads. */
	if (strstr(request, "DELETE /3/v1/members/4 ") == request) {
		snprintf(text, sizeof(text),
		    "HTTP/1.1 307 x\r\nLocation: %s/0/v1/members/4\r\nContent-Length: 0\r\n\r\n", world.url);
		peer_send_text(fd, text);
	} else if (strstr(request, "DELETE /0/v1/members/4 ") == request && world.busy > 0) {
		world.busy--;
		peer_send_text(fd, EMPTY("503 Service Unavailable"));
	} else if (strstr(request, "DELETE /0/v1/members/4 ") == request) {
		world.deleted++;
		peer_send_text(fd, world.last);
	} else {
		peer_send_text(fd, EMPTY("503 Service Unavailable"));
	}
}

static bool
answer(int fd, const char *request, void *arg)
{
	char text[512];

	(void)arg;
	pthread_mutex_lock(&world.lock);
	if (strstr(request, "GET /apis/apps/v1/namespaces/here/statefulsets/store ") == request) {
		world.asked++;
		world.asked_with_token = strstr(request, "Authorization: Bearer secret\r\n") != NULL;
		snprintf(text, sizeof(text), "HTTP/1.1 %s", world.statefulset);
		peer_send_text(fd, text);
	} else {
		answer_delete(fd, request);
	}
	pthread_mutex_unlock(&world.lock);
	return false;
}

static void
set_up(void)
{
	char path[96], text[512];
	int len;

	ck_assert_int_eq(http_setup(NULL), 0);
	memset(&err, 0, sizeof(err));
	snprintf(dir, sizeof(dir), "/tmp/test_leave.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/token", dir);
	ck_assert_int_eq(file_write_atomic(path, "secret\n", 7, 0600, NULL), 0);
	world.server = peer_server_new(answer, NULL);
	peer_server_url(world.server, "", world.url, sizeof(world.url));
	world.statefulset = "200 OK\r\nContent-Length: 23\r\n\r\n{\"spec\":{\"replicas\":3}}";
	world.last = NO_CONTENT;
	len = snprintf(
	    text, sizeof(text), "[pod]\nname = store-3\nnamespace = here\nservice = s\n[bootstrap]\nmax_peers = 4\n");
	ck_assert_msg(conf_parse("test", text, (size_t)len, NULL, &conf, &err) == 0, "%s", err.text);
	conf.replication_mode = CONF_MODE_RAFT;
	snprintf(conf.pod_peer_url, sizeof(conf.pod_peer_url), "%s/{ordinal}", world.url);
}

static void
tear_down(void)
{
	peer_server_free(world.server);
	file_remove_tree(dir, NULL);
	http_teardown();
}

static int
run(bool always)
{
	return leave(
	    &(struct leave_options){
		.conf = &conf, .always = always, .api = world.url, .account = dir, .timeout_ms = 3000 },
	    &outcome, &err);
}

START_TEST(leave_scaled__pod_that_is_counted_stays)
{
	world.statefulset = "200 OK\r\nContent-Length: 23\r\n\r\n{\"spec\":{\"replicas\":4}}";
	ck_assert_msg(run(false) == 0, "%s", err.text);
	ck_assert_int_eq(outcome, LEAVE_STAYS);
	ck_assert(world.asked_with_token);
	ck_assert_uint_eq(world.deleted, 0);
}
END_TEST

START_TEST(leave_scaled__pod_that_is_not_counted_leaves_by_way_of_the_leader)
{
	ck_assert_msg(run(false) == 0, "%s", err.text);
	ck_assert_int_eq(outcome, LEAVE_LEFT);
	ck_assert_uint_eq(world.deleted, 1);
}
END_TEST

START_TEST(leave_scaled__another_change_under_way_is_waited_for)
{
	world.busy = 2;
	ck_assert_msg(run(false) == 0, "%s", err.text);
	ck_assert_int_eq(outcome, LEAVE_LEFT);
	ck_assert_uint_eq(world.deleted, 1);
}
END_TEST

START_TEST(leave_scaled__who_is_no_member_has_left)
{
	world.last = EMPTY("404 Not Found");
	ck_assert_msg(run(false) == 0, "%s", err.text);
	ck_assert_int_eq(outcome, LEAVE_LEFT);
}
END_TEST

START_TEST(leave_scaled__statefulset_that_cannot_be_read_changes_nothing)
{
	world.statefulset = "403 Forbidden\r\nContent-Length: 0\r\n\r\n";
	ck_assert_int_eq(run(false), SP_EPERM);
	world.statefulset = "200 OK\r\nContent-Length: 2\r\n\r\n{}";
	ck_assert_int_eq(run(false), SP_EBADDATA);
	world.statefulset = "500 x\r\nContent-Length: 0\r\n\r\n";
	ck_assert_int_eq(run(false), SP_EUNAVAIL);
	ck_assert_uint_eq(world.deleted, 0);
}
END_TEST

START_TEST(leave_now__does_not_ask_the_statefulset)
{
	ck_assert_msg(run(true) == 0, "%s", err.text);
	ck_assert_int_eq(outcome, LEAVE_LEFT);
	ck_assert_uint_eq(world.asked, 0);
}
END_TEST

START_TEST(leave_now__gives_up_in_time_and_says_what_was_answered)
{
	world.busy = 1000;
	ck_assert_int_eq(run(true), SP_EAGAIN);
	ck_assert_ptr_nonnull(strstr(err.text, "status 503"));
}
END_TEST

START_TEST(leave_mode__static_has_nothing_to_leave)
{
	conf.replication_mode = CONF_MODE_STATIC;
	ck_assert_int_eq(run(true), SP_ECONF);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		leave_scaled__pod_that_is_counted_stays,
		leave_scaled__pod_that_is_not_counted_leaves_by_way_of_the_leader,
		leave_scaled__another_change_under_way_is_waited_for,
		leave_scaled__who_is_no_member_has_left,
		leave_scaled__statefulset_that_cannot_be_read_changes_nothing,
		leave_now__does_not_ask_the_statefulset,
		leave_now__gives_up_in_time_and_says_what_was_answered,
		leave_mode__static_has_nothing_to_leave,
	};

	return suite_run_fixture("leave", tests, sizeof(tests) / sizeof(tests[0]), 10, set_up, tear_down);
}
