/* The one transaction at a time that changes the store, from its begin to its end. */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/fault.h"
#include "server/store/store_internal.h"

int
store_txn_begin(struct store *s, struct store_txn **out, struct sp_error *err)
{
	struct store_txn *t = calloc(1, sizeof(*t));
	int rc;

	if (t == NULL)
		return sp_error_set(err, SP_ENOMEM, "write to the store");
	t->store = s;
	pthread_mutex_lock(&s->write_lock);
	rc = store_flush_locked(s, err);
	if (rc < 0)
		goto fail;
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
	if (t->txn == NULL) {
		memtable_txn_abort(t);
		return;
	}
	mdb_txn_abort(t->txn);
	txn_end(t);
}

/* LMDB gives up if the page that names the new version could not be written: no transaction may
 * begin then. */
static bool
gave_up(struct store *s)
{
	MDB_txn *probe;
	int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &probe);

	if (rc == 0)
		mdb_txn_abort(probe);
	return rc == MDB_PANIC;
}

int
store_commit_lmdb(struct store_txn *t, struct sp_error *err)
{
	int rc;

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
	if (rc != 0 && gave_up(t->store))
		rc = MDB_PANIC;
	return rc == 0 ? 0 : store_error(err, rc, "commit");
}

/* LMDB is where all is, and the groups to come follow this. */
static void
note_commit(struct store *s, const struct meta *m)
{
	pthread_mutex_lock(&s->memtable_lock);
	s->latest = *m;
	pthread_mutex_unlock(&s->memtable_lock);
	store_flushed(s, m);
}

int
store_txn_commit(struct store_txn *t, struct sp_error *err)
{
	int rc;

	if (!t->changed) {
		store_txn_abort(t);
		return 0;
	}
	if (t->txn == NULL)
		return memtable_txn_commit(t, err);
	rc = store_commit_lmdb(t, err);
	if (rc == 0)
		note_commit(t->store, &t->meta);
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
