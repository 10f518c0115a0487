/*
 * Snapshots for tests: the parts that a donor sends, so that a test can put together what no honest donor would.
 *
 *	struct snapshot s;
 *	snapshot_init(&s, 5000);			// a right one, of 5000 bytes of data
 *	snapshot_pack(&s, &tar);			// manifest, data, sums, end
 *	snapshot_maker_release(&s);
 */
#ifndef TESTS_LIB_SNAPSHOT_MAKER_H_
#define TESTS_LIB_SNAPSHOT_MAKER_H_

#include "lib/base/buf.h"
#include "lib/protocol/position.h"

#define SNAPSHOT_CLUSTER "6f1c2f7e-35a1-4a4c-9f0e-0123456789ab"

struct snapshot {
	struct position position; /* what the manifest says */
	struct buf manifest;
	struct buf data;
	struct buf sums;
};

void snapshot_init(struct snapshot *s, size_t data_bytes);
void snapshot_maker_release(struct snapshot *s);

/* Write manifest and sums again, after a change of position or data. */
void snapshot_seal(struct snapshot *s);

/* The whole archive, appended to `tar`. */
void snapshot_pack(const struct snapshot *s, struct buf *tar);

#endif
