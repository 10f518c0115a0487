/*
 * Writes one large file from front to back, past the page cache (O_DIRECT) where the file system
 * can, in a thread of its own: the caller continues to receive while the disk is busy. So a seeding
 * takes no more of a node's memory than the buffers here, however large the store is, and spares
 * the processor the page cache's work, which is more than that of the copying itself.
 *
 *	w = writer_new(fd, &err);
 *	writer_add(w, data, len, &err);		// as often as wanted
 *	writer_end(w, &err);			// all of it is written; fsync is the caller's
 *	writer_free(w);
 *
 * All calls from one thread, unless said otherwise. If the file system refuses O_DIRECT, the data
 * goes through the page cache and is sent on to the disk at once, so that fsync has little left to
 * do.
 */
#ifndef INIT_WRITER_H_
#define INIT_WRITER_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"

struct writer;

/* `fd` is open for writing, at its beginning, and stays the caller's; nobody else uses it until writer_end(). */
struct writer *writer_new(int fd, struct sp_error *err);

/* Take `len` bytes, copied. Waits while the disk is behind. A failure may be of bytes that were taken before; it stays.
 */
int writer_add(struct writer *w, const void *data, size_t len, struct sp_error *err);

/* Write what is left and wait for it. */
int writer_end(struct writer *w, struct sp_error *err);

/*
 * --- Reading what was taken, while it is written, from other threads ---
 *
 * The newest few MiB are in memory, all before that is on disk.
 */

/*
 * Copy what begins at `offset`: the bytes copied, 0 if nothing of it can be had yet. *on_disk: it is in the file
 * alone, of which so many bytes (at most max) can be read from there on, and nothing was copied. Pieces appear once
 * they are large.
 */
size_t writer_copy(struct writer *w, uint64_t offset, void *out, size_t max, bool *on_disk);

/*
 * Readers want what begins at `offset`: it stays in memory for them, and writer_add() waits as long as that takes, but
 * for at most a second in all and a tenth of the time since writer_new(). UINT64_MAX: there are no such readers.
 */
void writer_keep(struct writer *w, uint64_t offset);

/* Without writer_end(), what has not been written yet is dropped. NULL is fine. */
void writer_free(struct writer *w);

#endif
