/* POST /v1/batch: many puts and deletes, all or nothing, as NDJSON. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base64.h"
#include "server/api.h"

#define OPS_MAX 1000000

/* Where parsing stands; the arena never moves, because it is as large as the whole body from the start. */
struct batch_parser {
	struct call *call;
	size_t count, size;
	unsigned line;
	char why[256];
};

/* Copy a member's bytes, given as text or in base64 under «<name>64», into the arena. False where neither is there. */
static bool
take_bytes(struct batch_parser *p, json_t *op, const char *name, const char *name64, const void **data, size_t *len)
{
	json_t *text = json_object_get(op, name), *encoded = json_object_get(op, name64);
	struct buf *arena = &p->call->arena;
	int64_t n;

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

static bool
parse_op(struct batch_parser *p, json_t *line, struct repl_op *op)
{
	const char *kind = json_string_value(json_object_get(line, "op"));

	if (kind == NULL || (strcmp(kind, "put") != 0 && strcmp(kind, "delete") != 0)) {
		snprintf(p->why, sizeof(p->why), "line %u: «op» must be \"put\" or \"delete\"", p->line);
		return false;
	}
	op->kind = strcmp(kind, "put") == 0 ? REPL_PUT : REPL_DELETE;
	if (!take_bytes(p, line, "key", "key64", &op->key, &op->key_len) || op->key_len == 0 ||
	    op->key_len > STORE_KEY_MAX) {
		snprintf(p->why, sizeof(p->why), "line %u: «key» (or «key64») must be a key of 1 to %d bytes", p->line,
		    STORE_KEY_MAX);
		return false;
	}
	if (op->kind == REPL_DELETE)
		return true;
	if (!take_bytes(p, line, "value", "value64", &op->value, &op->value_len)) {
		snprintf(p->why, sizeof(p->why), "line %u: «value» must be a text, or «value64» base64", p->line);
		return false;
	}
	if (op->value_len > p->call->api->max_value) {
		snprintf(p->why, sizeof(p->why), "line %u: the value has %zu bytes, %zu are allowed", p->line,
		    op->value_len, p->call->api->max_value);
		return false;
	}
	return true;
}

static bool
make_room(struct batch_parser *p)
{
	size_t size = p->size == 0 ? 64 : p->size * 2;
	struct repl_op *ops;

	if (p->count < p->size)
		return true;
	ops = p->count < OPS_MAX ? reallocarray(p->call->ops, size, sizeof(*ops)) : NULL;
	if (ops == NULL) {
		snprintf(p->why, sizeof(p->why), "line %u: more than %d changes, or out of memory", p->line, OPS_MAX);
		return false;
	}
	p->call->ops = ops;
	p->size = size;
	return true;
}

static bool
parse_line(struct batch_parser *p, const char *text, size_t len)
{
	json_error_t bad;
	json_t *line;
	bool ok;

	if (strspn(text, " \t\r") >= len)
		return true;
	line = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &bad);
	if (!json_is_object(line)) {
		snprintf(p->why, sizeof(p->why), "line %u: not a JSON object%s%s", p->line, line == NULL ? ": " : "",
		    line == NULL ? bad.text : "");
		json_decref(line);
		return false;
	}
	ok = make_room(p);
	if (ok) {
		memset(&p->call->ops[p->count], 0, sizeof(p->call->ops[0]));
		ok = parse_op(p, line, &p->call->ops[p->count]);
		p->count += ok ? 1 : 0;
	}
	json_decref(line);
	return ok;
}

static bool
parse_body(struct batch_parser *p)
{
	size_t len;
	const char *at = request_body(p->call->rq, &len);
	const char *end = at + len;

	buf_init(&p->call->arena, len + 64);
	if (buf_reserve(&p->call->arena, len) < 0) {
		snprintf(p->why, sizeof(p->why), "out of memory");
		return false;
	}
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline != NULL ? newline : end;

		p->line++;
		if (!parse_line(p, at, (size_t)(stop - at)))
			return false;
		at = newline != NULL ? newline + 1 : end;
	}
	if (p->count == 0) {
		snprintf(p->why, sizeof(p->why), "the body holds no change");
		return false;
	}
	return true;
}

static void
reply_written(struct call *c)
{
	char body[64];

	if (c->batch.code < 0) {
		api_error(c, &c->batch.err);
		return;
	}
	atomic_fetch_add(&c->api->counters.writes, 1);
	api_seq_headers(c, c->batch.seq);
	snprintf(body, sizeof(body), "{\"seq\":%" PRIu64 "}", c->batch.seq);
	request_reply(c->rq, 200, API_JSON, body, strlen(body));
}

void
api_batch(struct call *c)
{
	struct batch_parser p = { .call = c };

	if (c->stage == CALL_WRITTEN) {
		reply_written(c);
		return;
	}
	if (api_sent_to_leader(c))
		return;
	if (!parse_body(&p)) {
		api_problem(c, 400, "batch", p.why);
		return;
	}
	api_submit(c, c->ops, p.count);
}
