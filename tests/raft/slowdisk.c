/*
 * A slow disk, for one process: LD_PRELOAD this, with SLOWDISK naming a file of four bytes. Whatever waits for the disk
 * (fsync, fdatasync, msync, and the io_submit of asynchronous I/O) takes as many microseconds longer as the number
 * there says at that moment, a native 32-bit integer. Without the file, or with zero in it, nothing changes. What must
 * not wait (RWF_NOWAIT) is told EAGAIN meanwhile, as by a real one. With SLOWDISK_ONLY=io_submit the others are as
 * quick as ever.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const _Atomic uint32_t *delay_us;

__attribute__((constructor)) static void
open_delay(void)
{
	const char *path = getenv("SLOWDISK");
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *at;

	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(*delay_us), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (at != MAP_FAILED)
		delay_us = at;
}

static void
wait_for_disk(void)
{
	uint32_t us = delay_us != NULL ? atomic_load(delay_us) : 0;
	struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000 };

	if (us > 0)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static void
wait_for_sync(void)
{
	if (getenv("SLOWDISK_ONLY") == NULL)
		wait_for_disk();
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

static bool
must_not_wait(long count, struct iocb *const *requests)
{
	for (long i = 0; i < count; i++)
		if ((requests[i]->aio_rw_flags & RWF_NOWAIT) != 0)
			return true;
	return false;
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
	if (number == SYS_io_submit && delay_us != NULL && atomic_load(delay_us) > 0) {
		if (must_not_wait(a[1], (struct iocb *const *)a[2])) {
			errno = EAGAIN;
			return -1;
		}
		wait_for_disk();
	}
	return ask_kernel(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
