/*
 * Tar archives (owner of archive.h): headers for a stream whose data is sent from elsewhere, and a reader that pulls.
 *
 * Nothing here opens a file by a name from an archive: the caller compares each member with what it allows and writes
 * to files that it chose itself. The reader refuses anything but plain files with plain relative names.
 */
#ifndef LIB_PROTOCOL_TAR_H_
#define LIB_PROTOCOL_TAR_H_

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"

#define TAR_BLOCK    512
#define TAR_NAME_MAX 256 /* bytes of a member's name, with NUL */

/* Append the header block(s) of a plain file of `size_bytes` (mode 0600, owner 0, a pax header where ustar cannot say
 * the size). The same arguments give the same bytes. mtime in seconds since 1970. */
int tar_write_header(struct buf *out, const char *name, uint64_t size_bytes, int64_t mtime, struct sp_error *err);

/* Zero bytes that follow a member's data, to the next block. */
size_t tar_padding(uint64_t size_bytes);

/* Zero bytes that end an archive. */
#define TAR_END_BYTES (2 * TAR_BLOCK)

/*
 * Where the reader's bytes come from: 1 with the next piece (valid until the next call), 0 at the end, or a negative
 * SP_E… code with *err filled, which tar_reader_… then returns as it is.
 */
typedef int (*tar_source)(void *arg, const void **data, size_t *len, struct sp_error *err);

struct tar_member {
	char name[TAR_NAME_MAX];
	uint64_t size; /* bytes */
};

struct tar_reader;
struct tar_reader *tar_reader_new(tar_source source, void *arg, struct sp_error *err);
void tar_reader_free(struct tar_reader *r);

/*
 * The next member: 1, 0 at the archive's proper end, SP_EBADDATA for what is not a plain file (link, directory, device,
 * fifo, sparse file), a name that is absolute, empty, too long or holds "..", or a damaged header; the text names the
 * member and what was wrong. SP_ETRUNCATED if the bytes end before the archive does.
 */
int tar_reader_next(struct tar_reader *r, struct tar_member *out, struct sp_error *err);

/* Bytes of the archive before what is read next: after tar_reader_next(), before the member's data. */
uint64_t tar_reader_offset(const struct tar_reader *r);

/* The next piece of the present member's data: 1 with *data, *len (valid until the next call), 0 at its end, or an
 * error. */
int tar_reader_data(struct tar_reader *r, const void **data, size_t *len, struct sp_error *err);

#endif
