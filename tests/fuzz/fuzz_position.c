/* Positions in JSON: what is read is written, and what is written is read as the same. Two on lines of their own are
 * also related to each other. */
#include <stdlib.h>
#include <string.h>

#include "lib/protocol/position.h"
#include "tests/fuzz/shared.h"

static void
require_equal(const struct position *a, const struct position *b)
{
	FUZZ_REQUIRE(strcmp(a->cluster, b->cluster) == 0 && a->epoch == b->epoch && a->seq == b->seq);
	FUZZ_REQUIRE(digest_equal(a->digest, b->digest) && a->keys == b->keys && a->horizon == b->horizon);
	FUZZ_REQUIRE(a->consistent == b->consistent && a->writable == b->writable && a->role == b->role);
	FUZZ_REQUIRE(strcmp(a->leader, b->leader) == 0 && strcmp(a->mode, b->mode) == 0);
	FUZZ_REQUIRE(a->history_count == b->history_count && a->history_count >= 1);
	FUZZ_REQUIRE(memcmp(a->history, b->history, a->history_count * sizeof(a->history[0])) == 0);
}

static bool
read_one(const char *text, size_t len, struct position *out)
{
	struct sp_error err = { 0 };
	struct position back;
	char *json;
	int rc;

	if ((rc = position_from_json(text, len, out, &err)) < 0) {
		fuzz_require_error(rc, &err);
		return false;
	}
	json = position_to_json(out);
	FUZZ_REQUIRE(json != NULL);
	FUZZ_REQUIRE(position_from_json(json, strlen(json), &back, &err) == 0);
	require_equal(out, &back);
	free(json);
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *newline = memchr(data, '\n', size);
	size_t first = newline != NULL ? (size_t)(newline - text) : size;
	struct position a, b;
	enum relation r;
	char why[128];

	if (!read_one(text, first, &a) || newline == NULL || !read_one(newline + 1, size - first - 1, &b))
		return 0;
	r = position_relate(&a, &b, why, sizeof(why));
	FUZZ_REQUIRE(strcmp(relation_name(r), "") != 0 && (r == RELATION_SAME || why[0] != '\0'));
	FUZZ_REQUIRE(r != RELATION_SAME || (a.epoch == b.epoch && a.seq == b.seq && digest_equal(a.digest, b.digest)));
	FUZZ_REQUIRE(r != RELATION_BEHIND || (b.seq <= a.seq && b.seq >= a.horizon));
	return 0;
}
