#include "server/data_directory.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/protocol/follow_mark.h"
#include "lib/protocol/store_mark.h"
#include "server/replication/raft/repl_raft.h"
#include "server/store/sigbus.h"

#define PATH_BYTES 4096

void
data_directory_init(struct data_directory *c, const struct conf *conf, struct api *api)
{
	c->conf = conf;
	c->api = api;
	c->data_lock = -1;
	pthread_mutex_init(&c->lock, NULL);
}

static int
data_path(const struct data_directory *c, const char *name, char *out, struct sp_error *err)
{
	return file_join(out, PATH_BYTES, c->conf->server_data_dir, name, err);
}

static bool
data_exists(const struct data_directory *c, const char *name)
{
	char path[PATH_BYTES];

	return data_path(c, name, path, NULL) == 0 && file_exists(path);
}

static int
take_data_lock(struct data_directory *c, struct sp_error *err)
{
	char path[PATH_BYTES];
	int rc;

	rc = file_make_dirs(c->conf->server_data_dir, err);
	if (rc == 0)
		rc = data_path(c, "lock", path, err);
	if (rc == 0)
		rc = file_lock(path, err);
	if (rc < 0)
		return sp_error_wrap(err, "data directory %s", c->conf->server_data_dir);
	c->data_lock = rc;
	if (data_path(c, STUMBLE_MARK, path, err) == 0)
		sigbus_watch(path);
	FAULT_POINT("open.locked");
	return 0;
}

/* A store that was here and is gone: a server, which asks no peer, does not decide the fate of the
 * cluster. */
static int
refuse_to_found(struct data_directory *c, struct sp_error *err)
{
	const char *dir = c->conf->server_data_dir;
	char cluster[STORE_MARK_SIZE];

	if (data_exists(c, "store/data.mdb") || !store_mark_read(dir, cluster))
		return 0;
	return sp_error_set(err, SP_EVOLUME,
	    "%s held a store of cluster %s, and its folder store is gone: seedpod-init looks whether a peer has it; to "
	    "begin an empty store without asking, remove %s/" STORE_MARK_NAME,
	    dir, cluster[0] != '\0' ? cluster : "(unknown)", dir);
}

/* From now on a missing store differs from one that never was. Without the mark all else works as
 * well. */
static void
leave_mark(struct data_directory *c, const struct position *p)
{
	struct sp_error err = { 0 };

	if (p->cluster[0] != '\0' && store_mark_write(c->conf->server_data_dir, p->cluster, &err) < 0)
		log_warn("the volume cannot be marked as one that holds a store", LOG_STR("error", err.text));
}

/* A founder makes a store if there is none, but never if an interrupted seeding has left one half
 * in place. */
static int
attach_store(struct data_directory *c, struct sp_error *err)
{
	bool founds = c->api->repl->ops->founds(c->api->repl);
	int rc;

	if (!data_exists(c, "store") && (data_exists(c, "store.ready") || data_exists(c, "store.old")))
		return sp_error_set(err, SP_EVOLUME,
		    "%s holds a seeding that was interrupted; seedpod-init finishes it", c->conf->server_data_dir);
	if (founds && (rc = refuse_to_found(c, err)) < 0)
		return rc;
	rc = store_attach(c->api->store, founds ? STORE_CREATE : STORE_EXISTING, err);
	if (rc == SP_ENOTFOUND && !founds) {
		log_warn("no store yet: serving 503 until this pod was seeded",
		    LOG_STR("data_dir", c->conf->server_data_dir));
		return 0;
	}
	return rc;
}

/* Before anything relies on a store that ended its last server while it was read, all of it is read. */
static int
settle_doubt(struct data_directory *c, struct sp_error *err)
{
	char path[PATH_BYTES];
	struct digest found;
	int rc;

	if (!data_exists(c, STUMBLE_MARK))
		return 0;
	log_warn("reading the store ended the last server: verifying it");
	rc = data_path(c, "store", path, err);
	if (rc == 0)
		rc = store_check_structure(path, true, err);
	if (rc == 0)
		rc = store_verify(c->api->store, &found, err);
	if (rc < 0 && rc != SP_ENOTFOUND)
		return sp_error_wrap(err, "reading the store ended the last server");
	rc = data_path(c, STUMBLE_MARK, path, err);
	if (rc == 0 && unlink(path) < 0)
		rc = sp_error_errno(err, errno, "remove %s", path);
	return rc == 0 ? file_sync_dir(c->conf->server_data_dir, err) : rc;
}

/*
 * A data directory with a snapshot's seedpod.json beside its store was unpacked by hand (a backup),
 * or restored by seedpod-init: a leader that continues from it writes another history than the
 * donor did, so it begins an epoch of its own.
 */
static int
leave_donors_history(struct data_directory *c, struct sp_error *err)
{
	struct repl *repl = c->api->repl;
	int rc;

	if (repl->ops->role(repl) != ROLE_LEADER || !data_exists(c, "seedpod.json"))
		return 0;
	log_info("the store was unpacked from a snapshot", LOG_STR("data_dir", c->conf->server_data_dir));
	/* The image may be a leader's; only a follower's begins an epoch when it is led on. */
	rc = repl->ops->set_role(repl, ROLE_FOLLOWER, err);
	FAULT_POINT("open.left_history");
	return rc == 0 ? repl->ops->set_role(repl, ROLE_LEADER, err) : rc;
}

/* The description counts once. */
static int
put_description_away(struct data_directory *c, struct sp_error *err)
{
	char from[PATH_BYTES], to[PATH_BYTES];
	int rc;

	if (!data_exists(c, "seedpod.json"))
		return 0;
	rc = data_path(c, "seedpod.json", from, err);
	if (rc == 0)
		rc = data_path(c, "seedpod.json.used", to, err);
	return rc == 0 ? file_rename_sync(from, to, err) : rc;
}

/* A volume that is full keeps the journal from being flushed, and with that all else from being written, the role too.
 * A store that is in it already, as a rule, can be served all the same. */
static bool
has_role(struct data_directory *c)
{
	struct repl *repl = c->api->repl;

	return c->conf->replication_mode == CONF_MODE_STATIC &&
	       store_has_role(c->api->store, repl->ops->role(repl) == ROLE_LEADER);
}

/*
 * A member's volume of mode raft in mode static: what is written from here on is not in raft's log, which must never be
 * gone on with. The log goes first; the store forgets its place in it when it enters its role. But a member that was
 * killed may have in its log alone what was answered.
 */
static int
leave_raft(struct data_directory *c, struct sp_error *err)
{
	char path[PATH_BYTES];
	int rc;

	if (c->conf->replication_mode != CONF_MODE_STATIC || !data_exists(c, "raft"))
		return 0;
	if (data_exists(c, "raft/" REPL_RAFT_RUNNING_MARK))
		return sp_error_set(err, SP_EVOLUME,
		    "%s/raft was not closed in order, and may hold writes that the store lacks: start it in mode raft, "
		    "and stop it by SIGTERM, before the mode is changed",
		    c->conf->server_data_dir);
	log_warn("this volume was a member's of mode raft: its log is removed, the store stays",
	    LOG_STR("data_dir", c->conf->server_data_dir));
	rc = data_path(c, "raft", path, err);
	return rc == 0 ? file_remove_tree(path, err) : rc;
}

/* The store's record decides whether this pod leads, and what init saw of its peers. */
static int
decide_role(struct data_directory *c, struct sp_error *err)
{
	struct repl *repl = c->api->repl;

	if (repl->ops->opened == NULL)
		return 0;
	return repl->ops->opened(repl, data_exists(c, "seedpod.json"), data_exists(c, FOLLOW_MARK_NAME), err);
}

/* The store is a follower's by now. */
static int
take_follow_mark_away(struct data_directory *c, struct sp_error *err)
{
	char path[PATH_BYTES];
	int rc;

	if (c->api->repl->ops->opened == NULL || !data_exists(c, FOLLOW_MARK_NAME))
		return 0;
	rc = data_path(c, FOLLOW_MARK_NAME, path, err);
	return rc == 0 ? file_remove_tree(path, err) : rc;
}

/* Bring an attached store into the pod's role and say where it stands. */
static int
enter_role(struct data_directory *c, struct sp_error *err)
{
	char digest[DIGEST_HEX_SIZE];
	struct position p;
	int rc;

	/* First, so that a follower's image begins one epoch and not two. */
	rc = leave_raft(c, err);
	if (rc == 0)
		rc = decide_role(c, err);
	FAULT_POINT("open.decided");
	if (rc == 0)
		rc = leave_donors_history(c, err);
	if (rc == 0 && !has_role(c))
		rc = c->api->repl->ops->attached(c->api->repl, err);
	if (rc == SP_ENOTFOUND)
		return 0;
	FAULT_POINT("open.in_role");
	if (rc == 0)
		rc = take_follow_mark_away(c, err);
	if (rc == 0)
		rc = put_description_away(c, err);
	if (rc == 0)
		rc = store_position(c->api->store, &p, err);
	if (rc != 0)
		return rc;
	leave_mark(c, &p);
	waiters_notify(c->api->waiters, p.consistent ? p.seq : 0);
	waiters_notify(c->api->flush_waiters, p.consistent ? store_flushed_seq(c->api->store) : 0);
	digest_to_hex(p.digest, digest);
	log_info("store open", LOG_STR("role", role_name(c->api->repl->ops->role(c->api->repl))),
	    LOG_STR("cluster", p.cluster), LOG_U64("epoch", p.epoch), LOG_U64("seq", p.seq), LOG_U64("keys", p.keys),
	    LOG_STR("digest", digest), LOG_BOOL("consistent", p.consistent));
	return 0;
}

/* Close the store, all of it on disk, and give the data directory away. */
static void
close_store(struct data_directory *c)
{
	FAULT_POINT("close.begun");
	if (c->api->repl != NULL)
		c->api->repl->ops->detach(c->api->repl);
	if (store_detach(c->api->store) < 0)
		log_error("the last writes could not be put on disk", LOG_STR("data_dir", c->conf->server_data_dir));
	FAULT_POINT("close.closed");
	close(c->data_lock);
	c->data_lock = -1;
	FAULT_POINT("close.done");
}

int
data_directory_release(void *arg, struct sp_error *err)
{
	struct data_directory *c = arg;
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	/* Under the lock: the role may have changed while this waited for it. */
	if (c->api->repl->ops->role(c->api->repl) == ROLE_LEADER) {
		rc = sp_error_set(err, SP_EDIVERGED, "this pod leads: its store is not given away");
	} else if (c->data_lock >= 0) {
		snapshots_drop(c->api->snapshots);
		close_store(c);
		/* One that was begun in between is of the closed store too. */
		snapshots_drop(c->api->snapshots);
		log_info("store released");
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int
data_directory_open(void *arg, struct sp_error *err)
{
	struct data_directory *c = arg;
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	if (c->data_lock < 0) {
		rc = take_data_lock(c, err);
		if (rc == 0)
			rc = attach_store(c, err);
		FAULT_POINT("open.attached");
		if (rc == 0)
			rc = settle_doubt(c, err);
		FAULT_POINT("open.settled");
		if (rc == 0)
			rc = enter_role(c, err);
		FAULT_POINT("open.done");
		if (rc < 0 && c->data_lock >= 0) {
			c->api->repl->ops->detach(c->api->repl);
			store_detach(c->api->store);
			close(c->data_lock);
			c->data_lock = -1;
		}
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

void
data_directory_end(struct data_directory *c)
{
	if (c->data_lock >= 0)
		close_store(c);
	pthread_mutex_destroy(&c->lock);
}
