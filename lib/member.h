/*
 * A member of a set in mode raft, as its position tells of it: the «raft» object of GET /v1/position (docs/api.md).
 * From it init chooses a donor and the sidecar decides on readiness and on seeding again; neither speaks raft.
 */
#ifndef LIB_MEMBER_H_
#define LIB_MEMBER_H_

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/error.h"

enum member_role {
	MEMBER_NONE,      /* not in mode raft: there is no such object */
	MEMBER_STOPPED,   /* a store that nobody runs on: `applied` and `term` alone are told */
	MEMBER_JOINING,   /* asks to be taken into the configuration */
	MEMBER_STANDBY,   /* gets the log, has no vote */
	MEMBER_FOLLOWER,  /* a voter */
	MEMBER_CANDIDATE, /* a voter that hears no leader */
	MEMBER_LEADER,
	MEMBER_NEEDS_SNAPSHOT, /* the log does not reach back to its store: it waits to be seeded again */
	MEMBER_REMOVED,        /* taken out of the configuration: it stops */
};

struct member {
	enum member_role role;
	uint64_t id;     /* of this life of the volume; 0: none yet */
	unsigned number; /* ordinal + 1 */
	uint64_t term;
	bool leader_known;
	uint64_t commit;  /* the last index that is known to be committed */
	uint64_t applied; /* the last index that is in the store */
	uint64_t needs;   /* needs_snapshot: the index that a donor must have applied */
	unsigned members; /* in the configuration, this one included; 0: not known */
	unsigned voters;  /* of these */
};

/* «none», «stopped», «joining», «standby», «follower», «candidate», «leader», «needs_snapshot», «removed». */
const char *member_role_name(enum member_role r);

/* The object, a new reference; NULL where the role is MEMBER_NONE, and when out of memory. */
json_t *member_to_json(const struct member *m);

/* The reverse; NULL (no object) is MEMBER_NONE. Unknown members are ignored, missing ones are 0; a role that is not
 * known and wrong types are SP_EBADDATA and named. `out` is untouched on failure. */
int member_from_json(const json_t *json, struct member *out, struct sp_error *err);

#endif
