/*
 * Put before a program with LD_PRELOAD: each connection that it takes leaks what LEAK says, "memory" (256 KiB, written to)
 * or "descriptors" (one). By this `make soak-proof` shows that the soak finds a leak.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LEAK_BYTES (256u << 10)

int
accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	static int (*real)(int, struct sockaddr *, socklen_t *, int);
	static char *volatile last;
	const char *what = getenv("LEAK");
	int taken;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "accept4");
	taken = real(fd, address, len, flags);
	if (taken < 0 || what == NULL)
		return taken;
	if (strcmp(what, "memory") == 0 && (last = malloc(LEAK_BYTES)) != NULL)
		memset(last, 1, LEAK_BYTES);
	if (strcmp(what, "descriptors") == 0)
		(void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
	return taken;
}
