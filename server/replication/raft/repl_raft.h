/*
 * Mode raft: the members of a cluster elect a leader; a write is committed when a majority has it
 * in its log, and answered when it is in the leader's store. The engine is libraft with its libuv
 * I/O (owner of raft.h and uv.h); docs/raft.md has the details.
 *
 * Threads: one owns libuv's loop and libraft; others post to it. Entries that are committed are applied by the
 * committer's writer, many in one transaction. A member is known by its number (a pod's ordinal + 1) and an id that it
 * draws when its raft directory is made: a pod that lost its volume is another member.
 */
#ifndef SERVER_REPLICATION_RAFT_REPL_RAFT_H_
#define SERVER_REPLICATION_RAFT_REPL_RAFT_H_

#include <stdbool.h>

#include "lib/net/secret.h"
#include "lib/net/tls.h"
#include "server/replication/committer.h"
#include "server/replication/member_address.h"
#include "server/replication/repl.h"

struct http_access;

/* In the raft directory from the start until all that the log holds is in the store and on disk: without this file the
 * log may be left. */
#define REPL_RAFT_RUNNING_MARK "running"

/* Strings are copied. */
struct repl_raft_options {
	struct store *store; /* these two outlive the repl */
	struct committer *committer;
	const char *dir;          /* data_dir/raft */
	unsigned number;          /* from 1 */
	const char *name;         /* the pod's */
	const char *url;          /* of this member's server */
	const char *address;      /* of this member's raft port, as the others reach it; host:port */
	const char *listen;       /* where to bind it */
	const char *const *peers; /* base URLs of servers that may be members, among them perhaps this one; NULL ends */
	bool founder;             /* begins the cluster where raft never wrote to its store and it has no log */
	bool makes_store;         /* makes an empty store if there is none, and has the log fill it; a founder does
				     so anyway, others wait for seedpod-init */

	unsigned election_timeout_ms, heartbeat_ms;
	unsigned max_voters;
	unsigned trailing, snapshot_every; /* entries */
	size_t log_bytes_max;              /* of log in memory, about; 0: 64 MiB */

	/* Our certificate, and the authorities that the other members' must come from; NULL: no TLS between members.
	 * Outlives the repl. member_name() says which name the certificate of member `number` must bear: 0 or an error;
	 * the loop's thread. */
	struct tls *tls;
	const struct http_access *access; /* the rules for requests to the other members' servers; NULL: none */
	struct secret *secret;            /* what all members know; NULL: none. Outlives the repl */
	int (*member_name)(void *arg, unsigned number, char *out, size_t size);

	/* This member was removed from the cluster: the server must end. Once; any thread; must not
	 * block. */
	void (*removed)(void *arg);
	void *arg; /* of both */
};

struct repl *repl_raft_new(const struct repl_raft_options *o, struct sp_error *err);

#endif
