/* A transaction's changes to the records: puts, deletes, and the expiry of tombstones. */
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/le.h"
#include "server/store/store_internal.h"

/* Note LMDB's failure: the transaction cannot be used any more. A caller here missed something that
 * the records themselves name (an index entry, say), so "not found" is damage. */
static int
spoil(struct store_txn *t, int mdb_code, struct sp_error *err)
{
	t->broken = store_error(err, mdb_code == MDB_NOTFOUND ? MDB_CORRUPTED : mdb_code, "write to the store");
	return t->broken;
}

int
store_find_record(
    struct store_txn *t, MDB_txn *txn, const MDB_val *key, struct record_header *out, struct sp_error *err)
{
	MDB_val k = *key, bytes;
	int rc;

	rc = mdb_get(txn, t->store->kv, &k, &bytes);
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0)
		return spoil(t, rc, err);
	/* Spoilt, because the caller may be in the midst of a batch. */
	if (record_header_unpack(&bytes, out) < 0) {
		t->broken = sp_error_set(err, SP_EBADDATA, "the record of key \"%.*s\" is damaged", (int)key->mv_size,
		    (const char *)key->mv_data);
		return t->broken;
	}
	return 1;
}

/* The key's present header, live or tombstone: 1, 0 if there is none, or an error. */
static int
find(struct store_txn *t, const MDB_val *key, struct record_header *out, struct sp_error *err)
{
	return t->txn == NULL ? memtable_txn_find(t, key, out, err) : store_find_record(t, t->txn, key, out, err);
}

int
store_txn_seq(struct store_txn *t, const void *key, size_t key_len, uint64_t *seq, struct sp_error *err)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key };
	struct record_header h;
	int rc;

	if (key_len == 0 || key_len > STORE_KEY_MAX)
		return sp_error_set(err, SP_ENOTFOUND, "no such key");
	rc = find(t, &k, &h, err);
	if (rc < 0)
		return rc;
	if (rc == 0 || (h.flags & RECORD_TOMBSTONE) != 0)
		return sp_error_set(err, SP_ENOTFOUND, "no such key");
	*seq = h.seq;
	return 0;
}

void
meta_count(struct meta *m, uint64_t seq, const struct record_header *old, const struct record_header *new_record)
{
	if (old != NULL && (old->flags & RECORD_TOMBSTONE) == 0) {
		m->digest = digest_sub(m->digest, old->hash);
		m->keys--;
	}
	if ((new_record->flags & RECORD_TOMBSTONE) == 0) {
		m->digest = digest_add(m->digest, new_record->hash);
		m->keys++;
	}
	m->seq = seq;
}

/* Take the key's old record out of the indexes; its place in kv is about to be overwritten. */
static int
forget_old(struct store_txn *t, const struct record_header *old, struct sp_error *err)
{
	uint64_t seq = old->seq;
	MDB_val k = { .mv_size = sizeof(seq), .mv_data = &seq };
	int rc;

	rc = mdb_del(t->txn, t->store->by_seq, &k, NULL);
	if (rc == 0 && (old->flags & RECORD_TOMBSTONE) != 0)
		rc = mdb_del(t->txn, t->store->tombstones, &k, NULL);
	return rc == 0 ? 0 : spoil(t, rc, err);
}

/* Put the key under its new seq at the end of by_seq. */
static int
index_seq(struct store_txn *t, uint64_t seq, char kind, const void *key, size_t key_len, struct sp_error *err)
{
	unsigned char entry[1 + STORE_KEY_MAX];
	MDB_val k = { .mv_size = sizeof(seq), .mv_data = &seq };
	MDB_val v = { .mv_size = 1 + key_len, .mv_data = entry };
	int rc;

	entry[0] = (unsigned char)kind;
	memcpy(entry + 1, key, key_len);
	rc = mdb_put(t->txn, t->store->by_seq, &k, &v, MDB_APPEND);
	return rc == 0 ? 0 : spoil(t, rc, err);
}

static int
index_tombstone(struct store_txn *t, uint64_t seq, const void *key, size_t key_len, struct sp_error *err)
{
	unsigned char entry[TOMBSTONE_TIME_BYTES + STORE_KEY_MAX];
	MDB_val k = { .mv_size = sizeof(seq), .mv_data = &seq };
	MDB_val v = { .mv_size = TOMBSTONE_TIME_BYTES + key_len, .mv_data = entry };
	int rc;

	le_put(entry, (uint64_t)clock_wall_ms(), 8);
	memcpy(entry + TOMBSTONE_TIME_BYTES, key, key_len);
	rc = mdb_put(t->txn, t->store->tombstones, &k, &v, MDB_APPEND);
	return rc == 0 ? 0 : spoil(t, rc, err);
}

static int
check_key(size_t key_len, struct sp_error *err)
{
	if (key_len == 0 || key_len > STORE_KEY_MAX)
		return sp_error_set(err, SP_ETOOBIG, "a key has 1 to %d bytes, this one %zu", STORE_KEY_MAX, key_len);
	return 0;
}

/*
 * Make room for a record in kv; `place` says how large it is and is given its address. LMDB halves
 * a page that is full; only a new key that is declared the last of all leaves the full page as it
 * is. So keys that arrive in order fill their pages, which makes the store, its snapshots and each
 * commit smaller. If a new key is not the last, LMDB finds out before it changes anything.
 */
static int
reserve(struct store_txn *t, MDB_val *key, bool is_new, MDB_val *place)
{
	int rc = MDB_KEYEXIST;

	if (is_new)
		rc = mdb_put(t->txn, t->store->kv, key, place, MDB_RESERVE | MDB_APPEND);
	if (rc == MDB_KEYEXIST)
		rc = mdb_put(t->txn, t->store->kv, key, place, MDB_RESERVE);
	return rc;
}

/* A record's place in LMDB: kv and by_seq. */
static int
put_lmdb(struct store_txn *t, const struct record_header *old, const struct record_header *h, MDB_val *key,
    const MDB_val *value, struct sp_error *err)
{
	MDB_val place = { .mv_size = RECORD_HEADER_BYTES + value->mv_size };
	int rc = 0;

	if (old != NULL)
		rc = forget_old(t, old, err);
	if (rc < 0)
		return rc;
	rc = reserve(t, key, old == NULL, &place);
	if (rc != 0)
		return spoil(t, rc, err);
	record_header_pack(h, place.mv_data);
	if (value->mv_size > 0)
		memcpy((char *)place.mv_data + RECORD_HEADER_BYTES, value->mv_data, value->mv_size);
	return index_seq(t, h->seq, BY_SEQ_PUT, key->mv_data, key->mv_size, err);
}

/* A tombstone's place in LMDB: kv, by_seq and tombstones. */
static int
delete_lmdb(struct store_txn *t, const struct record_header *old, const struct record_header *h, MDB_val *key,
    struct sp_error *err)
{
	unsigned char bytes[RECORD_HEADER_BYTES];
	MDB_val v = { .mv_size = sizeof(bytes), .mv_data = bytes };
	int rc = 0;

	if (old != NULL)
		rc = forget_old(t, old, err);
	if (rc < 0)
		return rc;
	record_header_pack(h, bytes);
	rc = mdb_put(t->txn, t->store->kv, key, &v, 0);
	if (rc != 0)
		return spoil(t, rc, err);
	rc = index_seq(t, h->seq, BY_SEQ_DELETE, key->mv_data, key->mv_size, err);
	return rc == 0 ? index_tombstone(t, h->seq, key->mv_data, key->mv_size, err) : rc;
}

/* Give the key a new record; a value of NULL is a tombstone. */
static int
change(struct store_txn *t, uint64_t seq, MDB_val *key, const MDB_val *value, struct sp_error *err)
{
	struct record_header found, new = { .seq = seq };
	const struct record_header *old;
	int rc;

	rc = check_key(key->mv_size, err);
	if (rc == 0)
		rc = find(t, key, &found, err);
	if (rc < 0)
		return rc;
	old = rc == 1 ? &found : NULL;
	if (value != NULL)
		new.hash = digest_of_record(key->mv_data, key->mv_size, seq, value->mv_data, value->mv_size);
	else
		new.flags = RECORD_TOMBSTONE;
	if (t->txn == NULL)
		rc = memtable_txn_change(
		    t, &new, key, value != NULL ? value->mv_data : NULL, value != NULL ? value->mv_size : 0, err);
	else if (value != NULL)
		rc = put_lmdb(t, old, &new, key, value, err);
	else
		rc = delete_lmdb(t, old, &new, key, err);
	if (rc < 0)
		return rc;
	meta_count(&t->meta, seq, old, &new);
	t->changed = true;
	return 0;
}

int
store_put_at(struct store_txn *t, uint64_t seq, const void *key, size_t key_len, const void *value, size_t value_len,
    struct sp_error *err)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key };
	MDB_val v = { .mv_size = value_len, .mv_data = (void *)(uintptr_t)value };

	return change(t, seq, &k, &v, err);
}

int
store_delete_at(struct store_txn *t, uint64_t seq, const void *key, size_t key_len, struct sp_error *err)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key };

	return change(t, seq, &k, NULL, err);
}

int
store_txn_put(struct store_txn *t, const void *key, size_t key_len, const void *value, size_t value_len, uint64_t *seq,
    struct sp_error *err)
{
	int rc;

	rc = store_put_at(t, t->meta.seq + 1, key, key_len, value, value_len, err);
	if (rc == 0)
		*seq = t->meta.seq;
	return rc;
}

int
store_txn_delete(struct store_txn *t, const void *key, size_t key_len, uint64_t *seq, struct sp_error *err)
{
	uint64_t old;
	int rc;

	rc = store_txn_seq(t, key, key_len, &old, err);
	if (rc == 0)
		rc = store_delete_at(t, t->meta.seq + 1, key, key_len, err);
	if (rc == 0)
		*seq = t->meta.seq;
	return rc;
}

/* Drop one tombstone that the cursor stands on. LMDB's code. */
static int
expire_one(struct store_txn *t, MDB_cursor *c, const MDB_val *seq_key, const MDB_val *entry)
{
	MDB_val key = { .mv_size = entry->mv_size - TOMBSTONE_TIME_BYTES,
		.mv_data = (char *)entry->mv_data + TOMBSTONE_TIME_BYTES };
	unsigned char name[STORE_KEY_MAX];
	uint64_t seq;
	MDB_val k = { .mv_size = sizeof(seq), .mv_data = &seq };
	int rc;

	/* Deleting moves pages: what points into them must be copied first. */
	memcpy(&seq, seq_key->mv_data, sizeof(seq));
	if (key.mv_size > sizeof(name))
		return MDB_CORRUPTED;
	memcpy(name, key.mv_data, key.mv_size);
	key.mv_data = name;
	rc = mdb_del(t->txn, t->store->kv, &key, NULL);
	if (rc == 0)
		rc = mdb_del(t->txn, t->store->by_seq, &k, NULL);
	if (rc == 0)
		rc = mdb_cursor_del(c, 0);
	if (rc == 0)
		t->meta.horizon = seq;
	return rc;
}

/* Whether the tombstone at `seq`, or the first one after it, is older than `before_wall_ms`: *found is its seq then,
 * else left alone. LMDB's code. */
static int
look_at_age(MDB_cursor *c, uint64_t seq, int64_t before_wall_ms, uint64_t *found)
{
	MDB_val key = { .mv_size = sizeof(seq), .mv_data = &seq }, entry;
	int rc = mdb_cursor_get(c, &key, &entry, MDB_SET_RANGE);

	if (rc != 0)
		return rc;
	if (entry.mv_size <= TOMBSTONE_TIME_BYTES)
		return MDB_CORRUPTED;
	if ((int64_t)le_get(entry.mv_data, 8) < before_wall_ms)
		memcpy(found, key.mv_data, sizeof(*found));
	return 0;
}

/*
 * A seq up to which all tombstones are older than `before_wall_ms`, 0 if the first one may not be. They were made in
 * the order of their seqs, whatever their times say: one of a clock that was ahead is no younger than any after it. So
 * some of these are looked at, from the last one towards the first. LMDB's code.
 */
static int
old_up_to(MDB_cursor *c, int64_t before_wall_ms, uint64_t *old)
{
	uint64_t first, last;
	MDB_val key, entry;
	int rc;

	*old = 0;
	if ((rc = mdb_cursor_get(c, &key, &entry, MDB_LAST)) != 0)
		return rc;
	memcpy(&last, key.mv_data, sizeof(last));
	if ((rc = mdb_cursor_get(c, &key, &entry, MDB_FIRST)) != 0)
		return rc;
	memcpy(&first, key.mv_data, sizeof(first));
	for (uint64_t span = last - first;; span /= 2)
		if ((rc = look_at_age(c, first + span, before_wall_ms, old)) != 0 || *old != 0 || span == 0)
			return rc;
}

int
store_txn_expire(struct store_txn *t, int64_t before_wall_ms, unsigned most, unsigned *dropped, struct sp_error *err)
{
	uint64_t old = 0, seq;
	bool at_end = false;
	MDB_cursor *c;
	MDB_val key, entry;
	int rc;

	*dropped = 0;
	rc = mdb_cursor_open(t->txn, t->store->tombstones, &c);
	if (rc != 0)
		return spoil(t, rc, err);
	while (*dropped < most) {
		if (old == 0)
			rc = old_up_to(c, before_wall_ms, &old);
		if (rc == 0)
			rc = mdb_cursor_get(c, &key, &entry, MDB_FIRST);
		at_end = rc == MDB_NOTFOUND;
		if (rc == 0 && entry.mv_size <= TOMBSTONE_TIME_BYTES)
			rc = MDB_CORRUPTED;
		if (rc != 0 || old == 0)
			break;
		memcpy(&seq, key.mv_data, sizeof(seq));
		if (seq > old) {
			old = 0; /* some of those that follow may be old as well */
			continue;
		}
		rc = expire_one(t, c, &key, &entry);
		if (rc != 0)
			break;
		t->changed = true;
		FAULT_POINT("expire.one");
		++*dropped;
	}
	mdb_cursor_close(c);
	return rc == 0 || at_end ? 0 : spoil(t, rc, err);
}
