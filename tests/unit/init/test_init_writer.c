#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "init/writer.h"
#include "lib/base/file.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define MIB (1u << 20)

static char dir[TEMPDIR_MAX];
static struct sp_error err;

static int
create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

/* Bytes that differ at every distance which a mistake in counting could shift them by. */
static unsigned char *
pattern(size_t len)
{
	unsigned char *data = malloc(len);
	uint32_t x = 1;

	ck_assert_ptr_nonnull(data);
	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (unsigned char)(x >> 24);
	}
	return data;
}

static void
assert_holds(const char *path, const unsigned char *data, size_t len)
{
	struct buf found;

	buf_init(&found, 64 * MIB);
	ck_assert_msg(file_read_all(path, &found, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(found.len, len);
	ck_assert(memcmp(found.data, data, len) == 0);
	buf_release(&found);
}

/* Write `len` bytes in pieces of `piece`, and read them again. */
static void
round_trip(const char *path, size_t len, size_t piece)
{
	unsigned char *data = pattern(len);
	int fd = create(path);
	struct writer *w = writer_new(fd, &err);

	ck_assert_ptr_nonnull(w);
	for (size_t at = 0; at < len; at += piece)
		ck_assert_msg(writer_add(w, data + at, len - at < piece ? len - at : piece, &err) == 0, "%s", err.text);
	ck_assert_msg(writer_end(w, &err) == 0, "%s", err.text);
	writer_free(w);
	ck_assert_int_eq(fsync(fd), 0);
	close(fd);
	assert_holds(path, data, len);
	unlink(path);
	free(data);
}

START_TEST(writer__the_file_is_what_was_given_whatever_the_pieces)
{
	static const size_t lengths[] = { 0, 1, 4096, 4097, 2 * MIB, 2 * MIB + 1, 6 * MIB, 17 * MIB + 8192, 23456789 };
	const char *path = tempdir_path(dir, "data");

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		round_trip(path, lengths[i], 512u << 10);
		round_trip(path, lengths[i], 300001);
		round_trip(path, lengths[i], 5 * MIB);
	}
}
END_TEST

/* A volume may be in memory (an emptyDir), where there is nothing to go past. */
START_TEST(writer__a_file_system_without_direct_writes_is_as_good)
{
	char path[] = "/dev/shm/test_init_writer.XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	close(fd);
	unlink(path);
	round_trip(path, 17 * MIB + 5, 300001);
}
END_TEST

/* What was taken earlier fails later: the failure reaches the caller, and stays. */
START_TEST(writer__a_full_volume_is_told_with_its_name)
{
	unsigned char *data = pattern(2 * MIB);
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC), rc = 0;
	struct writer *w = writer_new(fd, &err);

	ck_assert_ptr_nonnull(w);
	for (int i = 0; i < 100 && rc == 0; i++)
		rc = writer_add(w, data, 2 * MIB, &err);
	ck_assert_int_eq(rc, SP_ENOSPACE);
	ck_assert_int_eq(err.code, SP_ENOSPACE);
	ck_assert_ptr_nonnull(strstr(err.text, strerror(ENOSPC)));
	ck_assert_int_eq(writer_end(w, &err), SP_ENOSPACE);
	writer_free(w);
	close(fd);
	free(data);
}
END_TEST

/* The last bytes have nobody after them to fail: writer_end() must. */
START_TEST(writer_end__a_failure_of_the_last_bytes_is_told)
{
	const char *path = tempdir_path(dir, "data");
	unsigned char *data = pattern(2 * MIB);
	struct rlimit limit = { .rlim_cur = 3 * MIB, .rlim_max = RLIM_INFINITY };
	int fd = create(path);
	struct writer *w = writer_new(fd, &err);

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(writer_add(w, data, 2 * MIB, &err), 0);
	ck_assert_int_eq(writer_add(w, data, MIB + MIB / 2, &err), 0);
	ck_assert_int_lt(writer_end(w, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, strerror(EFBIG)));
	writer_free(w);
	close(fd);
	free(data);
}
END_TEST

START_TEST(writer_free__amid_the_work_ends_it)
{
	unsigned char *data = pattern(5 * MIB);
	int fd = create(tempdir_path(dir, "data"));
	struct writer *w = writer_new(fd, &err);

	ck_assert_int_eq(writer_add(w, data, 5 * MIB, &err), 0);
	writer_free(w);
	ck_assert_int_eq(fsync(fd), 0);
	close(fd);
	free(data);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { writer__the_file_is_what_was_given_whatever_the_pieces,
		writer__a_file_system_without_direct_writes_is_as_good, writer__a_full_volume_is_told_with_its_name,
		writer_end__a_failure_of_the_last_bytes_is_told, writer_free__amid_the_work_ends_it };

	return suite_run_in_folder("init_writer", tests, sizeof(tests) / sizeof(tests[0]), 30, dir);
}
