/* durability = sync and async, as the disk sees them: how often a whole server asks for its writes to be put there. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/net/http_client.h"
#include "server/store/journal.h"
#include "tests/lib/lone_server.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define WRITES 50

static char dir[TEMPDIR_MAX];
static struct conf conf;
static struct sp_error err;
static atomic_uint syncs;
static atomic_int journal_fails;  /* to be put on disk, with this errno; 0: it does not */
static atomic_bool disk_is_slow;  /* a sync does not end */
static unsigned written_unsynced; /* writes that were answered without a sync since they were asked for */

static bool
is_journal(int fd)
{
	char link[64], path[TEMPDIR_MAX] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, "/" JOURNAL_NAME) != NULL;
}

/* In place of the C library's, also for LMDB. */
int fdatasync(int fd);
int
fdatasync(int fd)
{
	atomic_fetch_add(&syncs, 1);
	while (atomic_load(&disk_is_slow))
		clock_sleep_ms(1);
	if (atomic_load(&journal_fails) != 0 && is_journal(fd)) {
		errno = atomic_load(&journal_fails);
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static struct server *
start(const char *durability)
{
	char more[64];

	snprintf(more, sizeof(more), "durability = %s\n", durability);
	return lone_server_start(dir, more, &conf);
}

static void
write_keys(void)
{
	struct http_client *c = http_client_new(&(struct http_client_options){ .stall_timeout_ms = 10000 }, &err);
	struct http_reply reply;
	char url[CONF_TEXT_MAX + 64];

	http_reply_init(&reply, 4096);
	for (int i = 0; i < WRITES; i++) {
		unsigned before = atomic_load(&syncs);

		snprintf(url, sizeof(url), "http://%s/v1/kv/key-%d", conf.server_listen, i);
		ck_assert_msg(http_call(c,
				  &(struct http_request_out){
				      .method = "PUT", .url = url, .body = "v", .body_len = 1, .timeout_ms = 10000 },
				  &reply, &err) == 0,
		    "%s", err.text);
		ck_assert_int_eq(reply.status, 204);
		written_unsynced += atomic_load(&syncs) == before;
	}
	http_reply_release(&reply);
	http_client_free(c);
}

static bool
has_journal(void)
{
	char path[TEMPDIR_MAX + 32];

	snprintf(path, sizeof(path), "%s/data/store/" JOURNAL_NAME, dir);
	return file_exists(path);
}

static bool
in_doubt(void)
{
	char path[TEMPDIR_MAX + 32];

	snprintf(path, sizeof(path), "%s/data/store", dir);
	return journal_in_doubt(path);
}

START_TEST(durability__with_sync_each_write_is_put_on_disk)
{
	struct server *s = start("sync");

	write_keys();
	ck_assert_uint_eq(written_unsynced, 0);
	server_stop(s);
}
END_TEST

static void *
write_one(void *arg)
{
	struct http_client *c = http_client_new(&(struct http_client_options){ .stall_timeout_ms = 10000 }, NULL);
	struct http_reply reply;
	char url[CONF_TEXT_MAX + 64];
	atomic_long *status = arg;

	snprintf(url, sizeof(url), "http://%s/v1/kv/one", conf.server_listen);
	http_reply_init(&reply, 4096);
	http_call(
	    c, &(struct http_request_out){ .method = "PUT", .url = url, .body = "v", .body_len = 1 }, &reply, NULL);
	atomic_store(status, reply.status);
	http_reply_release(&reply);
	http_client_free(c);
	return NULL;
}

/* That a sync was asked for is not enough: its end has to be waited for. */
START_TEST(durability__with_sync_no_write_is_answered_while_the_disk_is_at_it)
{
	struct server *s = start("sync");
	atomic_long status = 0;
	unsigned before;
	pthread_t writer;

	write_keys();
	atomic_store(&disk_is_slow, true);
	before = atomic_load(&syncs);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_one, &status), 0);
	while (atomic_load(&syncs) == before)
		clock_sleep_ms(1);
	clock_sleep_ms(300);
	ck_assert_int_eq(atomic_load(&status), 0);
	atomic_store(&disk_is_slow, false);
	pthread_join(writer, NULL);
	ck_assert_int_eq(atomic_load(&status), 204);
	server_stop(s);
}
END_TEST

START_TEST(durability__with_async_writes_wait_for_no_disk_and_are_on_it_at_the_end)
{
	struct server *s = start("async");
	unsigned before = atomic_load(&syncs);

	write_keys();
	/* Once a second at most; that these writes took a minute is not to be feared. */
	ck_assert_uint_lt(atomic_load(&syncs) - before, WRITES);
	ck_assert_uint_gt(written_unsynced, 0);
	ck_assert(has_journal() && !in_doubt());
	before = atomic_load(&syncs);
	server_stop(s);
	ck_assert_uint_gt(atomic_load(&syncs), before);
	ck_assert(!has_journal());
}
END_TEST

START_TEST(durability__with_async_writes_are_on_disk_a_second_later)
{
	struct server *s = start("async");
	int64_t begun_ms, took_ms = INT64_MAX;
	unsigned before;

	/* A second, and what a machine with much to do takes to run a thread; again, where it stood still. */
	for (int tries = 0; tries < 3 && took_ms >= 2500; tries++) {
		write_keys();
		before = atomic_load(&syncs);
		begun_ms = clock_mono_ms();
		while (atomic_load(&syncs) == before && clock_mono_ms() - begun_ms < 5000)
			clock_sleep_ms(5);
		took_ms = clock_mono_ms() - begun_ms;
	}
	ck_assert_int_lt(took_ms, 2500);
	server_stop(s);
}
END_TEST

/* Who leads is not forgotten by a machine that goes down: it is on disk when /role answers. */
START_TEST(durability__with_async_a_role_is_on_disk_when_it_is_told)
{
	static const char *const roles[] = { "{\"role\":\"follower\"}", "{\"role\":\"leader\"}" };
	struct server *s = start("async");
	struct http_client *c = http_client_new(
	    &(struct http_client_options){ .stall_timeout_ms = 10000, .unix_socket = conf.server_control_socket },
	    &err);
	struct http_reply reply;
	unsigned before = atomic_load(&syncs);

	http_reply_init(&reply, 4096);
	for (int i = 0; i < 10; i++) {
		struct http_request_out rq = { .method = "POST",
			.url = "http://localhost/role",
			.body = roles[i % 2],
			.body_len = strlen(roles[i % 2]),
			.timeout_ms = 10000 };

		ck_assert_msg(http_call(c, &rq, &reply, &err) == 0, "%s", err.text);
		ck_assert_int_eq(reply.status, 200);
	}
	ck_assert_uint_ge(atomic_load(&syncs) - before, 10);
	http_reply_release(&reply);
	http_client_free(c);
	server_stop(s);
}
END_TEST

/* The machine stays up, and yet what was committed before is not to be relied upon. */
static void
fail_to_sync(int reason)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		start("async");
		write_keys();
		atomic_store(&journal_fails, reason);
		write_keys();
		for (;;)
			pause();
	}
	ck_assert_int_gt(child, 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), sp_code_exit(SP_EIO));
	ck_assert(has_journal() && in_doubt());
	server_stop(start("async"));
	ck_assert(!has_journal());
}

START_TEST(durability__a_sync_that_fails_ends_the_server_and_leaves_its_journal_in_doubt)
{
	fail_to_sync(EIO);
}
END_TEST

/* As a disk on the network may, which allots room only when it is written to. */
START_TEST(durability__a_sync_that_finds_no_room_is_one_that_fails)
{
	fail_to_sync(ENOSPC);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		durability__with_sync_each_write_is_put_on_disk,
		durability__with_sync_no_write_is_answered_while_the_disk_is_at_it,
		durability__with_async_writes_wait_for_no_disk_and_are_on_it_at_the_end,
		durability__with_async_writes_are_on_disk_a_second_later,
		durability__with_async_a_role_is_on_disk_when_it_is_told,
		durability__a_sync_that_fails_ends_the_server_and_leaves_its_journal_in_doubt,
		durability__a_sync_that_finds_no_room_is_one_that_fails,
	};

	if (http_setup(&err) < 0)
		return 1;
	return suite_run_in_folder("durability", tests, sizeof(tests) / sizeof(tests[0]), 30, dir);
}
