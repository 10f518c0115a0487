/*
 * Memory that runs out: LD_PRELOAD=badmalloc.so before a program. BADMALLOC_AT=N has the N-th allocation of the process
 * fail, that one alone; at the end of the process their number is written to the file BADMALLOC_COUNT.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static atomic_long calls;
static long at = -1;

static bool
fails(void)
{
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
