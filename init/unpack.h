/*
 * From a snapshot's archive to files: exactly the three members, in order, each within its bounds, hashed as it passes.
 * The names in the archive are compared, never used. One thread.
 */
#ifndef INIT_UNPACK_H_
#define INIT_UNPACK_H_

#include "init/manifest.h"
#include "init/progress.h"
#include "init/relay.h"
#include "init/sums.h"
#include "lib/base/buf.h"
#include "lib/protocol/tar.h"

struct unpack {
	/* In. */
	const char *dir;       /* an empty directory, for data.mdb */
	const uint64_t *bytes; /* of the stream so far, for the progress */
	struct progress *progress;
	struct relay *relay; /* what passes the archive on; NULL: nothing does */

	/* Out. */
	bool writing; /* a failure is the volume's and not the archive's */
	struct manifest manifest;
	struct digest manifest_hash;
	struct digest data_hash;
	struct buf sums; /* the text of seedpod.sums */
	int data_fd;     /* data.mdb, open for fsync; -1 if there is none */
};

void unpack_init(struct unpack *u, const char *dir);
void unpack_release(struct unpack *u);

/*
 * Read the archive to its end. SP_EBADDATA names the member that is missing, repeated, extra or of a wrong size;
 * SP_ENOSPACE before data.mdb is begun where it would not fit; else what the reader and the volume say.
 */
int unpack_run(struct unpack *u, struct tar_reader *tar, struct sp_error *err);

/* Whether `bytes` more fit on the file system of `dir`, with something to spare: 0 or SP_ENOSPACE. */
int unpack_check_space(const char *dir, uint64_t bytes, struct sp_error *err);

#endif
