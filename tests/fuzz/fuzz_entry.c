/*
 * Entries of the raft log, and the directory of members that they carry: what is taken is within its bytes, and is
 * written again as something that is taken as the same.
 */
#include <stdlib.h>
#include <string.h>

#include "server/replication/raft/directory.h"
#include "server/replication/raft/entry.h"
#include "tests/fuzz/shared.h"

static void
require_same_op(const struct repl_op *a, const struct repl_op *b)
{
	FUZZ_REQUIRE(a->kind == b->kind && a->key_len == b->key_len && a->value_len == b->value_len);
	FUZZ_REQUIRE(memcmp(a->key, b->key, a->key_len) == 0 && memcmp(a->value, b->value, a->value_len) == 0);
}

static void
require_same_contact(const struct contact *a, const struct contact *b)
{
	FUZZ_REQUIRE(a->number == b->number && a->id == b->id && strcmp(a->name, b->name) == 0);
	FUZZ_REQUIRE(strcmp(a->url, b->url) == 0 && strcmp(a->raft, b->raft) == 0);
}

/* Touch every byte that the entry points to, so that the sanitizer sees one that is not its own. */
static void
require_within(const struct entry *e, const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;

	if (e->kind != ENTRY_BATCH)
		FUZZ_REQUIRE(
		    (const uint8_t *)e->text >= data && e->text_len <= (size_t)(end - (const uint8_t *)e->text));
	for (size_t i = 0; e->kind == ENTRY_BATCH && i < e->batch.count; i++) {
		const struct repl_op *op = &e->batch.ops[i];

		FUZZ_REQUIRE((const uint8_t *)op->key >= data && (const uint8_t *)op->value <= end);
		FUZZ_REQUIRE(op->value_len <= (size_t)(end - (const uint8_t *)op->value));
	}
}

static void
require_same_again(const struct entry *e)
{
	struct sp_error err = { 0 };
	size_t size = entry_size(e);
	uint8_t *again = malloc(size);
	struct entry back;

	FUZZ_REQUIRE(again != NULL && size % 8 == 0);
	entry_encode(e, again);
	FUZZ_REQUIRE(entry_term(again, size) == e->term);
	FUZZ_REQUIRE(entry_decode(again, size, &back, &err) == 0);
	FUZZ_REQUIRE(back.kind == e->kind && back.term == e->term && back.batch.condition == e->batch.condition);
	FUZZ_REQUIRE(back.batch.if_seq == e->batch.if_seq && back.text_len == e->text_len);
	FUZZ_REQUIRE(e->text_len == 0 || memcmp(back.text, e->text, e->text_len) == 0);
	FUZZ_REQUIRE(back.batch.count == e->batch.count);
	for (size_t i = 0; i < e->batch.count; i++)
		require_same_op(&e->batch.ops[i], &back.batch.ops[i]);
	entry_release(&back);
	free(again);
}

static void
try_entry(const uint8_t *data, size_t size)
{
	struct sp_error err = { 0 };
	struct entry e;
	int rc = entry_decode(data, size, &e, &err);

	if (rc < 0) {
		fuzz_require_error(rc, &err);
		FUZZ_REQUIRE(rc == SP_EBADDATA);
		return;
	}
	require_within(&e, data, size);
	require_same_again(&e);
	entry_release(&e);
}

static void
try_contact(const char *text, size_t len)
{
	struct contact m, back;
	struct sp_error err = { 0 };
	int rc = contact_from_json(text, len, &m, &err);
	char *json;

	if (rc < 0) {
		fuzz_require_error(rc, &err);
		return;
	}
	json = contact_to_json(&m);
	FUZZ_REQUIRE(json != NULL && contact_from_json(json, strlen(json), &back, &err) == 0);
	require_same_contact(&m, &back);
	free(json);
}

/* By number, each once, whatever the order and however often it says one. */
static void
try_directory(const char *text, size_t len)
{
	struct directory d = { 0 }, back = { 0 };
	struct sp_error err = { 0 };
	int rc = directory_from_json(text, len, &d, &err);
	char *json;

	if (rc < 0) {
		fuzz_require_error(rc, &err);
		FUZZ_REQUIRE(d.count == 0 && d.contacts == NULL);
		return;
	}
	for (size_t i = 1; i < d.count; i++)
		FUZZ_REQUIRE(d.contacts[i - 1].number < d.contacts[i].number);
	json = directory_to_json(&d);
	FUZZ_REQUIRE(json != NULL && directory_from_json(json, strlen(json), &back, &err) == 0);
	FUZZ_REQUIRE(back.count == d.count);
	for (size_t i = 0; i < d.count; i++) {
		FUZZ_REQUIRE(directory_find(&d, d.contacts[i].number) == &d.contacts[i]);
		require_same_contact(&d.contacts[i], &back.contacts[i]);
	}
	free(json);
	directory_release(&back);
	directory_release(&d);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Memory of their own, so that the byte behind it is nobody's. */
	uint8_t *copy = malloc(size > 0 ? size : 1);

	FUZZ_REQUIRE(copy != NULL);
	memcpy(copy, data, size);
	if (size > 0 && copy[0] == '{')
		try_contact((char *)copy, size);
	else if (size > 0 && copy[0] == '[')
		try_directory((char *)copy, size);
	else
		try_entry(copy, size);
	free(copy);
	return 0;
}
