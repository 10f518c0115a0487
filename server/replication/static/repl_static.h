/* Mode static: one pod leads, the others follow; a write is committed when the leader has it on disk. The lead moves by
 * a planned hand-over, or on an operator's order (lib/protocol/lead.h). */
#ifndef SERVER_REPLICATION_STATIC_REPL_STATIC_H_
#define SERVER_REPLICATION_STATIC_REPL_STATIC_H_

#include <stdbool.h>

#include "server/replication/committer.h"
#include "server/replication/repl.h"

struct repl_static_options {
	struct committer *committer; /* shared; outlives the repl */
	struct store *store;         /* the committer's, for its record of the leader; NULL: it has none */
	bool leads;                  /* at the start, by configuration; opened() decides by the store's record */
	const char *self_url;        /* this pod's base URL; copied */
	const char *leader_url;      /* the configured leader's; copied */
	uint32_t ordinal;            /* this pod's, */
	uint32_t named;              /* and the configured leader's */

	/* The base URL of the pod with that ordinal, "" if there is none. Any thread. May be NULL. */
	void (*url_of)(void *arg, uint32_t ordinal, char *out, size_t size);
	/* The role changed: requests that wait for a change look again. Any thread. May be NULL. */
	void (*role_changed)(void *arg);
	void *arg;
};

struct repl *repl_static_new(const struct repl_static_options *o, struct sp_error *err);

#endif
