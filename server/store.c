#include "server/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uuid.h>

#include "lib/clock.h"
#include "lib/cond.h"
#include "lib/fault.h"
#include "lib/file.h"
#include "lib/log.h"
#include "server/store_internal.h"

struct store *
store_new(const struct store_options *o, struct sp_error *err)
{
	pthread_rwlockattr_t attr;
	struct store *s;

	if (strlen(o->dir) >= sizeof(s->dir)) {
		sp_error_set(err, SP_ETOOBIG, "store directory «%s»: the path is too long", o->dir);
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
	s->flushed = o->flushed;
	s->failed = o->failed;
	s->arg = o->arg;
	/* Without this, a stream of readers keeps whoever wants to grow the map waiting for ever. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&s->env_lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&s->write_lock, NULL);
	pthread_mutex_init(&s->pool_lock, NULL);
	pthread_mutex_init(&s->pins_lock, NULL);
	pthread_mutex_init(&s->flush_lock, NULL);
	pthread_mutex_init(&s->recent_lock, NULL);
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
	pthread_mutex_destroy(&s->recent_lock);
	pthread_cond_destroy(&s->flush_wake);
	free(s);
}

static int
open_databases(struct store *s, MDB_txn *txn, unsigned create)
{
	int rc;

	rc = mdb_dbi_open(txn, "kv", create, &s->kv);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "by_seq", create | MDB_INTEGERKEY, &s->by_seq);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "tombstones", create | MDB_INTEGERKEY, &s->tombstones);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "meta", create, &s->meta);
	return rc;
}

/* A new cluster: epoch 1 begins at nothing. */
static int
write_first_state(struct store *s, MDB_txn *txn)
{
	struct meta m = { .epoch = 1, .consistent = true, .writer = true, .history_count = 1 };

	m.history[0] = (struct epoch_start){ .epoch = 1, .since = 0 };
	uuid_generate(m.cluster);
	return meta_put(s, txn, &m);
}

static int
open_env(struct store *s, const char *dir, enum store_attach how, MDB_env **out, struct sp_error *err)
{
	unsigned flags = MDB_NOTLS;
	MDB_env *env = NULL;
	int rc, code;

	rc = mdb_env_create(&env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(env, 8);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(env, STORE_READERS_MAX);
	if (rc == 0 && how != STORE_READONLY)
		rc = mdb_env_set_mapsize(env, s->map_size);
	if (how == STORE_READONLY)
		flags |= MDB_RDONLY | MDB_NOLOCK;
	if (how == STORE_EXISTING && s->sync_later)
		flags |= MDB_NOSYNC;
	if (rc == 0 && (code = store_check_structure(dir, false, err)) < 0) {
		mdb_env_close(env);
		return code;
	}
	if (rc == 0)
		rc = mdb_env_open(env, dir, flags, 0600);
	if (rc != 0) {
		mdb_env_close(env);
		return store_error(err, rc, "%s: open", dir);
	}
	*out = env;
	return 0;
}

/* An empty store in `dir`, on disk. */
static int
write_empty(struct store *s, const char *dir, struct sp_error *err)
{
	MDB_env *env;
	MDB_txn *txn;
	int rc;

	rc = open_env(s, dir, STORE_CREATE, &env, err);
	if (rc < 0)
		return rc;
	rc = mdb_txn_begin(env, NULL, 0, &txn);
	if (rc == 0) {
		rc = open_databases(s, txn, MDB_CREATE);
		if (rc == 0)
			rc = write_first_state(s, txn);
		FAULT_POINT("create.filled");
		if (rc == 0)
			rc = mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
	mdb_env_close(env);
	return rc == 0 ? 0 : store_error(err, rc, "%s: create", dir);
}

/* That the directory is there must be on disk before anything is answered from what it holds. */
static int
sync_parent(const char *dir, struct sp_error *err)
{
	char path[sizeof(((struct store *)0)->dir) + 4];

	snprintf(path, sizeof(path), "%s/..", dir);
	return file_sync_dir(path, err);
}

static int
remove_fresh(struct store *s, struct sp_error *err)
{
	char fresh[sizeof(s->dir) + 16];

	snprintf(fresh, sizeof(fresh), "%s.new", s->dir);
	return file_remove_tree(fresh, err);
}

/* Make an empty store beside `dir` and move its file in: whenever that is interrupted, there is a whole store or none.
 */
static int
create(struct store *s, struct sp_error *err)
{
	char fresh[sizeof(s->dir) + 16], from[sizeof(fresh) + 16], to[sizeof(fresh)];
	int rc;

	snprintf(fresh, sizeof(fresh), "%s.new", s->dir);
	snprintf(from, sizeof(from), "%s/data.mdb", fresh);
	snprintf(to, sizeof(to), "%s/data.mdb", s->dir);
	rc = remove_fresh(s, err);
	if (rc == 0)
		rc = file_make_dirs(fresh, err);
	if (rc == 0)
		rc = file_make_dirs(s->dir, err);
	if (rc == 0)
		rc = sync_parent(s->dir, err);
	FAULT_POINT("create.directories");
	if (rc == 0)
		rc = write_empty(s, fresh, err);
	FAULT_POINT("create.written");
	if (rc == 0 && rename(from, to) < 0)
		rc = sp_error_errno(err, errno, "%s: create", to);
	FAULT_POINT("create.renamed");
	if (rc == 0)
		rc = file_sync_dir(s->dir, err);
	if (rc == 0)
		rc = remove_fresh(s, err);
	return rc;
}

/* Open the databases in an environment that is open. */
static int
open_inside(struct store *s, MDB_env *env, enum store_attach how, struct sp_error *err)
{
	struct meta m;
	MDB_stat stat;
	MDB_txn *txn;
	int rc;

	rc = store_check_length(s, env, err);
	if (rc < 0)
		return rc;
	mdb_env_stat(env, &stat);
	s->page_size = stat.ms_psize;
	rc = mdb_txn_begin(env, NULL, how == STORE_READONLY ? MDB_RDONLY : 0, &txn);
	if (rc != 0)
		return store_error(err, rc, "%s: open", s->dir);
	rc = open_databases(s, txn, 0);
	if (rc != 0) {
		mdb_txn_abort(txn);
		/* A named database that is missing is no «not found» to whoever asked for a store. */
		return store_error(err, rc == MDB_NOTFOUND ? MDB_INCOMPATIBLE : rc, "%s: not a seedpod store", s->dir);
	}
	rc = meta_get(s, txn, &m, err);
	if (rc < 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	/* Also a read-only one must be committed for the handles to stay. */
	rc = mdb_txn_commit(txn);
	return rc == 0 ? 0 : store_error(err, rc, "%s: open", s->dir);
}

static int
attach(struct store *s, enum store_attach how, struct sp_error *err)
{
	char data[sizeof(s->dir) + 16];
	struct stat st = { .st_size = 0 };
	MDB_env *env;
	int rc = 0;

	snprintf(data, sizeof(data), "%s/data.mdb", s->dir);
	if (stat(data, &st) < 0 && errno != ENOENT && errno != ENOTDIR)
		return sp_error_errno(err, errno, "%s", data);
	/* What is left of a first store whose making was killed right after the file was in place. */
	if (st.st_size > 0 && how == STORE_CREATE && (rc = remove_fresh(s, err)) < 0)
		return rc;
	/* Nothing was ever stored in an empty file, but LMDB would make an environment of its own of it. */
	if (st.st_size == 0 && how == STORE_CREATE)
		rc = create(s, err);
	else if (st.st_mode == 0)
		rc = sp_error_set(err, SP_ENOTFOUND, "%s: no store", s->dir);
	else if (st.st_size == 0 || !S_ISREG(st.st_mode))
		rc = sp_error_set(err, SP_EBADDATA, "%s: not a seedpod store: %s", data,
		    S_ISREG(st.st_mode) ? "an empty file" : "not a file");
	if (rc == 0)
		rc = open_env(s, s->dir, how == STORE_READONLY ? how : STORE_EXISTING, &env, err);
	if (rc != 0)
		return rc;
	rc = open_inside(s, env, how, err);
	if (rc < 0) {
		mdb_env_close(env);
		return rc;
	}
	s->env = env;
	s->readonly = how == STORE_READONLY;
	s->known = true;
	return 0;
}

/* Put what an earlier process left in the journal into LMDB, so that the journal can begin anew. With write_lock held.
 */
static int
settle_journal(struct store *s, struct sp_error *err)
{
	int rc = 0;

	if (store_has_recent(s)) {
		log_info("the journal holds changes that LMDB does not have yet", LOG_U64("from", s->flushed_seq + 1),
		    LOG_U64("to", s->latest.seq));
		rc = store_flush_frozen(s, err);
		if (rc == 0 && s->sync_later)
			rc = store_sync(s, err);
	}
	/* It can be read all the same, from memory. */
	if (rc == SP_ENOSPACE) {
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
	rc = s->env != NULL ? sp_error_set(err, SP_EINTERNAL, "%s: open already", s->dir) : attach(s, how, err);
	if (rc == 0) {
		rc = store_recent_load(s, err);
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
			store_recent_end(s, true, NULL);
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
		if (s->sync_later && mdb_env_sync(s->env, 1) != 0)
			rc = SP_EIO;
		close_env(s);
		if (store_recent_end(s, flush < 0 || rc < 0, &err) < 0 || flush == SP_EIO)
			rc = SP_EIO;
	}
	pthread_mutex_unlock(&s->write_lock);
	return rc;
}

int
store_sync(struct store *s, struct sp_error *err)
{
	int rc = 0;

	pthread_rwlock_rdlock(&s->env_lock);
	if (s->env == NULL)
		rc = sp_error_set(err, SP_EAGAIN, "the store is released");
	else if ((rc = mdb_env_sync(s->env, 1)) != 0)
		/* Whatever the reason: what was committed before may be lost, and the next sync would not say so. */
		rc = sp_error_set(err, SP_EIO, "sync: %s", mdb_strerror(rc));
	pthread_rwlock_unlock(&s->env_lock);
	return rc;
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
