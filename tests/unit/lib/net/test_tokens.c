/* Tokens: what a folder of them allows, which headers show one, and how new files are taken. */
#include "lib/net/tokens.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define READ  "read-token-0123456789"
#define WRITE "write-token-0123456789"
#define BOTH  "both-0123456789abcdef=="

static char dir[TEMPDIR_MAX];
static struct sp_error err;

static struct tokens *
must_read(void)
{
	struct tokens *t = tokens_new(dir, &err);

	ck_assert_msg(t != NULL, "%s", err.text);
	return t;
}

START_TEST(tokens__each_file_gives_its_role)
{
	struct tokens *t;
	char first[64];

	tempdir_write(dir, "read", "# of the web shop\n" READ "\n\n" BOTH "\r\n");
	tempdir_write(dir, "peer", BOTH);
	t = must_read();
	ck_assert_uint_eq(tokens_roles(t, "Bearer " READ), TOKEN_READ);
	ck_assert_uint_eq(tokens_roles(t, "bearer   " BOTH " "), TOKEN_READ | TOKEN_PEER);
	ck_assert_uint_eq(tokens_roles(t, "Bearer " WRITE), 0);
	ck_assert(tokens_has(t, TOKEN_PEER));
	ck_assert(!tokens_has(t, TOKEN_METRICS));
	ck_assert(tokens_first(t, TOKEN_PEER, first, sizeof(first)));
	ck_assert_str_eq(first, BOTH);
	ck_assert(!tokens_first(t, TOKEN_PEER, first, strlen(BOTH)));
	ck_assert(!tokens_first(t, TOKEN_WRITE, first, sizeof(first)));
	tokens_free(t);
	/* The first line of its file, whatever other files say. */
	tempdir_write(dir, "peer", WRITE "\n" BOTH "\n");
	t = must_read();
	ck_assert(tokens_first(t, TOKEN_PEER, first, sizeof(first)));
	ck_assert_str_eq(first, WRITE);
	tokens_free(t);
}
END_TEST

START_TEST(tokens_roles__other_headers_show_none)
{
	static const char *const none[] = { "", "Bearer", "Bearer ", "Bearer" READ, "Basic " READ, READ,
		"Bearer " READ "x", "Bearer read-token-012345678", "Bearer " READ " " READ, "Bearer " READ ",",
		" Bearer " READ, "Bearer " READ "\t\tx" };
	char longest[TOKEN_LENGTH_MAX + 64] = "Bearer ";
	struct tokens *t;

	tempdir_write(dir, "read", READ "\n");
	t = must_read();
	ck_assert_uint_eq(tokens_roles(t, NULL), 0);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ck_assert_msg(tokens_roles(t, none[i]) == 0, "\"%s\" was taken", none[i]);
	memset(longest + 7, 'a', TOKEN_LENGTH_MAX + 1);
	ck_assert_uint_eq(tokens_roles(t, longest), 0);
	tokens_free(t);
}
END_TEST

START_TEST(tokens_new__bad_files_are_named_and_no_token_told)
{
	static const struct {
		const char *text, *what;
	} bad[] = {
		{ READ "\nshort\n", "read:2: a token has 16" },
		{ "secret with blanks inside\n", "read:1: a token has letters" },
		{ "secret=with=more=behind\n", "read:1: a token has letters" },
		{ "================", "read:1: a token has letters" },
		{ "# nothing\n\n", "holds no token in any" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		tempdir_write(dir, "read", bad[i].text);
		ck_assert_ptr_null(tokens_new(dir, &err));
		ck_assert_int_eq(err.code, SP_ECONF);
		ck_assert_msg(strstr(err.text, bad[i].what) != NULL, "%s", err.text);
		ck_assert_ptr_null(strstr(err.text, "secret"));
	}
	unlink(tempdir_path(dir, "read"));
	ck_assert_ptr_null(tokens_new(dir, &err));
	ck_assert_ptr_null(tokens_new("/nonexistent", &err));
}
END_TEST

START_TEST(tokens_new__a_nul_byte_is_no_blank)
{
	static const char text[] = READ "\0\n";

	ck_assert_int_eq(file_write_atomic(tempdir_path(dir, "read"), text, sizeof(text) - 1, 0600, &err), 0);
	ck_assert_ptr_null(tokens_new(dir, &err));
	ck_assert_msg(strstr(err.text, "read:1: a token has letters") != NULL, "%s", err.text);
}
END_TEST

START_TEST(tokens_look__takes_new_files_and_keeps_the_old_ones_where_these_are_bad)
{
	struct file_watch_status status;
	struct tokens *t;

	log_configure(LOG_ERROR, LOG_LOGFMT);
	tempdir_write(dir, "read", READ "\n");
	t = must_read();
	tempdir_write(dir, "read", WRITE "\n" READ "\n");
	tokens_look(t);
	ck_assert_uint_eq(tokens_roles(t, "Bearer " WRITE), TOKEN_READ);
	ck_assert_uint_eq(tokens_roles(t, "Bearer " READ), TOKEN_READ);
	tempdir_write(dir, "read", WRITE "\nbad\n");
	tokens_look(t);
	ck_assert_uint_eq(tokens_roles(t, "Bearer " READ), TOKEN_READ);
	tokens_status(t, &status);
	ck_assert(!status.success);
	ck_assert_uint_eq(status.failures, 1);
	tokens_look(t); /* nothing new: not another failure */
	tempdir_write(dir, "read", WRITE "\n");
	tokens_look(t);
	ck_assert_uint_eq(tokens_roles(t, "Bearer " READ), 0);
	tokens_status(t, &status);
	ck_assert(status.success);
	ck_assert_uint_eq(status.failures, 1);
	tokens_free(t);
}
END_TEST

/* Out of descriptors, say: the files are the same when there are some again. */
START_TEST(tokens_look__tries_again_what_failed_for_a_while)
{
	struct rlimit limit, none;
	struct file_watch_status status;
	struct tokens *t;

	log_configure(LOG_ERROR, LOG_LOGFMT);
	tempdir_write(dir, "read", READ "\n");
	t = must_read();
	tempdir_write(dir, "read", WRITE "\n");
	tempdir_write(dir, "write", WRITE "\n");
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ .rlim_cur = 3, .rlim_max = limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	tokens_look(t);
	tokens_look(t);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	tokens_status(t, &status);
	ck_assert(!status.success);
	ck_assert_uint_eq(status.failures, 1);
	ck_assert_uint_eq(tokens_roles(t, "Bearer " READ), TOKEN_READ);
	tokens_look(t);
	tokens_status(t, &status);
	ck_assert(status.success);
	ck_assert_uint_eq(tokens_roles(t, "Bearer " WRITE), TOKEN_READ | TOKEN_WRITE);
	tokens_free(t);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		tokens__each_file_gives_its_role,
		tokens_roles__other_headers_show_none,
		tokens_new__bad_files_are_named_and_no_token_told,
		tokens_new__a_nul_byte_is_no_blank,
		tokens_look__takes_new_files_and_keeps_the_old_ones_where_these_are_bad,
		tokens_look__tries_again_what_failed_for_a_while,
	};

	return suite_run_in_folder("tokens", tests, sizeof(tests) / sizeof(tests[0]), 10, dir);
}
