/* How a store's environment is opened, and how the first one is made. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include <uuid.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "server/store/store_internal.h"

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

/* The directory's entry must be on disk before anything is answered from its content. */
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
		/* To the caller, which asked for a store, a missing named database is not "not
		 * found". */
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

int
store_open(struct store *s, enum store_attach how, struct sp_error *err)
{
	char data[sizeof(s->dir) + 16];
	struct stat st = { .st_size = 0 };
	MDB_env *env;
	int rc = 0;

	snprintf(data, sizeof(data), "%s/data.mdb", s->dir);
	if (stat(data, &st) < 0 && errno != ENOENT && errno != ENOTDIR)
		return sp_error_errno(err, errno, "%s", data);
	/* The remains of a first store whose making was killed right after the file was in
	 * place. */
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
