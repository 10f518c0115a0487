/*
 * Seeding a volume from a donor's snapshot: connect, download, verify, fsync, check, swap, cleanup.
 * Until the swap commits, the store that was there stays untouched; a kill at any instant leaves
 * the old store or the new one. Memory is constant in the snapshot's size. The volume must be
 * locked. One thread.
 */
#ifndef INIT_SEED_H_
#define INIT_SEED_H_

#include <stdbool.h>
#include <stdint.h>

#include "init/download.h"
#include "init/sums.h"
#include "init/volume.h"
#include "lib/protocol/pod.h"
#include "lib/protocol/position.h"

/* Reads the position of a store that no process has open: seedpod-server --position, or what a test
 * puts in its place. */
typedef int (*seed_check)(void *arg, const char *store_dir, struct position *out, struct sp_error *err);

struct seed_options {
	const struct volume *volume;
	struct download_options download; /* base_url: the donor's */
	const char *donor;                /* its name */
	const char *cluster;              /* what the snapshot must be of */
	bool own_history; /* the server that leads on from the image begins an epoch of its own in any case */
	/* The new store must stand at or beyond this, or it replaces nothing: see position_course(). NULL: any. */
	const struct position *floor;
	uint64_t min_applied; /* mode raft: the index of the log that must be in the new store; 0: any */
	seed_check check;
	void *check_arg;
};

/* How it went, for logs, seed.json and the termination message. Filled as far as it came. */
struct seed_report {
	const char *phase; /* configuration, facts, connect, download, verify, extract, fsync, check, swap, cleanup */
	char donor[POD_NAME_MAX]; /* "" if none was chosen */
	bool passed_on;           /* a sibling sent (some of) the donor's snapshot */
	uint64_t bytes;           /* of the snapshot that came */
	uint64_t total;           /* of the snapshot, if known */
	char expected[DIGEST_HEX_SIZE + 96];
	char found[DIGEST_HEX_SIZE + 96];
	double seconds;
	uint64_t seq; /* of the new store */
	struct digest digest;
};

/* What is expected, or found, where positions are compared: "epoch 1 seq 200 keys 150 digest 0123…". */
void seed_show_position(const struct position *p, char *out, size_t size);

/*
 * Do it. Errors: those of the download; SP_EBADDATA, SP_ETRUNCATED, SP_EDIVERGED (another cluster)
 * if the snapshot is not what it must be; SP_EAGAIN if it is older than floor or min_applied;
 * SP_ENOSPACE, before the first byte is written if the size is known; SP_EIO, SP_EPERM;
 * SP_ECANCELED. The text names the donor and the phase's details; report->phase the phase.
 */
int seed_run(const struct seed_options *o, struct seed_report *report, struct sp_error *err);

#endif
