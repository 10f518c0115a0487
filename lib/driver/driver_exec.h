/*
 * The driver for stores that are not ours: runs `COMMAND VERB` (docs/driver-contract.md, version 1).
 *
 *	d = driver_exec_new(&(struct driver_exec_options){ .command = …, .data = …, … }, &err);
 *	d->ops->traits(d, &traits, &err);	// runs `describe` and checks the contract's version
 *	d->ops->report(d, &report, &err);
 *	d->ops->free(d);
 *
 * Each verb is a process group of its own, which is killed as a whole when time runs out or the caller cancels.
 * Standard error is logged line by line, bounded. The environment is made anew: PATH, HOME, LANG and TZ of the
 * caller, and the contract's variables; secrets are files in secrets_dir and never arguments or variables.
 *
 * One verb runs at a time for each store, except `position` and `describe`: by a lock file in lock_dir, so that init,
 * sidecar and a second driver in this process wait for one another.
 */
#ifndef LIB_DRIVER_DRIVER_EXEC_H_
#define LIB_DRIVER_DRIVER_EXEC_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/driver/driver.h"

#define DRIVER_EXEC_CONTRACT  1
#define DRIVER_EXEC_JSON_MAX  (64u << 10) /* bytes of an answer or a trailer */
#define DRIVER_EXEC_KEYS_MAX  64
#define DRIVER_EXEC_NAME_SIZE 33  /* a free key's name and NUL */
#define DRIVER_EXEC_TEXT_SIZE 198 /* its value and NUL */

/* A free key of [driver]: SEEDPOD_DRIVER_<NAME> in the verb's environment, the name in upper case. */
struct driver_exec_key {
	char name[DRIVER_EXEC_NAME_SIZE]; /* [a-z][a-z0-9_]* */
	char value[DRIVER_EXEC_TEXT_SIZE];
};

struct driver_exec_options {
	const char *command;     /* path of the executable */
	const char *data;        /* SEEDPOD_DATA: the store's own directory */
	const char *lock_dir;    /* exists; on the store's volume ([server] data_dir) */
	const char *secrets_dir; /* SEEDPOD_SECRETS_DIR; NULL or "": none */
	const char *pod;         /* SEEDPOD_POD: the pod's name */
	unsigned ordinal;        /* SEEDPOD_ORDINAL */
	int64_t timeout_ms;      /* verbs that answer JSON, as a whole; 0: 30 s */
	int64_t idle_timeout_ms; /* streams: time without a byte in either direction; 0: 60 s */
	const struct driver_exec_key *keys;
	size_t key_count; /* at most DRIVER_EXEC_KEYS_MAX */
};

/* Everything is copied. SP_ECONF if an option is missing, SP_ENOMEM. Runs nothing yet. */
struct driver *driver_exec_new(const struct driver_exec_options *o, struct sp_error *err);

/*
 * What changes while the driver lives; put into the environment of the verbs that follow. role: SEEDPOD_ROLE, "leader"
 * or "follower". online: SEEDPOD_ONLINE, whether the store's own process may be running ("1" or "0"). leader_host and
 * leader: SEEDPOD_LEADER_HOST and SEEDPOD_LEADER_POSITION; NULL: not known. Initially: follower, offline, not known.
 */
int driver_exec_set(struct driver *d, enum role role, bool online, const char *leader_host,
    const struct position *leader, struct sp_error *err);

/* Any thread, any number of times, and from a signal handler: the verb under way is killed and ends with SP_ECANCELED,
 * and so does each that is started later, apart from `cleanup`. */
void driver_exec_cancel(struct driver *d);

#endif
