/*
 * A cluster on the command line, without pods and without a file, as users of the Raft key-value store start it:
 *
 *	seedpod-server --id 1 --port 12380 \
 *		--cluster http://127.0.0.1:12379,http://127.0.0.1:22379,http://127.0.0.1:32379
 *
 * Each member serves clients on --port, and its peers on its URL of the list; its raft port is the one below that.
 * Member 1 begins the cluster, the others join; with --join member 1 joins too.
 */
#ifndef SERVER_LOCAL_H_
#define SERVER_LOCAL_H_

#include <stdbool.h>

#include "conf/conf.h"
#include "lib/base/error.h"
#include "server/server.h"

/* The options as they were given; NULL if they were not. */
struct local_options {
	const char *id, *cluster, *port, *data_dir;
	bool join;
};

/* Made by local_init(), for server_start(). */
struct local {
	struct conf conf;
	struct server_cluster cluster;
	char **urls; /* malloc'ed, each too; ended by NULL */
	char raft[300], raft_listen[300], listen[300];
};

/* SP_EUSAGE with what is wrong; SP_ECONF, SP_ENOMEM. On failure there is nothing to release. */
int local_init(struct local *l, const struct local_options *o, struct sp_error *err);
void local_release(struct local *l);

#endif
