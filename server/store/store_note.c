/* Notes: named records in `meta` beside the store's own. */
#include <string.h>

#include "server/store/store_internal.h"

static int
get_note(struct store *s, MDB_txn *txn, const char *name, struct buf *out, struct sp_error *err)
{
	MDB_val key = { .mv_size = strlen(name), .mv_data = (void *)(uintptr_t)name };
	MDB_val value;
	int rc;

	rc = mdb_get(txn, s->meta, &key, &value);
	if (rc != 0)
		return store_error(err, rc, "note \"%s\"", name);
	return buf_add(out, value.mv_data, value.mv_size) < 0 ? sp_error_set(err, SP_ETOOBIG, "note \"%s\"", name) : 0;
}

int
store_txn_note_get(struct store_txn *t, const char *name, struct buf *out, struct sp_error *err)
{
	return get_note(t->store, t->txn, name, out, err);
}

int
store_txn_note_put(struct store_txn *t, const char *name, const void *data, size_t len, struct sp_error *err)
{
	MDB_val key = { .mv_size = strlen(name), .mv_data = (void *)(uintptr_t)name };
	MDB_val value = { .mv_size = len, .mv_data = (void *)(uintptr_t)data };
	int rc;

	rc = mdb_put(t->txn, t->store->meta, &key, &value, 0);
	if (rc == 0) {
		t->changed = true;
		return 0;
	}
	t->broken = store_error(err, rc, "note \"%s\"", name);
	return t->broken;
}

int
store_note(struct store *s, const char *name, struct buf *out, struct sp_error *err)
{
	struct store_view *view;
	int rc;

	rc = store_view_begin(s, &view, err);
	if (rc < 0)
		return rc;
	rc = get_note(s, view->txn, name, out, err);
	store_view_end(view);
	return rc;
}
