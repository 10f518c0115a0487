/*
 * A member of a set in mode raft, as its position describes it: the "raft" object of GET
 * /v1/position (docs/api.md). From it init chooses a donor and the sidecar decides on readiness and
 * on seeding again; neither speaks raft.
 */
#ifndef LIB_PROTOCOL_POSITION_RAFT_H_
#define LIB_PROTOCOL_POSITION_RAFT_H_

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/base/error.h"

enum member_role {
	MEMBER_ROLE_NONE,      /* not in mode raft: there is no such object */
	MEMBER_ROLE_STOPPED,   /* a store without a running server: only `applied` and `term` are given */
	MEMBER_ROLE_JOINING,   /* asks to be taken into the configuration */
	MEMBER_ROLE_STANDBY,   /* gets the log, has no vote */
	MEMBER_ROLE_FOLLOWER,  /* a voter */
	MEMBER_ROLE_CANDIDATE, /* a voter that hears no leader */
	MEMBER_ROLE_LEADER,
	MEMBER_ROLE_NEEDS_SNAPSHOT, /* the log does not reach back to its store: it waits to be seeded again */
	MEMBER_ROLE_NO_ROOM, /* its log cannot be written for want of room: it takes no part until there is some */
	MEMBER_ROLE_REMOVED, /* taken out of the configuration: it stops */
};

#define POSITION_HOST_MAX 256 /* bytes, with NUL */

struct position_raft {
	enum member_role role;
	uint64_t id;     /* of this life of the volume; 0: none yet */
	unsigned number; /* ordinal + 1 */
	uint64_t term;
	bool leader_known;
	uint64_t commit;  /* the last index that is known to be committed */
	uint64_t applied; /* the last index that is in the store, */
	uint64_t log;     /* of this log: drawn when it was founded; 0: of none, or not known */
	uint64_t needs;   /* needs_snapshot: the index that a donor must have applied */
	unsigned members; /* in the configuration, this one included; 0: not known */
	unsigned voters;  /* of these */

	/* The host name of a member that this one wants to connect to and that cannot be resolved; "": none. */
	char unresolved[POSITION_HOST_MAX];
};

/* "none", "stopped", "joining", "standby", "follower", "candidate", "leader", "needs_snapshot", "no_room",
 * "removed". */
const char *member_role_name(enum member_role r);

/* The object, a new reference; NULL if the role is MEMBER_ROLE_NONE, and when out of memory. */
json_t *position_raft_to_json(const struct position_raft *m);

/* The reverse; NULL (no object) is MEMBER_ROLE_NONE. Unknown members are ignored, missing ones are 0; a role that is
 * not known and wrong types are SP_EBADDATA and named. `out` is untouched on failure. */
int position_raft_from_json(const json_t *json, struct position_raft *out, struct sp_error *err);

#endif
