#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/protocol/digest.h"
#include "tests/lib/suite.h"

static const char *
hex(struct digest d)
{
	static char text[DIGEST_HEX_SIZE];

	digest_to_hex(d, text);
	return text;
}

START_TEST(digest_of__is_what_xxh128sum_prints)
{
	/* printf '' | xxh128sum; printf 'a' | xxh128sum; printf 'hello, world' | xxh128sum */
	ck_assert_str_eq(hex(digest_of("", 0)), "99aa06d3014798d86001c324468d497f");
	ck_assert_str_eq(hex(digest_of("a", 1)), "a96faf705af16834e6c632b61e964e1f");
	ck_assert_str_eq(hex(digest_of("hello, world", 12)), "11c83d9c1ee368164c0abe17b55db69c");
}
END_TEST

/* What digest_of_record() is documented to hash, put together here. */
static struct digest
record_by_hand(const char *key, size_t key_len, uint64_t seq, const char *value, size_t value_len)
{
	unsigned char *flat = calloc(1, 12 + key_len + value_len);
	struct digest d;

	for (int i = 0; i < 8; i++)
		flat[i] = (unsigned char)(seq >> 8 * i);
	for (int i = 0; i < 4; i++)
		flat[8 + i] = (unsigned char)(key_len >> 8 * i);
	memcpy(flat + 12, key, key_len);
	memcpy(flat + 12 + key_len, value, value_len);
	d = digest_of(flat, 12 + key_len + value_len);
	free(flat);
	return d;
}

START_TEST(digest_of_record__hashes_seq_length_key_and_value)
{
	static const size_t sizes[] = { 0, 1, 2, 12, 100, 1000, 1014, 1020, 1021, 1024, 1025, 5000, 100000 };
	static char value[100000];

	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (char)(i * 7 + i / 251);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		ck_assert(digest_equal(digest_of_record("key", 3, 0x0102030405060708, value, sizes[i]),
		    record_by_hand("key", 3, 0x0102030405060708, value, sizes[i])));
	ck_assert(digest_equal(digest_of_record("k", 1, 9, NULL, 0), record_by_hand("k", 1, 9, "", 0)));
	/* Where the key ends counts. */
	ck_assert(!digest_equal(digest_of_record("ab", 2, 1, "c", 1), digest_of_record("a", 1, 1, "bc", 2)));
	ck_assert(!digest_equal(digest_of_record("a", 1, 1, "b", 1), digest_of_record("a", 1, 2, "b", 1)));
}
END_TEST

START_TEST(digest_add__carries_and_wraps)
{
	struct digest one = { .high = 0, .low = 1 }, low_full = { .high = 0, .low = UINT64_MAX };
	struct digest full = { .high = UINT64_MAX, .low = UINT64_MAX }, zero = { 0, 0 };

	ck_assert_str_eq(hex(digest_add(low_full, one)), "00000000000000010000000000000000");
	ck_assert(digest_equal(digest_add(full, one), zero));
	ck_assert(digest_equal(digest_sub(zero, one), full));
	ck_assert(digest_equal(digest_sub((struct digest){ .high = 1, .low = 0 }, one), low_full));
	ck_assert(!digest_equal(one, (struct digest){ .high = 1, .low = 1 }));
}
END_TEST

START_TEST(digest_sub__undoes_add_in_any_order)
{
	struct digest sum = { 0, 0 }, parts[100];

	for (unsigned i = 0; i < 100; i++) {
		parts[i] = digest_of(&i, sizeof(i));
		sum = digest_add(sum, parts[i]);
	}
	for (unsigned i = 0; i < 100; i++)
		sum = digest_sub(sum, parts[(i * 37) % 100]);
	ck_assert(digest_equal(sum, (struct digest){ 0, 0 }));
}
END_TEST

START_TEST(digest_hex__round_trip)
{
	struct digest d = { .high = 0x0123456789abcdef, .low = 0xfedcba9876543210 }, back;

	ck_assert_str_eq(hex(d), "0123456789abcdeffedcba9876543210");
	ck_assert_int_eq(digest_from_hex(hex(d), &back), 0);
	ck_assert(digest_equal(d, back));
	ck_assert_int_eq(digest_from_hex("0123456789ABCDEFFEDCBA9876543210", &back), 0);
	ck_assert(digest_equal(d, back));
}
END_TEST

START_TEST(digest_from_hex__what_is_none_is_refused)
{
	static const char *const bad[] = { "", "0", "0123456789abcdeffedcba987654321",
		"0123456789abcdeffedcba98765432100", "0123456789abcdeffedcba987654321g",
		" 123456789abcdeffedcba9876543210", "0x23456789abcdeffedcba9876543210",
		"-123456789abcdeffedcba9876543210" };
	struct digest d = { 5, 6 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(digest_from_hex(bad[i], &d) == SP_EBADDATA, "\"%s\" was taken", bad[i]);
	ck_assert(digest_equal(d, (struct digest){ 5, 6 }));
}
END_TEST

START_TEST(digest_bytes__are_big_endian)
{
	struct digest d = { .high = 0x0102030405060708, .low = 0x090a0b0c0d0e0f10 };
	unsigned char bytes[DIGEST_BYTES];

	digest_to_bytes(d, bytes);
	for (unsigned i = 0; i < DIGEST_BYTES; i++)
		ck_assert_uint_eq(bytes[i], i + 1);
	ck_assert(digest_equal(digest_from_bytes(bytes), d));
}
END_TEST

START_TEST(digest_stream__pieces_do_not_matter)
{
	struct digest_stream *s = digest_stream_new();
	char data[5000];
	size_t at = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * i);
	ck_assert(digest_equal(digest_stream_value(s), digest_of("", 0)));
	for (size_t piece = 0; at < sizeof(data); piece = (piece + 17) % 601) {
		size_t n = piece < sizeof(data) - at ? piece : sizeof(data) - at;

		digest_stream_add(s, data + at, n);
		at += n;
		/* Asking does not end it. */
		ck_assert(digest_equal(digest_stream_value(s), digest_of(data, at)));
	}
	digest_stream_free(s);
	digest_stream_free(NULL);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		digest_of__is_what_xxh128sum_prints,
		digest_of_record__hashes_seq_length_key_and_value,
		digest_add__carries_and_wraps,
		digest_sub__undoes_add_in_any_order,
		digest_hex__round_trip,
		digest_from_hex__what_is_none_is_refused,
		digest_bytes__are_big_endian,
		digest_stream__pieces_do_not_matter,
	};

	return suite_run("digest", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
