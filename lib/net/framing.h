/*
 * Where a request ends: RFC 9112 read strictly, so that a proxy in front and this server never disagree on it.
 *
 * Everything here is pure and sees the bytes as they came; lib/net/listener_input.c feeds it before the HTTP library,
 * which is lenient (it joins folded lines, ends lines at a bare LF, cuts values at a NUL). Any thread.
 */
#ifndef LIB_NET_FRAMING_H_
#define LIB_NET_FRAMING_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAMING_HEAD_MAX   16384u /* bytes of a head with its empty line; beyond it 431 */
#define FRAMING_TARGET_MAX 8192u  /* bytes of a request target; beyond it 414 */
#define FRAMING_LINE_MAX   1024u  /* bytes of a chunk's size with its extensions, and of a trailer field */

struct framing_head {
	bool chunked;
	uint64_t length; /* of the body, 0 if `chunked` */
};

struct framing_fault {
	unsigned status;    /* 400, 414, 431 or 505 */
	const char *detail; /* static */
};

/*
 * Look for the end of a head in data[len], beginning at *scanned, where an earlier call stopped. Returns the bytes of
 * the head with its empty line; 0 if more must come, with *scanned moved; -1 if what is there can be no head's
 * beginning.
 */
int64_t framing_find_end(const char *data, size_t len, size_t *scanned, struct framing_fault *fault);

/* Check a whole head, its empty line included. True with *out, or false with *fault. */
bool framing_check_head(const char *head, size_t len, struct framing_head *out, struct framing_fault *fault);

/* The size that a chunk's first line[len] announces (CRLF included); *digits is the number of its hexadecimal digits.
 * False: malformed, or 2^60 and more. Extensions are allowed and ignored. */
bool framing_chunk_size(const char *line, size_t len, uint64_t *size, size_t *digits);

/* Whether line[len], CRLF included, is a header field or a trailer field. */
bool framing_is_field(const char *line, size_t len);

#endif
