/* Expiry of tombstones, as a whole server does it from tick to tick. */
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "lib/protocol/position.h"
#include "tests/lib/lone_server.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define KEYS        25000
#define DEADLINE_MS 8000 /* less than what a server that has nothing to do takes between two looks */

static char dir[TEMPDIR_MAX];
static struct conf conf;
static struct sp_error err;
static atomic_int ahead_s; /* of the true wall clock */

/* In place of the C library's. */
int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc = (int)syscall(SYS_clock_gettime, id, ts);

	if (id == CLOCK_REALTIME)
		ts->tv_sec += atomic_load(&ahead_s);
	return rc;
}

static void
ask(const char *method, const char *path, const struct buf *body, struct http_reply *reply)
{
	struct http_client *c = http_client_new(&(struct http_client_options){ .stall_timeout_ms = 10000 }, &err);
	char url[CONF_TEXT_MAX + 64];
	struct http_request_out rq = { .method = method, .url = url, .timeout_ms = 10000 };

	if (body != NULL) {
		rq.body = body->data;
		rq.body_len = body->len;
	}
	snprintf(url, sizeof(url), "http://%s%s", conf.server_listen, path);
	http_reply_init(reply, 65536);
	ck_assert_msg(http_call(c, &rq, reply, &err) == 0, "%s", err.text);
	ck_assert_int_eq(reply->status, 200);
	http_client_free(c);
}

static void
make_and_delete_keys(const char *name)
{
	struct http_reply reply;
	struct buf body;

	for (int deletes = 0; deletes < 2; deletes++) {
		buf_init(&body, 16 << 20);
		for (int i = 0; i < KEYS; i++)
			buf_printf(&body,
			    deletes ? "{\"op\":\"delete\",\"key\":\"%s%d\"}\n"
				    : "{\"op\":\"put\",\"key\":\"%s%d\",\"value\":\"\"}\n",
			    name, i);
		ask("POST", "/v1/batch", &body, &reply);
		http_reply_release(&reply);
		buf_release(&body);
	}
}

static uint64_t
horizon(void)
{
	struct http_reply reply;
	struct position p;

	ask("GET", "/v1/position", NULL, &reply);
	ck_assert_int_eq(position_from_json(reply.body.data, reply.body.len, &p, &err), 0);
	http_reply_release(&reply);
	return p.horizon;
}

/* Where more are due than one transaction takes, the next ticks go on, so that they do not pile up. */
START_TEST(expiry__goes_on_until_nothing_is_due)
{
	struct server *s = lone_server_start(dir, "tombstone_keep = 1h\n", &conf);
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	struct http_reply reply;

	make_and_delete_keys("");
	/* The time of a deletion is when LMDB is told of it: before who looks at more than one key. */
	ask("GET", "/v1/kv", NULL, &reply);
	http_reply_release(&reply);
	ck_assert_uint_eq(horizon(), 0);
	atomic_store(&ahead_s, 7200);
	while (horizon() < KEYS + KEYS && clock_mono_ms() < deadline) {
		ck_assert(server_tick(s));
		clock_sleep_ms(10);
	}
	ck_assert_uint_eq(horizon(), KEYS + KEYS);
	server_stop(s);
}
END_TEST

/* A clock that was a century ahead for a moment does not keep all later deletions for a century. */
START_TEST(expiry__what_a_clock_that_was_ahead_left_goes_with_what_follows)
{
	struct server *s = lone_server_start(dir, "tombstone_keep = 1h\n", &conf);
	/* The first ticks look once, and the next look comes in its time. */
	int64_t deadline = clock_mono_ms() + 4 * DEADLINE_MS;
	struct http_reply reply;

	atomic_store(&ahead_s, 2000000000);
	make_and_delete_keys("early");
	ask("GET", "/v1/kv", NULL, &reply);
	http_reply_release(&reply);
	atomic_store(&ahead_s, 0);
	make_and_delete_keys("late");
	ask("GET", "/v1/kv", NULL, &reply);
	http_reply_release(&reply);
	for (int i = 0; i < 3; i++)
		ck_assert(server_tick(s));
	ck_assert_uint_eq(horizon(), 0);
	atomic_store(&ahead_s, 7200);
	while (horizon() < 4 * KEYS && clock_mono_ms() < deadline) {
		ck_assert(server_tick(s));
		clock_sleep_ms(10);
	}
	ck_assert_uint_eq(horizon(), 4 * KEYS);
	server_stop(s);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		expiry__goes_on_until_nothing_is_due,
		expiry__what_a_clock_that_was_ahead_left_goes_with_what_follows,
	};

	if (http_setup(&err) < 0)
		return 1;
	return suite_run_in_folder("expiry", tests, sizeof(tests) / sizeof(tests[0]), 60, dir);
}
