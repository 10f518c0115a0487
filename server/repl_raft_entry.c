#include "server/repl_raft_entry.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_VERSION 1
#define HEADER_BYTES  24
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
	size_t size = HEADER_BYTES;

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
	const unsigned char kind[2] = { (unsigned char)op->kind, 0 };
	const uint16_t key_len = htole16((uint16_t)op->key_len);
	const uint32_t value_len = htole32((uint32_t)op->value_len);

	p = put(p, kind, sizeof(kind));
	p = put(p, &key_len, sizeof(key_len));
	p = put(p, &value_len, sizeof(value_len));
	p = put(p, op->key, op->key_len);
	return put(p, op->value, op->value_len);
}

void
entry_encode(const struct entry *e, void *out)
{
	const unsigned char head[4] = { ENTRY_VERSION, (unsigned char)e->kind, (unsigned char)e->batch.condition, 0 };
	const uint32_t count = htole32((uint32_t)(e->kind == ENTRY_BATCH ? e->batch.count : e->text_len));
	const uint64_t term = htole64(e->term), if_seq = htole64(e->batch.if_seq);
	unsigned char *p = out;

	p = put(p, head, sizeof(head));
	p = put(p, &count, sizeof(count));
	p = put(p, &term, sizeof(term));
	p = put(p, &if_seq, sizeof(if_seq));
	if (e->kind != ENTRY_BATCH)
		p = put(p, e->text, e->text_len);
	for (size_t i = 0; e->kind == ENTRY_BATCH && i < e->batch.count; i++)
		p = put_op(p, &e->batch.ops[i]);
	memset(p, 0, padded((size_t)(p - (unsigned char *)out)) - (size_t)(p - (unsigned char *)out));
}

/* The next op of a batch; where the next one begins, or NULL where the bytes do not hold it. */
static const unsigned char *
get_op(const unsigned char *p, const unsigned char *end, struct repl_op *op)
{
	uint16_t key_len;
	uint32_t value_len;

	if (end - p < OP_BYTES || (p[0] != REPL_PUT && p[0] != REPL_DELETE))
		return NULL;
	memcpy(&key_len, p + 2, sizeof(key_len));
	memcpy(&value_len, p + 4, sizeof(value_len));
	*op = (struct repl_op){
		.kind = p[0], .key_len = le16toh(key_len), .value_len = le32toh(value_len), .key = p + OP_BYTES
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
entry_decode(const void *data, size_t len, struct entry *out, struct sp_error *err)
{
	const unsigned char *p = data, *end = p + len;
	uint32_t count;
	uint64_t term, if_seq;

	if (len < HEADER_BYTES)
		return sp_error_set(err, SP_EBADDATA, "a log entry of %zu bytes", len);
	if (p[0] != ENTRY_VERSION || p[1] < ENTRY_BATCH || p[1] > ENTRY_MEMBER || p[2] > REPL_IF_SEQ)
		return sp_error_set(err, SP_EBADDATA,
		    "a log entry of version %u, kind %u: this program knows version %d", p[0], p[1], ENTRY_VERSION);
	memcpy(&count, p + 4, sizeof(count));
	memcpy(&term, p + 8, sizeof(term));
	memcpy(&if_seq, p + 16, sizeof(if_seq));
	*out = (struct entry){ .kind = p[1], .term = le64toh(term) };
	out->batch.condition = p[2];
	out->batch.if_seq = le64toh(if_seq);
	count = le32toh(count);
	if (out->kind == ENTRY_BATCH)
		return decode_ops(p + HEADER_BYTES, end, count, out, err);
	if (count > len - HEADER_BYTES)
		return sp_error_set(err, SP_EBADDATA, "a log entry is cut short");
	out->text = (const char *)p + HEADER_BYTES;
	out->text_len = count;
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
	uint64_t term = 0;

	if (len >= HEADER_BYTES)
		memcpy(&term, (const unsigned char *)data + 8, sizeof(term));
	return le64toh(term);
}
