/* Base64 with padding (RFC 4648, section 4), for keys and values in JSON that are not UTF-8. Pure; any thread. */
#ifndef SERVER_HTTP_BASE64_H_
#define SERVER_HTTP_BASE64_H_

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

/* Append the encoding of data[len]. 0, SP_ETOOBIG or SP_ENOMEM. */
int base64_encode(struct buf *out, const void *data, size_t len);

/* Decode text[len] into out, which has room for len / 4 * 3 bytes: the number of bytes, or -1 if it is not base64.
 */
int64_t base64_decode(const char *text, size_t len, unsigned char *out);

#endif
