/* Members that connect by name, on one loop: what arrives, what fails, and what a close leaves behind. */
#include "server/replication/raft/transport.h"

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define MEMBER_ID 0x123450001ull

static uv_loop_t loop;
static struct transport here, there;
static char address[64], listen_at[64];
static unsigned accepts, connects, closes;
static raft_id accepted_id;
static int connect_status;
static struct uv_stream_s *streams[32], *accepted_stream;
static size_t stream_count;

/* A port of this moment that nobody listens on. */
static unsigned
free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static void
on_accept(struct raft_uv_transport *t, raft_id id, const char *from, struct uv_stream_s *stream)
{
	ck_assert_ptr_eq(t, &here.base);
	ck_assert_str_eq(from, "store-1.service:9875");
	accepts++;
	accepted_id = id;
	accepted_stream = stream;
	streams[stream_count++] = stream;
}

static void
on_connect(struct raft_uv_connect *request, struct uv_stream_s *stream, int status)
{
	ck_assert_ptr_nonnull(request);
	connects++;
	connect_status = status;
	if (stream != NULL)
		streams[stream_count++] = stream;
}

static void
on_close(struct raft_uv_transport *t)
{
	(void)t;
	closes++;
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void
set_up(void)
{
	unsigned port = free_port();

	ck_assert_int_eq(uv_loop_init(&loop), 0);
	snprintf(listen_at, sizeof(listen_at), "127.0.0.1:%u", port);
	snprintf(address, sizeof(address), "localhost:%u", port);
	transport_init(&here, &loop, listen_at);
	transport_init(&there, &loop, "127.0.0.1:0");
	ck_assert_int_eq(here.base.init(&here.base, 7, "store-0.service:9875"), 0);
	ck_assert_int_eq(there.base.init(&there.base, MEMBER_ID, "store-1.service:9875"), 0);
	ck_assert_int_eq(here.base.listen(&here.base, on_accept), 0);
}

static void
turn_until(const unsigned *count, unsigned n)
{
	while (*count < n)
		uv_run(&loop, UV_RUN_ONCE);
}

static void
close_both(void)
{
	for (size_t i = 0; i < stream_count; i++)
		uv_close((uv_handle_t *)streams[i], free_handle);
	here.base.close(&here.base, on_close);
	there.base.close(&there.base, on_close);
	turn_until(&closes, 2);
	transport_release(&here);
	transport_release(&there);
	while (uv_run(&loop, UV_RUN_DEFAULT) != 0)
		;
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static int
dial(struct raft_uv_connect *request, const char *to)
{
	return there.base.connect(&there.base, request, 7, to, on_connect);
}

START_TEST(transport__connects_to_a_name)
{
	struct raft_uv_connect request;

	ck_assert_int_eq(dial(&request, address), 0);
	turn_until(&accepts, 1);
	turn_until(&connects, 1);
	ck_assert_int_eq(connect_status, 0);
	ck_assert_uint_eq(accepted_id, MEMBER_ID);
	close_both();
}
END_TEST

static void
give_cluster(void *arg, char out[LOG_ORIGIN_MAX])
{
	snprintf(out, LOG_ORIGIN_MAX, "%s", (const char *)arg);
}

static bool
knows_member(void *arg, raft_id id)
{
	(void)arg;
	return id == MEMBER_ID;
}

static struct transport_peers
peers_of(const char *cluster)
{
	return (struct transport_peers){
		.cluster = give_cluster, .is_member = knows_member, .arg = (void *)(uintptr_t)cluster
	};
}

START_TEST(transport__greeting_of_another_cluster_or_log_is_refused)
{
	static const char ours[] = "11111111-1111-4111-8111-111111111111",
			  theirs[] = "22222222-2222-4222-8222-222222222222",
			  our_log[] = "11111111-1111-4111-8111-111111111111/65537",
			  former_log[] = "11111111-1111-4111-8111-111111111111/6553", /* begins as the other does */
	    their_log[] = "22222222-2222-4222-8222-222222222222/65537";
	/* Whose greeting says what, and whether it is let in. */
	const struct {
		const char *here, *there;
		raft_id id;
		bool in;
	} rows[] = { { ours, ours, 9, true }, { ours, theirs, MEMBER_ID, false }, { "", theirs, 9, true },
		{ ours, "", MEMBER_ID, true }, { our_log, our_log, 9, true }, { our_log, former_log, MEMBER_ID, false },
		{ former_log, our_log, MEMBER_ID, false }, { our_log, their_log, MEMBER_ID, false },
		{ our_log, ours, 9, true }, { ours, our_log, 9, true }, { our_log, theirs, 9, false } };
	struct raft_uv_connect request;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned before = accepts, dialled = connects;
		uint64_t refused = here.refused;

		here.peers = peers_of(rows[i].here);
		there.peers = peers_of(rows[i].there);
		there.base.init(&there.base, rows[i].id, "store-1.service:9875");
		ck_assert_int_eq(dial(&request, listen_at), 0);
		turn_until(&connects, dialled + 1);
		while (accepts == before && here.refused == refused)
			uv_run(&loop, UV_RUN_ONCE);
		ck_assert_msg((accepts > before) == rows[i].in, "row %zu", i);
	}
	close_both();
}
END_TEST

static struct secret *
secret_of(const char *text)
{
	struct sp_error err = { 0 };
	char dir[TEMPDIR_MAX], path[TEMPDIR_MAX + 16];
	struct secret *s;

	tempdir_make(dir);
	snprintf(path, sizeof(path), "%s/secret", dir);
	ck_assert_int_eq(file_write_atomic(path, text, strlen(text), 0600, &err), 0);
	s = secret_new(path, &err);
	ck_assert_msg(s != NULL, "%s", err.text);
	tempdir_remove(dir);
	return s;
}

#define SECRET_A "aaaaaaaaaaaaaaaa\n"
#define SECRET_B "bbbbbbbbbbbbbbbb\n"

START_TEST(transport__members_prove_their_secret_to_one_another)
{
	static const struct {
		const char *here, *there; /* NULL: none */
		raft_id asked;
		bool good;
	} cases[] = { { SECRET_A, SECRET_A, 7, true }, { SECRET_B SECRET_A, SECRET_A, 7, true },
		{ SECRET_A, SECRET_A SECRET_B, 7, true }, { SECRET_A, SECRET_B, 7, false },
		{ SECRET_A, SECRET_B SECRET_A, 7, false }, { SECRET_A, SECRET_A, 8, false },
		{ SECRET_A, NULL, 7, false }, { NULL, SECRET_A, 7, false } };
	struct raft_uv_connect request;

	here.peers.secret = cases[_i].here != NULL ? secret_of(cases[_i].here) : NULL;
	there.peers.secret = cases[_i].there != NULL ? secret_of(cases[_i].there) : NULL;
	ck_assert_int_eq(there.base.connect(&there.base, &request, cases[_i].asked, listen_at, on_connect), 0);
	turn_until(&connects, 1);
	if (cases[_i].good)
		turn_until(&accepts, 1);
	else
		while (atomic_load(&here.refused) == 0)
			uv_run(&loop, UV_RUN_ONCE);
	ck_assert_uint_eq(accepts, cases[_i].good ? 1 : 0);
	/* Who has none has greeted, and is hung up on. */
	ck_assert_int_eq(connect_status, cases[_i].good || cases[_i].there == NULL ? 0 : RAFT_NOCONNECTION);
	close_both();
	secret_free(here.peers.secret);
	secret_free(there.peers.secret);
}
END_TEST

START_TEST(transport__connects_to_a_number)
{
	struct raft_uv_connect request;

	ck_assert_int_eq(dial(&request, listen_at), 0);
	turn_until(&connects, 1);
	ck_assert_int_eq(connect_status, 0);
	close_both();
}
END_TEST

/* The socket of a connection to the listening port: the end that has connected, or the one that was accepted. */
static int
find_socket(bool accepted)
{
	struct sockaddr_in at, from;
	unsigned port = (unsigned)strtoul(strrchr(listen_at, ':') + 1, NULL, 10);

	for (int fd = 3; fd < 256; fd++) {
		socklen_t at_len = sizeof(at), from_len = sizeof(from);

		if (getsockname(fd, (struct sockaddr *)&from, &from_len) == 0 && from.sin_family == AF_INET &&
		    getpeername(fd, (struct sockaddr *)&at, &at_len) == 0 &&
		    ntohs(accepted ? from.sin_port : at.sin_port) == port)
			return fd;
	}
	ck_abort_msg("no such socket");
}

START_TEST(transport__silent_peer_is_given_up_in_seconds)
{
	struct raft_uv_connect request;
	socklen_t len = sizeof(unsigned);
	unsigned silence_ms = 0;

	ck_assert_int_eq(dial(&request, listen_at), 0);
	turn_until(&accepts, 1);
	turn_until(&connects, 1);
	ck_assert_int_eq(getsockopt(find_socket(false), IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, &len), 0);
	ck_assert_uint_gt(silence_ms, 0);
	ck_assert_uint_le(silence_ms, 10000);
	close_both();
}
END_TEST

START_TEST(transport__peer_that_is_gone_is_noticed_where_it_only_sends)
{
	struct raft_uv_connect request;
	unsigned silence_ms = 0, alive = 0;
	socklen_t len = sizeof(unsigned);
	int fd;

	ck_assert_int_eq(dial(&request, listen_at), 0);
	turn_until(&accepts, 1);
	fd = find_socket(true);
	ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &alive, &len), 0);
	ck_assert_uint_eq(alive, 1);
	ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, &len), 0);
	ck_assert_uint_gt(silence_ms, 0);
	turn_until(&connects, 1);
	close_both();
}
END_TEST

static void
tick(uv_timer_t *timer)
{
	(void)timer;
}

/* Have libraft's end be hung up, within five seconds, though nothing is written to it. */
static void
wait_hung_up(struct uv_stream_s *stream)
{
	struct pollfd end = { 0 };
	int64_t deadline = clock_mono_ms() + 5000;
	static uv_timer_t timer;

	ck_assert_int_eq(uv_fileno((uv_handle_t *)stream, &end.fd), 0);
	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, tick, 10, 10);
	while ((end.revents & POLLHUP) == 0) {
		ck_assert_msg(clock_mono_ms() < deadline, "libraft is not told that the other side has gone");
		uv_run(&loop, UV_RUN_ONCE);
		ck_assert_int_ge(poll(&end, 1, 0), 0);
	}
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
}

START_TEST(transport__peer_that_has_closed_is_noticed_where_nothing_is_sent)
{
	struct raft_uv_connect request;
	struct uv_stream_s *ours;

	ck_assert_int_eq(dial(&request, listen_at), 0);
	turn_until(&accepts, 1);
	turn_until(&connects, 1);
	ours = streams[0] == accepted_stream ? streams[1] : streams[0];
	uv_close((uv_handle_t *)accepted_stream, free_handle);
	streams[0] = ours;
	stream_count = 1;
	wait_hung_up(ours);
	close_both();
}
END_TEST

START_TEST(transport__message_that_no_member_sends_ends_the_connection)
{
	static const unsigned char bad[16] = { 99 };
	struct raft_uv_connect request;
	struct uv_stream_s *ours;
	uv_os_fd_t fd;

	ck_assert_int_eq(dial(&request, listen_at), 0);
	turn_until(&accepts, 1);
	turn_until(&connects, 1);
	ours = streams[0] == accepted_stream ? streams[1] : streams[0];
	ck_assert_int_eq(uv_fileno((uv_handle_t *)ours, &fd), 0);
	ck_assert_int_eq(write(fd, bad, sizeof(bad)), sizeof(bad));
	wait_hung_up(accepted_stream);
	ck_assert_uint_eq(atomic_load(&here.refused_messages), 1);
	wait_hung_up(ours);
	close_both();
}
END_TEST

START_TEST(transport__member_has_few_connections)
{
	struct raft_uv_connect requests[10];

	for (unsigned i = 0; i < 10; i++) {
		ck_assert_int_eq(dial(&requests[i], listen_at), 0);
		turn_until(&accepts, i + 1);
		turn_until(&connects, i + 1);
	}
	for (unsigned i = 0; i < 4; i++) /* both ends of the first two */
		wait_hung_up(streams[i]);
	close_both();
}
END_TEST

START_TEST(transport__name_that_is_not_known_is_no_connection)
{
	struct raft_uv_connect request;

	ck_assert_int_eq(dial(&request, "there-is-no-such-pod.invalid:9875"), 0);
	turn_until(&connects, 1);
	ck_assert_int_eq(connect_status, RAFT_NOCONNECTION);
	close_both();
}
END_TEST

START_TEST(transport__what_is_no_address_is_refused)
{
	struct raft_uv_connect request;

	ck_assert_int_eq(dial(&request, "no port"), RAFT_INVALID);
	ck_assert_int_eq(dial(&request, "host:123456789"), RAFT_INVALID);
	ck_assert_uint_eq(connects, 0);
	close_both();
}
END_TEST

START_TEST(transport__close_tells_whoever_waits_for_a_name)
{
	struct raft_uv_connect requests[4];

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(dial(&requests[i], address), 0);
	close_both();
	ck_assert_uint_eq(connects, 4);
	ck_assert_int_eq(connect_status, RAFT_CANCELED);
}
END_TEST

static bool inside;

static bool
is_inside(void *arg, raft_id id)
{
	(void)arg;
	(void)id;
	return inside;
}

static unsigned sends;
static int send_status;

static void
on_sent(struct raft_io_send *request, int status)
{
	(void)request;
	sends++;
	send_status = status;
}

static void
on_io_closed(struct raft_io *io)
{
	(void)io;
	closes++;
}

START_TEST(transport__what_is_kept_for_who_has_left_is_let_go)
{
	struct raft_message message = {
		.type = RAFT_IO_REQUEST_VOTE_RESULT, .server_id = 7, .server_address = address
	};
	struct raft_io_send request;
	struct raft_io io = { 0 };
	char dir[TEMPDIR_MAX];

	signal(SIGPIPE, SIG_IGN);
	/* Nobody listens there: what is sent is kept until somebody does. */
	snprintf(address, sizeof(address), "127.0.0.1:%u", free_port());
	tempdir_make(dir);
	ck_assert_int_eq(raft_uv_init(&io, &loop, dir, &there.base), 0);
	ck_assert_int_eq(io.init(&io, MEMBER_ID, "store-1.service:9875"), 0);
	raft_uv_set_connect_retry_delay(&io, 10);
	there.peers.is_member = is_inside;
	inside = true;
	ck_assert_int_eq(io.send(&io, &request, &message, on_sent), 0);
	ck_assert_uint_eq(there.link_count, 1);
	there.links[0].was_member = true;
	for (int i = 0; i < 10; i++)
		uv_run(&loop, UV_RUN_ONCE);
	ck_assert_uint_eq(sends, 0);
	inside = false;
	turn_until(&sends, 1);
	ck_assert_int_eq(send_status, RAFT_IOERR);
	/* The connection that took nothing is closed, and there is no other. */
	while (there.links[0].connected)
		uv_run(&loop, UV_RUN_ONCE);
	for (int i = 0; i < 10; i++)
		uv_run(&loop, UV_RUN_ONCE);
	ck_assert(!there.links[0].connected);
	io.close(&io, on_io_closed);
	here.base.close(&here.base, on_close);
	turn_until(&closes, 2);
	raft_uv_close(&io);
	transport_release(&here);
	transport_release(&there);
	while (uv_run(&loop, UV_RUN_DEFAULT) != 0)
		;
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	tempdir_remove(dir);
}
END_TEST

/* Somebody who has connected to us and says nothing. */
static int
knock(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_port = htons((uint16_t)strtoul(strrchr(listen_at, ':') + 1, NULL, 10));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

START_TEST(transport__a_flood_waits_outside)
{
	enum { FLOOD = 48 };
	int64_t began_ms = clock_mono_ms();
	int comes[FLOOD];

	for (int i = 0; i < FLOOD; i++)
		comes[i] = knock();
	/* Who is let in holds a poll, as the listening socket does. */
	while (here.open < FLOOD + 1) {
		uv_run(&loop, UV_RUN_NOWAIT);
		transport_turn(&here);
		clock_sleep_ms(1);
	}
	/* Sixteen at once, and as many after each tenth of a second. */
	ck_assert_int_ge(clock_mono_ms() - began_ms, 200);
	for (int i = 0; i < FLOOD; i++)
		close(comes[i]);
	close_both();
}
END_TEST

START_TEST(transport__door_without_descriptors_is_looked_at_now_and_then)
{
	struct rlimit few, before;
	uv_timer_t clock;
	unsigned turns = 0;
	int comes, none;
	int64_t until_ms;

	ck_assert_int_eq(uv_timer_init(&loop, &clock), 0);
	ck_assert_int_eq(uv_timer_start(&clock, tick, 50, 50), 0);
	uv_run(&loop, UV_RUN_NOWAIT);
	comes = knock();
	none = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ .rlim_cur = (rlim_t)none, .rlim_max = before.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (until_ms = clock_mono_ms() + 500; clock_mono_ms() < until_ms; turns++) {
		uv_run(&loop, UV_RUN_ONCE);
		transport_turn(&here);
	}
	/* The clock's ten, and the listening socket's five. */
	ck_assert_uint_lt(turns, 100);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	while (here.wires == NULL) {
		uv_run(&loop, UV_RUN_ONCE);
		transport_turn(&here);
	}
	close(comes);
	close(none);
	uv_close((uv_handle_t *)&clock, NULL);
	close_both();
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("all");

	tcase_set_timeout(tc, 20);
	tcase_add_checked_fixture(tc, set_up, NULL);
	tcase_add_test(tc, transport__greeting_of_another_cluster_or_log_is_refused);
	tcase_add_test(tc, transport__connects_to_a_name);
	tcase_add_test(tc, transport__connects_to_a_number);
	tcase_add_test(tc, transport__silent_peer_is_given_up_in_seconds);
	tcase_add_test(tc, transport__peer_that_is_gone_is_noticed_where_it_only_sends);
	tcase_add_test(tc, transport__peer_that_has_closed_is_noticed_where_nothing_is_sent);
	tcase_add_test(tc, transport__message_that_no_member_sends_ends_the_connection);
	tcase_add_test(tc, transport__member_has_few_connections);
	tcase_add_test(tc, transport__name_that_is_not_known_is_no_connection);
	tcase_add_test(tc, transport__what_is_no_address_is_refused);
	tcase_add_test(tc, transport__close_tells_whoever_waits_for_a_name);
	tcase_add_test(tc, transport__what_is_kept_for_who_has_left_is_let_go);
	tcase_add_test(tc, transport__a_flood_waits_outside);
	tcase_add_test(tc, transport__door_without_descriptors_is_looked_at_now_and_then);
	tcase_add_loop_test(tc, transport__members_prove_their_secret_to_one_another, 0, 8);
	return suite_run_case("raft transport", tc);
}
