/*
 * The mark that a volume has held a store: a file `cluster` in the data directory, with the
 * cluster's id in it. The server writes it once it has a store open. If it finds the mark without a
 * store, it makes no empty one: a store that vanished must not be followed by a new cluster that
 * nobody asked for. seedpod-init, which asks the peers first, removes the mark if need be.
 *
 * One thread at a time for each data directory: the one that holds its lock.
 */
#ifndef LIB_PROTOCOL_STORE_MARK_H_
#define LIB_PROTOCOL_STORE_MARK_H_

#include <stdbool.h>

#include "lib/base/error.h"

#define STORE_MARK_NAME "cluster"
#define STORE_MARK_SIZE 65 /* a cluster's name, and NUL: POSITION_CLUSTER_SIZE */

/* Whether there is one; its cluster is put into out ("" if it cannot be read). */
bool store_mark_read(const char *data_dir, char out[STORE_MARK_SIZE]);

/* On disk when it returns 0; does nothing if it says that already. SP_ENOSPACE, SP_EIO, SP_EPERM. */
int store_mark_write(const char *data_dir, const char *cluster, struct sp_error *err);

/* Gone from the disk when it returns 0, also if there was none. SP_EIO, SP_EPERM. */
int store_mark_clear(const char *data_dir, struct sp_error *err);

#endif
