/*
 * Memory that runs out: LD_PRELOAD=badmalloc.so before a program. BADMALLOC_AT=N has the N-th allocation of the process
 * fail, that one alone; at the end of the process their number is written to the file BADMALLOC_COUNT.
 *
 * For a process that goes on: BADMALLOC_SHARED names a file of three 64-bit numbers, which a test maps as well: how
 * many allocations there were, the number of the first that fails, and of the first after it that does not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

struct shared {
	atomic_long calls, first, end;
};

static atomic_long calls;
static long at = -1;
static struct shared *shared; /* NULL: there is no such file */

__attribute__((constructor)) static void
share(void)
{
	const char *path = getenv("BADMALLOC_SHARED");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *memory = fd >= 0 ? mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	if (memory != MAP_FAILED)
		shared = memory;
}

static bool
fails_now(void)
{
	long number = atomic_fetch_add(&shared->calls, 1) + 1;

	return number >= atomic_load(&shared->first) && number < atomic_load(&shared->end);
}

static bool
fails(void)
{
	if (shared != NULL && fails_now()) {
		errno = ENOMEM;
		return true;
	}
	if (at < 0) {
		const char *text = getenv("BADMALLOC_AT");

		at = text != NULL ? strtol(text, NULL, 10) : 0;
	}
	if (atomic_fetch_add(&calls, 1) + 1 != at)
		return false;
	errno = ENOMEM;
	return true;
}

void *
malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
	return fails() ? NULL : __libc_realloc(p, size);
}

__attribute__((destructor)) static void
tell(void)
{
	const char *path = getenv("BADMALLOC_COUNT");
	char text[32];
	int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return;
	snprintf(text, sizeof(text), "%ld\n", atomic_load(&calls));
	(void)!write(fd, text, strlen(text));
	close(fd);
}
