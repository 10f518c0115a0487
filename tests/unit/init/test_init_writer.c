#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
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

/* --- Reading while it is written --- */

struct follower {
	struct writer *w;
	int fd;
	const unsigned char *data; /* what is to come */
	size_t len;
	size_t piece;
	bool keeps; /* lets the writer wait for it */
	bool differs;
	size_t from_disk;
};

/* Read all of it as it comes. */
static void *
follow(void *arg)
{
	struct follower *f = arg;
	unsigned char *piece = malloc(f->piece);
	bool on_disk;
	size_t n;

	for (size_t at = 0; at < f->len; at += n) {
		n = writer_copy(f->w, at, piece, f->len - at < f->piece ? f->len - at : f->piece, &on_disk);
		if (n == 0)
			sched_yield();
		if (n > 0 && on_disk && pread(f->fd, piece, n, (off_t)at) != (ssize_t)n)
			f->differs = true;
		f->differs |= n > 0 && memcmp(piece, f->data + at, n) != 0;
		f->from_disk += on_disk ? n : 0;
		if (f->keeps)
			writer_keep(f->w, at + n);
	}
	free(piece);
	return NULL;
}

/* Write `len` bytes with two threads reading them; those that were read from the file. */
static size_t
write_followed(size_t len, bool keeps)
{
	const char *path = tempdir_path(dir, "followed");
	unsigned char *data = pattern(len);
	int fd = create(path), from = open(path, O_RDONLY | O_CLOEXEC);
	struct writer *w = writer_new(fd, &err);
	struct follower f[2];
	pthread_t threads[2];

	for (size_t i = 0; i < 2; i++) {
		f[i] = (struct follower){ .w = w,
			.fd = from,
			.data = data,
			.len = len,
			.piece = 100000 + i * 300000,
			.keeps = keeps && i == 0 };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, follow, &f[i]), 0);
	}
	if (keeps)
		writer_keep(w, 0);
	for (size_t at = 0; at < len; at += 300001)
		ck_assert_int_eq(writer_add(w, data + at, len - at < 300001 ? len - at : 300001, &err), 0);
	ck_assert_int_eq(writer_end(w, &err), 0);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert(!f[i].differs);
	}
	writer_free(w);
	close(fd);
	close(from);
	assert_holds(path, data, len);
	unlink(path);
	free(data);
	return f[0].from_disk;
}

START_TEST(writer_copy__readers_get_what_was_given_from_memory_or_the_file)
{
	write_followed(33 * MIB + 4097, false);
	write_followed(5, false);
	write_followed(2 * MIB, false);
	write_followed(17 * MIB, true);
}
END_TEST

START_TEST(writer_copy__what_has_not_come_cannot_be_had)
{
	unsigned char *data = pattern(3 * MIB), out[8];
	int fd = create(tempdir_path(dir, "data"));
	struct writer *w = writer_new(fd, &err);
	bool on_disk;

	ck_assert_uint_eq(writer_copy(w, 0, out, sizeof(out), &on_disk), 0);
	ck_assert_int_eq(writer_add(w, data, 3 * MIB, &err), 0);
	ck_assert_uint_eq(writer_copy(w, 2 * MIB - 3, out, sizeof(out), &on_disk), 3);
	ck_assert(!on_disk);
	ck_assert_mem_eq(out, data + 2 * MIB - 3, 3);
	ck_assert_uint_eq(writer_copy(w, UINT64_MAX, out, sizeof(out), &on_disk), 0);
	ck_assert_int_eq(writer_end(w, &err), 0);
	ck_assert_uint_eq(writer_copy(w, 3 * MIB - 3, out, sizeof(out), &on_disk), 3);
	ck_assert_uint_eq(writer_copy(w, 3 * MIB, out, sizeof(out), &on_disk), 0);
	writer_free(w);
	close(fd);
	free(data);
}
END_TEST

/* A reader that has stopped holds the writing up for a while, and then no more. */
START_TEST(writer_keep__a_reader_that_stands_still_is_left_behind)
{
	unsigned char *data = pattern(40 * MIB), out[8];
	int fd = create(tempdir_path(dir, "data"));
	struct writer *w = writer_new(fd, &err);
	bool on_disk;

	writer_keep(w, 0);
	ck_assert_int_eq(writer_add(w, data, 40 * MIB, &err), 0);
	ck_assert_uint_eq(writer_copy(w, 0, out, sizeof(out), &on_disk), sizeof(out));
	ck_assert(on_disk);
	ck_assert_int_eq(writer_end(w, &err), 0);
	writer_free(w);
	close(fd);
	free(data);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { writer__the_file_is_what_was_given_whatever_the_pieces,
		writer__a_file_system_without_direct_writes_is_as_good, writer__a_full_volume_is_told_with_its_name,
		writer_end__a_failure_of_the_last_bytes_is_told, writer_free__amid_the_work_ends_it,
		writer_copy__readers_get_what_was_given_from_memory_or_the_file,
		writer_copy__what_has_not_come_cannot_be_had, writer_keep__a_reader_that_stands_still_is_left_behind };

	return suite_run_in_folder("init_writer", tests, sizeof(tests) / sizeof(tests[0]), 30, dir);
}
