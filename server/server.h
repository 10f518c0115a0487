/*
 * The server as a whole: everything between the configuration and the listeners, started and stopped in order.
 *
 *	server_start(&conf, config_path, NULL, &server, &err);
 *	while (!stopped && server_tick(server)) …;	// about once a second
 *	server_stop(server);
 */
#ifndef SERVER_SERVER_H_
#define SERVER_SERVER_H_

#include <stdbool.h>

#include "conf/conf.h"
#include "lib/base/error.h"

struct server;

/* A cluster in mode raft that is not the pods of a set (local.h). Kept by reference until server_stop(). */
struct server_cluster {
	unsigned number;          /* this member's */
	const char *url;          /* of its server, for its peers */
	const char *const *peers; /* URLs of all; ended by NULL */
	const char *wire_address; /* host:port, for its peers */
	const char *raft_listen;  /* where to bind it */
	const char *listen;       /* where to bind the URL, beside [server] listen for clients */
	bool founds;              /* begins the cluster; the others join with an empty store of their own making */
};

/*
 * Take the data directory's lock, open or make the store, begin to serve. On a pod that follows and has no store yet it
 * serves 503 until one was seeded. `config_path` is watched for changes (NULL: there is no file); `cluster` is NULL for
 * a pod of a set. SP_EAGAIN if another process has the data directory; else as store.h and listener.h say.
 */
int server_start(const struct conf *conf, const char *config_path, const struct server_cluster *cluster,
    struct server **out, struct sp_error *err);

/* Housekeeping: expired snapshots and tombstones, renewed certificates, memory that only the start
 * needed. False if the server is to stop: it was removed from its cluster. */
bool server_tick(struct server *s);

/* Finish what was accepted, within a grace period, close the store and free everything. */
void server_stop(struct server *s);

#endif
