/* Views and cursors. */
#include <stdlib.h>
#include <string.h>

#include "server/store/store_internal.h"

struct store_cursor {
	MDB_cursor *walk; /* in kv or by_seq */
	struct store_view *view;
	bool by_seq;
	MDB_cursor_op step; /* what the next call does */
	uint64_t from;      /* by_seq: where the walk begins; LMDB keeps no copy */
	size_t after_len;
	unsigned char after[STORE_KEY_MAX]; /* kv: the key after which the walk begins */

	/* by_seq, in a view for the feed: the tables follow LMDB's index. */
	uint64_t since;
	bool index_done, in_active;
	const struct memtable_entry *next, *last; /* of the present table; next: NULL behind the last */
};

static struct store_view *
pool_take(struct store *s)
{
	struct store_view *v;

	pthread_mutex_lock(&s->pool_lock);
	v = s->pool;
	if (v != NULL) {
		s->pool = v->next;
		s->pool_count--;
	}
	pthread_mutex_unlock(&s->pool_lock);
	return v;
}

/* Keep a view's read transaction for the next one, parked. */
static void
pool_put(struct store *s, struct store_view *v)
{
	mdb_txn_reset(v->txn);
	memtable_unref(v->active);
	memtable_unref(v->frozen);
	v->active = v->frozen = NULL;
	v->for_feed = false;
	pthread_mutex_lock(&s->pool_lock);
	if (s->pool_count < STORE_POOL_MAX) {
		v->next = s->pool;
		s->pool = v;
		s->pool_count++;
		v = NULL;
	}
	pthread_mutex_unlock(&s->pool_lock);
	if (v != NULL) {
		mdb_txn_abort(v->txn);
		free(v);
	}
}

void
store_pool_drain(struct store *s)
{
	struct store_view *v;

	while ((v = pool_take(s)) != NULL) {
		mdb_txn_abort(v->txn);
		free(v);
	}
}

/* With env_lock held for reading and the environment open. */
static int
view_open(struct store *s, struct store_view **out, struct sp_error *err)
{
	struct store_view *v = pool_take(s);
	int rc;

	if (v != NULL) {
		rc = mdb_txn_renew(v->txn);
		if (rc != 0) {
			mdb_txn_abort(v->txn);
			free(v);
			return store_error(err, rc, "read the store");
		}
		*out = v;
		return 0;
	}
	v = calloc(1, sizeof(*v));
	if (v == NULL)
		return sp_error_set(err, SP_ENOMEM, "read the store");
	v->store = s;
	rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &v->txn);
	if (rc != 0) {
		free(v);
		return store_error(err, rc, "read the store");
	}
	*out = v;
	return 0;
}

/* What is in memory alone. */
struct present {
	struct memtable *active, *frozen;
	uint64_t visible;
	const struct memtable_entry *active_last, *frozen_last;
};

/* `now`, which may be NULL, is the state with the last change, if there is a table. */
static void
take_present(struct store *s, struct present *p, struct meta *now)
{
	*p = (struct present){ 0 };
	/* A change is in memory before it is answered for, and in LMDB before it leaves memory. */
	if (!atomic_load(&s->in_memory))
		return;
	pthread_mutex_lock(&s->memtable_lock);
	p->active = memtable_ref(s->active);
	p->frozen = memtable_ref(s->frozen);
	p->active_last = memtable_published(s->active);
	p->frozen_last = memtable_published(s->frozen);
	if (p->active != NULL || p->frozen != NULL) {
		p->visible = s->latest.seq;
		if (now != NULL)
			*now = s->latest;
	}
	pthread_mutex_unlock(&s->memtable_lock);
}

int
store_view_begin_present(struct store *s, struct store_view **out, struct sp_error *err)
{
	struct present p;
	int rc;

	/* Before LMDB's view, so that what is flushed in between is in both rather than in neither. */
	take_present(s, &p, NULL);
	rc = store_view_begin(s, out, err);
	if (rc < 0) {
		memtable_unref(p.active);
		memtable_unref(p.frozen);
		return rc;
	}
	(*out)->active = p.active;
	(*out)->frozen = p.frozen;
	(*out)->visible = p.visible;
	return 0;
}

int
store_view_begin_feed(struct store *s, struct store_view **out, struct sp_error *err)
{
	struct meta now, flushed = { 0 };
	struct store_view *v;
	struct present p;
	int rc;

	take_present(s, &p, &now);
	rc = store_view_begin(s, &v, err);
	if (rc == 0) {
		rc = meta_get(s, v->txn, &flushed, err);
		if (rc < 0)
			store_view_end(v);
	}
	/* What was flushed since is later than these tables, and LMDB has all of it. */
	if (rc < 0 || p.visible <= flushed.seq) {
		memtable_unref(p.active);
		memtable_unref(p.frozen);
		p = (struct present){ 0 };
		now = flushed;
	}
	if (rc < 0)
		return rc;
	v->for_feed = true;
	v->now = now;
	v->flushed_seq = flushed.seq;
	v->active = p.active;
	v->frozen = p.frozen;
	v->visible = p.visible;
	v->active_last = p.active_last;
	v->frozen_last = p.frozen_last;
	*out = v;
	return 0;
}

int
store_view_begin(struct store *s, struct store_view **out, struct sp_error *err)
{
	int rc;

	pthread_rwlock_rdlock(&s->env_lock);
	if (s->env == NULL)
		rc = s->known ? sp_error_set(err, SP_EAGAIN, "the store is released for reseeding")
			      : sp_error_set(err, SP_ENOTFOUND, "there is no store here yet");
	else
		rc = view_open(s, out, err);
	/* A view that began keeps the lock until store_view_end(). */
	if (rc < 0)
		pthread_rwlock_unlock(&s->env_lock);
	return rc;
}

void
store_view_end(struct store_view *v)
{
	struct store *s;

	if (v == NULL)
		return;
	s = v->store;
	pool_put(s, v);
	pthread_rwlock_unlock(&s->env_lock);
}

/* The position of what was committed last, where LMDB does not have it yet. */
static bool
present_position(struct store *s, struct position *out)
{
	bool has;

	if (!atomic_load(&s->in_memory))
		return false;
	pthread_mutex_lock(&s->memtable_lock);
	has = (s->active != NULL || s->frozen != NULL) && s->latest.seq > s->flushed_seq;
	if (has)
		meta_position(&s->latest, out);
	pthread_mutex_unlock(&s->memtable_lock);
	return has;
}

int
store_view_position(struct store_view *v, struct position *out, struct sp_error *err)
{
	struct meta m;
	int rc = 0;

	if (v->for_feed)
		meta_position(&v->now, out);
	else if ((rc = meta_get(v->store, v->txn, &m, err)) == 0)
		meta_position(&m, out);
	return rc;
}

int
store_position(struct store *s, struct position *out, struct sp_error *err)
{
	struct store_view *v;
	int rc;

	if (present_position(s, out))
		return 0;
	rc = store_view_begin(s, &v, err);
	if (rc < 0)
		return rc;
	rc = store_view_position(v, out, err);
	store_view_end(v);
	return rc;
}

/* Fill a record from its bytes in kv and check it against its hash. 1: live; 0: a tombstone. */
static int
record_read(struct store *s, const MDB_val *key, const MDB_val *bytes, struct store_record *out, struct sp_error *err)
{
	struct record_header h;
	struct store_record r = { .key = key->mv_data, .key_len = key->mv_size };

	if (record_header_unpack(bytes, &h) < 0)
		return sp_error_set(err, SP_EBADDATA, "%s: the record of key \"%.*s\" is damaged (%zu bytes)", s->dir,
		    (int)key->mv_size, (const char *)key->mv_data, bytes->mv_size);
	r.seq = h.seq;
	r.is_delete = (h.flags & RECORD_TOMBSTONE) != 0;
	r.value = (const char *)bytes->mv_data + RECORD_HEADER_BYTES;
	r.value_len = bytes->mv_size - RECORD_HEADER_BYTES;
	if (!r.is_delete && !digest_equal(h.hash, digest_of_record(r.key, r.key_len, r.seq, r.value, r.value_len)))
		return sp_error_set(err, SP_EBADDATA,
		    "%s: the record of key \"%.*s\" at seq %llu does not match its hash", s->dir, (int)key->mv_size,
		    (const char *)key->mv_data, (unsigned long long)h.seq);
	*out = r;
	return r.is_delete ? 0 : 1;
}

/* The record as it is in memory alone, or NULL. */
static const struct memtable_entry *
find_recent(const struct store_view *v, const void *key, size_t key_len)
{
	const struct memtable_entry *e = NULL;

	if (v->active != NULL)
		e = memtable_find(v->active, key, key_len, v->visible);
	if (e == NULL && v->frozen != NULL)
		e = memtable_find(v->frozen, key, key_len, v->visible);
	return e;
}

int
store_view_get(struct store_view *v, const void *key, size_t key_len, struct store_record *out, struct sp_error *err)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key };
	const struct memtable_entry *e;
	MDB_val bytes;
	struct store_record r;
	int rc;

	if (key_len == 0 || key_len > STORE_KEY_MAX)
		return sp_error_set(err, SP_ENOTFOUND, "no such key");
	e = find_recent(v, key, key_len);
	if (e != NULL) {
		if (e->is_delete)
			return sp_error_set(err, SP_ENOTFOUND, "no such key");
		*out = (struct store_record){ .key = e->bytes,
			.key_len = e->key_len,
			.value = e->bytes + e->key_len,
			.value_len = e->value_len,
			.seq = e->seq };
		return 0;
	}
	rc = mdb_get(v->txn, v->store->kv, &k, &bytes);
	if (rc == MDB_NOTFOUND)
		return sp_error_set(err, SP_ENOTFOUND, "no such key");
	if (rc != 0)
		return store_error(err, rc, "read a record");
	rc = record_read(v->store, &k, &bytes, &r, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return sp_error_set(err, SP_ENOTFOUND, "no such key");
	*out = r;
	return 0;
}

static int
cursor_new(struct store_view *v, bool by_seq, struct store_cursor **out, struct sp_error *err)
{
	struct store_cursor *c = calloc(1, sizeof(*c));
	int rc;

	if (c == NULL)
		return sp_error_set(err, SP_ENOMEM, "walk the store");
	c->view = v;
	c->by_seq = by_seq;
	rc = mdb_cursor_open(v->txn, by_seq ? v->store->by_seq : v->store->kv, &c->walk);
	if (rc != 0) {
		free(c);
		return store_error(err, rc, "walk the store");
	}
	*out = c;
	return 0;
}

int
store_cursor_keys(
    struct store_view *v, const void *after, size_t after_len, struct store_cursor **out, struct sp_error *err)
{
	int rc;

	if (after_len > STORE_KEY_MAX)
		return sp_error_set(err, SP_ETOOBIG, "key of %zu bytes", after_len);
	rc = cursor_new(v, false, out, err);
	if (rc < 0)
		return rc;
	(*out)->step = after_len > 0 ? MDB_SET_RANGE : MDB_FIRST;
	(*out)->after_len = after_len;
	if (after_len > 0)
		memcpy((*out)->after, after, after_len);
	return 0;
}

/* Go on in a table, whose last record is `last`, after what LMDB has and after `since`. */
static void
cursor_enter(struct store_cursor *c, const struct memtable_entry *last)
{
	uint64_t after = c->since > c->view->flushed_seq ? c->since : c->view->flushed_seq;

	c->last = last;
	c->next = NULL;
	for (const struct memtable_entry *e = last; e != NULL && e->seq > after; e = e->previous)
		c->next = e;
}

int
store_cursor_changes(struct store_view *v, uint64_t since, struct store_cursor **out, struct sp_error *err)
{
	int rc;

	rc = cursor_new(v, true, out, err);
	if (rc < 0)
		return rc;
	(*out)->step = MDB_SET_RANGE;
	(*out)->from = since + 1;
	(*out)->since = since;
	(*out)->index_done = v->for_feed && since >= v->flushed_seq;
	if (v->for_feed)
		cursor_enter(*out, v->frozen_last);
	return 0;
}

void
store_cursor_free(struct store_cursor *c)
{
	if (c == NULL)
		return;
	mdb_cursor_close(c->walk);
	free(c);
}

static int
next_key(struct store_cursor *c, struct store_record *out, struct sp_error *err)
{
	MDB_val key = { .mv_size = c->after_len, .mv_data = c->after };
	MDB_val bytes;
	int rc;

	for (;;) {
		rc = mdb_cursor_get(c->walk, &key, &bytes, c->step);
		if (rc == MDB_NOTFOUND)
			return 0;
		if (rc != 0)
			return store_error(err, rc, "walk the keys");
		if (c->step == MDB_SET_RANGE && key.mv_size == c->after_len &&
		    memcmp(key.mv_data, c->after, c->after_len) == 0) {
			c->step = MDB_NEXT;
			continue;
		}
		c->step = MDB_NEXT;
		rc = record_read(c->view->store, &key, &bytes, out, err);
		if (rc != 0)
			return rc;
	}
}

/* The next change that is in a table alone: 1, or 0 if there is none left. */
static int
next_recent(struct store_cursor *c, struct store_record *out)
{
	const struct memtable_entry *e;

	for (;;) {
		if (c->next == NULL && !c->in_active) {
			c->in_active = true;
			cursor_enter(c, c->view->active_last);
		}
		if ((e = c->next) == NULL)
			return 0;
		c->next = e != c->last ? e->next : NULL;
		/* Each key once, at its newest seq. */
		if (find_recent(c->view, e->bytes, e->key_len) == e)
			break;
	}
	*out = (struct store_record){ .key = e->bytes,
		.key_len = e->key_len,
		.value = e->bytes + e->key_len,
		.value_len = e->value_len,
		.seq = e->seq,
		.is_delete = e->is_delete };
	return 1;
}

/* The next entry of by_seq whose key has not changed again since: 1, 0 at the end, or an error. */
static int
next_indexed(struct store_cursor *c, uint64_t *at, MDB_val *entry, struct sp_error *err)
{
	MDB_val seq = { .mv_size = sizeof(c->from), .mv_data = &c->from };
	const struct memtable_entry *e;
	int rc;

	do {
		rc = mdb_cursor_get(c->walk, &seq, entry, c->step);
		if (rc == MDB_NOTFOUND)
			return 0;
		if (rc != 0)
			return store_error(err, rc, "walk the changes");
		c->step = MDB_NEXT;
		memcpy(at, seq.mv_data, sizeof(*at));
		if (entry->mv_size < 2)
			return sp_error_set(err, SP_EBADDATA, "%s: the index entry of seq %llu is damaged",
			    c->view->store->dir, (unsigned long long)*at);
		e = find_recent(c->view, (char *)entry->mv_data + 1, entry->mv_size - 1);
	} while (e != NULL && e->seq != *at);
	return 1;
}

static int
next_change(struct store_cursor *c, struct store_record *out, struct sp_error *err)
{
	MDB_val entry, key;
	uint64_t at = 0;
	int rc;

	rc = c->index_done ? 0 : next_indexed(c, &at, &entry, err);
	if (rc < 0)
		return rc;
	if (rc == 0) {
		c->index_done = true;
		return next_recent(c, out);
	}
	key.mv_data = (char *)entry.mv_data + 1;
	key.mv_size = entry.mv_size - 1;
	if (*(const char *)entry.mv_data == BY_SEQ_DELETE) {
		*out =
		    (struct store_record){ .key = key.mv_data, .key_len = key.mv_size, .seq = at, .is_delete = true };
		return 1;
	}
	rc = store_view_get(c->view, key.mv_data, key.mv_size, out, err);
	if (rc == 0 && out->seq == at)
		return 1;
	if (rc == 0 || rc == SP_ENOTFOUND)
		return sp_error_set(err, SP_EBADDATA, "%s: seq %llu names key \"%.*s\", whose record is another",
		    c->view->store->dir, (unsigned long long)at, (int)key.mv_size, (const char *)key.mv_data);
	return rc;
}

int
store_cursor_next(struct store_cursor *c, struct store_record *out, struct sp_error *err)
{
	return c->by_seq ? next_change(c, out, err) : next_key(c, out, err);
}
