/* The rights that a program drops, and the resources that it reserves, before it does anything. */
#ifndef LIB_BASE_SANDBOX_H_
#define LIB_BASE_SANDBOX_H_

/*
 * From here on this process, and all that it starts, gains no privileges by running a program (no_new_privs), and makes
 * files for its own user alone (umask 077). A standard stream that is closed becomes /dev/null, so that no file takes
 * its place. Call first in main(), before any thread and any file. It cannot fail on a kernel that seedpod runs on.
 */
void sandbox_enter(void);

#endif
