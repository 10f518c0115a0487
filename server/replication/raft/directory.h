/*
 * The directory of a cluster: the address of each member. libraft's configuration knows ids,
 * addresses and roles; this is the rest, one contact a member, replicated as entries of the log and
 * kept in the store as the note "members". Pure.
 */
#ifndef SERVER_REPLICATION_RAFT_DIRECTORY_H_
#define SERVER_REPLICATION_RAFT_DIRECTORY_H_

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/protocol/pod.h"
#include "lib/protocol/position.h"
#include "server/replication/raft/repl_raft.h"

#define DIRECTORY_MAX  256 /* members */
#define DIRECTORY_NOTE "members"

struct contact {
	unsigned number; /* 1 to MEMBER_NUMBER_MAX */
	uint64_t id;     /* the low 16 bits are the number; 0 if it is not known yet */
	char name[POD_NAME_MAX];
	char url[POSITION_URL_MAX];    /* of its server */
	char raft[MEMBER_ADDRESS_MAX]; /* of its raft port, host:port */
};

struct directory {
	size_t count;
	struct contact *contacts; /* by number, malloc'ed */
};

#define MEMBER_ID(incarnation, number) ((uint64_t)(incarnation) << 16 | (number))
#define MEMBER_NUMBER(id)              ((unsigned)((id)&0xffff))

void directory_release(struct directory *d);

/* The member with this number, or NULL. */
const struct contact *directory_find(const struct directory *d, unsigned number);

/* Put a contact in, in place of the one that has its number. SP_ETOOBIG, SP_ENOMEM. */
int directory_set(struct directory *d, const struct contact *m, struct sp_error *err);

/* As JSON: a contact is an object, a directory a list of them. The text is malloc'ed, or NULL when out of memory. */
char *contact_to_json(const struct contact *m);
char *directory_to_json(const struct directory *d);

/* The reverse. SP_EBADDATA if a contact lacks something or holds what cannot be; `out` is then untouched. */
int contact_from_json(const char *text, size_t len, struct contact *out, struct sp_error *err);
int directory_from_json(const char *text, size_t len, struct directory *out, struct sp_error *err);

#endif
