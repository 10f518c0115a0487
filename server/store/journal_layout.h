/* The journal's bytes, for those that write and read them (journal.c, journal_read.c). */
#ifndef SERVER_STORE_JOURNAL_LAYOUT_H_
#define SERVER_STORE_JOURNAL_LAYOUT_H_

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/store/boot_id.h"
#include "server/store/journal.h"

#define JOURNAL_FORMAT 2 /* 1 had no JOURNAL_OP_SEQ, and is read as well */
#define JOURNAL_AREAS  2

/*
 * The file's first page: magic[8] format:u32 salt[16] (random) boot[40] (boot_id.h; zeros where
 * each group is synced). A group's head, all numbers little-endian, digests big-endian: magic[4]
 * len:u32 generation:u64 index:u64 base_seq:u64 seq:u64 epoch:u64 keys:u64 cluster[16]
 * base_digest[16] digest[16] checksum[16]; the checksum is XXH3-128 of the head, with the salt in
 * the checksum's place, and the changes. Changes follow, and zeros up to the page's end.
 * `generation` grows by one with each switch of areas, `index` with each group from 0. The salt
 * ensures that no stored value can look like a group.
 */
#define JOURNAL_FILE_HEAD_BYTES (JOURNAL_BOOT_AT + BOOT_ID_SIZE)
#define JOURNAL_SALT_AT         12
#define JOURNAL_BOOT_AT         28
#define JOURNAL_CHECKSUM_AT     104
#define JOURNAL_HEAD_BYTES      120
/* A change: kind:u8 key_len:u16 value_len:u32, with JOURNAL_OP_SEQ seq:u64, then key and value. */
#define JOURNAL_OP_HEAD_BYTES 7
#define JOURNAL_OP_SEQ_BYTES  8
#define JOURNAL_OP_DELETE     1u /* flags of kind */
#define JOURNAL_OP_SEQ        2u

static const unsigned char journal_file_magic[8] = { 's', 'p', 'j', 'o', 'u', 'r', 'n', 'l' };
static const unsigned char journal_group_magic[4] = { 's', 'p', 'j', 'g' };

static inline off_t
journal_area_offset(unsigned area)
{
	return JOURNAL_PAGE + (off_t)area * JOURNAL_AREA_BYTES;
}

#endif
