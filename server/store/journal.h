/*
 * The journal: a file beside LMDB's that takes a group of changes with one sequential write and one
 * fdatasync, where a commit of LMDB takes a page for each key, and two. Its content is on disk;
 * LMDB is brought up to it later, many groups at once (store_flush.c), and the first open after a
 * crash reads the rest from here.
 *
 *	journal_create(dir, false, &j, &err);
 *	journal_append(j, &group, ops, len, &err);	// on disk when it returns
 *	journal_switch(j);				// the other area; what it held must be in LMDB by now
 *	journal_close(j);
 *
 * The file has two areas, which take turns: while one is written, LMDB catches up with the other. A
 * group begins on a page of its own, so that no write touches one that holds an earlier group. It
 * names the state of the store that it follows and the state that it leads to, and carries a
 * checksum; so a journal fits one state of one store, and its end is the last group that is whole.
 * docs/architecture.md has the format.
 *
 * With sync_later the groups are on disk only after journal_sync(). A process that dies leaves them
 * to the kernel; a machine that goes down may leave any of those that were not synced, in any
 * order. So the file says in which life of the machine it was written, and a reader in another life
 * finds it *in doubt*: its end is then the first group that is missing, whatever follows. LMDB is
 * always synced, so the result is a state that the store had, with all that was synced in it.
 *
 * One thread at a time.
 */
#ifndef SERVER_STORE_JOURNAL_H_
#define SERVER_STORE_JOURNAL_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/protocol/digest.h"

#define JOURNAL_NAME        "journal"   /* in the store's directory */
#define JOURNAL_PAGE        4096        /* bytes */
#define JOURNAL_AREA_BYTES  (24u << 20) /* each of the two */
#define JOURNAL_GROUP_BYTES (4u << 20)  /* of a group's changes, at most */

struct journal;

/* A group, and the states before and after it. */
struct journal_group {
	unsigned char cluster[16];
	uint64_t epoch;
	uint64_t base_seq;
	struct digest base_digest;
	uint64_t seq; /* of its last change */
	struct digest digest;
	uint64_t keys;
};

/* A change within a group, the pointers into the group's bytes. */
struct journal_op {
	bool is_delete;
	uint64_t seq; /* 0: the one after the change before it, in this group or the one before */
	const void *key;
	size_t key_len;
	const void *value;
	size_t value_len;
};

/* Make an empty one, on disk with its name when this returns. SP_ENOSPACE, SP_EPERM, SP_EIO; nothing is left then. */
int journal_create(const char *dir, bool sync_later, struct journal **out, struct sp_error *err);

/* NULL does nothing. The file stays. */
void journal_close(struct journal *j);

/* Delete the file of a directory, if there is one, for good. */
int journal_remove(const char *dir, struct sp_error *err);

/* Append a change to a group's bytes, or read the next one at *at and advance: 1, 0 at the end,
 * SP_EBADDATA. */
int journal_add_op(struct buf *ops, const struct journal_op *op);
int journal_next_op(const void *ops, size_t len, size_t *at, struct journal_op *out);

/* Bytes that the present area still takes, with a group's head and filling counted in. */
size_t journal_room(const struct journal *j);

/* The bytes that a group with so many bytes of changes takes. */
size_t journal_group_size(size_t len);

/*
 * Write a group; it is on disk when this returns 0, but with sync_later. SP_ENOSPACE, SP_ETOOBIG (no room in the area):
 * it is not there, and the next takes its place. SP_EIO: not known, the process must end.
 */
int journal_append(
    struct journal *j, const struct journal_group *group, const void *ops, size_t len, struct sp_error *err);

/* All groups are on disk when this returns 0. SP_EIO: not known, the process must end. Such a journal is in doubt for
 * the next that reads it, whatever became of the machine. */
int journal_sync(struct journal *j, struct sp_error *err);

/* Go over to the other area, from its begin: what it holds is forgotten with the first group. */
void journal_switch(struct journal *j);

/* For each group, oldest first. A visitor that fails ends the reading with its code, one that returns JOURNAL_END
 * without a failure. */
#define JOURNAL_END 1
typedef int (*journal_visit)(
    const struct journal_group *group, const void *ops, size_t len, void *arg, struct sp_error *err);

/*
 * Read a directory's journal, changing nothing. SP_ENOTFOUND if there is none. SP_EBADDATA if it is
 * not one of ours, of a newer format, or if a group is damaged that others follow; a damaged last
 * one was not finished when the machine went down, and no client was told that it was. One that is
 * in doubt ends there without an error.
 */
int journal_read(const char *dir, journal_visit visit, void *arg, struct sp_error *err);

/* Whether a directory has a journal that was written with sync_later and may lack groups: in another life of the
 * machine, or by a process whose sync failed. */
bool journal_in_doubt(const char *dir);

#endif
