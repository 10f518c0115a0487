/*
 * Seeding a running pod again: the server closes its store, seedpod-init replaces it, the server
 * opens the store that is there then. The old store stays in place until the new one is complete,
 * so a failure at any step leaves one.
 *
 * The sync knows this as a function to call, so that its tests need neither a server nor a child.
 */
#ifndef SIDECAR_RESEED_H_
#define SIDECAR_RESEED_H_

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/error.h"
#include "lib/driver/driver.h"

struct reseed_call {
	uint64_t min_applied; /* mode raft: the index of the log that a donor must have applied; 0: any */
	bool force; /* replace the store whatever it is; else only finish or redo what an earlier life left half done */

	/* Asked a few times a second while it takes: false ends the child. Must not be NULL. */
	bool (*go_on)(void *arg);
	void *go_on_arg;
};

/* 0: the store was replaced (or found good), and the server has it open. SP_ECANCELED when go_on said so. */
typedef int (*reseed_run)(void *arg, const struct reseed_call *call, struct sp_error *err);

struct reseed_options {
	struct driver *driver;    /* the seedpod driver; used on the caller's thread */
	const char *init_program; /* NULL: seedpod-init beside this program, else in PATH */
	const char *config_path;  /* handed to it as --config */
};

/* The reseed_run for the real thing; `arg` is a struct reseed_options. */
int reseed_with_init(void *arg, const struct reseed_call *call, struct sp_error *err);

/* Run `program` (as execvp(3) finds it) with argv and wait; for reseed_with_init() and its tests. 0
 * for exit code 0, else the SP_E… code that stands for its exit code (sysexits). */
int reseed_run_child(const char *program, char *const *argv, const struct reseed_call *call, struct sp_error *err);

#endif
