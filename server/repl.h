/*
 * Replication as the HTTP handlers know it: submit a batch, learn when it is committed, say who leads. One struct of
 * functions for each mode ([replication] mode): `static` here, `raft` and `chain` to come. The store knows none of
 * them.
 */
#ifndef SERVER_REPL_H_
#define SERVER_REPL_H_

#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/feed.h"
#include "lib/position.h"

struct repl;

struct repl_op {
	enum { REPL_PUT, REPL_DELETE } kind;
	const void *key;
	size_t key_len;
	const void *value;
	size_t value_len;
};

/* What must hold of the first op's key for the batch to be made. */
enum repl_condition {
	REPL_ALWAYS,
	REPL_IF_ABSENT,  /* If-None-Match: * */
	REPL_IF_PRESENT, /* If-Match: * */
	REPL_IF_SEQ,     /* If-Match: "<seq>" */
};

/* All or nothing. The caller owns it and all it points to until done() is called. */
struct repl_batch {
	const struct repl_op *ops;
	size_t count;
	enum repl_condition condition;
	uint64_t if_seq;

	/* It is committed (code 0: durable by this mode's terms, `seq` is its last change) or it is not (code, err):
	 * SP_EPRECOND, SP_ENOTFOUND (a single delete of what is not there), SP_EAGAIN (not leading, overloaded),
	 * SP_ENOSPACE. On a thread of the replication's own; must not block. */
	void (*done)(struct repl_batch *b);
	void *arg; /* the caller's */

	int code;
	struct sp_error err;
	uint64_t seq;
};

/* A feed from the leader, checked, to be applied whole or not at all (lib/driver.h says the errors). */
struct repl_feed {
	const void *data;
	size_t len;
	struct feed_info info;
	void (*done)(struct repl_feed *f);
	void *arg;

	int code;
	struct sp_error err;
};

struct repl_ops {
	const char *mode;

	/* Both: 0 when done() will be called, else it will not. Any thread. */
	int (*submit)(struct repl *r, struct repl_batch *b, struct sp_error *err);
	int (*apply)(struct repl *r, struct repl_feed *f, struct sp_error *err);

	enum role (*role)(struct repl *r);

	/* The leader's base URL; "" where it is not known. */
	void (*leader)(struct repl *r, char *out, size_t size);

	/* Take over or hand over writing on an operator's word; returns when it is on disk. Blocks: not on a listener's
	 * thread that others wait for. */
	int (*set_role)(struct repl *r, enum role role, struct sp_error *err);

	/* The store was attached again: bring it into the role. */
	int (*attached)(struct repl *r, struct sp_error *err);

	void (*free)(struct repl *r);
};

struct repl {
	const struct repl_ops *ops;
};

#endif
