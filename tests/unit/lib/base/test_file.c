#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

static char dir[TEMPDIR_MAX];
static struct sp_error err;

static void
assert_content(const char *path, const char *text)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	ck_assert_msg(file_read_all(path, &b, &err) == 0, "%s", err.text);
	ck_assert_str_eq(b.data, text);
	buf_release(&b);
}

START_TEST(file_join__puts_one_slash_between)
{
	char out[8];

	ck_assert_int_eq(file_join(out, sizeof(out), "/a", "b", &err), 0);
	ck_assert_str_eq(out, "/a/b");
	ck_assert_int_eq(file_join(out, sizeof(out), "/a/", "b", &err), 0);
	ck_assert_str_eq(out, "/a/b");
	ck_assert_int_eq(file_join(out, sizeof(out), "/abc", "de", &err), 0);
	ck_assert_int_eq(file_join(out, sizeof(out), "/abc", "def", &err), SP_ETOOBIG);
	ck_assert_str_eq(out, "/abc/de");
}
END_TEST

START_TEST(file_read_all__appends)
{
	struct buf b;

	tempdir_write(dir, "f", "world");
	buf_init(&b, 100);
	buf_adds(&b, "hello ");
	ck_assert_int_eq(file_read_all(tempdir_path(dir, "f"), &b, &err), 0);
	ck_assert_str_eq(b.data, "hello world");
	buf_release(&b);
}
END_TEST

START_TEST(file_read_all__too_large_names_the_limit)
{
	struct buf b;

	tempdir_write(dir, "f", "12345678901");
	buf_init(&b, 12);
	buf_adds(&b, "ab");
	ck_assert_int_eq(file_read_all(tempdir_path(dir, "f"), &b, &err), SP_ETOOBIG);
	ck_assert_ptr_nonnull(strstr(err.text, "10 bytes"));
	ck_assert_str_eq(b.data, "ab");
	buf_release(&b);
}
END_TEST

START_TEST(file_read_all__missing_or_a_directory)
{
	struct buf b;

	buf_init(&b, 100);
	ck_assert_int_eq(file_read_all(tempdir_path(dir, "none"), &b, &err), SP_ENOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.text, "/none"));
	ck_assert_int_eq(file_read_all(dir, &b, &err), SP_EIO);
	buf_release(&b);
}
END_TEST

START_TEST(file_write_atomic__replaces_whole_and_sets_the_mode)
{
	const char *path = tempdir_path(dir, "f");
	struct stat st;

	ck_assert_int_eq(file_write_atomic(path, "one", 3, 0644, &err), 0);
	ck_assert_int_eq(file_write_atomic(path, "two!", 4, 0600, &err), 0);
	assert_content(path, "two!");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
}
END_TEST

START_TEST(file_write_atomic__failure_leaves_no_trace)
{
	/* The rename fails: a directory is in the way. */
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "d/sub"), &err), 0);
	ck_assert_int_lt(file_write_atomic(tempdir_path(dir, "d"), "x", 1, 0600, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "rename"));
	/* Only "d" is there: with it gone the folder is empty. */
	ck_assert_int_eq(file_remove_tree(tempdir_path(dir, "d"), &err), 0);
	ck_assert_int_eq(rmdir(dir), 0);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert_int_eq(file_write_atomic(tempdir_path(dir, "none/f"), "x", 1, 0600, &err), SP_ENOTFOUND);
}
END_TEST

START_TEST(file_write_atomic__full_volume)
{
	/* /dev/full cannot be renamed over; writing to it shows what a full volume does. */
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(file_write_full(fd, "x", 1, &err), SP_ENOSPACE);
	ck_assert_ptr_nonnull(strstr(err.text, "1 bytes left to write"));
	close(fd);
}
END_TEST

START_TEST(file_write_full__through_short_writes)
{
	static char sent[1 << 20];
	int fds[2];
	pid_t pid;
	int status;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		char piece[1000];
		size_t total = 0;
		ssize_t n;

		close(fds[1]);
		while ((n = read(fds[0], piece, sizeof(piece))) > 0)
			total += (size_t)n;
		_exit(total == sizeof(sent) ? 0 : 1);
	}
	close(fds[0]);
	ck_assert_int_eq(file_write_full(fds[1], sent, sizeof(sent), &err), 0);
	close(fds[1]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(file_sync_dir__missing_or_not_a_directory)
{
	tempdir_write(dir, "f", "");
	ck_assert_int_eq(file_sync_dir(dir, &err), 0);
	ck_assert_int_eq(file_sync_dir(tempdir_path(dir, "none"), &err), SP_ENOTFOUND);
	ck_assert_int_eq(file_sync_dir(tempdir_path(dir, "f"), &err), SP_EVOLUME);
}
END_TEST

START_TEST(file_rename_sync__moves_directories_and_files)
{
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "store.ready"), &err), 0);
	tempdir_write(dir, "store.ready/data", "x");
	ck_assert_int_eq(file_rename_sync(tempdir_path(dir, "store.ready"), tempdir_path(dir, "store"), &err), 0);
	assert_content(tempdir_path(dir, "store/data"), "x");
	ck_assert(!file_exists(tempdir_path(dir, "store.ready")));
	ck_assert_int_eq(file_rename_sync(tempdir_path(dir, "none"), tempdir_path(dir, "store"), &err), SP_ENOTFOUND);
}
END_TEST

START_TEST(file_rename_sync__relative_path)
{
	ck_assert_int_eq(chdir(dir), 0);
	tempdir_write(dir, "a", "x");
	ck_assert_int_eq(file_rename_sync("a", "b", &err), 0);
	ck_assert(file_exists("b"));
	ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(file_make_dirs__makes_parents_and_accepts_existing)
{
	struct stat st;

	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "a/b//c/"), &err), 0);
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "a/b/c"), &err), 0);
	ck_assert_int_eq(stat(tempdir_path(dir, "a/b/c"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0700);
}
END_TEST

/* Instead of the C library's: notes the last directories that were synced. */
static char synced[4][TEMPDIR_MAX];
static size_t synced_count;

int
fsync(int fd)
{
	char link[64], path[TEMPDIR_MAX];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len > 0 && synced_count < 4)
		snprintf(synced[synced_count++], sizeof(synced[0]), "%.*s", (int)len, path);
	return 0;
}

START_TEST(file_make_dirs__what_is_made_is_on_disk)
{
	char parent[TEMPDIR_MAX];

	snprintf(parent, sizeof(parent), "%s", tempdir_path(dir, "new"));
	synced_count = 0;
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "new/data"), &err), 0);
	ck_assert_uint_eq(synced_count, 2);
	ck_assert_str_eq(synced[0], dir);
	ck_assert_str_eq(synced[1], parent);
	/* One that is there may come from a process that was killed before it synced. */
	synced_count = 0;
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "new/data"), &err), 0);
	ck_assert_uint_eq(synced_count, 1);
	ck_assert_str_eq(synced[0], parent);
}
END_TEST

START_TEST(file_make_dirs__file_in_the_way)
{
	tempdir_write(dir, "f", "");
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "f"), &err), SP_EVOLUME);
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "f/g"), &err), SP_EVOLUME);
	ck_assert_ptr_nonnull(strstr(err.text, strerror(ENOTDIR)));
	ck_assert_int_eq(file_make_dirs("", &err), SP_ETOOBIG);
}
END_TEST

START_TEST(file_remove_tree__removes_everything_in_it)
{
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "t/a/b"), &err), 0);
	tempdir_write(dir, "t/a/b/f", "x");
	tempdir_write(dir, "t/.hidden", "x");
	ck_assert_int_eq(mkfifo(tempdir_path(dir, "t/fifo"), 0600), 0);
	ck_assert_msg(file_remove_tree(tempdir_path(dir, "t"), &err) == 0, "%s", err.text);
	ck_assert(!file_exists(tempdir_path(dir, "t")));
	ck_assert_int_eq(file_remove_tree(tempdir_path(dir, "t"), &err), 0);
	tempdir_write(dir, "f", "x");
	ck_assert_int_eq(file_remove_tree(tempdir_path(dir, "f"), &err), 0);
	ck_assert(!file_exists(tempdir_path(dir, "f")));
}
END_TEST

START_TEST(file_remove_tree__does_not_follow_links)
{
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "keep"), &err), 0);
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "t"), &err), 0);
	tempdir_write(dir, "keep/f", "x");
	ck_assert_int_eq(symlink(tempdir_path(dir, "keep"), tempdir_path(dir, "t/link")), 0);
	ck_assert_int_eq(symlink(tempdir_path(dir, "keep"), tempdir_path(dir, "top")), 0);
	ck_assert_int_eq(file_remove_tree(tempdir_path(dir, "t"), &err), 0);
	ck_assert_int_eq(file_remove_tree(tempdir_path(dir, "top"), &err), 0);
	ck_assert(!file_exists(tempdir_path(dir, "top")));
	assert_content(tempdir_path(dir, "keep/f"), "x");
}
END_TEST

START_TEST(file_remove_tree__too_deep_is_refused)
{
	char path[TEMPDIR_MAX];

	snprintf(path, sizeof(path), "%s", tempdir_path(dir, "t"));
	for (int i = 0; i < 70; i++)
		strncat(path, "/d", sizeof(path) - strlen(path) - 1);
	ck_assert_int_eq(file_make_dirs(path, &err), 0);
	ck_assert_int_eq(file_remove_tree(tempdir_path(dir, "t"), &err), SP_EIO);
	ck_assert_ptr_nonnull(strstr(err.text, "directories deep"));
	/* Unwind by hand, so that the fixture can remove the rest. */
	while (strlen(path) > strlen(dir) + 2) {
		ck_assert_int_eq(rmdir(path), 0);
		*strrchr(path, '/') = '\0';
	}
}
END_TEST

START_TEST(file_remove_tree__stops_at_a_mount)
{
	pid_t pid;
	int status;

	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "t/mount"), &err), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		const char *mount_point = tempdir_path(dir, "t/mount");

		/* Where mounting is not allowed there is nothing to show: 77. */
		if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("none", mount_point, "tmpfs", 0, NULL) < 0)
			_exit(77);
		tempdir_write(dir, "t/mount/f", "x");
		if (file_remove_tree(tempdir_path(dir, "t"), &err) != SP_EIO ||
		    strstr(err.text, "another file system") == NULL)
			_exit(1);
		_exit(file_exists(tempdir_path(dir, "t/mount/f")) ? 0 : 2);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_msg(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77, "%d", WEXITSTATUS(status));
}
END_TEST

START_TEST(file_free_bytes__of_a_path)
{
	uint64_t bytes = 0;

	ck_assert_int_eq(file_free_bytes(dir, &bytes, &err), 0);
	ck_assert_uint_gt(bytes, 0);
	ck_assert_int_eq(file_free_bytes(tempdir_path(dir, "none"), &bytes, &err), SP_ENOTFOUND);
}
END_TEST

START_TEST(file_lock__excludes_until_closed)
{
	int first = file_lock(tempdir_path(dir, "lock"), &err), second;

	ck_assert_int_ge(first, 0);
	ck_assert_int_eq(fcntl(first, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	ck_assert_int_eq(file_lock(tempdir_path(dir, "lock"), &err), SP_EAGAIN);
	ck_assert_ptr_nonnull(strstr(err.text, "locked by another process"));
	close(first);
	second = file_lock(tempdir_path(dir, "lock"), &err);
	ck_assert_int_ge(second, 0);
	close(second);
}
END_TEST

START_TEST(file_lock__dies_with_its_process)
{
	int fds[2], status, fd;
	char ready;
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (file_lock(tempdir_path(dir, "lock"), NULL) < 0 || write(fds[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	ck_assert_int_eq((int)read(fds[0], &ready, 1), 1);
	ck_assert_int_eq(file_lock(tempdir_path(dir, "lock"), &err), SP_EAGAIN);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	fd = file_lock(tempdir_path(dir, "lock"), &err);
	ck_assert_int_ge(fd, 0);
	close(fd);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(file_lock__cannot_be_made)
{
	ck_assert_int_eq(file_lock(tempdir_path(dir, "none/lock"), &err), SP_ENOTFOUND);
	tempdir_write(dir, "f", "");
	ck_assert_int_eq(symlink("f", tempdir_path(dir, "link")), 0);
	ck_assert_int_lt(file_lock(tempdir_path(dir, "link"), &err), 0);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		file_join__puts_one_slash_between,
		file_read_all__appends,
		file_read_all__too_large_names_the_limit,
		file_read_all__missing_or_a_directory,
		file_write_atomic__replaces_whole_and_sets_the_mode,
		file_write_atomic__failure_leaves_no_trace,
		file_write_atomic__full_volume,
		file_write_full__through_short_writes,
		file_sync_dir__missing_or_not_a_directory,
		file_rename_sync__moves_directories_and_files,
		file_rename_sync__relative_path,
		file_make_dirs__makes_parents_and_accepts_existing,
		file_make_dirs__what_is_made_is_on_disk,
		file_make_dirs__file_in_the_way,
		file_remove_tree__removes_everything_in_it,
		file_remove_tree__does_not_follow_links,
		file_remove_tree__too_deep_is_refused,
		file_remove_tree__stops_at_a_mount,
		file_free_bytes__of_a_path,
		file_lock__excludes_until_closed,
		file_lock__dies_with_its_process,
		file_lock__cannot_be_made,
	};

	return suite_run_in_folder("file", tests, sizeof(tests) / sizeof(tests[0]), 30, dir);
}
