#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/base/log.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define LINE_BYTES 8192 /* the longest line, lib/base/log.h */

static char dir[TEMPDIR_MAX];

/* Let standard error go to a file from here on. Each test has a process of its own. */
static void
catch_stderr(void)
{
	int fd;

	tempdir_make(dir);
	fd = open(tempdir_path(dir, "log"), O_RDWR | O_CREAT | O_APPEND, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
}

/* All that was logged; static. Ends the catching. */
static char *
caught(void)
{
	static char text[1 << 20];
	ssize_t n = pread(STDERR_FILENO, text, sizeof(text) - 1, 0);

	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	tempdir_remove(dir);
	return text;
}

/* The line after its time, which is checked. */
static const char *
after_time(const char *line)
{
	ck_assert_msg(strncmp(line, "time=20", 7) == 0 && line[28] == 'Z' && line[29] == ' ', "\"%s\"", line);
	return line + 30;
}

START_TEST(log_write__before_the_setup_it_is_seedpod)
{
	catch_stderr();
	log_info("early");
	ck_assert_str_eq(after_time(caught()), "level=info program=seedpod msg=early\n");
}
END_TEST

START_TEST(log_write__logfmt_quotes_where_it_must)
{
	catch_stderr();
	log_setup("test", LOG_INFO, LOG_LOGFMT);
	log_info("two words", LOG_STR("plain", "a-b"), LOG_STR("space", "a b"), LOG_STR("quote", "a\"b\\c"),
	    LOG_STR("equals", "a=b"), LOG_STR("lines", "a\nb\tc\x01"), LOG_STR("empty", ""), LOG_STR("null", NULL),
	    LOG_STR("escape", "\x1b[31m"), LOG_STR("bytes", "\xff"), LOG_STR("text", "\xc3\xa4"));
	ck_assert_str_eq(after_time(caught()),
	    "level=info program=test msg=\"two words\" plain=a-b space=\"a b\" quote=\"a\\\"b\\\\c\" equals=\"a=b\" "
	    "lines=\"a\\nb\\u0009c\\u0001\" empty=\"\" null=\"\" escape=\"\\u001b[31m\" "
	    "bytes=\"\\ufffd\" text=\xc3\xa4\n");
}
END_TEST

START_TEST(log_write__numbers_as_they_are)
{
	catch_stderr();
	log_setup("test", LOG_INFO, LOG_LOGFMT);
	log_warn("n", LOG_U64("u", UINT64_MAX), LOG_I64("i", INT64_MIN), LOG_F64("f", 1.5), LOG_F64("nan", NAN),
	    LOG_F64("inf", -INFINITY), LOG_BOOL("yes", true), LOG_BOOL("no", false));
	ck_assert_str_eq(after_time(caught()), "level=warn program=test msg=n u=18446744073709551615 "
					       "i=-9223372036854775808 f=1.5 nan=0 inf=0 yes=true no=false\n");
}
END_TEST

START_TEST(log_write__json_is_json)
{
	json_t *line;
	char *text;

	catch_stderr();
	log_setup("test", LOG_DEBUG, LOG_JSON);
	log_debug("a \"message\"\r\n", LOG_STR("s", "\x02\x7f\xc3\xa4"), LOG_U64("u", 7), LOG_F64("nan", NAN),
	    LOG_BOOL("b", true), LOG_STR("null", NULL));
	text = caught();
	ck_assert_int_eq(text[strlen(text) - 1], '\n');
	line = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(line);
	ck_assert_str_eq(json_string_value(json_object_get(line, "level")), "debug");
	ck_assert_str_eq(json_string_value(json_object_get(line, "program")), "test");
	ck_assert_str_eq(json_string_value(json_object_get(line, "msg")), "a \"message\"\r\n");
	ck_assert_str_eq(json_string_value(json_object_get(line, "s")), "\x02\x7f\xc3\xa4");
	ck_assert_int_eq(json_integer_value(json_object_get(line, "u")), 7);
	ck_assert(json_is_true(json_object_get(line, "b")));
	ck_assert_str_eq(json_string_value(json_object_get(line, "null")), "");
	ck_assert_uint_eq(json_object_size(line), 9);
	json_decref(line);
}
END_TEST

START_TEST(log_configure__what_is_below_the_level_is_not_written)
{
	const char *text;

	catch_stderr();
	log_info("one");
	log_configure(LOG_ERROR, LOG_LOGFMT);
	log_debug("two");
	log_info("two");
	log_warn("two");
	log_error("three");
	log_configure(LOG_DEBUG, LOG_LOGFMT);
	log_debug("four");
	text = caught();
	ck_assert_ptr_null(strstr(text, "two"));
	ck_assert_ptr_nonnull(strstr(text, "level=info program=seedpod msg=one\n"));
	ck_assert_ptr_nonnull(strstr(text, "level=error program=seedpod msg=three\n"));
	ck_assert_ptr_nonnull(strstr(text, "level=debug program=seedpod msg=four\n"));
}
END_TEST

/* Keys and peers' texts may be any bytes; a line of JSON must parse all the same. */
START_TEST(log_write__bytes_that_are_no_text_are_replaced)
{
	static const char *const cases[][2] = { { "\xff", "\xef\xbf\xbd" }, { "a\x80z", "a\xef\xbf\xbdz" },
		{ "\xc3", "\xef\xbf\xbd" }, { "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, { "\xf0\x9f\x8c\xb1", "\xf0\x9f\x8c\xb1" },
		{ "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xe2\x82\xac", "\xe2\x82\xac" } };
	const char *expected = cases[_i][1];
	json_t *line;

	catch_stderr();
	log_setup("test", LOG_INFO, LOG_JSON);
	log_info("bytes", LOG_STR("value", cases[_i][0]));
	line = json_loads(caught(), 0, NULL);
	ck_assert_ptr_nonnull(line);
	ck_assert_str_eq(json_string_value(json_object_get(line, "value")), expected);
	json_decref(line);
}
END_TEST

/* Whatever is cut off: one line, whole escapes, and JSON that parses. */
START_TEST(log_write__a_long_line_is_cut_and_still_a_line)
{
	static const char *const fills[] = { "x", "\"", "\x01", "\xc3\xa4" };
	static char value[4 * LINE_BYTES];
	size_t fill = (size_t)_i % 4, shift = (size_t)_i / 4;
	size_t unit = strlen(fills[fill]);
	json_t *line;
	char *text;

	memset(value, 'y', shift);
	for (size_t i = shift; i + unit < sizeof(value); i += unit)
		memcpy(value + i, fills[fill], unit);
	catch_stderr();
	log_setup("test", LOG_INFO, LOG_JSON);
	log_info("long", LOG_STR("value", value), LOG_U64("after", 1));
	text = caught();
	ck_assert_uint_le(strlen(text), LINE_BYTES);
	ck_assert_uint_ge(strlen(text), LINE_BYTES / 2);
	ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
	line = json_loads(text, 0, NULL);
	ck_assert_msg(line != NULL, "not JSON: …%s", text + strlen(text) - 60);
	json_decref(line);
}
END_TEST

#define THREADS 4
#define LINES   200

static void *
chatter(void *arg)
{
	for (unsigned i = 0; i < LINES; i++)
		log_info("chatter", LOG_STR("who", arg), LOG_U64("line", i),
		    LOG_STR("pad", "----------------------------------------------------------------------"));
	return NULL;
}

START_TEST(log_write__lines_of_threads_do_not_mix)
{
	char *names[THREADS] = { "a", "b", "c", "d" };
	pthread_t threads[THREADS];
	unsigned lines = 0;
	char *text;

	catch_stderr();
	log_setup("test", LOG_INFO, LOG_LOGFMT);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, chatter, names[i]), 0);
	for (int i = 0; i < THREADS * LINES; i++)
		log_configure(LOG_INFO, LOG_LOGFMT);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	text = caught();
	for (char *end; (end = strchr(text, '\n')) != NULL; text = end + 1, lines++) {
		*end = '\0';
		ck_assert_msg(
		    strncmp(after_time(text), "level=info program=test msg=chatter who=", 40) == 0, "\"%s\"", text);
		ck_assert_msg(strcmp(end - 4, "----") == 0, "\"%s\"", text);
	}
	ck_assert_uint_eq(lines, THREADS * LINES);
}
END_TEST

/* Whoever logs serves somebody, and does not wait for ever for a reader of its log. */
START_TEST(log_write__a_reader_that_has_stopped_is_not_waited_for)
{
	static char got[1 << 20];
	int ends[2];
	ssize_t n;
	size_t len = 0;

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	log_setup("test", LOG_INFO, LOG_LOGFMT);
	for (int i = 0; i < 5000; i++)
		log_info("chatter", LOG_STR("more", "and more of it, so that the pipe is full before long"));
	ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	while ((n = read(ends[0], got + len, sizeof(got) - len - 1)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	ck_assert_ptr_null(strstr(got, "lost"));
	log_info("again");
	n = read(ends[0], got, sizeof(got) - 1);
	ck_assert_int_gt(n, 0);
	got[n] = '\0';
	ck_assert_ptr_nonnull(strstr(got, "msg=again\n"));
	ck_assert_ptr_nonnull(strstr(got, "msg=\"lines before this one were lost: nobody read them\" lines="));
}
END_TEST

int
main(void)
{
	TCase *all = tcase_create("log");

	tcase_add_test(all, log_write__before_the_setup_it_is_seedpod);
	tcase_add_test(all, log_write__logfmt_quotes_where_it_must);
	tcase_add_test(all, log_write__numbers_as_they_are);
	tcase_add_test(all, log_write__json_is_json);
	tcase_add_test(all, log_configure__what_is_below_the_level_is_not_written);
	tcase_add_loop_test(all, log_write__bytes_that_are_no_text_are_replaced, 0, 8);
	tcase_add_loop_test(all, log_write__a_long_line_is_cut_and_still_a_line, 0, 4 * 8);
	tcase_add_test(all, log_write__lines_of_threads_do_not_mix);
	tcase_add_test(all, log_write__a_reader_that_has_stopped_is_not_waited_for);
	return suite_run_case("log", all);
}
