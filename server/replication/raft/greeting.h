/*
 * What a member says first on a connection to another's raft port: libraft's own greeting of 0.15, that is three
 * numbers of 8 bytes, little-endian (version 1, the member's id, how many bytes follow), and a text with NULs up to a
 * multiple of 8. The text is the member's address and, after a space, its cluster, with its log. Version 2 is ours: a
 * nonce of 32 bytes follows, and the member will prove that it knows the set's secret (wire_greet.c). Pure; any thread.
 */
#ifndef SERVER_REPLICATION_RAFT_GREETING_H_
#define SERVER_REPLICATION_RAFT_GREETING_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/net/secret.h"
#include "lib/protocol/position.h"
#include "server/replication/raft/repl_raft.h"

#define RAFT_ORIGIN_MAX    (POSITION_CLUSTER_SIZE + 21) /* «cluster/log», with NUL */
#define RAFT_GREETING_HEAD 24
#define RAFT_GREETING_TEXT ((MEMBER_ADDRESS_MAX + RAFT_ORIGIN_MAX + 7) / 8 * 8)
#define RAFT_GREETING_MAX  (RAFT_GREETING_HEAD + RAFT_GREETING_TEXT + SECRET_NONCE_BYTES)

struct raft_greeting {
	uint64_t id;
	char address[MEMBER_ADDRESS_MAX];
	char cluster[RAFT_ORIGIN_MAX]; /* and after a slash its log, where that is known; "": none yet */
	bool proves;                   /* version 2: with */
	unsigned char nonce[SECRET_NONCE_BYTES];
};

/* Whether two such clusters are one, and not two logs of it: a member of a log that its cluster has left behind is not
 * to be heard. */
bool raft_greeting_same_cluster(const char *a, const char *b);

/* Its bytes. */
size_t raft_greeting_write(const struct raft_greeting *g, unsigned char out[RAFT_GREETING_MAX]);

/* How many bytes it has, told by its first RAFT_GREETING_HEAD: RAFT_GREETING_MAX at most; 0: this is no greeting. */
size_t raft_greeting_size(const unsigned char *head);

/* From so many bytes as raft_greeting_size() said. False where this is no greeting. */
bool raft_greeting_read(const unsigned char *bytes, size_t len, struct raft_greeting *out);

#endif
