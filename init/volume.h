/*
 * The volume: the directories in which a store lives, arrives and leaves, and the swap that a kill at any instant
 * cannot break.
 *
 *	data_dir/lock			held (flock) by init for its whole run, and by a server that has the store open
 *	data_dir/store			the store in force
 *	data_dir/store.incoming		a download under way; may be deleted at any time
 *	data_dir/store.ready		a new store, complete, verified and on disk: that it exists is the commit
 *	data_dir/store.old		the former store, until the swap is done
 *	data_dir/raft			of mode raft: the server's log and vote, which a new store leaves as they are
 *	data_dir/seed.json		what the last seed cost, for the sidecar's metrics
 *	data_dir/seedpod.json		of a restored leader: the server begins an epoch of its own, and renames it
 *	data_dir/init-failure.json	why starts failed since the last good one: see failure.h
 *
 * A swap is: rename incoming to ready (the commit), store to old, ready to store, delete old; each
 * rename followed by an fsync of data_dir. volume_recover() brings the remains of an earlier life
 * to a state with at most `store`: forward if ready exists, back if not.
 *
 *	volume_init(&v, data_dir, &err);
 *	volume_lock(&v, &err);
 *	volume_recover(&v, did, sizeof(did), &err);
 *	volume_make_incoming(&v, &err); … fill v.incoming … volume_commit(&v, &err); volume_swap(&v, &err);
 *	volume_clean(&v, &err);
 *	volume_release(&v);
 *
 * One thread.
 */
#ifndef INIT_VOLUME_H_
#define INIT_VOLUME_H_

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/error.h"

#define VOLUME_PATH_MAX 1024

struct volume {
	char data_dir[VOLUME_PATH_MAX];
	char lock[VOLUME_PATH_MAX];
	char store[VOLUME_PATH_MAX];
	char incoming[VOLUME_PATH_MAX];
	char ready[VOLUME_PATH_MAX];
	char old[VOLUME_PATH_MAX];
	char raft[VOLUME_PATH_MAX];
	char seed_record[VOLUME_PATH_MAX];
	char origin[VOLUME_PATH_MAX]; /* seedpod.json */
	int lock_fd;                  /* -1 while it is not locked */
};

/* The files and directories that are there. */
struct volume_state {
	bool store; /* with data in it: an empty directory, or one with an empty data.mdb, does not count */
	bool incoming;
	bool ready;
	bool old;
	bool raft; /* a member's log, or what is left of one */
};

/* Fills the paths; touches nothing. SP_ETOOBIG. */
int volume_init(struct volume *v, const char *data_dir, struct sp_error *err);

/* Make data_dir where it is missing and take the lock. SP_EAGAIN: a server has the store open, or another init runs.
 * SP_EPERM; SP_EVOLUME if the volume cannot be written for other reasons. */
int volume_lock(struct volume *v, struct sp_error *err);
void volume_release(struct volume *v);

void volume_look(const struct volume *v, struct volume_state *out);

/* A sentence: DATA_DIR has no store, and which other files it has. For a volume on which
 * volume_look() finds no store. */
void volume_describe_empty(const struct volume *v, char *out, size_t size);

/* The directory that will be the store after volume_recover(): for callers that may only look. */
const char *volume_store_to_be(const struct volume *v);

/* Finish or undo what an earlier life left. `did` gets a sentence about it, "" if there was nothing to do. */
int volume_recover(const struct volume *v, char *did, size_t size, struct sp_error *err);

/* An empty directory `incoming`. */
int volume_make_incoming(const struct volume *v, struct sp_error *err);

/* incoming becomes ready; from here on recovery goes forward. All in it must be on disk before. */
int volume_commit(const struct volume *v, struct sp_error *err);

/* ready becomes the store, the former one is kept as old. */
int volume_swap(const struct volume *v, struct sp_error *err);

/* Delete incoming and old. */
int volume_clean(const struct volume *v, struct sp_error *err);

#endif
