/* The body of a batch: what is taken is within its bounds and is told again in NDJSON that is taken as the same. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/http/batch_parse.h"
#include "server/http/json_bytes.h"
#include "tests/fuzz/shared.h"

#define VALUE_MAX 64

static void
tell(const struct repl_op *op, struct buf *out)
{
	json_t *line = json_object();
	char *text;

	json_object_set_new(line, "op", json_string(op->kind == REPL_PUT ? "put" : "delete"));
	FUZZ_REQUIRE(set_json_bytes(line, "key", op->key, op->key_len) == 0);
	if (op->kind == REPL_PUT)
		FUZZ_REQUIRE(set_json_bytes(line, "value", op->value, op->value_len) == 0);
	text = json_dumps(line, JSON_COMPACT);
	FUZZ_REQUIRE(text != NULL && buf_printf(out, "%s\n", text) == 0);
	free(text);
	json_decref(line);
}

static void
require_equal(const struct batch *a, const struct batch *b)
{
	FUZZ_REQUIRE(a->count == b->count);
	for (size_t i = 0; i < a->count; i++) {
		const struct repl_op *x = &a->ops[i], *y = &b->ops[i];

		FUZZ_REQUIRE(x->kind == y->kind && x->key_len == y->key_len && x->value_len == y->value_len);
		FUZZ_REQUIRE(memcmp(x->key, y->key, x->key_len) == 0);
		FUZZ_REQUIRE(x->value_len == 0 || memcmp(x->value, y->value, x->value_len) == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sp_error err = { 0 };
	struct batch batch, back;
	struct buf told;
	char *body = malloc(size + 1);
	int rc;

	memcpy(body, data, size);
	body[size] = '\0';
	rc = batch_parse(body, size, VALUE_MAX, &batch, &err);
	free(body); /* the batch keeps nothing of it */
	if (rc < 0) {
		fuzz_require_error(rc, &err);
		return 0;
	}
	buf_init(&told, 16 * size + 4096);
	FUZZ_REQUIRE(batch.count >= 1);
	for (size_t i = 0; i < batch.count; i++) {
		FUZZ_REQUIRE(batch.ops[i].key_len >= 1 && batch.ops[i].key_len <= FEED_KEY_MAX);
		FUZZ_REQUIRE(batch.ops[i].value_len <= VALUE_MAX);
		tell(&batch.ops[i], &told);
	}
	FUZZ_REQUIRE(batch_parse(told.data, told.len, VALUE_MAX, &back, &err) == 0);
	require_equal(&batch, &back);
	batch_release(&back);
	batch_release(&batch);
	buf_release(&told);
	return 0;
}
