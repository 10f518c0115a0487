/* seedpod.json, the first member of a snapshot: describes the rest, which must match. Pure. */
#ifndef INIT_MANIFEST_H_
#define INIT_MANIFEST_H_

#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"
#include "lib/protocol/pod.h"
#include "lib/protocol/position.h"

#define MANIFEST_FORMAT    1
#define MANIFEST_BYTES_MAX (64u << 10)

struct manifest {
	struct position position; /* of the store in the snapshot */
	uint64_t bytes;           /* of store/data.mdb */
	char donor[POD_NAME_MAX]; /* as it calls itself */
};

/* SP_EBADDATA names the member that is missing or wrong, or the format that is not known here. */
int manifest_parse(const char *json, size_t len, struct manifest *out, struct sp_error *err);

#endif
