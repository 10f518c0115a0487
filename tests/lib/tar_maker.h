/*
 * Tar archives for tests, made header byte by header byte, so that they can hold what no honest writer writes.
 *
 *	struct buf tar;
 *	buf_init(&tar, 1 << 20);
 *	tar_maker_add(&tar, '0', "seedpod.json", "", json, strlen(json));
 *	tar_maker_end(&tar);
 */
#ifndef TESTS_LIB_TAR_MAKER_H_
#define TESTS_LIB_TAR_MAKER_H_

#include "lib/base/buf.h"

/* A ustar header of this type flag ('0' file, '1' hard link, '2' symbolic link, '3' and '4' devices, '5' directory,
 * '6' fifo), saying `size` bytes. */
void tar_maker_header(struct buf *out, char type, const char *name, const char *link, size_t size);

/* Header, data and padding. */
void tar_maker_add(struct buf *out, char type, const char *name, const char *link, const void *data, size_t len);

/* The two zero blocks. */
void tar_maker_end(struct buf *out);

#endif
