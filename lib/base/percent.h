/* Percent-encoding (RFC 3986, section 2.1). Pure; any thread. */
#ifndef LIB_BASE_PERCENT_H_
#define LIB_BASE_PERCENT_H_

#include <stddef.h>
#include <stdint.h>

/* Decode src[len] into out[size], NUL-terminated ("+" stays itself): the decoded length, or -1 for a broken escape or
 * if it does not fit. */
int64_t percent_decode(const char *src, size_t len, char *out, size_t size);

#endif
