/*
 * Running a program and reading its output: bounded in time and in bytes.
 *
 *	struct process_result result;
 *	struct buf out;
 *	buf_init(&out, 64 << 10);
 *	if (process_run(argv, 30000, &out, &result, &err) < 0) …	// it did not run, or not to its end
 *	if (result.exit_code != 0) … result.said …			// it ran and complained
 *
 * The child gets /dev/null as standard input, an empty signal mask with default handlers, and no other descriptor than
 * the standard three. Any thread.
 */
#ifndef LIB_BASE_PROCESS_H_
#define LIB_BASE_PROCESS_H_

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"

#define PROCESS_SAID_MAX 512

struct process_result {
	int exit_code;               /* 128 + the signal's number where a signal ended it */
	char said[PROCESS_SAID_MAX]; /* the beginning of its standard error, on one line */
};

/*
 * Run argv[0] (looked up in PATH where it has no slash) and wait for its end. Standard output is appended to `out`.
 * SP_ENOTFOUND or SP_EPERM if the program cannot be started; SP_ETOOBIG if it says more than `out` takes, and
 * SP_ESTALLED if it is not done after timeout_ms: then it was killed, and nothing of it is left running.
 */
int process_run(
    const char *const *argv, int64_t timeout_ms, struct buf *out, struct process_result *result, struct sp_error *err);

/*
 * Only start argv[0]: *pid is the caller's to wait for. Its standard output and error are these descriptors, or, with
 * -1 for both, its three standard streams are the caller's. 0 or an errno value. In the child nothing else is the
 * caller's: libcurl does not have its connections closed on exec, and they would stay open when the caller closes them.
 */
int process_spawn(const char *const *argv, int out_fd, int err_fd, pid_t *pid);

/* The path of the program `name` beside the running one, where it is there and may be run, else `name` itself. */
void process_find_beside(const char *name, char *out, size_t size);

#endif
