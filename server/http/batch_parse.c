#include "server/http/batch_parse.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/http/base64.h"

/* Where parsing stands; the arena never moves, because it is as large as the whole body from the start. */
struct parser {
	struct batch batch;
	size_t size; /* of batch.ops, in ops */
	size_t max_value;
	unsigned line;
	struct sp_error *err;
};

/* Copy a member's bytes, given as text or in base64 under "<name>64", into the arena. False if neither or both are
 * there. */
static bool
take_bytes(struct parser *p, json_t *op, const char *name, const char *name64, const void **data, size_t *len)
{
	json_t *text = json_object_get(op, name), *encoded = json_object_get(op, name64);
	struct buf *arena = &p->batch.arena;
	int64_t n;

	if (text != NULL && encoded != NULL)
		return false;
	if (json_is_string(text)) {
		*data = arena->data + arena->len;
		*len = json_string_length(text);
		return buf_add(arena, json_string_value(text), *len) == 0;
	}
	if (!json_is_string(encoded) || buf_reserve(arena, json_string_length(encoded)) < 0)
		return false;
	*data = arena->data + arena->len;
	n = base64_decode(
	    json_string_value(encoded), json_string_length(encoded), (unsigned char *)arena->data + arena->len);
	if (n < 0)
		return false;
	arena->len += (size_t)n;
	*len = (size_t)n;
	return true;
}

static int
parse_op(struct parser *p, json_t *line, struct repl_op *op)
{
	const char *kind = json_string_value(json_object_get(line, "op"));

	if (kind == NULL || (strcmp(kind, "put") != 0 && strcmp(kind, "delete") != 0))
		return sp_error_set(p->err, SP_EUSAGE, "line %u: \"op\" must be \"put\" or \"delete\"", p->line);
	op->kind = strcmp(kind, "put") == 0 ? REPL_PUT : REPL_DELETE;
	if (!take_bytes(p, line, "key", "key64", &op->key, &op->key_len) || op->key_len == 0 ||
	    op->key_len > FEED_KEY_MAX)
		return sp_error_set(p->err, SP_EUSAGE,
		    "line %u: either \"key\" or \"key64\" must be a key of 1 to %d bytes", p->line, FEED_KEY_MAX);
	if (op->kind == REPL_DELETE)
		return 0;
	if (!take_bytes(p, line, "value", "value64", &op->value, &op->value_len))
		return sp_error_set(
		    p->err, SP_EUSAGE, "line %u: either \"value\" must be a text or \"value64\" base64", p->line);
	if (op->value_len > p->max_value)
		return sp_error_set(p->err, SP_ETOOBIG, "line %u: the value has %zu bytes, %zu are allowed", p->line,
		    op->value_len, p->max_value);
	return 0;
}

/* Room for one more op, which is zero. */
static struct repl_op *
make_room(struct parser *p)
{
	struct batch *b = &p->batch;
	size_t size = p->size == 0 ? 64 : p->size * 2;
	struct repl_op *ops;

	if (b->count == p->size) {
		ops = reallocarray(b->ops, size, sizeof(*ops));
		if (ops == NULL)
			return NULL;
		b->ops = ops;
		p->size = size;
	}
	memset(&b->ops[b->count], 0, sizeof(b->ops[0]));
	return &b->ops[b->count];
}

static bool
is_blank(const char *text, size_t len)
{
	while (len > 0 && (*text == ' ' || *text == '\t' || *text == '\r')) {
		text++;
		len--;
	}
	return len == 0;
}

static int
parse_line(struct parser *p, const char *text, size_t len)
{
	struct repl_op *op;
	json_error_t bad;
	json_t *line;
	int rc;

	if (is_blank(text, len))
		return 0;
	line = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &bad);
	/* If memory ran out for a moment, the library may call the text wrong; what is right is so
	 * next time. */
	if (line == NULL)
		line = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &bad);
	if (line == NULL && bad.text[0] == '\0')
		rc = sp_error_set(p->err, SP_ENOMEM, "out of memory");
	else if (!json_is_object(line))
		rc = sp_error_set(p->err, SP_EUSAGE, "line %u: not a JSON object%s%s", p->line,
		    line == NULL ? ": " : "", line == NULL ? bad.text : "");
	else if (p->batch.count == BATCH_OPS_MAX)
		rc = sp_error_set(p->err, SP_EUSAGE, "line %u: more than %d changes", p->line, BATCH_OPS_MAX);
	else if ((op = make_room(p)) == NULL)
		rc = sp_error_set(p->err, SP_ENOMEM, "line %u: out of memory", p->line);
	else if ((rc = parse_op(p, line, op)) == 0)
		p->batch.count++;
	json_decref(line);
	return rc;
}

static int
parse_body(struct parser *p, const char *at, size_t len)
{
	const char *end = at + len;
	int rc;

	if (buf_reserve(&p->batch.arena, len) < 0)
		return sp_error_set(p->err, SP_ENOMEM, "out of memory");
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline != NULL ? newline : end;

		p->line++;
		if ((rc = parse_line(p, at, (size_t)(stop - at))) < 0)
			return rc;
		at = newline != NULL ? newline + 1 : end;
	}
	return p->batch.count > 0 ? 0 : sp_error_set(p->err, SP_EUSAGE, "the body holds no change");
}

int
batch_parse(const char *body, size_t len, size_t max_value, struct batch *out, struct sp_error *err)
{
	struct parser p = { .max_value = max_value, .err = err };
	int rc;

	buf_init(&p.batch.arena, len + 64);
	rc = parse_body(&p, body, len);
	if (rc == 0)
		*out = p.batch;
	else
		batch_release(&p.batch);
	return rc;
}

void
batch_release(struct batch *b)
{
	free(b->ops);
	b->ops = NULL;
	b->count = 0;
	buf_release(&b->arena);
}
