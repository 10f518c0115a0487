/*
 * Entries of the raft log as bytes: the operation, and in which term it was proposed (libraft does
 * not tell the state machine). Little-endian, padded with zeros to a multiple of 8 bytes:
 *
 *	version:u8 kind:u8 condition:u8 0:u8 count:u32 term:u64 if_seq:u64
 *	then, for a batch, `count` times:	kind:u8 0:u8 key_len:u16 value_len:u32 key value
 *	for the other kinds:			`count` bytes of text
 *
 * Pure; any thread.
 */
#ifndef SERVER_REPLICATION_RAFT_ENTRY_H_
#define SERVER_REPLICATION_RAFT_ENTRY_H_

#include "server/replication/repl.h"

enum entry_kind {
	ENTRY_BATCH = 1,
	ENTRY_FOUND = 2,  /* text: "UUID seq", the cluster and where its store stood when the log began */
	ENTRY_MEMBER = 3, /* text: a contact for the directory, as JSON (directory.h) */
};

struct entry {
	enum entry_kind kind;
	uint64_t term;

	/* ENTRY_BATCH: only ops, count, condition and if_seq mean something. */
	struct repl_batch batch;

	/* The others. */
	const char *text;
	size_t text_len;
};

#define ENTRY_HEAD_BYTES 24

/* The content of its first ENTRY_HEAD_BYTES. */
struct entry_head {
	enum entry_kind kind;
	uint32_t count; /* ops, or bytes of text */
	uint64_t term;
};

/* From ENTRY_HEAD_BYTES bytes. SP_EBADDATA if they begin no entry that this program knows. */
int entry_head_read(const void *data, struct entry_head *out, struct sp_error *err);

/* Bytes that the entry takes. */
size_t entry_size(const struct entry *e);

/* Write exactly that many. */
void entry_encode(const struct entry *e, void *out);

/*
 * Read an entry; it points into `data`, and its ops are malloc'ed (entry_release() frees them).
 * SP_EBADDATA if the bytes are not an entry: of a newer version, or damaged; SP_ENOMEM.
 */
int entry_decode(const void *data, size_t len, struct entry *out, struct sp_error *err);
void entry_release(struct entry *e);

/* The term alone; 0 if the bytes are too few. */
uint64_t entry_term(const void *data, size_t len);

#endif
