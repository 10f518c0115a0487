#include "server/replication/raft/parts.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/le.h"

#define PART_VERSION 1
#define PART_KIND    4 /* beside those of enum entry_kind */
#define HEADER_BYTES 24
#define ALIGN        8

size_t
part_size(size_t len)
{
	return (HEADER_BYTES + len + ALIGN - 1) / ALIGN * ALIGN;
}

void
part_encode(const struct part *p, void *out)
{
	unsigned char *at = out;

	memset(at, 0, HEADER_BYTES);
	at[0] = PART_VERSION;
	at[1] = PART_KIND;
	le_put(at + 4, p->len, 4);
	le_put(at + 8, p->term, 8);
	le_put(at + 16, p->offset, 4);
	le_put(at + 20, p->total, 4);
	memcpy(at + HEADER_BYTES, p->data, p->len);
	memset(at + HEADER_BYTES + p->len, 0, part_size(p->len) - HEADER_BYTES - p->len);
}

bool
part_is(const void *data, size_t len)
{
	const unsigned char *p = data;

	return len >= HEADER_BYTES && p[0] == PART_VERSION && p[1] == PART_KIND;
}

int
part_decode(const void *data, size_t len, struct part *out, struct sp_error *err)
{
	const unsigned char *p = data;

	if (!part_is(data, len))
		return sp_error_set(err, SP_EBADDATA, "not a part of a log entry");
	*out = (struct part){ .len = (uint32_t)le_get(p + 4, 4),
		.term = le_get(p + 8, 8),
		.offset = (uint32_t)le_get(p + 16, 4),
		.total = (uint32_t)le_get(p + 20, 4),
		.data = p + HEADER_BYTES };
	if (out->len == 0 || out->len > len - HEADER_BYTES || out->total > PARTS_TOTAL || out->offset > out->total ||
	    out->len > out->total - out->offset)
		return sp_error_set(err, SP_EBADDATA, "a part of a log entry: %u bytes from %u of %u, in %zu bytes",
		    out->len, out->offset, out->total, len);
	return 0;
}

void
parts_drop(struct parts *p)
{
	free(p->whole);
	*p = (struct parts){ 0 };
}

int
parts_take(struct parts *p, const struct part *next, struct sp_error *err)
{
	if (next->offset == 0) {
		parts_drop(p);
		p->whole = malloc(next->total);
		if (p->whole == NULL)
			return sp_error_set(err, SP_ENOMEM, "a log entry of %u bytes", next->total);
		p->total = next->total;
		p->term = next->term;
	} else if (p->whole == NULL || next->term != p->term || next->total != p->total || next->offset != p->len) {
		parts_drop(p);
		return 0;
	}
	memcpy(p->whole + p->len, next->data, next->len);
	p->len += next->len;
	return p->len == p->total ? 1 : 0;
}
