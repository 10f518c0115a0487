/* What a program gives up before it does anything. */
#ifndef LIB_SANDBOX_H_
#define LIB_SANDBOX_H_

/*
 * From here on this process, and all that it starts, gains no privileges by running a program (no_new_privs), and makes
 * files for its own user alone (umask 077). Call first in main(), before any thread. It cannot fail on a kernel that
 * seedpod runs on.
 */
void sandbox_enter(void);

#endif
