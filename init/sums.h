/*
 * seedpod.sums, the last member of a snapshot: a snapshot without it, or with a wrong one, is
 * rejected. Pure.
 *
 *	<32 hex digits>  seedpod.json
 *	<32 hex digits>  store/data.mdb
 *	# total <32 hex digits>
 *
 * XXH3-128 as xxh128sum prints it, so that `xxh128sum -c` checks it, too; the total is that of the two lines before it.
 */
#ifndef INIT_SUMS_H_
#define INIT_SUMS_H_

#include <stddef.h>

#include "lib/base/error.h"
#include "lib/protocol/digest.h"

#define SUMS_BYTES_MAX 4096

/* A hash that is not what it must be, for the termination message. */
struct sums_fault {
	char expected[DIGEST_HEX_SIZE]; /* what seedpod.sums says; "" if no hash is at fault */
	char found[DIGEST_HEX_SIZE];    /* what came */
};

/* 0; SP_EBADDATA if the text is not of this form or a hash is another: the text names which, expected and found. */
int sums_check(const char *text, size_t len, struct digest manifest, struct digest data, struct sums_fault *fault,
    struct sp_error *err);

#endif
