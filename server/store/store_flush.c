/*
 * Bringing LMDB up to the log: the active table is frozen, its records are put into LMDB in one
 * transaction, or in several if that would take too much memory, and synced. A record that is
 * replaced within the transaction is left out, and pages that many records change are written once:
 * this is the purpose of the log.
 */

#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "server/store/store_internal.h"

#define RETRY_MS 1000 /* after a flush that failed */

bool
store_freeze(struct store *s)
{
	bool frozen = false;

	pthread_mutex_lock(&s->memtable_lock);
	if (s->frozen == NULL && s->active != NULL &&
	    (memtable_count(s->active) > 0 || s->latest.applied_index > s->flushed_applied)) {
		s->frozen = s->active;
		s->frozen_meta = s->latest;
		s->active = NULL;
		if (s->journal != NULL)
			journal_switch(s->journal);
		frozen = true;
	}
	pthread_mutex_unlock(&s->memtable_lock);
	return frozen;
}

/* How far the frozen table has come. */
struct piece {
	const struct memtable_entry *next; /* of the next transaction; NULL: none is left */
	struct meta done;                  /* LMDB after the last one */
	struct meta end;                   /* and as it is to be when the table is done */
};

/* The last record of the next transaction: where a group ends. */
static const struct memtable_entry *
piece_end(const struct memtable_entry *first, size_t most)
{
	const struct memtable_entry *e = first;

	for (size_t n = 1; e->next != NULL && (n < most || !e->ends_group); n++)
		e = e->next;
	return e;
}

static size_t
records_at_once(struct store *s, MDB_txn *txn)
{
	size_t pages = s->flush_bytes / s->page_size;
	MDB_stat records, index;

	/* A record changes a leaf of each of the two. */
	if (mdb_stat(txn, s->kv, &records) != 0 || mdb_stat(txn, s->by_seq, &index) != 0)
		return pages / 2;
	return records.ms_leaf_pages + index.ms_leaf_pages <= pages ? SIZE_MAX : pages / 2;
}

static int
put_records(
    struct store_txn *t, const struct memtable_entry *first, const struct memtable_entry *last, struct sp_error *err)
{
	int rc = 0;

	for (const struct memtable_entry *e = first; rc == 0; e = e->next) {
		if (e->newer_seq == 0 || e->newer_seq > last->seq)
			rc = e->is_delete ? store_delete_at(t, e->seq, e->bytes, e->key_len, err)
					  : store_put_at(t, e->seq, e->bytes, e->key_len, e->bytes + e->key_len,
						e->value_len, err);
		if (e == last)
			break;
	}
	/* The last one may have been left out. */
	t->meta.seq = last->seq;
	t->meta.applied_index = last->applied_index;
	t->meta.applied_term = last->applied_term;
	return rc;
}

/* Put the next records, from p->next on, into a transaction, and move p on to the ones after them. */
static int
put_piece(struct store_txn *t, struct piece *p, struct sp_error *err)
{
	const struct memtable_entry *first = p->next, *last;
	uint64_t before;
	int rc;

	if (first == NULL)
		return 0;
	before = first->previous != NULL ? first->previous->seq : memtable_base(t->store->frozen);
	if (t->meta.seq != before)
		return sp_error_set(err, SP_EINTERNAL, "flush the log: it goes on after %llu, the store ends with %llu",
		    (unsigned long long)before, (unsigned long long)t->meta.seq);
	last = piece_end(first, records_at_once(t->store, t->txn));
	rc = put_records(t, first, last, err);
	p->next = last->next;
	return rc;
}

/* The table's end: before it is published, LMDB and the log must have come to the same. */
static int
end_table(struct store_txn *t, const struct meta *end, struct sp_error *err)
{
	if (t->meta.seq != end->seq || t->meta.keys != end->keys || !digest_equal(t->meta.digest, end->digest))
		return sp_error_set(err, SP_EDIGEST, "flush the log: its changes lead to another digest");
	/* Entries of the log that changed nothing may have followed the last change. */
	t->meta.applied_index = end->applied_index;
	t->meta.applied_term = end->applied_term;
	return 0;
}

/* One transaction, from p->next on. */
static int
flush_piece(struct store *s, struct piece *p, struct sp_error *err)
{
	struct store_txn t = { .store = s };
	int rc;

	rc = mdb_txn_begin(s->env, NULL, 0, &t.txn);
	if (rc != 0)
		return store_error(err, rc, "flush the log");
	rc = meta_get(s, t.txn, &t.meta, err);
	if (rc == 0)
		rc = put_piece(&t, p, err);
	if (rc == 0 && p->next == NULL)
		rc = end_table(&t, &p->end, err);
	if (rc != 0) {
		mdb_txn_abort(t.txn);
		return rc;
	}
	p->done = t.meta;
	return store_commit_lmdb(&t, err);
}

static int
flush_piece_growing(struct store *s, struct piece *p, struct sp_error *err)
{
	const struct memtable_entry *first = p->next;
	int rc;

	for (;;) {
		pthread_rwlock_rdlock(&s->env_lock);
		rc = s->env != NULL ? flush_piece(s, p, err) : sp_error_set(err, SP_EAGAIN, "the store is released");
		pthread_rwlock_unlock(&s->env_lock);
		if (rc != SP_EMAPFULL)
			return rc;
		p->next = first;
		rc = store_grow(s, err);
		if (rc < 0)
			return rc;
		log_info("store map grown");
	}
}

void
store_flushed(struct store *s, const struct meta *m)
{
	pthread_mutex_lock(&s->memtable_lock);
	s->flushed_seq = m->seq;
	s->flushed_applied = m->applied_index;
	pthread_mutex_unlock(&s->memtable_lock);
	if (s->flushed != NULL && m->consistent)
		s->flushed(m->seq, s->arg);
}

/* When to flush again, after a flush. With memtable_lock held. */
static void
plan_next(struct store *s)
{
	s->in_memory = s->active != NULL;
	if (s->latest.seq <= s->flushed_seq || s->active == NULL)
		s->flush_at_ms = 0;
	else if (s->flush_wanted_seq > s->flushed_seq)
		s->flush_at_ms = 1;
	else
		s->flush_at_ms = clock_mono_ms() + STORE_FLUSH_EVERY_MS;
}

/* With flush_lock held. */
static int
flush_frozen(struct store *s, struct sp_error *err)
{
	struct memtable *table;
	struct piece p = { 0 };
	int rc;

	pthread_mutex_lock(&s->memtable_lock);
	table = s->frozen;
	p.end = s->frozen_meta;
	pthread_mutex_unlock(&s->memtable_lock);
	if (table == NULL)
		return 0;
	FAULT_POINT("flush.frozen");
	/* One that failed half way resumes where it stopped. */
	for (p.next = memtable_first(table); p.next != NULL && p.next->seq <= s->flushed_seq;)
		p.next = p.next->next;
	do {
		rc = flush_piece_growing(s, &p, err);
		if (rc != 0)
			return rc;
		store_flushed(s, &p.done);
	} while (p.next != NULL);
	FAULT_POINT("flush.done");
	pthread_mutex_lock(&s->memtable_lock);
	s->frozen = NULL;
	plan_next(s);
	pthread_mutex_unlock(&s->memtable_lock);
	memtable_unref(table);
	return 0;
}

int
store_flush_frozen(struct store *s, struct sp_error *err)
{
	int rc;

	pthread_mutex_lock(&s->flush_lock);
	rc = flush_frozen(s, err);
	atomic_store(&s->flush_failed, rc < 0);
	pthread_mutex_unlock(&s->flush_lock);
	return rc;
}

int
store_flush_locked(struct store *s, struct sp_error *err)
{
	int rc;

	rc = store_flush_frozen(s, err);
	if (rc == 0 && store_freeze(s))
		rc = store_flush_frozen(s, err);
	return rc;
}

/* Whether LMDB holds all up to this state. */
static bool
holds(struct store *s, const struct meta *m)
{
	bool is;

	pthread_mutex_lock(&s->memtable_lock);
	is = s->flushed_seq >= m->seq && s->flushed_applied >= m->applied_index;
	pthread_mutex_unlock(&s->memtable_lock);
	return is;
}

int
store_flush(struct store *s, struct sp_error *err)
{
	struct meta now = { 0 };
	int rc = 0;

	pthread_mutex_lock(&s->write_lock);
	pthread_mutex_lock(&s->memtable_lock);
	if (s->active != NULL || s->frozen != NULL)
		now = s->latest;
	pthread_mutex_unlock(&s->memtable_lock);
	pthread_mutex_unlock(&s->write_lock);
	/* Twice, where a table was frozen already. */
	while (rc == 0 && !holds(s, &now)) {
		pthread_mutex_lock(&s->write_lock);
		store_freeze(s);
		pthread_mutex_unlock(&s->write_lock);
		rc = store_flush_frozen(s, err);
	}
	return rc;
}

void
store_flush_soon(struct store *s)
{
	pthread_mutex_lock(&s->memtable_lock);
	s->flush_wanted_seq = s->latest.seq;
	if (s->flush_at_ms != 0) {
		s->flush_at_ms = 1;
		pthread_cond_signal(&s->flush_wake);
	}
	pthread_mutex_unlock(&s->memtable_lock);
}

bool
store_unflushed(struct store *s, uint64_t *seq)
{
	bool has;

	pthread_mutex_lock(&s->memtable_lock);
	has = (s->active != NULL || s->frozen != NULL) && s->latest.seq > s->flushed_seq;
	if (has)
		*seq = s->latest.seq;
	pthread_mutex_unlock(&s->memtable_lock);
	return has;
}

uint64_t
store_unflushed_changes(struct store *s, int64_t *age_ms)
{
	const struct memtable *oldest;
	uint64_t count = 0;

	*age_ms = 0;
	pthread_mutex_lock(&s->memtable_lock);
	oldest = s->frozen != NULL ? s->frozen : s->active;
	if (oldest != NULL && s->latest.seq > s->flushed_seq) {
		count = s->latest.seq - s->flushed_seq;
		*age_ms = clock_mono_ms() - memtable_made_ms(oldest);
	}
	pthread_mutex_unlock(&s->memtable_lock);
	return count;
}

uint64_t
store_flushed_seq(struct store *s)
{
	uint64_t seq;

	pthread_mutex_lock(&s->memtable_lock);
	seq = s->flushed_seq;
	pthread_mutex_unlock(&s->memtable_lock);
	return seq;
}

/* --- The thread --- */

static void
flush_turn(struct store *s, bool *complained)
{
	struct sp_error err = { 0 };
	int rc;

	pthread_mutex_lock(&s->write_lock);
	store_freeze(s);
	pthread_mutex_unlock(&s->write_lock);
	rc = store_flush_frozen(s, &err);
	if (rc == 0) {
		*complained = false;
		return;
	}
	if ((rc == SP_EIO || rc == SP_EPERM || rc == SP_EVOLUME || rc == SP_EDIGEST || rc == SP_EINTERNAL) &&
	    s->failed != NULL)
		s->failed(&err, s->arg);
	if (!*complained)
		log_error("the journal cannot be flushed; trying again", LOG_STR("error", err.text));
	*complained = true;
	pthread_mutex_lock(&s->memtable_lock);
	s->flush_at_ms = clock_mono_ms() + RETRY_MS;
	pthread_mutex_unlock(&s->memtable_lock);
}

static void *
flusher(void *arg)
{
	struct store *s = arg;
	bool complained = false;

	pthread_mutex_lock(&s->memtable_lock);
	while (!s->flusher_stops) {
		if (s->flush_at_ms == 0) {
			pthread_cond_wait(&s->flush_wake, &s->memtable_lock);
		} else if (clock_mono_ms() < s->flush_at_ms) {
			cond_wait_until(&s->flush_wake, &s->memtable_lock, s->flush_at_ms);
		} else {
			pthread_mutex_unlock(&s->memtable_lock);
			flush_turn(s, &complained);
			pthread_mutex_lock(&s->memtable_lock);
		}
	}
	pthread_mutex_unlock(&s->memtable_lock);
	return NULL;
}

int
store_flusher_start(struct store *s, struct sp_error *err)
{
	int rc;

	s->flusher_stops = false;
	rc = pthread_create(&s->flusher, NULL, flusher, s);
	if (rc != 0)
		return sp_error_errno(err, rc, "start the flush");
	s->flusher_runs = true;
	return 0;
}

void
store_flusher_stop(struct store *s)
{
	bool runs;

	pthread_mutex_lock(&s->memtable_lock);
	runs = s->flusher_runs;
	s->flusher_runs = false;
	s->flusher_stops = true;
	pthread_cond_signal(&s->flush_wake);
	pthread_mutex_unlock(&s->memtable_lock);
	if (runs)
		pthread_join(s->flusher, NULL);
}

int
store_memtable_end(struct store *s, bool keep, struct sp_error *err)
{
	struct memtable *active, *frozen;

	pthread_mutex_lock(&s->memtable_lock);
	active = s->active;
	frozen = s->frozen;
	s->active = s->frozen = NULL;
	s->in_memory = false;
	s->flush_at_ms = 0;
	pthread_mutex_unlock(&s->memtable_lock);
	memtable_unref(active);
	memtable_unref(frozen);
	journal_close(s->journal);
	s->journal = NULL;
	return keep ? 0 : journal_remove(s->dir, err);
}
