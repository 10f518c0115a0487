/* Transactions whose changes go to a log and into memory, and reading back the journal of an
 * earlier process. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "server/store/store_internal.h"

#define TABLE_COUNT_SOFT 131072u
#define AREA_ROOM_SOFT   (JOURNAL_AREA_BYTES / 3)
#define VOLUME_ROOM      (64u << 20) /* a volume with less than this is written to directly, which can say "full" */

bool
store_has_memtable(struct store *s)
{
	bool has;

	pthread_mutex_lock(&s->memtable_lock);
	has = (s->active != NULL || s->frozen != NULL) && s->latest.seq > s->flushed_seq;
	pthread_mutex_unlock(&s->memtable_lock);
	return has;
}

bool
store_has_role(struct store *s, bool leader)
{
	bool has;

	pthread_mutex_lock(&s->memtable_lock);
	has = (s->active != NULL || s->frozen != NULL) && s->latest.seq > s->flushed_seq &&
	      s->latest.writer == leader && s->latest.applied_index == 0;
	pthread_mutex_unlock(&s->memtable_lock);
	return has;
}

/* --- A transaction --- */

/* Whether the next group may go to the log alone. With write_lock held. */
static bool
may_wait(struct store *s, size_t bytes)
{
	uint64_t room;

	if (s->log == STORE_LOG_NONE || bytes > JOURNAL_GROUP_BYTES / 2)
		return false;
	/* The volume may be full in a way that cannot be seen (a quota): the writer must learn of
	 * it. */
	if (atomic_load(&s->flush_failed))
		return false;
	/* The rest of an earlier process's journal could not be flushed yet, and it stands in both
	 * areas. */
	if (s->log == STORE_LOG_JOURNAL && s->journal == NULL && store_has_memtable(s))
		return false;
	return file_free_bytes(s->dir, &room, NULL) < 0 || room >= VOLUME_ROOM;
}

static bool
is_due(const struct store *s)
{
	return memtable_bytes(s->active) >= s->table_bytes / 2 || memtable_count(s->active) >= TABLE_COUNT_SOFT ||
	       (s->journal != NULL && journal_room(s->journal) < AREA_ROOM_SOFT);
}

static bool
is_overdue(const struct store *s)
{
	return memtable_bytes(s->active) >= s->table_bytes ||
	       (s->journal != NULL && journal_room(s->journal) < journal_group_size(JOURNAL_GROUP_BYTES));
}

/* Have the active table flushed before it grows too large, and wait for that only if it must be. */
static int
make_way(struct store *s, struct sp_error *err)
{
	int rc;

	if (s->active == NULL || !is_due(s))
		return 0;
	if (!store_freeze(s) && is_overdue(s)) {
		rc = store_flush_frozen(s, err);
		if (rc < 0)
			return rc;
		store_freeze(s);
	}
	store_flush_soon(s);
	return 0;
}

/* The state that the group follows, and the tables. */
static int
open_tables(struct store_txn *t, struct sp_error *err)
{
	struct store *s = t->store;
	struct memtable *fresh = s->active == NULL ? memtable_new() : NULL;
	bool from_memory;

	if (s->active == NULL && fresh == NULL)
		return sp_error_set(err, SP_ENOMEM, "write to the store");
	pthread_mutex_lock(&s->memtable_lock);
	from_memory = s->active != NULL || s->frozen != NULL;
	t->frozen = memtable_ref(s->frozen);
	t->active = memtable_ref(s->active != NULL ? s->active : fresh);
	pthread_mutex_unlock(&s->memtable_lock);
	t->last = memtable_last(t->active);
	/* Begun after the tables were taken: what is flushed meanwhile is in either. */
	if (store_view_begin(s, &t->view, err) < 0) {
		memtable_unref(fresh);
		return err->code;
	}
	if (from_memory) {
		t->before = s->latest;
	} else if (meta_get(s, t->view->txn, &t->before, err) < 0) {
		memtable_unref(fresh);
		return err->code;
	}
	if (memtable_count(t->active) == 0)
		memtable_set_base(t->active, t->before.seq);
	pthread_mutex_lock(&s->memtable_lock);
	if (fresh != NULL)
		s->active = fresh;
	s->in_memory = true;
	s->latest = t->before;
	pthread_mutex_unlock(&s->memtable_lock);
	t->meta = t->before;
	return 0;
}

static void
close_tables(struct store_txn *t)
{
	store_view_end(t->view);
	memtable_unref(t->active);
	memtable_unref(t->frozen);
	buf_release(&t->ops);
	t->view = NULL;
	t->active = t->frozen = NULL;
}

static void
group_end(struct store_txn *t)
{
	close_tables(t);
	pthread_mutex_unlock(&t->store->write_lock);
	free(t);
}

int
store_txn_begin_group(struct store *s, size_t bytes, struct store_txn **out, struct sp_error *err)
{
	struct store_txn *t;
	int rc;

	pthread_mutex_lock(&s->write_lock);
	/* Without an environment, the usual way has the words for it. */
	if (s->env == NULL || !may_wait(s, bytes)) {
		pthread_mutex_unlock(&s->write_lock);
		return store_txn_begin(s, out, err);
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL) {
		pthread_mutex_unlock(&s->write_lock);
		return sp_error_set(err, SP_ENOMEM, "write to the store");
	}
	t->store = s;
	buf_init(&t->ops, JOURNAL_GROUP_BYTES);
	rc = make_way(s, err);
	if (rc == 0)
		rc = open_tables(t, err);
	if (rc < 0) {
		group_end(t);
		return rc;
	}
	*out = t;
	return 0;
}

/* Whether after the feed the store's state differs from the one before in what a group says alone: digest, keys and
 * seq, the last change's. */
static bool
is_group(const struct meta *m, const struct feed_info *info)
{
	if (!info->cut || info->records == 0 || info->seq != info->last_seq || !m->consistent || m->writer ||
	    m->applied_index > 0 || info->epoch != m->epoch || info->history_count != m->history_count)
		return false;
	for (size_t i = 0; i < m->history_count; i++)
		if (info->history[i].epoch != m->history[i].epoch || info->history[i].since != m->history[i].since)
			return false;
	return true;
}

int
store_txn_begin_feed(
    struct store *s, const struct feed_info *info, size_t bytes, struct store_txn **out, struct sp_error *err)
{
	struct store_txn *t;
	int rc;

	rc = store_txn_begin_group(s, bytes, &t, err);
	if (rc == 0 && t->txn == NULL && !is_group(&t->meta, info)) {
		store_txn_abort(t);
		rc = store_txn_begin(s, &t, err);
	}
	if (rc == 0)
		*out = t;
	return rc;
}

static void
header_of(const struct memtable_entry *e, struct record_header *out)
{
	*out = (struct record_header){ .seq = e->seq, .flags = e->is_delete ? RECORD_TOMBSTONE : 0, .hash = e->hash };
}

int
memtable_txn_find(struct store_txn *t, const MDB_val *key, struct record_header *out, struct sp_error *err)
{
	const struct memtable_entry *e = memtable_find(t->active, key->mv_data, key->mv_size, UINT64_MAX);

	if (e == NULL)
		e = memtable_find(t->frozen, key->mv_data, key->mv_size, UINT64_MAX);
	if (e == NULL)
		return store_find_record(t, t->view->txn, key, out, err);
	header_of(e, out);
	return 1;
}

int
memtable_txn_change(struct store_txn *t, const struct record_header *h, const MDB_val *key, const void *value,
    size_t value_len, struct sp_error *err)
{
	struct journal_op op = { .is_delete = (h->flags & RECORD_TOMBSTONE) != 0,
		/* A feed leaves out what a later change has replaced. */
		.seq = h->seq != t->meta.seq + 1 ? h->seq : 0,
		.key = key->mv_data,
		.key_len = key->mv_size,
		.value = value,
		.value_len = value_len };
	struct memtable_entry *e;
	int rc = 0;

	if (t->store->log == STORE_LOG_JOURNAL)
		rc = journal_add_op(&t->ops, &op);
	e = rc == 0 ? memtable_add(t->active, h->seq, key->mv_data, key->mv_size, value, value_len) : NULL;
	if (e == NULL) {
		t->broken = sp_error_set(err, rc < 0 ? rc : SP_ENOMEM, "write to the journal");
		return t->broken;
	}
	e->hash = h->hash;
	e->is_delete = op.is_delete;
	return 0;
}

/* The changes are on disk when this returns 0; the caller's log has it already. */
static int
append(struct store_txn *t, struct sp_error *err)
{
	struct store *s = t->store;
	struct journal_group g = { .epoch = t->meta.epoch,
		.base_seq = t->before.seq,
		.base_digest = t->before.digest,
		.seq = t->meta.seq,
		.digest = t->meta.digest,
		.keys = t->meta.keys };
	int rc = 0;

	if (s->log == STORE_LOG_CALLERS)
		return 0;
	memcpy(g.cluster, t->meta.cluster, sizeof(g.cluster));
	/* One of an earlier process, that could not be flushed at the start, has been since: see may_wait(). */
	if (s->journal == NULL)
		rc = journal_remove(s->dir, err);
	if (rc == 0 && s->journal == NULL)
		rc = journal_create(s->dir, s->sync_later, &s->journal, err);
	return rc == 0 ? journal_append(s->journal, &g, t->ops.data, t->ops.len, err) : rc;
}

/* With its last change the store is at this state. A group without a change leads to the one that was there. */
static void
end_group(struct memtable *table, const struct meta *m)
{
	struct memtable_entry *last = memtable_last(table);

	if (last == NULL)
		return;
	last->ends_group = true;
	last->applied_index = m->applied_index;
	last->applied_term = m->applied_term;
}

int
memtable_txn_commit(struct store_txn *t, struct sp_error *err)
{
	struct store *s = t->store;
	bool first;
	int rc;

	/* Not held while the disk works: a thread that grows the map waits for it. */
	store_view_end(t->view);
	t->view = NULL;
	FAULT_POINT("journal.ready");
	rc = append(t, err);
	FAULT_POINT("journal.synced");
	if (rc < 0) {
		memtable_txn_abort(t);
		return rc;
	}
	end_group(t->active, &t->meta);
	pthread_mutex_lock(&s->memtable_lock);
	s->latest = t->meta;
	memtable_publish(t->active);
	first = s->flush_at_ms == 0;
	if (first) {
		s->flush_at_ms = clock_mono_ms() + STORE_FLUSH_EVERY_MS;
		pthread_cond_signal(&s->flush_wake);
	}
	pthread_mutex_unlock(&s->memtable_lock);
	group_end(t);
	return 0;
}

/* A change that is taken back leaves its memory in the table, and a table that holds nothing else
 * is never flushed: groups that fail one after another would make it grow without end. The next
 * group begins another. */
static void
drop_empty(struct store *s)
{
	struct memtable *empty = NULL;

	pthread_mutex_lock(&s->memtable_lock);
	if (memtable_count(s->active) == 0 && s->latest.applied_index <= s->flushed_applied) {
		empty = s->active;
		s->active = NULL;
		s->in_memory = s->frozen != NULL;
	}
	pthread_mutex_unlock(&s->memtable_lock);
	memtable_unref(empty);
}

void
memtable_txn_abort(struct store_txn *t)
{
	memtable_rewind(t->active, t->last);
	drop_empty(t->store);
	group_end(t);
}

/* --- After a crash --- */

struct loading {
	struct store_txn txn; /* of which finding a record needs the view and the table */
	struct meta meta;
	struct memtable *table;
};

static int
load_change(struct loading *l, const struct journal_op *op, struct sp_error *err)
{
	MDB_val key = { .mv_size = op->key_len, .mv_data = (void *)(uintptr_t)op->key };
	struct record_header old,
	    h = { .seq = op->seq != 0 ? op->seq : l->meta.seq + 1, .flags = op->is_delete ? RECORD_TOMBSTONE : 0 };
	struct memtable_entry *e;
	int rc;

	if (op->key_len > STORE_KEY_MAX)
		return sp_error_set(err, SP_EBADDATA, "a key of %zu bytes", op->key_len);
	if (h.seq <= l->meta.seq)
		return sp_error_set(err, SP_EBADDATA, "seq %llu follows %llu", (unsigned long long)h.seq,
		    (unsigned long long)l->meta.seq);
	rc = memtable_txn_find(&l->txn, &key, &old, err);
	if (rc < 0)
		return rc;
	e = memtable_add(l->table, h.seq, op->key, op->key_len, op->value, op->value_len);
	if (e == NULL)
		return sp_error_set(err, SP_ENOMEM, "read the journal");
	if (!op->is_delete)
		h.hash = digest_of_record(op->key, op->key_len, h.seq, op->value, op->value_len);
	e->hash = h.hash;
	e->is_delete = op->is_delete;
	meta_count(&l->meta, h.seq, rc == 1 ? &old : NULL, &h);
	return 0;
}

static int
load_group(const struct journal_group *g, const void *ops, size_t len, void *arg, struct sp_error *err)
{
	struct loading *l = arg;
	struct journal_op op;
	size_t at = 0;
	int rc = 0, more;

	/* LMDB was brought up to it before the end came. */
	if (g->seq <= l->meta.seq)
		return 0;
	/* Earlier changes did not get to the disk; the rest of it was in the area before this
	 * one. */
	if (l->txn.store->tail_lost && g->base_seq > l->meta.seq &&
	    memcmp(g->cluster, l->meta.cluster, sizeof(g->cluster)) == 0)
		return JOURNAL_END;
	if (memcmp(g->cluster, l->meta.cluster, sizeof(g->cluster)) != 0 || g->epoch != l->meta.epoch ||
	    g->base_seq != l->meta.seq || !digest_equal(g->base_digest, l->meta.digest))
		return sp_error_set(err, SP_EBADDATA,
		    "it holds the changes from %llu on of another state of the store than data.mdb, which ends with "
		    "%llu; where that one was put here on purpose, delete the journal",
		    (unsigned long long)g->base_seq + 1, (unsigned long long)l->meta.seq);
	while ((more = journal_next_op(ops, len, &at, &op)) == 1 && rc == 0)
		rc = load_change(l, &op, err);
	if (rc < 0)
		return rc;
	if (more < 0 || l->meta.seq != g->seq || l->meta.keys != g->keys || !digest_equal(l->meta.digest, g->digest))
		return sp_error_set(err, SP_EBADDATA, "its changes up to %llu do not lead to the state that it says",
		    (unsigned long long)g->seq);
	end_group(l->table, &l->meta);
	return 0;
}

static int
load(struct store *s, struct loading *l, struct sp_error *err)
{
	int rc;

	rc = meta_get(s, l->txn.view->txn, &l->meta, err);
	if (rc < 0)
		return rc;
	s->flushed_seq = l->meta.seq;
	s->flushed_applied = l->meta.applied_index;
	memtable_set_base(l->table, l->meta.seq);
	s->tail_lost = journal_in_doubt(s->dir);
	rc = journal_read(s->dir, load_group, l, err);
	if (rc < 0)
		return rc == SP_ENOTFOUND ? 0 : rc;
	if (memtable_count(l->table) == 0)
		return 0;
	pthread_mutex_lock(&s->memtable_lock);
	memtable_publish(l->table);
	s->frozen = memtable_ref(l->table);
	s->frozen_meta = s->latest = l->meta;
	s->in_memory = true;
	pthread_mutex_unlock(&s->memtable_lock);
	FAULT_POINT("journal.loaded");
	return 0;
}

int
store_memtable_load(struct store *s, struct sp_error *err)
{
	struct store_view view = { .store = s };
	struct loading l = { .txn = { .store = s, .view = &view } };
	int rc;

	l.table = l.txn.active = memtable_new();
	if (l.table == NULL)
		return sp_error_set(err, SP_ENOMEM, "read the journal");
	rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &view.txn);
	if (rc == 0) {
		rc = load(s, &l, err);
		mdb_txn_abort(view.txn);
	} else {
		rc = store_error(err, rc, "read the store");
	}
	memtable_unref(l.table);
	return rc;
}
