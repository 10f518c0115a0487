/*
 * The change feed. What passes the check can be walked, and is applied to a store or refused cleanly; what is applied
 * leaves a store that verifies and that tells the same changes on.
 *
 * The mutator corrects the end's count and hash. The target makes a feed fit the store: its cluster, and at a cut the
 * digest and the number of keys that the store came to.
 */
#include <string.h>

#include <uuid.h>

#include "lib/protocol/feed.h"
#include "tests/fuzz/shared.h"

#define AT_CLUSTER 8
#define CUT_BYTES  33 /* 'C' seq digest keys */
#define END_BYTES  21 /* 'E' records hash */

static struct store *store;
static struct position before;

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	if (seed % 8 != 0)
		fuzz_seal_feed(data, size);
	return size;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct sp_error err = { 0 };

	(void)argc;
	(void)argv;
	store = fuzz_store_new();
	FUZZ_REQUIRE(store_position(store, &before, &err) == 0);
	return 0;
}

/* What a stream of feeds begins with: found whole or not at all, wherever the bytes that have come end. */
static void
measure(const uint8_t *data, size_t size, bool is_feed)
{
	size_t cursor = 0, length = 0, step = size / 7 + 1;
	int rc = 0;

	for (size_t len = 0; rc == 0 && len <= size; len += len < size && len + step > size ? size - len : step) {
		rc = feed_measure(data, len, &cursor, &length, NULL);
		FUZZ_REQUIRE(rc == 1 || cursor <= len || cursor <= 50 + 16 * POSITION_HISTORY_MAX);
		FUZZ_REQUIRE(rc != 1 || length <= len);
	}
	FUZZ_REQUIRE(!is_feed || (rc == 1 && length == size));
}

/* The walk finds as many records as the check, in order. */
static void
walk(const struct buf *feed, const struct feed_info *info)
{
	struct feed_record r;
	uint64_t seq = info->since;
	uint32_t records = 0;
	size_t cursor = 0;

	while (feed_next(feed->data, feed->len, &cursor, &r) == 1) {
		FUZZ_REQUIRE(r.seq > seq && r.key_len >= 1 && r.key_len <= FEED_KEY_MAX);
		FUZZ_REQUIRE((const char *)r.key >= feed->data);
		FUZZ_REQUIRE((const char *)r.value + r.value_len <= feed->data + feed->len);
		seq = r.seq;
		records++;
	}
	FUZZ_REQUIRE(records == info->records && seq == info->last_seq && info->seq >= seq);
}

static void
apply(struct buf *feed, const struct feed_info *info)
{
	struct position after, now;
	struct sp_error err = { 0 };
	int rc = fuzz_store_apply(store, feed, false, &after, &err);

	if (rc == SP_EDIGEST) {
		size_t cut = feed->len - END_BYTES - CUT_BYTES;

		digest_to_bytes(after.digest, (unsigned char *)feed->data + cut + 9);
		memset(feed->data + cut + 25, 0, 8);
		feed->data[cut + 25] = (char)after.keys;
		fuzz_seal_feed((uint8_t *)feed->data, feed->len);
		FUZZ_REQUIRE(after.keys < 256 && fuzz_store_apply(store, feed, true, &after, &err) == 0);
		fuzz_store_require_applied(store, info);
	} else if (rc == 0) {
		FUZZ_REQUIRE(fuzz_store_apply(store, feed, true, &after, &err) == 0);
		fuzz_store_require_applied(store, info);
	} else {
		fuzz_require_error(rc, &err);
		FUZZ_REQUIRE(rc == SP_EGAP || rc == SP_EDIVERGED);
	}
	FUZZ_REQUIRE(store_position(store, &now, &err) == 0);
	FUZZ_REQUIRE(now.seq == before.seq && digest_equal(now.digest, before.digest));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sp_error err = { 0 };
	struct feed_info info;
	struct buf feed;
	int rc;

	buf_init(&feed, size);
	FUZZ_REQUIRE(buf_add(&feed, data, size) == 0);
	rc = feed_check(feed.data, feed.len, &info, &err);
	measure(data, size, rc == 0);
	if (rc < 0) {
		fuzz_require_error(rc, &err);
		FUZZ_REQUIRE(rc == SP_EBADDATA || rc == SP_ETRUNCATED);
	} else {
		walk(&feed, &info);
		FUZZ_REQUIRE(uuid_parse(before.cluster, (unsigned char *)feed.data + AT_CLUSTER) == 0);
		fuzz_seal_feed((uint8_t *)feed.data, feed.len);
		apply(&feed, &info);
	}
	buf_release(&feed);
	return 0;
}
