/* A shared secret: its file, and proofs that one knows it. */
#include "lib/net/secret.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define ONE "0123456789abcdef-one"
#define TWO "0123456789abcdef-two"

static char dir[TEMPDIR_MAX];
static char path[TEMPDIR_MAX + 16];

static void
write_file(const char *text)
{
	snprintf(path, sizeof(path), "%s/secret", dir);
	ck_assert_int_eq(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
}

static struct secret *
secret_of(const char *text)
{
	struct sp_error err = { 0 };
	struct secret *s;

	write_file(text);
	s = secret_new(path, &err);
	ck_assert_msg(s != NULL, "%s", err.text);
	return s;
}

START_TEST(secret_prove__is_hmac_sha256)
{
	/* printf 'asks\0what' | openssl dgst -sha256 -hmac 0123456789abcdef-one */
	static const unsigned char right[SECRET_PROOF_BYTES] = { 0x1d, 0x1b, 0xc3, 0xb2, 0xa1, 0x39, 0x6f, 0xe8, 0xf3,
		0xbc, 0xa3, 0x21, 0x29, 0x8e, 0x0d, 0x91, 0xc1, 0x08, 0x76, 0xb7, 0x9a, 0x6b, 0x58, 0x55, 0xa3, 0xd1,
		0xd2, 0x3f, 0x13, 0x27, 0xe2, 0xca };
	unsigned char proof[SECRET_PROOF_BYTES];
	struct secret *s = secret_of(ONE "\n");

	ck_assert_int_eq(secret_prove(s, "asks", "what", 4, proof), 0);
	ck_assert_mem_eq(proof, right, sizeof(right));
	secret_free(s);
}
END_TEST

START_TEST(secret_verify__knows_its_own_proofs_alone)
{
	unsigned char proof[SECRET_PROOF_BYTES], answer[SECRET_PROOF_BYTES];
	struct secret *s = secret_of(ONE), *other;

	ck_assert_int_eq(secret_prove(s, "asks", "what", 4, proof), 0);
	ck_assert(secret_verify(s, "asks", "what", 4, proof, "answers", answer));
	ck_assert(secret_verify(s, "answers", "what", 4, answer, NULL, NULL));
	ck_assert(!secret_verify(s, "answers", "what", 4, proof, NULL, NULL));
	ck_assert(!secret_verify(s, "asks", "whatever", 8, proof, NULL, NULL));
	other = secret_of(TWO);
	ck_assert(!secret_verify(other, "asks", "what", 4, proof, NULL, NULL));
	proof[31] ^= 1;
	ck_assert(!secret_verify(s, "asks", "what", 4, proof, NULL, NULL));
	secret_free(s);
	secret_free(other);
}
END_TEST

START_TEST(secret_look__a_new_one_is_brought_in_without_a_pause)
{
	unsigned char by_one[SECRET_PROOF_BYTES], by_two[SECRET_PROOF_BYTES], answer[SECRET_PROOF_BYTES];
	struct secret *s = secret_of("# the present one\n" ONE "\n\n" TWO "\r\n"), *two = secret_of(TWO);

	/* It proves with the first, and takes both; it answers whom it asks by the same. */
	ck_assert_int_eq(secret_prove(two, "asks", "what", 4, by_two), 0);
	ck_assert(secret_verify(s, "asks", "what", 4, by_two, "answers", answer));
	ck_assert(secret_verify(two, "answers", "what", 4, answer, NULL, NULL));
	ck_assert_int_eq(secret_prove(s, "asks", "what", 4, by_one), 0);
	ck_assert_mem_ne(by_one, by_two, sizeof(by_one));
	/* The first line goes. */
	write_file(TWO "\n");
	secret_look(s);
	ck_assert(!secret_verify(s, "asks", "what", 4, by_one, NULL, NULL));
	ck_assert_int_eq(secret_prove(s, "asks", "what", 4, by_one), 0);
	ck_assert_mem_eq(by_one, by_two, sizeof(by_one));
	secret_free(s);
	secret_free(two);
}
END_TEST

START_TEST(secret_look__a_bad_file_leaves_the_former_in_use)
{
	unsigned char before[SECRET_PROOF_BYTES], after[SECRET_PROOF_BYTES];
	struct secret *s = secret_of(ONE);
	struct file_watch_status status;

	ck_assert_int_eq(secret_prove(s, "asks", "what", 4, before), 0);
	write_file("short\n");
	secret_look(s);
	ck_assert_int_eq(secret_prove(s, "asks", "what", 4, after), 0);
	ck_assert_mem_eq(before, after, sizeof(before));
	secret_status(s, &status);
	ck_assert(!status.success);
	ck_assert_uint_eq(status.failures, 1);
	ck_assert_ptr_null(strstr(status.error, "short\n"));
	secret_free(s);
}
END_TEST

START_TEST(secret_new__what_is_no_secret_is_refused)
{
	static const char *const bad[] = { "", "\n# nothing\n", "fifteen-letters", "with a blank in it, and long",
		"0123456789abcdef\x80", "0123456789abcdef\x01" };
	char many[17 * 20 + 1] = "";
	struct sp_error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(bad[i]);
		ck_assert_msg(secret_new(path, &err) == NULL, "%s", bad[i]);
		ck_assert_int_eq(err.code, SP_ECONF);
		ck_assert_ptr_nonnull(strstr(err.text, "[raft] secret_file"));
	}
	for (int i = 0; i < 17; i++)
		memcpy(many + 20 * i, "0123456789abcdef-00\n", 20);
	write_file(many);
	ck_assert_ptr_null(secret_new(path, &err));
	ck_assert_ptr_null(secret_new("/nowhere", &err));
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		secret_prove__is_hmac_sha256,
		secret_verify__knows_its_own_proofs_alone,
		secret_look__a_new_one_is_brought_in_without_a_pause,
		secret_look__a_bad_file_leaves_the_former_in_use,
		secret_new__what_is_no_secret_is_refused,
	};

	return suite_run_in_folder("secret", tests, sizeof(tests) / sizeof(tests[0]), 10, dir);
}
