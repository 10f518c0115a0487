#include "server/replication/raft/entry.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/le.h"

#define ENTRY_VERSION 1
#define OP_BYTES      8
#define ALIGN         8

static size_t
padded(size_t len)
{
	return (len + ALIGN - 1) / ALIGN * ALIGN;
}

size_t
entry_size(const struct entry *e)
{
	size_t size = ENTRY_HEAD_BYTES;

	if (e->kind != ENTRY_BATCH)
		return padded(size + e->text_len);
	for (size_t i = 0; i < e->batch.count; i++)
		size += OP_BYTES + e->batch.ops[i].key_len + e->batch.ops[i].value_len;
	return padded(size);
}

static unsigned char *
put(unsigned char *p, const void *data, size_t len)
{
	if (len > 0)
		memcpy(p, data, len);
	return p + len;
}

static unsigned char *
put_op(unsigned char *p, const struct repl_op *op)
{
	p[0] = (unsigned char)op->kind;
	p[1] = 0;
	le_put(p + 2, op->key_len, 2);
	le_put(p + 4, op->value_len, 4);
	p = put(p + OP_BYTES, op->key, op->key_len);
	return put(p, op->value, op->value_len);
}

void
entry_encode(const struct entry *e, void *out)
{
	unsigned char *p = out;

	p[0] = ENTRY_VERSION;
	p[1] = (unsigned char)e->kind;
	p[2] = (unsigned char)e->batch.condition;
	p[3] = 0;
	le_put(p + 4, e->kind == ENTRY_BATCH ? e->batch.count : e->text_len, 4);
	le_put(p + 8, e->term, 8);
	le_put(p + 16, e->batch.if_seq, 8);
	p += ENTRY_HEAD_BYTES;
	if (e->kind != ENTRY_BATCH)
		p = put(p, e->text, e->text_len);
	for (size_t i = 0; e->kind == ENTRY_BATCH && i < e->batch.count; i++)
		p = put_op(p, &e->batch.ops[i]);
	memset(p, 0, padded((size_t)(p - (unsigned char *)out)) - (size_t)(p - (unsigned char *)out));
}

/* The next op of a batch; where the next one begins, or NULL if the bytes do not hold it. */
static const unsigned char *
get_op(const unsigned char *p, const unsigned char *end, struct repl_op *op)
{
	if (end - p < OP_BYTES || (p[0] != REPL_PUT && p[0] != REPL_DELETE))
		return NULL;
	*op = (struct repl_op){
		.kind = p[0], .key_len = le_get(p + 2, 2), .value_len = le_get(p + 4, 4), .key = p + OP_BYTES
	};
	if ((size_t)(end - p) < OP_BYTES + op->key_len + op->value_len)
		return NULL;
	op->value = p + OP_BYTES + op->key_len;
	return p + OP_BYTES + op->key_len + op->value_len;
}

static int
decode_ops(const unsigned char *p, const unsigned char *end, uint32_t count, struct entry *out, struct sp_error *err)
{
	struct repl_op *ops;

	/* Before so many are allocated. */
	if (count > (size_t)(end - p) / OP_BYTES)
		return sp_error_set(err, SP_EBADDATA, "a log entry is cut short");
	ops = calloc(count > 0 ? count : 1, sizeof(*ops));
	if (ops == NULL)
		return sp_error_set(err, SP_ENOMEM, "read a log entry");
	for (uint32_t i = 0; i < count && p != NULL; i++)
		p = get_op(p, end, &ops[i]);
	if (p == NULL) {
		free(ops);
		return sp_error_set(err, SP_EBADDATA, "a log entry holds an op that is none");
	}
	out->batch.ops = ops;
	out->batch.count = count;
	return 0;
}

int
entry_head_read(const void *data, struct entry_head *out, struct sp_error *err)
{
	const unsigned char *p = data;

	if (p[0] != ENTRY_VERSION || p[1] < ENTRY_BATCH || p[1] > ENTRY_MEMBER || p[2] > REPL_IF_SEQ)
		return sp_error_set(err, SP_EBADDATA,
		    "a log entry of version %u, kind %u: this program knows version %d", p[0], p[1], ENTRY_VERSION);
	*out = (struct entry_head){ .kind = p[1], .count = (uint32_t)le_get(p + 4, 4), .term = le_get(p + 8, 8) };
	return 0;
}

int
entry_decode(const void *data, size_t len, struct entry *out, struct sp_error *err)
{
	const unsigned char *p = data, *end = p + len;
	struct entry_head h;
	int rc;

	if (len < ENTRY_HEAD_BYTES)
		return sp_error_set(err, SP_EBADDATA, "a log entry of %zu bytes", len);
	rc = entry_head_read(p, &h, err);
	if (rc < 0)
		return rc;
	*out = (struct entry){ .kind = h.kind, .term = h.term };
	out->batch.condition = p[2];
	out->batch.if_seq = le_get(p + 16, 8);
	if (out->kind == ENTRY_BATCH)
		return decode_ops(p + ENTRY_HEAD_BYTES, end, h.count, out, err);
	if (h.count > len - ENTRY_HEAD_BYTES)
		return sp_error_set(err, SP_EBADDATA, "a log entry is cut short");
	out->text = (const char *)p + ENTRY_HEAD_BYTES;
	out->text_len = h.count;
	return 0;
}

void
entry_release(struct entry *e)
{
	if (e->kind == ENTRY_BATCH)
		free((void *)(uintptr_t)e->batch.ops);
	e->batch.ops = NULL;
}

uint64_t
entry_term(const void *data, size_t len)
{
	return len >= ENTRY_HEAD_BYTES ? le_get((const unsigned char *)data + 8, 8) : 0;
}
