/* Bytes in JSON: as text if they are UTF-8, else in base64 under another name (docs/api.md). Pure;
 * any thread. */
#ifndef SERVER_HTTP_JSON_BYTES_H_
#define SERVER_HTTP_JSON_BYTES_H_

#include <stddef.h>

struct json_t;

/* Set member `name` of `object` to the bytes as a text, or "<name>64" to their base64 if they are not UTF-8. 0 or
 * SP_ENOMEM. */
int set_json_bytes(struct json_t *object, const char *name, const void *data, size_t len);

#endif
