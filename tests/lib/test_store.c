#include "tests/lib/test_store.h"

#include <check.h>
#include <stdint.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/protocol/feed.h"
#include "server/http/changes.h"
#include "tests/lib/tempdir.h"

struct store *
test_store_open(const char *folder, enum store_attach how, uint64_t map_size)
{
	struct store_options o = { .dir = tempdir_path(folder, "store"),
		.map_size = map_size > 0 ? map_size : 64u << 20 };
	struct sp_error err = { 0 };
	struct store *s = store_new(&o, &err);

	ck_assert_msg(s != NULL, "%s", err.text);
	ck_assert_msg(store_attach(s, how, &err) == 0, "%s", err.text);
	return s;
}

struct store *
test_store_new(const char *folder)
{
	return test_store_open(folder, STORE_CREATE, 0);
}

void
test_store_copy(const char *from, const char *to)
{
	struct sp_error err = { 0 };
	struct buf image;

	buf_init(&image, SIZE_MAX);
	ck_assert_msg(file_read_all(tempdir_path(from, "store/data.mdb"), &image, &err) == 0, "%s", err.text);
	ck_assert_msg(file_make_dirs(tempdir_path(to, "store"), &err) == 0, "%s", err.text);
	ck_assert_msg(file_write_atomic(tempdir_path(to, "store/data.mdb"), image.data, image.len, 0600, &err) == 0,
	    "%s", err.text);
	buf_release(&image);
}

uint64_t
test_store_put(struct store *s, const char *key, const char *value)
{
	struct sp_error err = { 0 };
	struct store_txn *t;
	uint64_t seq;

	ck_assert_msg(store_txn_begin(s, &t, &err) == 0, "%s", err.text);
	ck_assert_msg(
	    store_txn_put(t, key, strlen(key), value, strlen(value), &seq, &err) == 0, "put %s: %s", key, err.text);
	ck_assert_msg(store_txn_commit(t, &err) == 0, "%s", err.text);
	return seq;
}

uint64_t
test_store_delete(struct store *s, const char *key)
{
	struct sp_error err = { 0 };
	struct store_txn *t;
	uint64_t seq;

	ck_assert_msg(store_txn_begin(s, &t, &err) == 0, "%s", err.text);
	ck_assert_msg(store_txn_delete(t, key, strlen(key), &seq, &err) == 0, "delete %s: %s", key, err.text);
	ck_assert_msg(store_txn_commit(t, &err) == 0, "%s", err.text);
	return seq;
}

void
test_store_expect(struct store *s, const char *key, const char *value)
{
	struct sp_error err = { 0 };
	struct store_record r;
	struct store_view *v;
	int rc;

	ck_assert_msg(store_view_begin(s, &v, &err) == 0, "%s", err.text);
	rc = store_view_get(v, key, strlen(key), &r, &err);
	if (value == NULL) {
		ck_assert_msg(rc == SP_ENOTFOUND, "%s: %d %s", key, rc, err.text);
	} else {
		ck_assert_msg(rc == 0, "%s: %s", key, err.text);
		ck_assert_uint_eq(r.value_len, strlen(value));
		ck_assert_mem_eq(r.value, value, strlen(value));
	}
	store_view_end(v);
}

struct position
test_store_position(struct store *s)
{
	struct sp_error err = { 0 };
	struct position p;

	ck_assert_msg(store_position(s, &p, &err) == 0, "%s", err.text);
	return p;
}

void
test_store_verify(struct store *s)
{
	struct position p = test_store_position(s);
	struct sp_error err = { 0 };
	struct digest found;

	ck_assert_msg(store_verify(s, &found, &err) == 0, "%s", err.text);
	ck_assert(digest_equal(found, p.digest));
}

static void
set_role(struct store *s, bool lead)
{
	struct sp_error err = { 0 };
	struct store_txn *t;
	bool began;

	ck_assert_msg(store_txn_begin(s, &t, &err) == 0, "%s", err.text);
	ck_assert_int_eq(lead ? store_txn_lead(t, &began, &err) : store_txn_follow(t, &err), 0);
	ck_assert_msg(store_txn_commit(t, &err) == 0, "%s", err.text);
}

void
test_store_lead(struct store *s)
{
	set_role(s, true);
}

void
test_store_follow(struct store *s)
{
	set_role(s, false);
}

void
test_store_feed(struct store *s, uint64_t since, uint64_t records, struct buf *out)
{
	struct changes_query q = { .since = since, .limit = records, .bytes = FEED_BYTES_MAX };
	struct changes_cost cost = { 0 };
	struct sp_error err = { 0 };
	struct store_view *v;

	buf_init(out, FEED_BYTES_MAX);
	ck_assert_msg(store_view_begin_feed(s, &v, &err) == 0, "%s", err.text);
	ck_assert_msg(changes_write(v, &q, out, &cost, &err) == 0, "%s", err.text);
	store_view_end(v);
}

int
test_store_apply(struct store *s, const struct buf *feed, struct sp_error *err)
{
	struct feed_info info;
	struct store_txn *t;
	int rc;

	ck_assert_msg(feed_check(feed->data, feed->len, &info, err) == 0, "%s", err->text);
	ck_assert_msg(store_txn_begin_feed(s, &info, feed->len, &t, err) == 0, "%s", err->text);
	rc = store_txn_apply(t, feed->data, feed->len, &info, err);
	if (rc == 0)
		return store_txn_commit(t, err);
	store_txn_abort(t);
	return rc;
}
