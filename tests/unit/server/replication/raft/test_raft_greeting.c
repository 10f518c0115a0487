/* What a member says first at another's raft port, and the addresses in it. */
#include "server/replication/raft/greeting.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/le.h"
#include "server/replication/raft/address.h"
#include "tests/lib/suite.h"

#define CLUSTER "11111111-1111-4111-8111-111111111111"

START_TEST(wire_address__host_and_port)
{
	static const struct {
		const char *text, *host, *port;
	} good[] = { { "store-1.store.svc:9875", "store-1.store.svc", "9875" }, { "127.0.0.1:1", "127.0.0.1", "1" },
		{ "[fd00::1]:65535", "fd00::1", "65535" } };
	static const char *const bad[] = { "", ":", "host", "host:", ":9875", "host:0", "host:65536", "host:123456789",
		"host:12x", "host:-1", "host: 1", "fd00::1:9875", "[]:1", "[fd00::1:9875", "fd00::1]:9875" };
	struct wire_address a;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_msg(wire_address_parse(good[i].text, &a), "%s", good[i].text);
		ck_assert_str_eq(a.host, good[i].host);
		ck_assert_str_eq(a.port, good[i].port);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!wire_address_parse(bad[i], &a), "\"%s\" was taken", bad[i]);
}
END_TEST

START_TEST(wire_address__has_an_end)
{
	char text[WIRE_HOST_MAX + 8];
	struct wire_address a;

	memset(text, 'h', sizeof(text));
	strcpy(text + WIRE_HOST_MAX - 1, ":9875");
	ck_assert(wire_address_parse(text, &a));
	ck_assert_uint_eq(strlen(a.host), WIRE_HOST_MAX - 1);
	strcpy(text + WIRE_HOST_MAX - 1, "h:9875");
	ck_assert(!wire_address_parse(text, &a));
}
END_TEST

/* In memory of just its size, so that a sanitizer sees a byte too many. */
static bool
read_exactly(const unsigned char *bytes, size_t len, struct greeting *out)
{
	unsigned char *copy = malloc(len);
	bool taken;

	memcpy(copy, bytes, len);
	taken = greeting_read(copy, len, out);
	free(copy);
	return taken;
}

START_TEST(greeting__comes_back_as_it_went)
{
	static const struct greeting rows[] = {
		{ .id = 0x123450001, .address = "store-1.store.svc:9875", .cluster = CLUSTER },
		{ .id = UINT64_MAX, .address = "127.0.0.1:9875" }
	};
	unsigned char bytes[GREETING_MAX];
	struct greeting back;
	size_t len;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		len = greeting_write(&rows[i], bytes);
		ck_assert_uint_eq(len % 8, 0);
		ck_assert_uint_eq(greeting_size(bytes), len);
		ck_assert(read_exactly(bytes, len, &back));
		ck_assert_uint_eq(back.id, rows[i].id);
		ck_assert_str_eq(back.address, rows[i].address);
		ck_assert_str_eq(back.cluster, rows[i].cluster);
	}
}
END_TEST

START_TEST(greeting__the_longest_fits)
{
	struct greeting g = { .id = 1 }, back;
	unsigned char bytes[GREETING_MAX];
	size_t len;

	memset(g.address, 'a', sizeof(g.address) - 1);
	memset(g.cluster, 'c', sizeof(g.cluster) - 1);
	len = greeting_write(&g, bytes);
	ck_assert_uint_le(len, GREETING_MAX);
	ck_assert(read_exactly(bytes, len, &back));
	ck_assert_str_eq(back.address, g.address);
	ck_assert_str_eq(back.cluster, g.cluster);
}
END_TEST

/* As libraft of 0.15 writes it: this is what rolls over from one version of ours to the next. */
START_TEST(greeting__is_librafts_own)
{
	static const unsigned char expected[] = "\1\0\0\0\0\0\0\0"
						"\1\0\5\0\0\0\0\0"
						"\20\0\0\0\0\0\0\0"
						"127.0.0.1:9875\0";
	const struct greeting g = { .id = 0x50001, .address = "127.0.0.1:9875" };
	unsigned char bytes[GREETING_MAX];

	ck_assert_uint_eq(greeting_write(&g, bytes), sizeof(expected));
	ck_assert_mem_eq(bytes, expected, sizeof(expected));
}
END_TEST

START_TEST(greeting__what_is_none_is_not_taken)
{
	const struct greeting g = { .id = 1, .address = "a:1", .cluster = CLUSTER };
	unsigned char bytes[GREETING_MAX + 8];
	struct greeting back;
	size_t len = greeting_write(&g, bytes);

	le_put(bytes, 3, 8);
	ck_assert_uint_eq(greeting_size(bytes), 0);
	le_put(bytes, 1, 8);
	le_put(bytes + 16, 0, 8);
	ck_assert_uint_eq(greeting_size(bytes), 0);
	le_put(bytes + 16, GREETING_MAX, 8);
	ck_assert_uint_eq(greeting_size(bytes), 0);
	le_put(bytes + 16, UINT64_MAX, 8);
	ck_assert_uint_eq(greeting_size(bytes), 0);

	memset(bytes + GREETING_HEAD, 'a', GREETING_MAX - GREETING_HEAD);
	ck_assert(!read_exactly(bytes, len, &back)); /* no end */
	bytes[GREETING_MAX - 1] = '\0';
	ck_assert(!read_exactly(bytes, GREETING_MAX, &back)); /* too long an address */
	memcpy(bytes + GREETING_HEAD, "a:1 ", 4);
	ck_assert(!read_exactly(bytes, GREETING_MAX, &back)); /* too long a cluster */
	memcpy(bytes + GREETING_HEAD, " a:1\0", 5);
	ck_assert(!read_exactly(bytes, GREETING_MAX, &back)); /* no address */
}
END_TEST

START_TEST(greeting__with_a_nonce_comes_back_too)
{
	struct greeting g = { .id = 5, .address = "a:1", .cluster = CLUSTER, .proves = true }, back;
	unsigned char bytes[GREETING_MAX];
	size_t len;

	memset(g.nonce, 0xaa, sizeof(g.nonce));
	len = greeting_write(&g, bytes);
	ck_assert_uint_eq(greeting_size(bytes), len);
	ck_assert(read_exactly(bytes, len, &back));
	ck_assert(back.proves);
	ck_assert_mem_eq(back.nonce, g.nonce, sizeof(g.nonce));
	ck_assert_str_eq(back.address, g.address);
	ck_assert_str_eq(back.cluster, g.cluster);
	g.proves = false;
	ck_assert_uint_eq(greeting_write(&g, bytes), len - sizeof(g.nonce));
	ck_assert(read_exactly(bytes, len - sizeof(g.nonce), &back));
	ck_assert(!back.proves);
}
END_TEST

START_TEST(greeting__nobody_has_id_0)
{
	const struct greeting g = { .address = "a:1", .cluster = CLUSTER };
	unsigned char bytes[GREETING_MAX];
	struct greeting back;
	size_t len = greeting_write(&g, bytes);

	ck_assert(!read_exactly(bytes, len, &back));
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		wire_address__host_and_port,
		wire_address__has_an_end,
		greeting__comes_back_as_it_went,
		greeting__the_longest_fits,
		greeting__is_librafts_own,
		greeting__what_is_none_is_not_taken,
		greeting__with_a_nonce_comes_back_too,
		greeting__nobody_has_id_0,
	};

	return suite_run("raft_greeting", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
