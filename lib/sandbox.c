#include "lib/sandbox.h"

#include <sys/prctl.h>
#include <sys/stat.h>

void
sandbox_enter(void)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	umask(077);
}
