/*
 * The data directory: taking its lock, opening the store in it or making one, bringing it into the
 * pod's role, and giving it away again for reseeding. The store is detached whenever the lock is
 * not held.
 */
#ifndef SERVER_DATA_DIRECTORY_H_
#define SERVER_DATA_DIRECTORY_H_

#include <pthread.h>

#include "conf/conf.h"
#include "lib/base/error.h"
#include "server/http/api.h"

/* The caller's memory; conf and api are kept by reference and outlive it. */
struct data_directory {
	const struct conf *conf;
	struct api *api;
	pthread_mutex_t lock; /* one of open and release at a time */
	int data_lock;        /* descriptor of data_dir/lock, -1 while released; under lock */
};

void data_directory_init(struct data_directory *c, const struct conf *conf, struct api *api);

/* Close the store, where it is open, with all of it on disk, and give the data directory away for good. */
void data_directory_end(struct data_directory *c);

/*
 * Lock the data directory and open the store; 0 if that is done already. A founder (repl.h) makes a
 * store if there is none; another member is left without. SP_EAGAIN if another process has the
 * directory; else as store_attach(). Blocks. `arg` is the data_directory (these three are callbacks
 * of the API and the writer).
 */
int data_directory_open(void *arg, struct sp_error *err);

/* Close the store and release the data directory for the next process. SP_EDIVERGED on a leader.
 * Blocks. */
int data_directory_release(void *arg, struct sp_error *err);

#endif
