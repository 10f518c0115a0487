/* The next step to have a member in the cluster, or out of it: decided from the configuration
 * alone. Pure. */
#ifndef SERVER_REPLICATION_RAFT_PLAN_H_
#define SERVER_REPLICATION_RAFT_PLAN_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/replication/raft/directory.h"

#define PLAN_MEMBERS_MAX DIRECTORY_MAX

/* A member of libraft's configuration. */
struct plan_member {
	uint64_t id;
	enum { PLAN_SPARE, PLAN_STANDBY, PLAN_VOTER } role;
	uint64_t match; /* on the leader: its log is known to hold entries up to this one; 0 elsewhere */
};

struct plan_facts {
	const struct plan_member *members;
	size_t count;
	uint64_t self;       /* the leader's id */
	uint64_t last_index; /* of its log */
	uint64_t pointed;    /* the newest pointer that it sent to anybody; 0: none */
	unsigned max_voters;
};

enum plan_step {
	PLAN_DONE,      /* it is as it should be */
	PLAN_NOT_THERE, /* there is no such member to remove */
	PLAN_REFUSE,    /* that number is the leader's own, the last voter's, or of a member elsewhere */
	PLAN_HAND_OVER, /* the leader is to go: let another lead first, which then takes it out */
	PLAN_REMOVE,    /* take `id` out */
	PLAN_NOTE,      /* put the contact into the directory */
	PLAN_ADD,       /* put `id` in, as a spare */
	PLAN_STAND_BY,  /* let the spare `id` stand by */
	PLAN_PROMOTE,   /* let the stand-by `id` vote */
	PLAN_PROVE,     /* add an entry, so that a stand-by can show that it follows */
};

/* The next step to have this contact in. One whose id is 0 is not running yet: it is kept as a spare until it comes
 * with an id. Another member of its number is an earlier life of it, and goes first. `known`: what the directory says.
 */
enum plan_step plan_add(const struct plan_facts *f, const struct contact *c, const struct contact *known, uint64_t *id);

/* The next step to have the members of this number out. The last voter stays: the cluster could not
 * continue without it. */
enum plan_step plan_remove(const struct plan_facts *f, unsigned number, uint64_t *id);

/* PLAN_PROMOTE, if there is room for a voter and a stand-by has nearly all of the log; or
 * PLAN_DONE. A stand-by that acknowledged a pointer may have to be seeded first, and hears nothing
 * meanwhile: as a voter it could leave the cluster without a majority. So a stand-by is promoted
 * only if it has an entry beyond the newest pointer; if there is none beyond it, PLAN_PROVE. */
enum plan_step plan_promotion(const struct plan_facts *f, uint64_t *id);

#endif
