#include "lib/base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"

static char nothing[1];

void
buf_init(struct buf *b, size_t limit_bytes)
{
	b->data = nothing;
	b->len = 0;
	b->size = 0;
	b->limit = limit_bytes;
}

void
buf_release(struct buf *b)
{
	if (b->size > 0)
		free(b->data);
	buf_init(b, b->limit);
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	if (b->size > 0)
		b->data[0] = '\0';
}

int
buf_reserve(struct buf *b, size_t extra)
{
	size_t size;
	char *data;

	if (extra > b->limit || b->len > b->limit - extra)
		return SP_ETOOBIG;
	if (extra >= SIZE_MAX - b->len)
		return SP_ENOMEM;
	if (b->size > 0 && b->len + extra < b->size)
		return 0;
	/* Doubling keeps appending linear; the NUL needs a byte beyond the limit. */
	size = b->size < 64 ? 64 : b->size;
	while (size < b->len + extra + 1)
		size = size > SIZE_MAX / 2 ? b->len + extra + 1 : size * 2;
	data = realloc(b->size > 0 ? b->data : NULL, size);
	if (data == NULL)
		return SP_ENOMEM;
	data[b->len] = '\0';
	b->data = data;
	b->size = size;
	return 0;
}

int
buf_add(struct buf *b, const void *src, size_t len)
{
	int rc;

	if (len == 0)
		return 0;
	rc = buf_reserve(b, len);
	if (rc < 0)
		return rc;
	memcpy(b->data + b->len, src, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

int
buf_adds(struct buf *b, const char *text)
{
	return buf_add(b, text, strlen(text));
}

int
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int len, rc;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0)
		return SP_ENOMEM;
	rc = buf_reserve(b, (size_t)len);
	if (rc < 0 || len == 0)
		return rc;
	va_start(ap, fmt);
	vsnprintf(b->data + b->len, (size_t)len + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)len;
	return 0;
}

char *
buf_detach(struct buf *b)
{
	char *data = b->size > 0 ? b->data : calloc(1, 1);

	buf_init(b, b->limit);
	return data;
}
