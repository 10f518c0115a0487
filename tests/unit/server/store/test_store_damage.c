/* What is no store, or was one: opening and reading it ends with a name, never with a signal. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lmdb.h>

#include "lib/base/file.h"
#include "server/store/store_layout.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

#define PAGE 4096

static char dir[TEMPDIR_MAX];
static struct sp_error err;

static const char *
data_path(void)
{
	return tempdir_path(dir, "store/data.mdb");
}

static off_t
data_size(void)
{
	struct stat st;

	ck_assert_int_eq(stat(data_path(), &st), 0);
	return st.st_size;
}

static void
make_dir(void)
{
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "store"), &err), 0);
}

static int
attach(enum store_attach how)
{
	struct store_options o = { .dir = tempdir_path(dir, "store"), .map_size = 64u << 20 };
	struct store *s = store_new(&o, &err);
	int rc;

	ck_assert_ptr_nonnull(s);
	err.text[0] = '\0';
	rc = store_attach(s, how, &err);
	if (rc < 0) {
		ck_assert_int_eq(rc, err.code);
		ck_assert_str_ne(err.text, "");
	}
	store_free(s);
	return rc;
}

static const enum store_attach ways[] = { STORE_READONLY, STORE_EXISTING, STORE_CREATE };

/* However it is opened it is bad data, and its file stays what it was, for whoever looks into the matter. */
static void
assert_no_store(void)
{
	struct buf before, after;

	buf_init(&before, 64 << 20);
	buf_init(&after, 64 << 20);
	ck_assert_int_eq(file_read_all(data_path(), &before, &err), 0);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		int rc = attach(ways[i]);

		ck_assert_msg(rc == SP_EBADDATA, "way %zu: %d %s", i, rc, err.text);
		ck_assert_ptr_nonnull(strstr(err.text, "/store"));
		buf_reset(&after);
		ck_assert_int_eq(file_read_all(data_path(), &after, &err), 0);
		ck_assert_uint_eq(after.len, before.len);
		ck_assert_mem_eq(after.data, before.data, before.len);
	}
	buf_release(&before);
	buf_release(&after);
}

START_TEST(store_attach__a_text_file_is_no_store)
{
	static char text[3 * PAGE];

	make_dir();
	tempdir_write(dir, "store/data.mdb", "this is no store\n");
	assert_no_store();
	memset(text, 'x', sizeof(text) - 1);
	tempdir_write(dir, "store/data.mdb", text);
	assert_no_store();
}
END_TEST

START_TEST(store_attach__zeros_are_no_store)
{
	static const char zeros[2 * PAGE];

	make_dir();
	ck_assert_int_eq(file_write_atomic(data_path(), zeros, sizeof(zeros), 0600, &err), 0);
	assert_no_store();
}
END_TEST

/* LMDB maps as much as the newer meta page says: a number that cannot be must not end as "out of memory". */
START_TEST(store_attach__sizes_that_cannot_be_are_bad_data)
{
	static const struct {
		off_t at;
		uint64_t value;
	} cases[] = { { META_LAST_PG, (uint64_t)1 << 60 }, { META_LAST_PG, UINT64_MAX }, { META_LAST_PG, 1u << 30 },
		{ META_LAST_PG, 100000 }, { META_MAP_SIZE, (uint64_t)1 << 60 } };
	uint64_t txnid[2], before;
	struct store *s = test_store_open(dir, STORE_CREATE, 0);
	off_t at;
	int fd;

	test_store_put(s, "a", "1");
	store_free(s);
	fd = open(data_path(), O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pread(fd, &txnid[i], 8, i * PAGE + META_TXNID), 8);
	at = txnid[1] > txnid[0] ? PAGE : 0;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(pread(fd, &before, 8, at + cases[i].at), 8);
		ck_assert_int_eq(pwrite(fd, &cases[i].value, 8, at + cases[i].at), 8);
		assert_no_store();
		ck_assert_ptr_nonnull(strstr(err.text, "data.mdb"));
		ck_assert_int_eq(pwrite(fd, &before, 8, at + cases[i].at), 8);
		ck_assert_int_eq(attach(STORE_READONLY), 0);
	}
	close(fd);
}
END_TEST

/* Nothing was ever stored in it: it stands in nobody's way, but is no store either. */
START_TEST(store_attach__an_empty_file_is_no_store_yet)
{
	struct store *s;

	make_dir();
	tempdir_write(dir, "store/data.mdb", "");
	ck_assert_int_eq(attach(STORE_READONLY), SP_EBADDATA);
	ck_assert_int_eq(attach(STORE_EXISTING), SP_EBADDATA);
	ck_assert_int_eq(data_size(), 0);
	s = test_store_open(dir, STORE_CREATE, 0);
	test_store_put(s, "a", "1");
	store_free(s);
	ck_assert_int_gt(data_size(), 0);
}
END_TEST

START_TEST(store_attach__a_directory_in_its_place_is_no_store)
{
	ck_assert_int_eq(file_make_dirs(data_path(), &err), 0);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		ck_assert_int_eq(attach(ways[i]), SP_EBADDATA);
}
END_TEST

START_TEST(store_attach__a_file_in_the_folders_place)
{
	tempdir_write(dir, "store", "in the way");
	ck_assert_int_eq(attach(STORE_READONLY), SP_ENOTFOUND);
	ck_assert_int_eq(attach(STORE_EXISTING), SP_ENOTFOUND);
	ck_assert_int_lt(attach(STORE_CREATE), 0);
}
END_TEST

/* An environment of somebody else's, with a database of this name. */
static void
make_foreign(const char *database, const void *state, size_t len)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val k = { 5, "state" }, v = { len, NULL };

	make_dir();
	ck_assert_int_eq(mdb_env_create(&env), 0);
	ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
	ck_assert_int_eq(mdb_env_open(env, tempdir_path(dir, "store"), 0, 0600), 0);
	ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
	if (database != NULL) {
		ck_assert_int_eq(mdb_dbi_open(txn, database, MDB_CREATE, &dbi), 0);
	} else {
		static const char *const ours[] = { "kv", "by_seq", "tombstones", "meta" };

		for (size_t i = 0; i < 4; i++)
			ck_assert_int_eq(
			    mdb_dbi_open(txn, ours[i], MDB_CREATE | (i == 1 || i == 2 ? MDB_INTEGERKEY : 0), &dbi), 0);
	}
	ck_assert_int_eq(mdb_put(txn, dbi, &k, &v, MDB_RESERVE), 0);
	memcpy(v.mv_data, state, len);
	ck_assert_int_eq(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

START_TEST(store_attach__somebody_elses_environment_is_no_store)
{
	make_foreign("theirs", "x", 1);
	assert_no_store();
}
END_TEST

START_TEST(store_attach__somebody_elses_of_the_same_names_is_no_store)
{
	make_foreign(NULL, "x", 1);
	assert_no_store();
}
END_TEST

/* The state of an empty store in format `format`, with `epochs` in its history (server/store/store_meta.c). */
static void
make_state(unsigned char format, unsigned char epochs, size_t len)
{
	unsigned char state[2000] = "seedpod";

	state[8] = format;
	state[80] = epochs;
	ck_assert_uint_le(len, sizeof(state));
	make_foreign(NULL, state, len);
}

START_TEST(store_attach__a_newer_format_is_refused_and_named)
{
	make_state(2, 1, 88 + 16);
	assert_no_store();
	ck_assert_int_eq(attach(STORE_READONLY), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "format 2"));
}
END_TEST

START_TEST(store_attach__a_state_of_another_length_is_refused)
{
	make_state(1, 2, 88 + 16);
	assert_no_store();
}
END_TEST

START_TEST(store_attach__a_history_too_long_is_refused)
{
	make_state(1, POSITION_HISTORY_MAX + 1, 88 + 16 * (POSITION_HISTORY_MAX + 1));
	assert_no_store();
}
END_TEST

START_TEST(store_attach__the_state_that_these_tests_make_is_right)
{
	make_state(1, 1, 88 + 16);
	ck_assert_int_eq(attach(STORE_READONLY), 0);
}
END_TEST

/* --- Changing a store behind its back --- */

struct meddler {
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
};

static void
meddler_begin(struct meddler *m, const char *database)
{
	ck_assert_int_eq(mdb_env_create(&m->env), 0);
	ck_assert_int_eq(mdb_env_set_maxdbs(m->env, 8), 0);
	ck_assert_int_eq(mdb_env_set_mapsize(m->env, 64u << 20), 0);
	ck_assert_int_eq(mdb_env_open(m->env, tempdir_path(dir, "store"), 0, 0600), 0);
	ck_assert_int_eq(mdb_txn_begin(m->env, NULL, 0, &m->txn), 0);
	ck_assert_int_eq(mdb_dbi_open(m->txn, database, 0, &m->dbi), 0);
}

static void
meddler_commit(struct meddler *m)
{
	ck_assert_int_eq(mdb_txn_commit(m->txn), 0);
	mdb_env_close(m->env);
}

/* Delete `key` in `database` (value NULL), or put `value` there. */
static void
meddle(const char *database, const void *key, size_t key_len, const void *value, size_t value_len)
{
	struct meddler m;
	MDB_val k = { key_len, (void *)(uintptr_t)key }, v = { value_len, (void *)(uintptr_t)value };

	meddler_begin(&m, database);
	ck_assert_int_eq(value != NULL ? mdb_put(m.txn, m.dbi, &k, &v, 0) : mdb_del(m.txn, m.dbi, &k, NULL), 0);
	meddler_commit(&m);
}

/* --- A store that was one --- */

#define KEYS      400
#define VALUE_LEN 6000 /* on pages of its own */

static void
key_of(unsigned i, char key[16])
{
	snprintf(key, 16, "key-%03u", i);
}

static void
fill(struct store *s, unsigned keys, size_t value_len)
{
	static char value[2 << 20];
	struct store_txn *t;
	char key[16];
	uint64_t seq;

	memset(value, 'v', value_len);
	ck_assert_int_eq(store_txn_begin(s, &t, &err), 0);
	for (unsigned i = 0; i < keys; i++) {
		key_of(i, key);
		ck_assert_int_eq(store_txn_put(t, key, strlen(key), value, value_len, &seq, &err), 0);
	}
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
}

static void
make_store(unsigned keys, size_t value_len)
{
	struct store *s = test_store_new(dir);

	fill(s, keys, value_len);
	store_free(s);
}

/* Read everything there is to read. 0, or the first error. */
static int
read_through(struct store *s)
{
	struct digest found;
	struct store_record r;
	struct store_view *v;
	char key[16];
	int rc;

	rc = store_verify(s, &found, &err);
	if (rc < 0)
		return rc;
	rc = store_view_begin(s, &v, &err);
	for (unsigned i = 0; rc == 0 && i < KEYS; i++) {
		key_of(i, key);
		rc = store_view_get(v, key, strlen(key), &r, &err);
	}
	store_view_end(v);
	return rc;
}

static int
open_and_read(enum store_attach how)
{
	struct store_options o = { .dir = tempdir_path(dir, "store"), .map_size = 64u << 20 };
	struct store *s = store_new(&o, &err);
	int rc;

	ck_assert_ptr_nonnull(s);
	rc = store_attach(s, how, &err);
	if (rc == 0)
		rc = read_through(s);
	store_free(s);
	return rc;
}

/* Cut by a byte, a page, some pages, half, nearly all. */
START_TEST(store_attach__a_truncated_file_is_bad_data)
{
	off_t whole, len;

	make_store(KEYS, VALUE_LEN);
	whole = data_size();
	switch (_i) {
	case 0:
		len = whole - 1;
		break;
	case 1:
		len = whole - PAGE;
		break;
	case 2:
		len = whole - 50 * PAGE;
		break;
	case 3:
		len = whole / 2;
		break;
	case 4:
		len = 20 * PAGE;
		break;
	case 5:
		len = 2 * PAGE;
		break;
	case 6:
		len = PAGE;
		break;
	default:
		len = 100;
	}
	ck_assert_int_eq(truncate(data_path(), len), 0);
	for (size_t i = 0; i < 2; i++) {
		int rc = open_and_read(ways[i]);

		ck_assert_msg(
		    rc == SP_EBADDATA, "cut to %ld of %ld bytes: %d %s", (long)len, (long)whole, rc, err.text);
	}
	ck_assert_int_eq(attach(STORE_CREATE), SP_EBADDATA);
}
END_TEST

/* The same with a small store, where a page more or less is all there is. */
START_TEST(store_attach__a_small_truncated_file_is_bad_data)
{
	off_t len = (off_t)(_i + 2) * PAGE;

	make_store(30, 100);
	ck_assert_int_gt(data_size(), 7 * PAGE);
	ck_assert_int_eq(truncate(data_path(), len), 0);
	ck_assert_int_eq(open_and_read(STORE_READONLY), SP_EBADDATA);
	ck_assert_int_eq(open_and_read(STORE_EXISTING), SP_EBADDATA);
}
END_TEST

/* Put a record into a store behind its back and take it out again, in one transaction. */
static void
come_and_go(const void *value, size_t value_len)
{
	struct meddler m;
	MDB_val k = { 3, "big" }, v = { value_len, (void *)(uintptr_t)value };

	meddler_begin(&m, "kv");
	ck_assert_int_eq(mdb_put(m.txn, m.dbi, &k, &v, 0), 0);
	ck_assert_int_eq(mdb_del(m.txn, m.dbi, &k, NULL), 0);
	meddler_commit(&m);
}

/*
 * A large value that comes and goes in one transaction is counted among the pages and never written: a store whose file
 * ends before its last page for that reason is whole.
 */
START_TEST(store_attach__pages_that_were_never_written_are_no_damage)
{
	static char value[12 << 20];
	struct store *s;
	char key[16];

	/* Free pages, so that the free list itself need not stand behind the value. */
	make_store(10, VALUE_LEN);
	s = test_store_open(dir, STORE_EXISTING, 0);
	for (unsigned i = 0; i < 10; i++) {
		key_of(i, key);
		test_store_delete(s, key);
	}
	test_store_put(s, "a", "1");
	store_free(s);
	come_and_go(value, sizeof(value));
	ck_assert_int_lt(data_size(), (off_t)sizeof(value));
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		s = test_store_open(dir, ways[i], 0);
		test_store_expect(s, "a", "1");
		test_store_verify(s);
		store_free(s);
	}
	s = test_store_open(dir, STORE_EXISTING, 0);
	fill(s, KEYS, VALUE_LEN);
	test_store_verify(s);
	store_free(s);
	/* What lacks half of its pages is damaged as ever. */
	ck_assert_int_eq(truncate(data_path(), data_size() / 2), 0);
	ck_assert_int_eq(attach(STORE_READONLY), SP_EBADDATA);
}
END_TEST

/* Find these bytes in the file and change one bit of them, everywhere they stand. */
static unsigned
flip(const char *bytes)
{
	struct buf image;
	unsigned found = 0;
	char *at;

	buf_init(&image, 64 << 20);
	ck_assert_int_eq(file_read_all(data_path(), &image, &err), 0);
	for (at = image.data; (at = memmem(at, image.len - (size_t)(at - image.data), bytes, strlen(bytes))) != NULL;
	     at++) {
		*at ^= 4;
		found++;
	}
	ck_assert_int_eq(file_write_atomic(data_path(), image.data, image.len, 0600, &err), 0);
	buf_release(&image);
	return found;
}

START_TEST(store_get__a_flipped_bit_in_a_value_is_found)
{
	struct store_record r = { .seq = 4711 };
	struct store_cursor *c;
	struct store_view *v;
	struct digest found;
	struct store *s = test_store_new(dir);
	unsigned seen = 0;
	int rc;

	test_store_put(s, "a", "harmless");
	test_store_put(s, "b", "PRECIOUS CARGO");
	test_store_put(s, "c", "harmless");
	store_free(s);
	ck_assert_uint_ge(flip("PRECIOUS CARGO"), 1);
	s = test_store_open(dir, STORE_EXISTING, 0);
	ck_assert_int_eq(store_view_begin(s, &v, &err), 0);
	ck_assert_int_eq(store_view_get(v, "b", 1, &r, &err), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "\"b\""));
	ck_assert_uint_eq(r.seq, 4711);
	/* A walk comes as far as the damage. */
	ck_assert_int_eq(store_cursor_keys(v, NULL, 0, &c, &err), 0);
	while ((rc = store_cursor_next(c, &r, &err)) == 1)
		seen++;
	ck_assert_int_eq(rc, SP_EBADDATA);
	ck_assert_uint_eq(seen, 1);
	store_cursor_free(c);
	seen = 0;
	ck_assert_int_eq(store_cursor_changes(v, 0, &c, &err), 0);
	while ((rc = store_cursor_next(c, &r, &err)) == 1)
		seen++;
	ck_assert_int_eq(rc, SP_EBADDATA);
	ck_assert_uint_eq(seen, 1);
	store_cursor_free(c);
	store_view_end(v);
	ck_assert_int_eq(store_verify(s, &found, &err), SP_EBADDATA);
	/* The others are served. */
	test_store_expect(s, "a", "harmless");
	test_store_expect(s, "c", "harmless");
	/* Writing it anew heals it, the digest included, since the old hash is taken out. */
	test_store_put(s, "b", "new cargo");
	test_store_expect(s, "b", "new cargo");
	test_store_verify(s);
	store_free(s);
}
END_TEST

/* --- Inconsistent inside: what LMDB finds nothing wrong with --- */

/* a at 1, b at 2, c was deleted at 4. */
static void
make_three(void)
{
	struct store *s = test_store_new(dir);

	test_store_put(s, "a", "1");
	test_store_put(s, "b", "2");
	test_store_put(s, "c", "3");
	test_store_delete(s, "c");
	store_free(s);
}

static void
assert_verify_fails(void)
{
	struct digest found;
	struct store *s = test_store_open(dir, STORE_READONLY, 0);

	ck_assert_int_eq(store_verify(s, &found, &err), SP_EBADDATA);
	store_free(s);
}

static const uint64_t one = 1, two = 2, four = 4;

START_TEST(store_verify__finds_what_does_not_fit_together)
{
	unsigned char header[32] = { 2 };

	make_three();
	switch (_i) {
	case 0: /* a record is missing */
		meddle("kv", "a", 1, NULL, 0);
		break;
	case 1: /* its index entry is */
		meddle("by_seq", &one, sizeof(one), NULL, 0);
		break;
	case 2: /* its index entry names another key */
		meddle("by_seq", &one, sizeof(one), "Pb", 2);
		break;
	case 3: /* or none */
		meddle("by_seq", &one, sizeof(one), "Pz", 2);
		break;
	case 4: /* or is too short */
		meddle("by_seq", &one, sizeof(one), "P", 1);
		break;
	case 5: /* a live key is marked deleted in the index */
		meddle("by_seq", &two, sizeof(two), "Db", 2);
		break;
	case 6: /* a deletion's time is missing */
		meddle("tombstones", &four, sizeof(four), NULL, 0);
		break;
	case 7: /* a record too short for its header */
		meddle("kv", "a", 1, "short", 5);
		break;
	case 8: /* a record with another hash */
		meddle("kv", "b", 1, header, sizeof(header));
		break;
	case 9: /* a record that nobody counted */
		meddle("by_seq", &(uint64_t){ 3 }, sizeof(uint64_t), "Dq", 2);
		break;
	default: /* a tombstone whose index entry is missing */
		meddle("by_seq", &four, sizeof(four), NULL, 0);
		break;
	}
	assert_verify_fails();
}
END_TEST

/* Writing where the indexes are damaged fails as damage: not as "not found", and not half. */
START_TEST(store_txn__missing_entries_are_damage)
{
	unsigned dropped;
	struct store *s;
	struct store_txn *t;
	uint64_t seq;

	make_three();
	meddle("by_seq", &one, sizeof(one), NULL, 0);
	meddle("kv", "b", 1, "short", 5);
	meddle("by_seq", &four, sizeof(four), NULL, 0);
	s = test_store_open(dir, STORE_EXISTING, 0);
	ck_assert_int_eq(store_txn_begin(s, &t, &err), 0);
	ck_assert_int_eq(store_txn_put(t, "a", 1, "x", 1, &seq, &err), SP_EBADDATA);
	ck_assert_int_eq(store_txn_broken(t), SP_EBADDATA);
	store_txn_abort(t);
	ck_assert_int_eq(store_txn_begin(s, &t, &err), 0);
	ck_assert_int_eq(store_txn_put(t, "b", 1, "x", 1, &seq, &err), SP_EBADDATA);
	ck_assert_int_eq(store_txn_broken(t), SP_EBADDATA);
	store_txn_abort(t);
	ck_assert_int_eq(store_txn_begin(s, &t, &err), 0);
	ck_assert_int_eq(store_txn_expire(t, INT64_MAX, 10, &dropped, &err), SP_EBADDATA);
	ck_assert_int_eq(store_txn_broken(t), SP_EBADDATA);
	store_txn_abort(t);
	store_free(s);
}
END_TEST

START_TEST(store_txn__a_damaged_deletion_time_is_damage)
{
	unsigned dropped;
	struct store *s;
	struct store_txn *t;

	make_three();
	meddle("tombstones", &four, sizeof(four), "short", 5);
	s = test_store_open(dir, STORE_EXISTING, 0);
	ck_assert_int_eq(store_txn_begin(s, &t, &err), 0);
	ck_assert_int_eq(store_txn_expire(t, INT64_MAX, 10, &dropped, &err), SP_EBADDATA);
	store_txn_abort(t);
	store_free(s);
}
END_TEST

/* Killed while the very first store was made, at any instant: the next start makes it. */
START_TEST(store_create__goes_on_where_it_was_killed)
{
	static const char *const left[] = { "store.new/data.mdb", "store.new/lock.mdb", "store/lock.mdb" };
	struct store *s;

	make_dir();
	ck_assert_int_eq(file_make_dirs(tempdir_path(dir, "store.new"), &err), 0);
	for (int i = 0; i < _i; i++)
		tempdir_write(dir, left[i], "half done");
	ck_assert_int_eq(attach(STORE_READONLY), SP_ENOTFOUND);
	ck_assert_int_eq(attach(STORE_EXISTING), SP_ENOTFOUND);
	s = test_store_open(dir, STORE_CREATE, 0);
	ck_assert_uint_eq(test_store_put(s, "a", "1"), 1);
	store_free(s);
	ck_assert(!file_exists(tempdir_path(dir, "store.new")));
	s = test_store_open(dir, STORE_EXISTING, 0);
	test_store_expect(s, "a", "1");
	store_free(s);
}
END_TEST

START_TEST(store_attach__an_environment_without_databases_is_no_store)
{
	MDB_env *env;

	make_dir();
	ck_assert_int_eq(mdb_env_create(&env), 0);
	ck_assert_int_eq(mdb_env_open(env, tempdir_path(dir, "store"), 0, 0600), 0);
	mdb_env_close(env);
	assert_no_store();
}
END_TEST

int
main(void)
{
	TCase *all = tcase_create("store_damage");

	suite_case_in_folder(all, dir);
	tcase_set_timeout(all, 30);
	tcase_add_test(all, store_attach__a_text_file_is_no_store);
	tcase_add_test(all, store_attach__zeros_are_no_store);
	tcase_add_test(all, store_attach__sizes_that_cannot_be_are_bad_data);
	tcase_add_test(all, store_attach__an_empty_file_is_no_store_yet);
	tcase_add_test(all, store_attach__a_directory_in_its_place_is_no_store);
	tcase_add_test(all, store_attach__a_file_in_the_folders_place);
	tcase_add_test(all, store_attach__somebody_elses_environment_is_no_store);
	tcase_add_test(all, store_attach__somebody_elses_of_the_same_names_is_no_store);
	tcase_add_test(all, store_attach__a_newer_format_is_refused_and_named);
	tcase_add_test(all, store_attach__a_state_of_another_length_is_refused);
	tcase_add_test(all, store_attach__a_history_too_long_is_refused);
	tcase_add_test(all, store_attach__the_state_that_these_tests_make_is_right);
	tcase_add_loop_test(all, store_attach__a_truncated_file_is_bad_data, 0, 8);
	tcase_add_loop_test(all, store_attach__a_small_truncated_file_is_bad_data, 0, 5);
	tcase_add_test(all, store_attach__pages_that_were_never_written_are_no_damage);
	tcase_add_test(all, store_get__a_flipped_bit_in_a_value_is_found);
	tcase_add_loop_test(all, store_verify__finds_what_does_not_fit_together, 0, 11);
	tcase_add_test(all, store_txn__missing_entries_are_damage);
	tcase_add_test(all, store_txn__a_damaged_deletion_time_is_damage);
	tcase_add_loop_test(all, store_create__goes_on_where_it_was_killed, 0, 4);
	tcase_add_test(all, store_attach__an_environment_without_databases_is_no_store);
	return suite_run_case("store_damage", all);
}
