/* Mode static: one pod leads by its ordinal, the others follow; a write is committed when the leader has it on disk. */
#ifndef SERVER_REPLICATION_STATIC_REPL_STATIC_H_
#define SERVER_REPLICATION_STATIC_REPL_STATIC_H_

#include <stdbool.h>

#include "server/replication/committer.h"
#include "server/replication/repl.h"

struct repl_static_options {
	struct committer *committer; /* shared; outlives the repl */
	bool leads;                  /* at the start, by configuration */
	const char *self_url;        /* this pod's base URL; copied */
	const char *leader_url;      /* the configured leader's; copied */
};

struct repl *repl_static_new(const struct repl_static_options *o, struct sp_error *err);

#endif
