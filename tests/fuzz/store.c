/* The store of the targets that need one. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/protocol/feed.h"
#include "server/http/changes.h"
#include "tests/fuzz/shared.h"

static struct buf image; /* of data.mdb at the beginning */

static const char *
store_path(const char *name)
{
	return tempdir_path(fuzz_folder(), name);
}

static void
must(int rc, const struct sp_error *err)
{
	if (rc < 0)
		fprintf(stderr, "%s\n", err->text);
	FUZZ_REQUIRE(rc >= 0);
}

static void
write_first_content(struct store *s)
{
	struct sp_error err = { 0 };
	struct store_txn *t;
	uint64_t seq;

	must(store_txn_begin(s, &t, &err), &err);
	must(store_txn_put(t, "a", 1, "one", 3, &seq, &err), &err);
	must(store_txn_put(t, "b", 1, "two", 3, &seq, &err), &err);
	must(store_txn_put(t, "c", 1, "three", 5, &seq, &err), &err);
	must(store_txn_put(t, "a", 1, "four", 4, &seq, &err), &err);
	must(store_txn_delete(t, "c", 1, &seq, &err), &err);
	must(store_txn_follow(t, &err), &err);
	FUZZ_REQUIRE(seq == FUZZ_SEQ);
	must(store_txn_commit(t, &err), &err);
}

struct store *
fuzz_store_new(void)
{
	struct sp_error err = { 0 };
	struct store_options o = { .dir = store_path("store"), .map_size = 16u << 20 };
	struct store *s = store_new(&o, &err);

	must(s != NULL ? 0 : SP_ENOMEM, &err);
	must(store_attach(s, STORE_CREATE, &err), &err);
	write_first_content(s);
	store_detach(s);
	buf_init(&image, 1u << 20);
	must(file_read_all(store_path("store/data.mdb"), &image, &err), &err);
	must(store_attach(s, STORE_EXISTING, &err), &err);
	return s;
}

void
fuzz_store_restore(struct store *s)
{
	struct sp_error err = { 0 };
	int fd;

	store_detach(s);
	fd = open(store_path("store/data.mdb"), O_WRONLY | O_TRUNC | O_CLOEXEC);
	FUZZ_REQUIRE(fd >= 0);
	must(file_write_full(fd, image.data, image.len, &err), &err);
	close(fd);
	must(store_attach(s, STORE_EXISTING, &err), &err);
}

int
fuzz_store_apply(struct store *s, const struct buf *feed, bool commit, struct position *after, struct sp_error *err)
{
	struct feed_info info;
	struct store_txn *t;
	int rc;

	must(feed_check(feed->data, feed->len, &info, err), err);
	must(store_txn_begin(s, &t, err), err);
	rc = store_txn_apply(t, feed->data, feed->len, &info, err);
	store_txn_position(t, after);
	FUZZ_REQUIRE(store_txn_broken(t) == 0);
	if (rc == 0 && commit)
		return store_txn_commit(t, err);
	store_txn_abort(t);
	return rc;
}

void
fuzz_store_require_applied(struct store *s, const struct feed_info *info)
{
	struct changes_query q = { .since = info->since, .limit = UINT64_MAX, .bytes = UINT64_MAX };
	struct position after, copied;
	struct changes_cost cost = { 0 };
	struct sp_error err = { 0 };
	struct feed_info told;
	struct store_view *view;
	struct digest found;
	struct buf feed;
	char *json;

	FUZZ_REQUIRE(store_verify(s, &found, &err) == 0);
	FUZZ_REQUIRE(store_position(s, &after, &err) == 0);
	FUZZ_REQUIRE(digest_equal(found, after.digest) && after.consistent == info->cut);
	FUZZ_REQUIRE(after.seq == (info->cut ? info->seq : info->last_seq));
	json = position_to_json(&after);
	FUZZ_REQUIRE(json != NULL);
	if (position_from_json(json, strlen(json), &copied, &err) < 0)
		fuzz_fail("the position cannot be read", 0, err.text);
	free(json);
	buf_init(&feed, FEED_BYTES_MAX);
	FUZZ_REQUIRE(store_view_begin(s, &view, &err) == 0);
	FUZZ_REQUIRE(changes_write(view, &q, &feed, &cost, &err) == 0);
	store_view_end(view);
	if (feed_check(feed.data, feed.len, &told, &err) < 0)
		fuzz_fail("its own feed", 0, err.text);
	fuzz_store_restore(s);
	FUZZ_REQUIRE(fuzz_store_apply(s, &feed, false, &copied, &err) == 0);
	FUZZ_REQUIRE(copied.seq == after.seq && digest_equal(copied.digest, after.digest));
	buf_release(&feed);
}
