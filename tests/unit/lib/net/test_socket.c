#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/net/socket.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

static struct sp_error err;

static bool
can_connect(int family, const struct sockaddr *sa, socklen_t len)
{
	int fd = socket(family, SOCK_STREAM, 0);
	bool ok = fd >= 0 && connect(fd, sa, len) == 0;

	close(fd);
	return ok;
}

static bool
can_connect_tcp(unsigned port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return can_connect(AF_INET, (struct sockaddr *)&sa, sizeof(sa));
}

static bool
can_connect_unix(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	return can_connect(AF_UNIX, (struct sockaddr *)&sa, sizeof(sa));
}

START_TEST(socket_listen__tcp_says_its_port)
{
	static const char *const addresses[] = { "127.0.0.1:0", "localhost:0", "0.0.0.0:0", ":0" };

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		unsigned port = 0;
		int fd = -1;

		ck_assert_msg(socket_listen(addresses[i], &fd, &port, &err) == 0, "%s", err.text);
		ck_assert_uint_gt(port, 0);
		ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
		close(fd);
	}
}
END_TEST

START_TEST(socket_listen__a_port_in_use_is_an_error)
{
	char address[64];
	unsigned port, again = 7;
	int fd, second = 7;

	ck_assert_int_eq(socket_listen("127.0.0.1:0", &fd, &port, &err), 0);
	ck_assert(can_connect_tcp(port));
	snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	ck_assert_int_eq(socket_listen(address, &second, &again, &err), SP_ECONF);
	ck_assert_ptr_nonnull(strstr(err.text, address));
	ck_assert_int_eq(second, -1);
	close(fd);
	/* Free again at once. */
	ck_assert_int_eq(socket_listen(address, &fd, &again, &err), 0);
	ck_assert_uint_eq(again, port);
	close(fd);
}
END_TEST

START_TEST(socket_listen__ipv6_in_brackets)
{
	unsigned port;
	int fd = socket(AF_INET6, SOCK_STREAM, 0), probe;
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	/* Not every machine has it. */
	probe = fd >= 0 ? bind(fd, (struct sockaddr *)&sa, sizeof(sa)) : -1;
	close(fd);
	if (probe < 0)
		return;
	ck_assert_msg(socket_listen("[::1]:0", &fd, &port, &err) == 0, "%s", err.text);
	ck_assert_uint_gt(port, 0);
	sa.sin6_port = htons((uint16_t)port);
	ck_assert(can_connect(AF_INET6, (struct sockaddr *)&sa, sizeof(sa)));
	close(fd);
}
END_TEST

START_TEST(socket_listen__what_is_no_address_is_refused)
{
	static char long_host[400];
	static const char *const bad[] = { "", "localhost", "localhost:", "127.0.0.1:http-or-so", "127.0.0.1:65536",
		"127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:1x", "unix:", long_host };

	memset(long_host, 'x', sizeof(long_host) - 3);
	memcpy(long_host + sizeof(long_host) - 3, ":1", 3);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		unsigned port = 7;
		int fd = 7;

		ck_assert_msg(socket_listen(bad[i], &fd, &port, &err) == SP_ECONF, "\"%s\": %s", bad[i], err.text);
		ck_assert_int_eq(fd, -1);
	}
}
END_TEST

START_TEST(socket_listen__unix_is_the_owners_alone)
{
	char dir[TEMPDIR_MAX], address[TEMPDIR_MAX + 32];
	const char *path;
	struct stat st;
	unsigned port = 7;
	mode_t before;
	int fd;

	tempdir_make(dir);
	path = tempdir_path(dir, "s");
	snprintf(address, sizeof(address), "unix:%s", path);
	before = umask(0);
	ck_assert_msg(socket_listen(address, &fd, &port, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(umask(before), 0);
	ck_assert_uint_eq(port, 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	ck_assert(can_connect_unix(path));
	close(fd);
	/* What a dead process left is replaced. */
	ck_assert(!can_connect_unix(path));
	ck_assert_msg(socket_listen(address, &fd, &port, &err) == 0, "%s", err.text);
	ck_assert(can_connect_unix(path));
	close(fd);
	tempdir_remove(dir);
}
END_TEST

/* A mistyped path costs nobody a file. */
START_TEST(socket_listen__unix_replaces_nothing_but_sockets)
{
	char dir[TEMPDIR_MAX], address[TEMPDIR_MAX + 32];
	unsigned port;
	struct buf text;
	int fd;

	tempdir_make(dir);
	tempdir_write(dir, "precious", "text");
	snprintf(address, sizeof(address), "unix:%s/precious", dir);
	ck_assert_int_eq(socket_listen(address, &fd, &port, &err), SP_ECONF);
	ck_assert_ptr_nonnull(strstr(err.text, "precious: there is something that is no socket"));
	ck_assert_int_eq(fd, -1);
	buf_init(&text, 100);
	ck_assert_int_eq(file_read_all(tempdir_path(dir, "precious"), &text, &err), 0);
	ck_assert_str_eq(text.data, "text");
	buf_release(&text);
	snprintf(address, sizeof(address), "unix:%s/none/s", dir);
	ck_assert_int_eq(socket_listen(address, &fd, &port, &err), SP_ENOTFOUND);
	tempdir_remove(dir);
}
END_TEST

START_TEST(socket_listen__a_unix_path_too_long_is_refused)
{
	char address[200] = "unix:/";
	unsigned port;
	int fd;

	memset(address + 6, 'x', 107); /* 108 with the slash; the most is 107 */
	ck_assert_int_eq(socket_listen(address, &fd, &port, &err), SP_ECONF);
	ck_assert_ptr_nonnull(strstr(err.text, "107"));
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		socket_listen__tcp_says_its_port,
		socket_listen__a_port_in_use_is_an_error,
		socket_listen__ipv6_in_brackets,
		socket_listen__what_is_no_address_is_refused,
		socket_listen__unix_is_the_owners_alone,
		socket_listen__unix_replaces_nothing_but_sockets,
		socket_listen__a_unix_path_too_long_is_refused,
	};

	return suite_run("socket", tests, sizeof(tests) / sizeof(tests[0]), 30);
}
