#include "init/volume.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"

#define NAMED_MOST 3 /* files of others that a sentence names */

int
volume_init(struct volume *v, const char *data_dir, struct sp_error *err)
{
	const struct {
		char *out;
		const char *name;
	} paths[] = {
		{ v->lock, "lock" },
		{ v->store, "store" },
		{ v->incoming, "store.incoming" },
		{ v->ready, "store.ready" },
		{ v->old, "store.old" },
		{ v->raft, "raft" },
		{ v->seed_record, "seed.json" },
		{ v->origin, "seedpod.json" },
	};
	int rc;

	v->lock_fd = -1;
	if ((size_t)snprintf(v->data_dir, sizeof(v->data_dir), "%s", data_dir) >= sizeof(v->data_dir))
		return sp_error_set(err, SP_ETOOBIG, "server.data_dir is too long: %s", data_dir);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if ((rc = file_join(paths[i].out, VOLUME_PATH_MAX, data_dir, paths[i].name, err)) < 0)
			return rc;
	return 0;
}

/* A volume that cannot be used is the volume's fault, whatever errno said; missing rights keep their own code. */
static int
volume_fault(struct sp_error *err, int rc)
{
	if (rc == SP_EIO || rc == SP_ENOTFOUND) {
		err->code = SP_EVOLUME;
		return SP_EVOLUME;
	}
	return rc;
}

int
volume_lock(struct volume *v, struct sp_error *err)
{
	struct statvfs fs;
	struct stat st;
	int rc;

	if ((rc = file_make_dirs(v->data_dir, err)) < 0)
		return volume_fault(err, rc);
	if (statvfs(v->data_dir, &fs) == 0 && (fs.f_flag & ST_RDONLY) != 0)
		return sp_error_set(err, SP_EVOLUME, "%s is on a file system that is mounted read-only", v->data_dir);
	if (stat(v->store, &st) == 0 && !S_ISDIR(st.st_mode))
		return sp_error_set(err, SP_EVOLUME, "%s is no directory: it cannot be the store", v->store);
	if ((rc = file_lock(v->lock, err)) == SP_EAGAIN)
		return sp_error_wrap(err, "a server has the store open, or another seedpod-init is at work");
	if (rc < 0)
		return volume_fault(err, rc);
	v->lock_fd = rc;
	return 0;
}

void
volume_release(struct volume *v)
{
	if (v->lock_fd >= 0)
		close(v->lock_fd);
	v->lock_fd = -1;
}

static bool
is_dir(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A server that was killed while it made its first store leaves an empty file: nothing was ever written to that. */
static bool
holds_data(const char *store)
{
	char path[VOLUME_PATH_MAX];
	struct stat st;

	return file_join(path, sizeof(path), store, "data.mdb", NULL) == 0 && stat(path, &st) == 0 && st.st_size > 0;
}

void
volume_look(const struct volume *v, struct volume_state *out)
{
	out->store = holds_data(v->store);
	out->incoming = is_dir(v->incoming);
	out->ready = is_dir(v->ready);
	out->old = is_dir(v->old);
	out->raft = is_dir(v->raft);
}

/* Files that are there without a store having been. */
static bool
is_ours(const char *name)
{
	static const char *const names[] = { ".", "..", "lost+found", "lock", "store", "store.incoming", "store.ready",
		"store.old", "raft", "seed.json", "seedpod.json", "cluster", "unsynced", "control.sock",
		"init-failure.json" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

void
volume_describe_empty(const struct volume *v, char *out, size_t size)
{
	DIR *dir = opendir(v->data_dir);
	struct dirent *entry;
	size_t len, count = 0;

	snprintf(out, size, "there is no store in %.200s", v->data_dir);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (is_ours(entry->d_name))
			continue;
		len = strlen(out);
		if (count++ < NAMED_MOST)
			snprintf(out + len, size - len, "%s%.40s", count == 1 ? ", which holds other files (" : ", ",
			    entry->d_name);
	}
	if (dir != NULL)
		closedir(dir);
	len = strlen(out);
	if (count > NAMED_MOST)
		snprintf(out + len, size - len, " and %zu more)", count - NAMED_MOST);
	else if (count > 0)
		snprintf(out + len, size - len, ")");
}

const char *
volume_store_to_be(const struct volume *v)
{
	struct volume_state state;

	volume_look(v, &state);
	if (state.ready)
		return v->ready;
	if (!state.store && state.old)
		return v->old;
	return v->store;
}

int
volume_swap(const struct volume *v, struct sp_error *err)
{
	int rc;

	if (is_dir(v->store)) {
		if ((rc = file_remove_tree(v->old, err)) < 0)
			return rc;
		FAULT_POINT("volume.committed");
		if ((rc = file_rename_sync(v->store, v->old, err)) < 0)
			return rc;
		FAULT_POINT("volume.put_aside");
	}
	if ((rc = file_rename_sync(v->ready, v->store, err)) < 0)
		return rc;
	FAULT_POINT("volume.swapped");
	return 0;
}

/* The swap was begun without a commit, which no order of our steps does; what is there is still the only store. */
static int
go_back(const struct volume *v, struct sp_error *err)
{
	int rc;

	if ((rc = file_remove_tree(v->store, err)) < 0) /* holds no data: see volume_look() */
		return rc;
	FAULT_POINT("volume.empty_removed");
	if ((rc = file_rename_sync(v->old, v->store, err)) < 0)
		return rc;
	FAULT_POINT("volume.put_back");
	return 0;
}

int
volume_recover(const struct volume *v, char *did, size_t size, struct sp_error *err)
{
	struct volume_state state;
	int rc = 0;

	volume_look(v, &state);
	snprintf(did, size, "%s%s%s", state.incoming ? "removed a download that was not finished" : "",
	    state.incoming && (state.ready || state.old) ? "; " : "",
	    state.ready                ? "finished the swap to a store that was ready"
	    : state.old && state.store ? "removed the store that was replaced"
	    : state.old                ? "put the former store back"
				       : "");
	if (state.ready)
		rc = volume_swap(v, err);
	else if (state.old && !state.store)
		rc = go_back(v, err);
	if (rc == 0)
		rc = volume_clean(v, err);
	if (rc == 0 && did[0] != '\0')
		rc = file_sync_dir(v->data_dir, err);
	if (rc < 0)
		sp_error_wrap(err, "recover %s", v->data_dir);
	return rc;
}

int
volume_make_incoming(const struct volume *v, struct sp_error *err)
{
	int rc;

	if ((rc = file_remove_tree(v->incoming, err)) < 0 || (rc = file_make_dirs(v->incoming, err)) < 0)
		return volume_fault(err, rc);
	return 0;
}

int
volume_commit(const struct volume *v, struct sp_error *err)
{
	return file_rename_sync(v->incoming, v->ready, err);
}

int
volume_clean(const struct volume *v, struct sp_error *err)
{
	int rc;

	if ((rc = file_remove_tree(v->incoming, err)) < 0)
		return rc;
	FAULT_POINT("volume.incoming_removed");
	return file_remove_tree(v->old, err);
}
