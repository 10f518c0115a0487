/*
 * The driver for seedpod's own store: through the control socket while seedpod-server has it open,
 * and through `seedpod-server --position --store DIR` while no process does (only the server's
 * program ever opens the store).
 */
#ifndef LIB_DRIVER_DRIVER_SEEDPOD_H_
#define LIB_DRIVER_DRIVER_SEEDPOD_H_

#include <stdbool.h>

#include "lib/driver/driver.h"

struct driver_seedpod_options {
	const char *control_socket; /* path */
	const char *store_dir;      /* data_dir/store; NULL: never read it offline */
	const char *server_program; /* path of seedpod-server; NULL: beside the running program, then in PATH */
	int64_t timeout_ms;         /* a call's patience; 0: 30 s */
};

/* Strings are copied. */
struct driver *driver_seedpod_new(const struct driver_seedpod_options *o, struct sp_error *err);

/*
 * The rest of what the control socket offers, for the seedpod driver alone (reseeding in a running
 * pod). release: the server closes its store and answers 503; open: it opens it again. metrics: its
 * own samples in Prometheus' text form, appended to `out`.
 */
int driver_seedpod_release(struct driver *d, struct sp_error *err);
int driver_seedpod_open(struct driver *d, struct sp_error *err);
int driver_seedpod_metrics(struct driver *d, struct buf *out, struct sp_error *err);

/* Mode static. Begin to lead, in a new epoch, from exactly `at`, where the pod `from` released the
 * lead: SP_EDIVERGED if the store is not there. The leader is at `url` now, "": no pod leads. The
 * role on an operator's order. */
int driver_seedpod_lead_from(
    struct driver *d, const struct position *at, unsigned from, bool by_hand, int64_t pause_ms, struct sp_error *err);
int driver_seedpod_follow(struct driver *d, const char *url, struct sp_error *err);
int driver_seedpod_role(struct driver *d, const char *role, struct sp_error *err);

/* The store's position without a server, by running the server's program with --position --store. SP_ENOTFOUND if
 * the directory holds no store, SP_EBADDATA if it holds something else or a damaged one. */
int driver_seedpod_read_offline(
    const char *server_program, const char *store_dir, struct position *out, struct sp_error *err);

#endif
