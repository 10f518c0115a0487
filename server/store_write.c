/* The one transaction at a time that changes the store. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uuid.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "server/store_internal.h"

int
store_txn_begin(struct store *s, struct store_txn **out, struct sp_error *err)
{
	struct store_txn *t = calloc(1, sizeof(*t));
	int rc;

	if (t == NULL)
		return sp_error_set(err, SP_ENOMEM, "write to the store");
	t->store = s;
	pthread_mutex_lock(&s->write_lock);
	/* Detaching takes write_lock first, so the environment stays while this transaction lives; env_lock is not
	 * kept, because growing the map needs it. */
	if (s->env == NULL) {
		rc = s->known ? sp_error_set(err, SP_EAGAIN, "the store is released for reseeding")
			      : sp_error_set(err, SP_ENOTFOUND, "there is no store here yet");
		goto fail;
	}
	rc = mdb_txn_begin(s->env, NULL, 0, &t->txn);
	if (rc != 0) {
		rc = store_error(err, rc, "write to the store");
		goto fail;
	}
	rc = meta_get(s, t->txn, &t->meta, err);
	if (rc < 0) {
		mdb_txn_abort(t->txn);
		goto fail;
	}
	*out = t;
	return 0;
fail:
	pthread_mutex_unlock(&s->write_lock);
	free(t);
	return rc;
}

static void
txn_end(struct store_txn *t)
{
	pthread_mutex_unlock(&t->store->write_lock);
	free(t);
}

void
store_txn_abort(struct store_txn *t)
{
	if (t == NULL)
		return;
	mdb_txn_abort(t->txn);
	txn_end(t);
}

int
store_txn_commit(struct store_txn *t, struct sp_error *err)
{
	int rc;

	if (!t->changed) {
		store_txn_abort(t);
		return 0;
	}
	rc = meta_put(t->store, t->txn, &t->meta);
	FAULT_POINT("commit.ready");
	if (rc != 0)
		mdb_txn_abort(t->txn);
	else
		rc = mdb_txn_commit(t->txn);
	FAULT_POINT("commit.done");
	/* LMDB reports a write that was cut short as EIO. On a full volume that is what it is; nothing refers to those
	 * pages. */
	if (rc == EIO && !store_has_room(t->store))
		rc = ENOSPC;
	if (rc != 0)
		rc = store_error(err, rc, "commit");
	txn_end(t);
	return rc;
}

bool
store_txn_changed(const struct store_txn *t)
{
	return t->changed;
}

int
store_txn_broken(const struct store_txn *t)
{
	return t->broken;
}

void
store_txn_position(const struct store_txn *t, struct position *out)
{
	meta_position(&t->meta, out);
}

uint64_t
store_txn_last_seq(const struct store_txn *t)
{
	return t->meta.seq;
}

/* Note LMDB's failure: the transaction cannot be used any more. Who comes here missed what the records themselves name
 * (an index entry, say), so «not found» is damage. */
static int
spoil(struct store_txn *t, int mdb_code, struct sp_error *err)
{
	t->broken = store_error(err, mdb_code == MDB_NOTFOUND ? MDB_CORRUPTED : mdb_code, "write to the store");
	return t->broken;
}

/* The key's present header, live or tombstone: 1, 0 where there is none, or an error. */
static int
find(struct store_txn *t, MDB_val *key, struct record_header *out, struct sp_error *err)
{
	MDB_val bytes;
	int rc;

	rc = mdb_get(t->txn, t->store->kv, key, &bytes);
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0)
		return spoil(t, rc, err);
	/* Spoilt, because the caller may be in the midst of a batch. */
	if (record_header_unpack(&bytes, out) < 0) {
		t->broken = sp_error_set(err, SP_EBADDATA, "the record of key «%.*s» is damaged", (int)key->mv_size,
		    (const char *)key->mv_data);
		return t->broken;
	}
	return 1;
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

/* Take the key's old record out of digest, count and indexes; its place in kv is about to be overwritten. */
static int
forget_old(struct store_txn *t, const struct record_header *old, struct sp_error *err)
{
	uint64_t seq = old->seq;
	MDB_val k = { .mv_size = sizeof(seq), .mv_data = &seq };
	int rc;

	rc = mdb_del(t->txn, t->store->by_seq, &k, NULL);
	if (rc == 0 && (old->flags & RECORD_TOMBSTONE) != 0)
		rc = mdb_del(t->txn, t->store->tombstones, &k, NULL);
	if (rc != 0)
		return spoil(t, rc, err);
	if ((old->flags & RECORD_TOMBSTONE) == 0) {
		t->meta.digest = digest_sub(t->meta.digest, old->hash);
		t->meta.keys--;
	}
	return 0;
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

	store_le64(entry, (uint64_t)clock_wall_ms());
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
 * Make room for a record in kv; `place` says how large it is and is given its address. LMDB halves a page that is full;
 * only a new key that is told to be the last of all leaves the full page as it is. So keys that arrive in order fill
 * their pages, which makes the store, its snapshots and each commit smaller. Where a new key is not the last, LMDB
 * finds out before it changes anything.
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

int
store_put_at(struct store_txn *t, uint64_t seq, const void *key, size_t key_len, const void *value, size_t value_len,
    struct sp_error *err)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key };
	MDB_val v = { .mv_size = RECORD_HEADER_BYTES + value_len };
	struct record_header old, new = { .seq = seq };
	bool is_new;
	int rc;

	rc = check_key(key_len, err);
	if (rc < 0)
		return rc;
	rc = find(t, &k, &old, err);
	is_new = rc == 0;
	if (rc == 1)
		rc = forget_old(t, &old, err);
	if (rc < 0)
		return rc;
	new.hash = digest_of_record(key, key_len, seq, value, value_len);
	rc = reserve(t, &k, is_new, &v);
	if (rc != 0)
		return spoil(t, rc, err);
	record_header_pack(&new, v.mv_data);
	if (value_len > 0)
		memcpy((char *)v.mv_data + RECORD_HEADER_BYTES, value, value_len);
	rc = index_seq(t, seq, BY_SEQ_PUT, key, key_len, err);
	if (rc < 0)
		return rc;
	t->meta.seq = seq;
	t->meta.keys++;
	t->meta.digest = digest_add(t->meta.digest, new.hash);
	t->changed = true;
	return 0;
}

/* Leave a tombstone under the given seq, also for a key that is not here (it was made and deleted since the last feed).
 */
int
store_delete_at(struct store_txn *t, uint64_t seq, const void *key, size_t key_len, struct sp_error *err)
{
	unsigned char bytes[RECORD_HEADER_BYTES];
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key };
	MDB_val v = { .mv_size = sizeof(bytes), .mv_data = bytes };
	struct record_header old, new = { .seq = seq, .flags = RECORD_TOMBSTONE };
	int rc;

	rc = check_key(key_len, err);
	if (rc < 0)
		return rc;
	rc = find(t, &k, &old, err);
	if (rc == 1)
		rc = forget_old(t, &old, err);
	if (rc < 0)
		return rc;
	record_header_pack(&new, bytes);
	rc = mdb_put(t->txn, t->store->kv, &k, &v, 0);
	if (rc != 0)
		return spoil(t, rc, err);
	rc = index_seq(t, seq, BY_SEQ_DELETE, key, key_len, err);
	if (rc == 0)
		rc = index_tombstone(t, seq, key, key_len, err);
	if (rc < 0)
		return rc;
	t->meta.seq = seq;
	t->changed = true;
	return 0;
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

int
store_txn_expire(struct store_txn *t, int64_t before_wall_ms, unsigned most, unsigned *dropped, struct sp_error *err)
{
	bool at_end = false;
	MDB_cursor *c;
	MDB_val key, entry;
	int rc;

	*dropped = 0;
	rc = mdb_cursor_open(t->txn, t->store->tombstones, &c);
	if (rc != 0)
		return spoil(t, rc, err);
	while (*dropped < most) {
		rc = mdb_cursor_get(c, &key, &entry, MDB_FIRST);
		at_end = rc == MDB_NOTFOUND;
		if (rc == 0 && entry.mv_size <= TOMBSTONE_TIME_BYTES)
			rc = MDB_CORRUPTED;
		if (rc != 0 || (int64_t)store_from_le64(entry.mv_data) >= before_wall_ms)
			break;
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
