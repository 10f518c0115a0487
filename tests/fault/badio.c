/*
 * A disk that fails as it is told: LD_PRELOAD=badio.so before a program. BADIO names a file of rules, which is read at
 * each call, so that a test can change the disk's mind while the program runs; no file, no fault. A rule a line:
 *
 *	CALL PATH WHAT [AFTER [COUNT]]
 *
 * CALL is write (also pwrite, writev, and what io_submit is asked to write), sync (fsync, fdatasync, msync, and writes
 * through O_DSYNC are write), rename, open (with O_CREAT) or mkdir. PATH is a part of the file's path. WHAT is an
 * errno's name (ENOSPC, EIO, EDQUOT, EROFS, EACCES) or "short": half of the bytes are written and told so. The first
 * AFTER calls that fit go well, then COUNT calls (all, where it is not given) fail. Each failure is noted as a line in
 * BADIO.log, so that a test knows that there was one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define RULES_MAX 16
#define SHORT     (-1) /* instead of an errno */

struct rule {
	char line[256];
	long seen;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[RULES_MAX]; /* how often each line has fitted so far; under lock */

static void *
real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static int
errno_of(const char *name)
{
	static const struct {
		const char *name;
		int value;
	} known[] = { { "ENOSPC", ENOSPC }, { "EIO", EIO }, { "EDQUOT", EDQUOT }, { "EROFS", EROFS },
		{ "EACCES", EACCES }, { "short", SHORT } };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i].value;
	abort(); /* a mistake in the test */
}

/* Read by system calls of the C library's own names that are not ours: fopen() ends in functions inside libc. */
static size_t
read_rules(char *text, size_t size)
{
	const char *path = getenv("BADIO");
	FILE *f = path != NULL ? fopen(path, "re") : NULL;
	size_t n;

	if (f == NULL)
		return 0;
	n = fread(text, 1, size - 1, f);
	fclose(f);
	text[n] = '\0';
	return n;
}

static void
note(const char *line, const char *path)
{
	char name[4096], text[4096];
	int fd, n;
	int (*open_real)(const char *, int, ...) = (int (*)(const char *, int, ...))real("open");
	ssize_t (*write_real)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))real("write");

	snprintf(name, sizeof(name), "%s.log", getenv("BADIO"));
	n = snprintf(text, sizeof(text), "%s: %s\n", line, path);
	fd = open_real(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd >= 0) {
		(void)!write_real(fd, text, (size_t)n);
		close(fd);
	}
}

/* How often this line has fitted, this time not counted. */
static long
count(const char *line)
{
	for (size_t i = 0; i < RULES_MAX; i++) {
		if (rules[i].line[0] == '\0')
			snprintf(rules[i].line, sizeof(rules[i].line), "%s", line);
		if (strcmp(rules[i].line, line) == 0)
			return rules[i].seen++;
	}
	abort();
}

/* What is to happen to this call: 0, an errno, or SHORT. */
static int
verdict(const char *call, const char *path)
{
	char text[2048], kind[16], part[128], what[16];
	int found = 0, saved = errno;

	if (read_rules(text, sizeof(text)) == 0) {
		errno = saved;
		return 0;
	}
	pthread_mutex_lock(&lock);
	for (char *rest = text, *line; found == 0 && (line = strsep(&rest, "\n")) != NULL;) {
		long after = 0, most = -1, seen;

		if (sscanf(line, "%15s %127s %15s %ld %ld", kind, part, what, &after, &most) < 3)
			continue;
		if (strcmp(kind, call) != 0 || strstr(path, part) == NULL)
			continue;
		seen = count(line);
		if (seen >= after && (most < 0 || seen < after + most)) {
			found = errno_of(what);
			note(line, path);
		}
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return found;
}

static int
verdict_fd(const char *call, int fd)
{
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0 || path[0] != '/')
		return 0; /* a socket, a pipe */
	path[n] = '\0';
	return verdict(call, path);
}

ssize_t
write(int fd, const void *data, size_t len)
{
	ssize_t (*f)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))real("write");
	int v = verdict_fd("write", fd);

	if (v > 0) {
		errno = v;
		return -1;
	}
	return f(fd, data, v == SHORT ? (len + 1) / 2 : len);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
	ssize_t (*f)(int, const void *, size_t, off_t) = (ssize_t(*)(int, const void *, size_t, off_t))real("pwrite");
	int v = verdict_fd("write", fd);

	if (v > 0) {
		errno = v;
		return -1;
	}
	return f(fd, data, v == SHORT ? len / 2 : len, at);
}

ssize_t
writev(int fd, const struct iovec *parts, int n)
{
	ssize_t (*f)(int, const struct iovec *, int) = (ssize_t(*)(int, const struct iovec *, int))real("writev");
	int v = verdict_fd("write", fd);

	if (v > 0) {
		errno = v;
		return -1;
	}
	return f(fd, parts, v == SHORT && n > 1 ? n / 2 : n);
}

static int
fail(int v)
{
	errno = v > 0 ? v : EIO;
	return -1;
}

/* Asynchronous I/O is asked for by number. No call of the kernel's takes more than six words. */
long
syscall(long number, ...)
{
	long a[6];
	va_list more;
	int v = 0;

	va_start(more, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(more, long);
	va_end(more);
	if (number == SYS_io_submit)
		for (long i = 0; v == 0 && i < a[1]; i++)
			v = verdict_fd("write", (int)((struct iocb **)a[2])[i]->aio_fildes);
	return v != 0 ? fail(v) : ((long (*)(long, ...))real("syscall"))(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int
fsync(int fd)
{
	int v = verdict_fd("sync", fd);

	return v != 0 ? fail(v) : ((int (*)(int))real("fsync"))(fd);
}

int
fdatasync(int fd)
{
	int v = verdict_fd("sync", fd);

	return v != 0 ? fail(v) : ((int (*)(int))real("fdatasync"))(fd);
}

int
rename(const char *from, const char *to)
{
	int v = verdict("rename", to);

	return v != 0 ? fail(v) : ((int (*)(const char *, const char *))real("rename"))(from, to);
}

int
mkdir(const char *path, mode_t mode)
{
	int v = verdict("mkdir", path);

	return v != 0 ? fail(v) : ((int (*)(const char *, mode_t))real("mkdir"))(path, mode);
}

int
open(const char *path, int flags, ...)
{
	int (*f)(const char *, int, ...) = (int (*)(const char *, int, ...))real("open");
	mode_t mode = 0;
	va_list ap;
	int v;

	if ((flags & O_CREAT) == 0)
		return f(path, flags);
	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	v = verdict("open", path);
	return v != 0 ? fail(v) : f(path, flags, mode);
}

static void
full_path(int dir, const char *path, char *out, size_t size)
{
	char link[64], folder[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
	n = path[0] == '/' ? 0 : readlink(link, folder, sizeof(folder) - 1);
	folder[n > 0 ? n : 0] = '\0';
	snprintf(out, size, "%s%s%s", folder, n > 0 ? "/" : "", path);
}

int
openat(int dir, const char *path, int flags, ...)
{
	int (*f)(int, const char *, int, ...) = (int (*)(int, const char *, int, ...))real("openat");
	char full[8192];
	mode_t mode = 0;
	va_list ap;
	int v;

	if ((flags & O_CREAT) == 0)
		return f(dir, path, flags);
	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	full_path(dir, path, full, sizeof(full));
	v = verdict("open", full);
	return v != 0 ? fail(v) : f(dir, path, flags, mode);
}
