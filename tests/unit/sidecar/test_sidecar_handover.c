/* The new leader's side of a planned hand-over: what the old leader may answer. */
#include "sidecar/handover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/net/http_client.h"
#include "tests/lib/peer_server.h"
#include "tests/lib/suite.h"

#define CLUSTER "0f0ecae1-5dd5-4518-9c48-fb4a109684f5"
#define OLD     0
#define OWN     1

static struct peer_server *server;
static struct http_client *client;
static char url[64];
static struct sp_error err;
static struct position theirs; /* the answer to prepare */
static unsigned led;

static bool
answer(int fd, const char *request, void *arg)
{
	char *json = position_to_json(&theirs);
	char head[128];

	(void)request;
	(void)arg;
	ck_assert_ptr_nonnull(json);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
	    strlen(json));
	if (peer_send_text(fd, head))
		peer_send_text(fd, json);
	free(json);
	return false;
}

static void
set_up(void)
{
	ck_assert_int_eq(http_setup(NULL), 0);
	server = peer_server_new(answer, NULL);
	peer_server_url(server, "", url, sizeof(url));
	client = http_client_new(&(struct http_client_options){ .stall_timeout_ms = 5000 }, &err);
	ck_assert_ptr_nonnull(client);
	memset(&theirs, 0, sizeof(theirs));
	snprintf(theirs.cluster, sizeof(theirs.cluster), "%s", CLUSTER);
	theirs.role = ROLE_FOLLOWER;
	theirs.epoch = 1;
	theirs.history_count = 1;
	theirs.history[0].epoch = 1;
	theirs.seq = 7;
	theirs.consistent = true;
	theirs.lead.kind = LEAD_RELEASED;
	theirs.lead.pod = OLD;
	theirs.lead.to = OWN;
	theirs.lead.despite = LEAD_NOBODY;
	theirs.lead.epoch = 1;
	theirs.lead.seq = 7;
	theirs.lead.digest = theirs.digest;
}

static void
tear_down(void)
{
	http_client_free(client);
	peer_server_free(server);
	http_teardown();
}

static int
stay(struct handover *h, const struct position *to, int64_t until_ms, struct sp_error *why)
{
	(void)h;
	(void)to;
	(void)until_ms;
	(void)why;
	return 0;
}

static int
begin_to_lead(struct handover *h, int64_t pause_ms, struct sp_error *why)
{
	(void)h;
	(void)pause_ms;
	(void)why;
	led++;
	return 0;
}

static int
run(void)
{
	struct handover h = {
		.client = client, .leader_url = url, .from = OLD, .to = OWN, .catch_up = stay, .lead = begin_to_lead
	};

	h.own = theirs;
	return handover_run(&h, &err);
}

START_TEST(sidecar_handover__a_release_that_was_made_before_is_taken)
{
	ck_assert_msg(run() == 0, "%s", err.text);
	ck_assert_uint_eq(led, 1);
}
END_TEST

/* A pod that merely does not lead has given nothing away. */
START_TEST(sidecar_handover__a_follower_that_released_nothing_gives_no_lead)
{
	theirs.lead.kind = LEAD_NONE;
	ck_assert_int_eq(run(), SP_EBADDATA);
	ck_assert_uint_eq(led, 0);
}
END_TEST

START_TEST(sidecar_handover__a_release_to_another_pod_gives_no_lead)
{
	theirs.lead.to = 2;
	ck_assert_int_eq(run(), SP_EBADDATA);
	ck_assert_uint_eq(led, 0);
}
END_TEST

START_TEST(sidecar_handover__a_release_of_another_position_gives_no_lead)
{
	theirs.lead.seq = 6;
	ck_assert_int_eq(run(), SP_EBADDATA);
	ck_assert_uint_eq(led, 0);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		sidecar_handover__a_release_that_was_made_before_is_taken,
		sidecar_handover__a_follower_that_released_nothing_gives_no_lead,
		sidecar_handover__a_release_to_another_pod_gives_no_lead,
		sidecar_handover__a_release_of_another_position_gives_no_lead,
	};

	return suite_run_fixture("sidecar_handover", tests, sizeof(tests) / sizeof(tests[0]), 20, set_up, tear_down);
}
