/*
 * A slow disk, for one process: LD_PRELOAD this, with SLOWDISK naming a file of three native 32-bit integers.
 *
 * The first is a delay in microseconds: each fsync, fdatasync and msync takes that much longer. The second is the same
 * for io_submit, by which libraft writes its log. The third is a limit in KiB a second: writes to files (write, writev,
 * pwrite, pwritev, and what io_submit is asked to write) pass one after the other through a disk that is no faster. A
 * test can change them while the program runs; a delay that is made shorter ends sooner. Without the file, or with
 * zeros in it, nothing changes. An io_submit that must not wait (RWF_NOWAIT) gets EAGAIN meanwhile, as from a real
 * disk.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SLICE_NS 5000000 /* between looks at the file */

struct knobs {
	_Atomic uint32_t sync_us, submit_us, kib_per_s;
};

static struct knobs *knobs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t free_at_ns; /* under lock: when the disk has written all that came so far */

__attribute__((constructor)) static void
open_knobs(void)
{
	const char *path = getenv("SLOWDISK");
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *at;

	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(*knobs), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (at != MAP_FAILED)
		knobs = at;
}

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
sleep_until(int64_t ns)
{
	struct timespec t = { .tv_sec = ns / 1000000000, .tv_nsec = (long)(ns % 1000000000) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* Until as many microseconds have passed as stand there by then. */
static void
wait_as_told(const _Atomic uint32_t *us)
{
	int64_t began = now_ns(), left;

	while ((left = began + (int64_t)atomic_load(us) * 1000 - now_ns()) > 0)
		sleep_until(now_ns() + (left < SLICE_NS ? left : SLICE_NS));
}

static void
wait_for_sync(void)
{
	if (knobs != NULL)
		wait_as_told(&knobs->sync_us);
}

/* So many bytes are written, after those of others that came before. */
static void
wait_for_bytes(uint64_t bytes)
{
	uint32_t rate = knobs != NULL ? atomic_load(&knobs->kib_per_s) : 0;
	int64_t until, now;

	if (rate == 0)
		return;
	pthread_mutex_lock(&lock);
	now = now_ns();
	free_at_ns = (free_at_ns > now ? free_at_ns : now) + (int64_t)(bytes * 1000000 / rate * 1000 / 1024);
	until = free_at_ns;
	pthread_mutex_unlock(&lock);
	sleep_until(until);
}

static void
wait_for_write(int fd, uint64_t bytes)
{
	struct stat st;

	if (knobs == NULL || atomic_load(&knobs->kib_per_s) == 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		wait_for_bytes(bytes);
}

/* libc's own syscall(), behind ours. */
static long
ask_kernel(long number, long a, long b, long c, long d, long e, long f)
{
	static long (*real)(long, ...);

	if (real == NULL)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return real(number, a, b, c, d, e, f);
}

static uint64_t
total_of(const struct iovec *parts, int n)
{
	uint64_t bytes = 0;

	for (int i = 0; i < n; i++)
		bytes += parts[i].iov_len;
	return bytes;
}

ssize_t
write(int fd, const void *data, size_t len)
{
	wait_for_write(fd, len);
	return ask_kernel(SYS_write, fd, (long)data, (long)len, 0, 0, 0);
}

ssize_t
writev(int fd, const struct iovec *parts, int n)
{
	wait_for_write(fd, total_of(parts, n));
	return ask_kernel(SYS_writev, fd, (long)parts, n, 0, 0, 0);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
	wait_for_write(fd, len);
	return ask_kernel(SYS_pwrite64, fd, (long)data, (long)len, at, 0, 0);
}

ssize_t
pwrite64(int fd, const void *data, size_t len, off64_t at)
{
	return pwrite(fd, data, len, at);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int n, off_t at)
{
	wait_for_write(fd, total_of(parts, n));
	return ask_kernel(SYS_pwritev, fd, (long)parts, n, at, 0, 0);
}

ssize_t
pwritev64(int fd, const struct iovec *parts, int n, off64_t at)
{
	return pwritev(fd, parts, n, at);
}

int
fsync(int fd)
{
	wait_for_sync();
	return (int)ask_kernel(SYS_fsync, fd, 0, 0, 0, 0, 0);
}

int
fdatasync(int fd)
{
	wait_for_sync();
	return (int)ask_kernel(SYS_fdatasync, fd, 0, 0, 0, 0, 0);
}

int
msync(void *at, size_t len, int flags)
{
	wait_for_sync();
	return (int)ask_kernel(SYS_msync, (long)at, (long)len, flags, 0, 0, 0);
}

/* libraft's first question of what the disk can do, which it takes EAGAIN for a failure of; a kernel answers it later.
 */
static bool
is_probe(int fd)
{
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	return strstr(path, "/.probe") != NULL;
}

static bool
must_not_wait(long count, struct iocb *const *requests)
{
	for (long i = 0; i < count; i++)
		if ((requests[i]->aio_rw_flags & RWF_NOWAIT) != 0 && !is_probe((int)requests[i]->aio_fildes))
			return true;
	return false;
}

static uint64_t
bytes_of(long count, struct iocb *const *requests)
{
	uint64_t bytes = 0;

	for (long i = 0; i < count; i++)
		bytes += requests[i]->aio_nbytes;
	return bytes;
}

/* All that is asked for by number; no call of the kernel's takes more than six words. */
long
syscall(long number, ...)
{
	long a[6];
	va_list more;

	va_start(more, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(more, long);
	va_end(more);
	if (number == SYS_io_submit && knobs != NULL &&
	    (atomic_load(&knobs->submit_us) | atomic_load(&knobs->kib_per_s)) != 0) {
		if (must_not_wait(a[1], (struct iocb *const *)a[2])) {
			errno = EAGAIN;
			return -1;
		}
		wait_for_bytes(bytes_of(a[1], (struct iocb *const *)a[2]));
		wait_as_told(&knobs->submit_us);
	}
	return ask_kernel(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
