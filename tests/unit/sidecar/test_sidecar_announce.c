/* What Kubernetes is told of a pod: when which label, when which event, and how that is asked of the API server. */
#include "sidecar/announce.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "sidecar/announce_decide.h"
#include "tests/lib/peer_server.h"
#include "tests/lib/suite.h"

#define CREATED "2026-11-20T11:00:00Z"
#define WAIT_MS 10000

static struct announced told;
static struct announce_event events[ANNOUNCE_EVENTS_MAX];

/* A follower that serves, and that was never seeded. */
static struct announce_facts
a_follower(void)
{
	return (struct announce_facts){ .role_known = true,
		.server_ok = true,
		.seeded = "",
		.seed = "",
		.created = CREATED,
		.diverged = "",
		.rejected = "" };
}

/* The reasons of the events that are due, with commas. */
static const char *
reasons(const struct announce_facts *now)
{
	static char text[256];
	unsigned count = announce_events(&told, now, events);

	text[0] = '\0';
	for (unsigned i = 0; i < count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i > 0 ? "," : "", events[i].reason);
	return text;
}

START_TEST(announce_label__follows_the_role_that_the_server_tells)
{
	struct announce_facts now = a_follower();

	ck_assert_str_eq(announce_label(&now), "follower");
	now.leads = true;
	ck_assert_str_eq(announce_label(&now), "leader");
	/* A leader whose server is down: in mode raft another one will lead, in mode static none. */
	now.server_ok = false;
	ck_assert_str_eq(announce_label(&now), "leader");
	now.raft = true;
	ck_assert_str_eq(announce_label(&now), "follower");
	now.role_known = false;
	ck_assert_ptr_null(announce_label(&now));
}
END_TEST

START_TEST(announce_events__each_change_is_told_once)
{
	struct announce_facts now = a_follower();

	memset(&told, 0, sizeof(told));
	ck_assert_str_eq(reasons(&now), "");
	now.leads = true;
	ck_assert_str_eq(reasons(&now), "Promoted");
	ck_assert_str_eq(reasons(&now), "");
	now.role_known = false;
	ck_assert_str_eq(reasons(&now), "");
	now.role_known = true;
	now.leads = false;
	now.diverged = "the histories parted";
	now.rejected = "seedpod.ini:3: unknown key";
	ck_assert_str_eq(reasons(&now), "Demoted,Diverged,ConfigRejected");
	ck_assert(!events[0].warning && events[1].warning && events[2].warning);
	ck_assert_str_eq(events[1].text, "the histories parted");
	ck_assert_str_eq(reasons(&now), "");
	now.rejected = "seedpod.ini:4: unknown key";
	ck_assert_str_eq(reasons(&now), "ConfigRejected");
	now.diverged = "";
	now.rejected = "";
	ck_assert_str_eq(reasons(&now), "");
	now.diverged = "again";
	ck_assert_str_eq(reasons(&now), "Diverged");
}
END_TEST

START_TEST(announce_events__only_a_seeding_of_this_pod_is_told)
{
	struct announce_facts now = a_follower();

	memset(&told, 0, sizeof(told));
	now.seeded = "2026-11-20T10:59:59.900Z"; /* of the pod before this one */
	ck_assert_str_eq(reasons(&now), "");
	now.seeded = "2026-11-20T11:00:00.100Z"; /* in the second in which it was made */
	now.seed = "seeded from store-0: 12 bytes in 0.1 s";
	ck_assert_str_eq(reasons(&now), "Seeded");
	ck_assert_str_eq(events[0].text, now.seed);
	ck_assert_str_eq(reasons(&now), "");
	now.seeded = "2026-11-20T12:00:00.100Z"; /* while it ran */
	ck_assert_str_eq(reasons(&now), "Seeded");
}
END_TEST

START_TEST(announce_events__a_long_reason_is_cut_and_not_told_again)
{
	struct announce_facts now = a_follower();
	char text[2 * ANNOUNCE_TEXT_MAX];

	memset(&told, 0, sizeof(told));
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	now.rejected = text;
	ck_assert_str_eq(reasons(&now), "ConfigRejected");
	ck_assert_uint_eq(strlen(events[0].text), ANNOUNCE_TEXT_MAX - 1);
	ck_assert_str_eq(reasons(&now), "");
}
END_TEST

/* --- The thread, with an API server --- */

static struct {
	pthread_mutex_t lock;
	const char *answer; /* to a PATCH */
	unsigned patches, posts;
	char patch[2048], post[4096];
} api = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct peer_server *server;
static struct state *state;
static struct conf conf;
static char dir[64], url[64];

static bool
answer(int fd, const char *request, void *arg)
{
	(void)arg;
	pthread_mutex_lock(&api.lock);
	if (strncmp(request, "PATCH ", 6) == 0) {
		snprintf(api.patch, sizeof(api.patch), "%s", request);
		api.patches++;
		peer_send_text(fd, api.answer);
	} else {
		snprintf(api.post, sizeof(api.post), "%s", request);
		api.posts++;
		peer_send_text(fd, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}");
	}
	pthread_mutex_unlock(&api.lock);
	return false;
}

static void
set_up(void)
{
	static const char text[] = "[pod]\nname = store-3\nnamespace = here\nservice = s\n";
	struct sp_error err = { 0 };
	char path[96];

	ck_assert_int_eq(http_setup(NULL), 0);
	snprintf(dir, sizeof(dir), "/tmp/test_announce.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/token", dir);
	ck_assert_int_eq(file_write_atomic(path, "secret\n", 7, 0600, NULL), 0);
	api.answer = "HTTP/1.1 200 OK\r\nContent-Length: 71\r\n\r\n"
		     "{\"metadata\":{\"uid\":\"u-1\",\"creationTimestamp\":\"2026-11-20T11:00:00Z\"}}   ";
	api.patches = api.posts = 0;
	server = peer_server_new(answer, NULL);
	peer_server_url(server, "", url, sizeof(url));
	ck_assert_msg(conf_parse("test", text, sizeof(text) - 1, NULL, &conf, &err) == 0, "%s", err.text);
	state = state_new(&conf, clock_mono_ms());
}

static void
tear_down(void)
{
	state_free(state);
	peer_server_free(server);
	file_remove_tree(dir, NULL);
	http_teardown();
}

static void
serve_as(enum role role)
{
	struct position p = { .cluster = "6f1c2f7e-35a1-4a4c-9f0e-0123456789ab", .epoch = 1, .seq = 1, .role = role };

	state_server_answered(state, state_ticket(state), &p, clock_mono_ms());
}

static bool
wait_for(unsigned *what, unsigned count)
{
	int64_t until_ms = clock_mono_ms() + WAIT_MS;
	bool there = false;

	while (!there && clock_mono_ms() < until_ms) {
		pthread_mutex_lock(&api.lock);
		there = *what >= count;
		pthread_mutex_unlock(&api.lock);
		clock_sleep_ms(5);
	}
	return there;
}

static struct announce *
start(void)
{
	struct announce_options o = { .state = state, .kube = { .api = url, .account = dir }, .interval_ms = 10 };
	struct announce *a = announce_new(&o, NULL);

	ck_assert_ptr_nonnull(a);
	return a;
}

static void
finish(struct announce *a)
{
	ck_assert(announce_stop(a, WAIT_MS));
	announce_free(a);
}

START_TEST(announce__labels_its_own_pod_and_writes_an_event_on_it)
{
	struct announce *a;

	serve_as(ROLE_FOLLOWER);
	a = start();
	ck_assert(wait_for(&api.patches, 1));
	ck_assert_ptr_nonnull(strstr(api.patch, "PATCH /api/v1/namespaces/here/pods/store-3 HTTP/1.1\r\n"));
	ck_assert_ptr_nonnull(strstr(api.patch, "Authorization: Bearer secret\r\n"));
	ck_assert_ptr_nonnull(strstr(api.patch, "Content-Type: application/merge-patch+json\r\n"));
	serve_as(ROLE_LEADER);
	ck_assert(wait_for(&api.patches, 2));
	ck_assert(wait_for(&api.posts, 1));
	ck_assert_ptr_nonnull(strstr(api.post, "POST /api/v1/namespaces/here/events HTTP/1.1\r\n"));
	finish(a);
	ck_assert_uint_eq(api.patches, 2);
	ck_assert_uint_eq(api.posts, 1);
}
END_TEST

START_TEST(announce__that_it_may_not_is_no_reason_to_ask_all_the_time)
{
	struct announce *a;

	api.answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
	serve_as(ROLE_LEADER);
	a = start();
	ck_assert(wait_for(&api.patches, 1));
	clock_sleep_ms(200); /* twenty turns of its loop */
	finish(a);
	ck_assert_uint_eq(api.patches, 1);
	ck_assert_uint_eq(api.posts, 0);
}
END_TEST

START_TEST(kube_has_account__tells_a_mounted_token)
{
	ck_assert(kube_has_account(&(struct kube_options){ .account = dir }));
	ck_assert(!kube_has_account(&(struct kube_options){ .account = "/nonexistent" }));
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("announce");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, announce_label__follows_the_role_that_the_server_tells);
	tcase_add_test(tc, announce_events__each_change_is_told_once);
	tcase_add_test(tc, announce_events__only_a_seeding_of_this_pod_is_told);
	tcase_add_test(tc, announce_events__a_long_reason_is_cut_and_not_told_again);
	tcase_add_test(tc, announce__labels_its_own_pod_and_writes_an_event_on_it);
	tcase_add_test(tc, announce__that_it_may_not_is_no_reason_to_ask_all_the_time);
	tcase_add_test(tc, kube_has_account__tells_a_mounted_token);
	return suite_run_case("announce", tc);
}
