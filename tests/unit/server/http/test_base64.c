#include <string.h>

#include "lib/base/error.h"
#include "server/http/base64.h"
#include "tests/lib/suite.h"

/* RFC 4648, section 10. */
static const char *const vectors[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
	{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };

START_TEST(base64__as_the_rfc_has_it)
{
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		unsigned char plain[16];
		struct buf b;

		buf_init(&b, 100);
		ck_assert_int_eq(base64_encode(&b, vectors[i][0], strlen(vectors[i][0])), 0);
		ck_assert_str_eq(b.data, vectors[i][1]);
		ck_assert_int_eq(base64_decode(b.data, b.len, plain), (int64_t)strlen(vectors[i][0]));
		ck_assert_mem_eq(plain, vectors[i][0], strlen(vectors[i][0]));
		buf_release(&b);
	}
}
END_TEST

START_TEST(base64__every_byte_at_every_place_comes_back)
{
	unsigned char bytes[3], back[3];

	for (unsigned i = 0; i < 3 * 256; i++) {
		struct buf b;

		memset(bytes, 0x5a, sizeof(bytes));
		bytes[i / 256] = (unsigned char)i;
		buf_init(&b, 100);
		ck_assert_int_eq(base64_encode(&b, bytes, 1 + i / 256), 0);
		ck_assert_uint_eq(b.len, 4);
		ck_assert_int_eq(base64_decode(b.data, b.len, back), 1 + i / 256);
		ck_assert_mem_eq(back, bytes, 1 + i / 256);
		buf_release(&b);
	}
}
END_TEST

START_TEST(base64_encode__past_the_limit_changes_nothing)
{
	struct buf b;

	buf_init(&b, 7);
	ck_assert_int_eq(base64_encode(&b, "foob", 4), SP_ETOOBIG);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_int_eq(base64_encode(&b, "foo", 3), 0);
	ck_assert_str_eq(b.data, "Zm9v");
	buf_release(&b);
}
END_TEST

START_TEST(base64_decode__what_is_none_is_refused)
{
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "====", "Z===", "Zg=g", "=g==", "Zm9v=", "Zm9!",
		"Zm9v\n", "Zm-_", "Z g=", "Zm8=Zm8=" };
	unsigned char out[64];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(base64_decode(bad[i], strlen(bad[i]), out) == -1, "\"%s\" was taken", bad[i]);
	ck_assert_int_eq(base64_decode("Zm9\0", 4, out), -1);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		base64__as_the_rfc_has_it,
		base64__every_byte_at_every_place_comes_back,
		base64_encode__past_the_limit_changes_nothing,
		base64_decode__what_is_none_is_refused,
	};

	return suite_run("base64", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
