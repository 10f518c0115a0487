/*
 * One run of a verb of the driver contract: a process group of its own, its four streams, and its end. Internal to
 * lib/driver.
 */
#ifndef LIB_DRIVER_EXEC_VERB_H_
#define LIB_DRIVER_EXEC_VERB_H_

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/driver/driver.h"

struct exec_verb {
	const char *command;    /* path of the executable */
	const char *verb;       /* its only argument */
	const char *const *env; /* the whole environment, ended by NULL */
	int64_t deadline_ms;    /* time for all of it; 0: none */
	int64_t idle_ms;        /* time without a byte in or out; 0: none */
	int cancel_fd;          /* readable: kill it; -1: none */
	struct buf *answer;     /* standard output goes here, or */
	driver_sink sink;       /* there; both NULL: it is read and dropped */
	driver_source source;   /* standard input; NULL: /dev/null */
	void *arg;              /* of sink and source */
	struct buf *trailer;    /* file descriptor 3; NULL: the child has none */
	uint64_t bytes_out;     /* out: of standard output */
	bool started;           /* out: the executable ran */
};

/*
 * Run it to its end. 0 only if it exited 0, all its streams are at their end and it read all of `source`. When this
 * returns nothing of its process group is left. Errors: what the exit code means by the contract (64 SP_EUSAGE,
 * 65 SP_EBADDATA, 66 SP_ENOTFOUND, 69 SP_EUNAVAIL, 70 SP_EINTERNAL, 73 SP_ENOSPACE, 74 SP_EIO, 75 SP_EAGAIN,
 * 76 SP_EDIVERGED, 77 SP_EPERM, 78 SP_ECONF; a signal or any other code SP_EINTERNAL) with the last line of its
 * standard error; SP_ESTALLED, SP_ECANCELED; SP_ETOOBIG if answer or trailer are full; what sink or source return;
 * SP_ENOTFOUND never for an executable that is missing (SP_ECONF).
 */
int exec_verb_run(struct exec_verb *v, struct sp_error *err);

#endif
