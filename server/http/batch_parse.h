/* The body of POST /v1/batch: NDJSON of puts and deletes (docs/api.md). Pure; any thread. */
#ifndef SERVER_HTTP_BATCH_PARSE_H_
#define SERVER_HTTP_BATCH_PARSE_H_

#include <stddef.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "server/replication/repl.h"

#define BATCH_OPS_MAX 1000000

struct batch {
	struct repl_op *ops; /* malloc'ed */
	size_t count;        /* 1 at least */
	struct buf arena;    /* what they point to */
};

/*
 * Parse body[len]; a value has at most max_value bytes. body[len] itself must be readable and NUL. 0; SP_EUSAGE,
 * or SP_ETOOBIG for a value, with the line and what is wrong there; SP_ENOMEM: `out` is untouched.
 */
int batch_parse(const char *body, size_t len, size_t max_value, struct batch *out, struct sp_error *err);

void batch_release(struct batch *b);

#endif
