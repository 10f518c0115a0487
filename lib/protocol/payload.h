/*
 * The snapshot of a store that is not ours: a tar archive of its payload, in members of at most 4 MiB.
 *
 *	seedpod.json		the head: one line of JSON, see struct payload_head
 *	payload/000001		bytes of the store's own form; all members but the last have exactly PAYLOAD_PIECE bytes
 *	payload/000002
 *	…
 *	seedpod.sums		<32 hex digits>  seedpod.json
 *				<32 hex digits>  payload
 *				# position {…}
 *				# total <32 hex digits>
 *
 * The hashes are XXH3-128; "payload" is that of all payload bytes, one after the other. The position is the trailer's
 * of the verb `snapshot`, as position_to_json() writes it; the total is of the lines before it. An archive without
 * seedpod.sums is no snapshot. `tar xO --wildcards` with the pattern "payload/?*" yields the payload.
 *
 * Both sides use constant memory: the writer one piece, the reader none of it.
 */
#ifndef LIB_PROTOCOL_PAYLOAD_H_
#define LIB_PROTOCOL_PAYLOAD_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"
#include "lib/protocol/digest.h"
#include "lib/protocol/pod.h"
#include "lib/protocol/position.h"
#include "lib/protocol/tar.h"

#define PAYLOAD_FORMAT     2          /* of seedpod.json; that of our own store's snapshots is 1 */
#define PAYLOAD_PIECE      (4u << 20) /* bytes of a member */
#define PAYLOAD_PIECES_MAX 999999     /* 4 TiB */
#define PAYLOAD_HEAD_MAX   (64u << 10)
#define PAYLOAD_SUMS_MAX   (128u << 10)
#define PAYLOAD_WORD_SIZE  33

/* seedpod.json. Words are [a-z0-9-], at least one character. */
struct payload_head {
	char store[PAYLOAD_WORD_SIZE];   /* "postgresql" */
	char driver[PAYLOAD_WORD_SIZE];  /* "exec" or "directory" */
	char carrier[PAYLOAD_WORD_SIZE]; /* "feed", "native" or "none" */
	char proof[PAYLOAD_WORD_SIZE];   /* "digest" or "position" */
	char donor[POD_NAME_MAX];        /* the pod that made it, as it calls itself */
	int64_t created;                 /* seconds since 1970 */
};

/* What a whole snapshot held. */
struct payload_end {
	struct position position;
	uint64_t bytes; /* of payload */
};

/* Where bytes go; 0, or negative to stop with that code. The same shape as a driver's sink. */
typedef int (*payload_sink)(void *arg, const void *data, size_t len, struct sp_error *err);

/*
 * Writing. begin() makes the writer; nothing reaches the sink before the first piece is full or end() is called, so
 * that a driver that fails at once can still be answered with an error. end() writes what is left, the sums and the
 * archive's end: SP_EBADDATA if there was no byte of payload. After a failure only free() may follow. One thread.
 */
struct payload_writer;
struct payload_writer *payload_writer_new(
    const struct payload_head *head, payload_sink sink, void *arg, struct sp_error *err);
int payload_writer_add(struct payload_writer *w, const void *data, size_t len, struct sp_error *err);
int payload_writer_end(struct payload_writer *w, const struct position *position, struct sp_error *err);
void payload_writer_free(struct payload_writer *w);

/*
 * Reading: pulls the archive from `source`, gives the payload out piece by piece, and checks everything. head() reads
 * seedpod.json: SP_EBADDATA if it is something else, also a snapshot of our own store. data(): 1 with the next bytes
 * (valid until the next call); 0 at the proper end, when *end is filled: only then was it a snapshot. SP_EBADDATA if
 * anything is wrong (order, numbers, sizes, a hash, no payload), SP_ETRUNCATED if it ends early. One thread.
 */
struct payload_reader;
struct payload_reader *payload_reader_new(tar_source source, void *arg, struct sp_error *err);
int payload_reader_head(struct payload_reader *r, struct payload_head *out, struct sp_error *err);
int payload_reader_data(
    struct payload_reader *r, const void **data, size_t *len, struct payload_end *end, struct sp_error *err);
void payload_reader_free(struct payload_reader *r);

#endif
