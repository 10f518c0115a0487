/*
 * A growable buffer of bytes with a limit.
 *
 *	struct buf b;
 *	buf_init(&b, 1 << 20);
 *	if (buf_printf(&b, "%s %d", name, n) < 0) …	// SP_ETOOBIG or SP_ENOMEM
 *	use(b.data, b.len);
 *	buf_release(&b);
 *
 * `data` is always followed by a NUL that `len` does not count, so that text needs no copy; for an empty
 * buffer it is "" (never NULL). On failure the content is unchanged. One thread at a time.
 */
#ifndef LIB_BASE_BUF_H_
#define LIB_BASE_BUF_H_

#include <stddef.h>

struct buf {
	char *data;   /* the bytes, NUL-terminated */
	size_t len;   /* bytes in use */
	size_t size;  /* bytes allocated; 0 while data is the static empty string */
	size_t limit; /* the most that len may become */
};

void buf_init(struct buf *b, size_t limit_bytes);

/* Free the memory; the buffer is empty afterwards, with the same limit, and may be used again. */
void buf_release(struct buf *b);

/* Forget the content, keep the memory. */
void buf_reset(struct buf *b);

/* Make room for `extra` more bytes. 0, SP_ETOOBIG past the limit, SP_ENOMEM. */
int buf_reserve(struct buf *b, size_t extra);

/* Append. 0, SP_ETOOBIG, SP_ENOMEM. buf_add's src must not point into the buffer. */
int buf_add(struct buf *b, const void *src, size_t len);
int buf_adds(struct buf *b, const char *text);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Hand the memory to the caller (free() it) and leave the buffer empty. Never NULL except when out of memory. */
char *buf_detach(struct buf *b);

#endif
