#include "server/http/json_bytes.h"

#include <stdio.h>

#include <jansson.h>

#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "server/http/base64.h"

int
set_json_bytes(struct json_t *object, const char *name, const void *data, size_t len)
{
	json_t *text = json_stringn(data, len);
	char name64[32];
	struct buf encoded;
	int rc;

	if (text != NULL)
		return json_object_set_new(object, name, text) == 0 ? 0 : SP_ENOMEM;
	/* The library says only that it made none. */
	if (utf8_is_text(data, len))
		return SP_ENOMEM;
	buf_init(&encoded, len * 2 + 8);
	rc = base64_encode(&encoded, data, len);
	snprintf(name64, sizeof(name64), "%s64", name);
	if (rc == 0 && json_object_set_new(object, name64, json_stringn(encoded.data, encoded.len)) != 0)
		rc = SP_ENOMEM;
	buf_release(&encoded);
	return rc;
}
