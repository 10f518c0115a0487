/*
 * durability = async: a mark in the data directory that says «writes may be on their way to the disk», with the
 * machine's boot id. A process that dies leaves them to the kernel, which writes them all the same; only when the
 * machine itself has gone down since is the store in doubt. It is in doubt, too, after a sync that failed and after a
 * server that stumbled over it (server/store/sigbus.h), whatever the durability.
 */
#ifndef SERVER_STORE_UNSYNCED_H_
#define SERVER_STORE_UNSYNCED_H_

#include <stdbool.h>

#include "lib/base/error.h"

#define UNSYNCED_MARK "unsynced" /* its name in the data directory */

/* Whether a mark is there that another boot of the machine has left: verify the store before using it. */
bool unsynced_in_doubt(const char *data_dir);

/* Leave a mark that is in doubt whatever happens to the machine: a sync has failed. What can be done is done. */
void unsynced_mark_failed(const char *data_dir);

/* Leave the mark, on disk when this returns; and take it away, once all is on disk. */
int unsynced_mark(const char *data_dir, struct sp_error *err);
int unsynced_clear(const char *data_dir, struct sp_error *err);

#endif
