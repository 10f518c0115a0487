#include "server/store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "server/store/store_internal.h"

struct store *
store_new(const struct store_options *o, struct sp_error *err)
{
	pthread_rwlockattr_t attr;
	struct store *s;

	if (strlen(o->dir) >= sizeof(s->dir)) {
		sp_error_set(err, SP_ETOOBIG, "store directory \"%s\": the path is too long", o->dir);
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		sp_error_set(err, SP_ENOMEM, "store");
		return NULL;
	}
	memcpy(s->dir, o->dir, strlen(o->dir) + 1);
	s->map_size = o->map_size;
	s->sync_later = o->sync_later;
	s->log = o->log;
	s->table_bytes = o->table_bytes > 0 ? o->table_bytes : 32u << 20;
	s->flush_bytes = o->flush_bytes > 0 ? o->flush_bytes : 64u << 20;
	s->flushed = o->flushed;
	s->failed = o->failed;
	s->arg = o->arg;
	/* Without this, a stream of readers keeps a thread that grows the map waiting for ever. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&s->env_lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&s->write_lock, NULL);
	pthread_mutex_init(&s->pool_lock, NULL);
	pthread_mutex_init(&s->pins_lock, NULL);
	pthread_mutex_init(&s->flush_lock, NULL);
	pthread_mutex_init(&s->memtable_lock, NULL);
	cond_init(&s->flush_wake);
	return s;
}

void
store_free(struct store *s)
{
	if (s == NULL)
		return;
	store_detach(s);
	pthread_rwlock_destroy(&s->env_lock);
	pthread_mutex_destroy(&s->write_lock);
	pthread_mutex_destroy(&s->pool_lock);
	pthread_mutex_destroy(&s->pins_lock);
	pthread_mutex_destroy(&s->flush_lock);
	pthread_mutex_destroy(&s->memtable_lock);
	pthread_cond_destroy(&s->flush_wake);
	free(s);
}

/*
 * The machine went down with changes on their way to the disk, and followers may have some that are
 * not here any more. Writes of this node from here on are another history, so it must begin an
 * epoch before it leads on. With write_lock held.
 */
static int
note_lost_tail(struct store *s, struct sp_error *err)
{
	struct store_txn t = { .store = s };
	int rc;

	rc = mdb_txn_begin(s->env, NULL, 0, &t.txn);
	if (rc != 0)
		return store_error(err, rc, "write to the store");
	rc = meta_get(s, t.txn, &t.meta, err);
	if (rc < 0 || !t.meta.writer || t.meta.tail_lost) {
		mdb_txn_abort(t.txn);
		return rc;
	}
	t.meta.tail_lost = true;
	return store_commit_lmdb(&t, err);
}

/* Put what an earlier process left in the journal into LMDB, so that the journal can begin anew. With write_lock held.
 */
static int
settle_journal(struct store *s, struct sp_error *err)
{
	int rc = 0;

	if (store_has_memtable(s)) {
		log_info("the journal holds changes that LMDB does not have yet", LOG_U64("from", s->flushed_seq + 1),
		    LOG_U64("to", s->latest.seq));
		rc = store_flush_frozen(s, err);
	}
	if (rc == 0 && s->tail_lost) {
		log_warn(
		    "the journal is in doubt, because the machine went down or a sync failed: the last changes may be "
		    "lost",
		    LOG_U64("seq", s->flushed_seq));
		while ((rc = note_lost_tail(s, err)) == SP_EMAPFULL && (rc = store_grow(s, err)) == 0)
			;
	}
	/* It can be read all the same, from memory. */
	if (rc == SP_ENOSPACE && !s->tail_lost) {
		log_error("the journal cannot be flushed; trying again", LOG_STR("error", err->text));
		s->flush_at_ms = clock_mono_ms();
		return store_flusher_start(s, err);
	}
	if (rc == 0)
		rc = journal_remove(s->dir, err);
	if (rc == 0 && s->log != STORE_LOG_NONE)
		rc = store_flusher_start(s, err);
	return rc;
}

static void
close_env(struct store *s)
{
	pthread_rwlock_wrlock(&s->env_lock);
	store_pins_kill(s);
	store_holds_end(s);
	store_pool_drain(s);
	mdb_env_close(s->env);
	s->env = NULL;
	pthread_rwlock_unlock(&s->env_lock);
}

int
store_attach(struct store *s, enum store_attach how, struct sp_error *err)
{
	int rc;

	pthread_mutex_lock(&s->write_lock);
	pthread_rwlock_wrlock(&s->env_lock);
	rc = s->env != NULL ? sp_error_set(err, SP_EINTERNAL, "%s: open already", s->dir) : store_open(s, how, err);
	if (rc == 0) {
		rc = store_memtable_load(s, err);
		if (rc < 0) {
			mdb_env_close(s->env);
			s->env = NULL;
		}
	}
	pthread_rwlock_unlock(&s->env_lock);
	if (rc == 0 && how != STORE_READONLY) {
		rc = settle_journal(s, err);
		if (rc < 0) {
			close_env(s);
			store_memtable_end(s, true, NULL);
		}
	}
	pthread_mutex_unlock(&s->write_lock);
	return rc;
}

int
store_detach(struct store *s)
{
	struct sp_error err;
	int rc = 0, flush = 0;

	store_flusher_stop(s);
	pthread_mutex_lock(&s->write_lock);
	if (s->env != NULL) {
		flush = s->readonly ? SP_EPERM : store_flush_locked(s, &err);
		if (flush < 0 && s->journal != NULL && journal_sync(s->journal, &err) < 0)
			rc = SP_EIO;
		close_env(s);
		if (store_memtable_end(s, flush < 0 || rc < 0, &err) < 0 || flush == SP_EIO)
			rc = SP_EIO;
	}
	pthread_mutex_unlock(&s->write_lock);
	return rc;
}

int
store_sync(struct store *s, struct sp_error *err)
{
	int rc = 0;

	pthread_mutex_lock(&s->write_lock);
	if (s->journal != NULL)
		rc = journal_sync(s->journal, err);
	pthread_mutex_unlock(&s->write_lock);
	if (rc < 0)
		return rc;
	pthread_rwlock_rdlock(&s->env_lock);
	if (s->env == NULL)
		rc = sp_error_set(err, SP_EAGAIN, "the store is released");
	else if ((rc = mdb_env_sync(s->env, 1)) != 0)
		/* Whatever the reason: what was committed before may be lost, and the next sync would not say so. */
		rc = sp_error_set(err, SP_EIO, "sync: %s", mdb_strerror(rc));
	pthread_rwlock_unlock(&s->env_lock);
	return rc;
}

bool
store_tail_lost(struct store *s)
{
	return s->tail_lost;
}

int
store_grow(struct store *s, struct sp_error *err)
{
	MDB_envinfo info;
	uint64_t room, used, size;
	int rc;

	pthread_rwlock_wrlock(&s->env_lock);
	if (s->env == NULL) {
		rc = sp_error_set(err, SP_EAGAIN, "the store is released");
		goto out;
	}
	rc = file_free_bytes(s->dir, &room, err);
	if (rc < 0)
		goto out;
	mdb_env_info(s->env, &info);
	used = ((uint64_t)info.me_last_pgno + 1) * s->page_size;
	size = info.me_mapsize * 2;
	if (size > used + room)
		size = (used + room) / s->page_size * s->page_size;
	if (size <= info.me_mapsize) {
		rc = sp_error_set(
		    err, SP_ENOSPACE, "%s: the volume is full (%llu bytes free)", s->dir, (unsigned long long)room);
		goto out;
	}
	/*
	 * LMDB asks for no transaction at all in the process. The lock sees to the views and the caller to its own;
	 * pinned ones do exist, but they only hold a reader's slot, which is not in the map, and never look at the map
	 * again.
	 */
	rc = mdb_env_set_mapsize(s->env, size);
	FAULT_POINT("store.grown");
	if (rc != 0)
		rc = store_error(err, rc, "%s: grow the map to %llu bytes", s->dir, (unsigned long long)size);
	else
		s->map_size = size;
out:
	pthread_rwlock_unlock(&s->env_lock);
	return rc;
}

bool
store_has_room(struct store *s)
{
	uint64_t room;

	return file_free_bytes(s->dir, &room, NULL) < 0 || room >= STORE_ROOM_BYTES;
}

bool
store_in_place(struct store *s)
{
	struct stat open, there;
	mdb_filehandle_t fd;
	char path[sizeof(s->dir) + 16];
	bool in_place = true;

	snprintf(path, sizeof(path), "%s/data.mdb", s->dir);
	pthread_rwlock_rdlock(&s->env_lock);
	if (s->env != NULL && mdb_env_get_fd(s->env, &fd) == 0 && fstat(fd, &open) == 0)
		in_place = stat(path, &there) == 0 ? open.st_dev == there.st_dev && open.st_ino == there.st_ino
						   : errno != ENOENT && errno != ENOTDIR;
	pthread_rwlock_unlock(&s->env_lock);
	return in_place;
}

void
store_sizes(struct store *s, uint64_t *map_bytes, uint64_t *file_bytes)
{
	MDB_envinfo info;
	struct stat st;
	mdb_filehandle_t fd;

	*map_bytes = *file_bytes = 0;
	pthread_rwlock_rdlock(&s->env_lock);
	if (s->env != NULL && mdb_env_info(s->env, &info) == 0 && mdb_env_get_fd(s->env, &fd) == 0) {
		*map_bytes = info.me_mapsize;
		if (fstat(fd, &st) == 0)
			*file_bytes = (uint64_t)st.st_size;
	}
	pthread_rwlock_unlock(&s->env_lock);
}
