/*
 * The walk that verifies a store: one version of it, in steps.
 *
 * A read transaction T keeps the version; between two steps nothing is locked, so that a thread
 * that grows the map or closes the store need not wait for the walk. LMDB looks pages up by number
 * in the map of the moment, so T itself outlives a map that moves, as store_pin.c's does; a cursor
 * does not, and each step begins with a new one.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "server/store/store_internal.h"

#define STEP_MS 20

/* The findings so far, and where to continue. */
struct store_walk {
	struct store *store;
	struct store_hold hold;

	bool by_seq; /* the second half: the index */
	size_t after_len;
	unsigned char after[STORE_KEY_MAX];
	uint64_t since;

	struct position position;
	struct digest sum, indexed;
	uint64_t live, listed, deleted;
	size_t tombstones;
};

void
store_holds_end(struct store *s)
{
	pthread_mutex_lock(&s->pins_lock);
	for (struct store_hold *h = s->holds; h != NULL; h = h->next) {
		mdb_txn_abort(h->txn);
		h->txn = NULL;
	}
	s->holds = NULL;
	pthread_mutex_unlock(&s->pins_lock);
}

static int
lock_open(struct store *s, struct sp_error *err)
{
	pthread_rwlock_rdlock(&s->env_lock);
	if (s->env != NULL)
		return 0;
	pthread_rwlock_unlock(&s->env_lock);
	return s->known ? sp_error_set(err, SP_EAGAIN, "the store is released for reseeding")
			: sp_error_set(err, SP_ENOTFOUND, "there is no store here yet");
}

static int
begin(struct store_walk *w, struct sp_error *err)
{
	struct store *s = w->store;
	struct store_view view = { .store = s };
	MDB_stat tombstones;
	int rc;

	rc = lock_open(s, err);
	if (rc < 0)
		return rc;
	rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &w->hold.txn);
	if (rc != 0) {
		pthread_rwlock_unlock(&s->env_lock);
		return store_error(err, rc, "read the store");
	}
	pthread_mutex_lock(&s->pins_lock);
	w->hold.next = s->holds;
	s->holds = &w->hold;
	pthread_mutex_unlock(&s->pins_lock);
	view.txn = w->hold.txn;
	rc = store_view_position(&view, &w->position, err);
	if (rc == 0) {
		mdb_stat(view.txn, s->tombstones, &tombstones);
		w->tombstones = tombstones.ms_entries;
	}
	pthread_rwlock_unlock(&s->env_lock);
	return rc;
}

static void
end(struct store_walk *w)
{
	struct store *s = w->store;

	pthread_rwlock_rdlock(&s->env_lock);
	if (w->hold.txn != NULL) {
		pthread_mutex_lock(&s->pins_lock);
		for (struct store_hold **at = &s->holds; *at != NULL; at = &(*at)->next) {
			if (*at == &w->hold) {
				*at = w->hold.next;
				break;
			}
		}
		pthread_mutex_unlock(&s->pins_lock);
		mdb_txn_abort(w->hold.txn);
	}
	pthread_rwlock_unlock(&s->env_lock);
}

static void
count(struct store_walk *w, const struct store_record *r)
{
	struct digest *sum = w->by_seq ? &w->indexed : &w->sum;

	if (w->by_seq) {
		w->since = r->seq;
	} else {
		memcpy(w->after, r->key, r->key_len);
		w->after_len = r->key_len;
	}
	if (r->is_delete) {
		w->deleted++;
		return;
	}
	*sum = digest_add(*sum, digest_of_record(r->key, r->key_len, r->seq, r->value, r->value_len));
	if (w->by_seq)
		w->listed++;
	else
		w->live++;
}

/* Up to so many records more: 1 if there are others, 0 at the end of this half, or an error. */
static int
step(struct store_walk *w, unsigned left, struct sp_error *err)
{
	int64_t until_ms = clock_mono_ms() + STEP_MS;
	struct store_view view = { .store = w->store };
	struct store_cursor *c = NULL;
	struct store_record r;
	int rc;

	rc = lock_open(w->store, err);
	if (rc < 0)
		return rc;
	view.txn = w->hold.txn;
	if (view.txn == NULL)
		/* Closed and opened again: what is open now is another. */
		rc = sp_error_set(err, SP_EAGAIN, "the store was released");
	else if (w->by_seq)
		rc = store_cursor_changes(&view, w->since, &c, err);
	else
		rc = store_cursor_keys(&view, w->after_len > 0 ? w->after : NULL, w->after_len, &c, err);
	while (rc == 0 && (rc = store_cursor_next(c, &r, err)) == 1) {
		count(w, &r);
		if (--left == 0 || clock_mono_ms() >= until_ms)
			break;
		rc = 0;
	}
	store_cursor_free(c);
	pthread_rwlock_unlock(&w->store->env_lock);
	return rc;
}

static int
judge(const struct store_walk *w, struct sp_error *err)
{
	char expected_hex[DIGEST_HEX_SIZE], found_hex[DIGEST_HEX_SIZE];
	const struct position *p = &w->position;

	digest_to_hex(p->digest, expected_hex);
	digest_to_hex(w->sum, found_hex);
	if (!digest_equal(p->digest, w->sum))
		return sp_error_set(
		    err, SP_EBADDATA, "digest is %s, the records sum up to %s", expected_hex, found_hex);
	if (w->live != p->keys || w->listed != p->keys)
		return sp_error_set(err, SP_EBADDATA, "%llu keys are counted, %llu found, %llu indexed",
		    (unsigned long long)p->keys, (unsigned long long)w->live, (unsigned long long)w->listed);
	if (w->tombstones != w->deleted)
		return sp_error_set(err, SP_EBADDATA, "%llu deletions are indexed by seq, %zu by time",
		    (unsigned long long)w->deleted, w->tombstones);
	return 0;
}

int
store_walk_new(struct store *s, struct store_walk **out, struct sp_error *err)
{
	struct store_walk *w = calloc(1, sizeof(*w));
	int rc;

	if (w == NULL)
		return sp_error_set(err, SP_ENOMEM, "read the store");
	w->store = s;
	rc = begin(w, err);
	if (rc < 0)
		store_walk_free(w);
	else
		*out = w;
	return rc;
}

int
store_walk_step(struct store_walk *w, unsigned records, struct sp_error *err)
{
	int rc;

	rc = step(w, records, err);
	if (rc != 0)
		return rc;
	if (w->by_seq)
		return judge(w, err);
	w->by_seq = true;
	return 1;
}

const struct position *
store_walk_position(const struct store_walk *w)
{
	return &w->position;
}

void
store_walk_free(struct store_walk *w)
{
	if (w == NULL)
		return;
	end(w);
	free(w);
}

int
store_verify(struct store *s, struct digest *found, struct sp_error *err)
{
	struct store_walk *w;
	int rc;

	rc = store_walk_new(s, &w, err);
	if (rc < 0)
		return rc;
	while ((rc = store_walk_step(w, STORE_WALK_RECORDS, err)) == 1)
		;
	if (rc == 0)
		*found = w->sum;
	store_walk_free(w);
	return rc;
}
