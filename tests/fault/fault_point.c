/* lib/base/fault.h in the programs that `make faults` builds. */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/fault.h"

static atomic_long passed;

/* Whether this is the first kill of all that share the mark; without a mark each is. */
static bool
leave_mark(void)
{
	const char *path = getenv("FAULT_MARK");

	return path == NULL || open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) >= 0;
}

void
fault_point(const char *name)
{
	const char *at = getenv("FAULT_AT"), *when = getenv("FAULT_WHEN");
	size_t len = strlen(name);
	long wanted = 1;

	if (at == NULL || (when != NULL && access(when, F_OK) < 0))
		return;
	if (strncmp(at, name, len) != 0 || (at[len] != '\0' && at[len] != ':'))
		return;
	if (at[len] == ':')
		wanted = strtol(at + len + 1, NULL, 10);
	if (atomic_fetch_add(&passed, 1) + 1 == wanted && leave_mark())
		raise(SIGKILL);
}
