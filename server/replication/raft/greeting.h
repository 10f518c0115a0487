/*
 * The first bytes that a member sends on a connection to another's raft port: libraft's own
 * greeting of 0.15, that is three numbers of 8 bytes, little-endian (version 1, the member's id,
 * how many bytes follow), and a text with NULs up to a multiple of 8. The text is the member's
 * address and, after a space, its cluster, with its log. Version 2 is ours: a nonce of 32 bytes
 * follows, and the member will prove that it knows the set's secret (wire_greet.c). Pure; any
 * thread.
 */
#ifndef SERVER_REPLICATION_RAFT_GREETING_H_
#define SERVER_REPLICATION_RAFT_GREETING_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/net/secret.h"
#include "lib/protocol/position.h"
#include "server/replication/raft/repl_raft.h"

#define LOG_ORIGIN_MAX (POSITION_CLUSTER_SIZE + 21) /* "cluster/log", with NUL */
#define GREETING_HEAD  24
#define GREETING_TEXT  ((MEMBER_ADDRESS_MAX + LOG_ORIGIN_MAX + 7) / 8 * 8)
#define GREETING_MAX   (GREETING_HEAD + GREETING_TEXT + SECRET_NONCE_BYTES)

struct greeting {
	uint64_t id;
	char address[MEMBER_ADDRESS_MAX];
	char cluster[LOG_ORIGIN_MAX]; /* and after a slash its log, if that is known; "": none yet */
	bool proves;                  /* version 2: with */
	unsigned char nonce[SECRET_NONCE_BYTES];
};

/* Whether two such clusters are one, and not two logs of it: a member of a log that its cluster has left behind is not
 * to be heard. */
bool greeting_same_cluster(const char *a, const char *b);

/* Its bytes. */
size_t greeting_write(const struct greeting *g, unsigned char out[GREETING_MAX]);

/* How many bytes it has, told by its first GREETING_HEAD: GREETING_MAX at most; 0: this is no greeting. */
size_t greeting_size(const unsigned char *head);

/* From so many bytes as greeting_size() said. False if this is no greeting. */
bool greeting_read(const unsigned char *bytes, size_t len, struct greeting *out);

#endif
