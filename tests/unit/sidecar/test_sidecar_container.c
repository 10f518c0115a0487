/* The verbs for the kubelet: --probe and --linger. What is printed is for people; the exit code is the contract. */
#include <check.h>

#include "lib/base/clock.h"
#include "sidecar/container.h"
#include "tests/lib/peer_server.h"
#include "tests/lib/suite.h"

#define URL_SIZE 128

static bool
answer(int fd, const char *request, void *arg)
{
	(void)request;
	peer_send_text(fd, arg);
	return false;
}

static int
probe(const char *text)
{
	struct peer_server *s = peer_server_new(answer, (void *)(uintptr_t)text);
	char url[URL_SIZE];
	int rc;

	peer_server_url(s, "/readyz", url, sizeof(url));
	rc = container_probe(url, "/nonexistent");
	peer_server_free(s);
	return rc;
}

START_TEST(container_probe__a_200_is_success)
{
	ck_assert_int_eq(probe("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"), 0);
	ck_assert_int_eq(probe("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 0);
}
END_TEST

START_TEST(container_probe__any_other_status_is_failure)
{
	ck_assert_int_eq(probe("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nlag\n"), 1);
	ck_assert_int_eq(probe("HTTP/1.1 204 No Content\r\n\r\n"), 1);
}
END_TEST

START_TEST(container_probe__an_answer_cut_short_is_failure)
{
	ck_assert_int_eq(probe("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nok\n"), 1);
}
END_TEST

START_TEST(container_probe__nobody_there_is_failure)
{
	char url[URL_SIZE];

	peer_refused_url(url, sizeof(url));
	ck_assert_int_eq(container_probe(url, "/nonexistent"), 1);
	ck_assert_int_eq(container_probe("no url", "/nonexistent"), 1);
}
END_TEST

static bool
stall(int fd, const char *request, void *arg)
{
	(void)request;
	(void)arg;
	peer_stall(fd);
	return false;
}

START_TEST(container_probe__silence_is_failure_in_time)
{
	struct peer_server *s = peer_server_new(stall, NULL);
	int64_t began_ms, took_ms = INT64_MAX;
	char url[URL_SIZE];

	peer_server_url(s, "/readyz", url, sizeof(url));
	/* The kubelet gives it five seconds. Once more, where the machine stood still. */
	for (int tries = 0; tries < 3 && took_ms >= 4000; tries++) {
		began_ms = clock_mono_ms();
		ck_assert_int_eq(container_probe(url, "/nonexistent"), 1);
		took_ms = clock_mono_ms() - began_ms;
	}
	ck_assert_int_lt(took_ms, 4000);
	peer_server_free(s);
}
END_TEST

START_TEST(container_linger__waits_as_long_as_it_is_told)
{
	int64_t began_ms = clock_mono_ms();

	ck_assert_int_eq(container_linger("0"), 0);
	ck_assert_int_eq(container_linger("1"), 0);
	ck_assert_int_ge(clock_mono_ms() - began_ms, 1000);
}
END_TEST

START_TEST(container_linger__what_is_no_number_of_seconds_is_refused)
{
	const char *bad[] = { "", "x", "5s", "-1", "601", "99999999999999999999" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(container_linger(bad[i]), 64);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		container_probe__a_200_is_success,
		container_probe__any_other_status_is_failure,
		container_probe__an_answer_cut_short_is_failure,
		container_probe__nobody_there_is_failure,
		container_probe__silence_is_failure_in_time,
		container_linger__waits_as_long_as_it_is_told,
		container_linger__what_is_no_number_of_seconds_is_refused,
	};

	return suite_run("sidecar_container", tests, sizeof(tests) / sizeof(tests[0]), 20);
}
