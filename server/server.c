#include "server/server.h"

#include <errno.h>
#include <libgen.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/reload.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/listener.h"
#include "lib/log.h"
#include "server/committer.h"
#include "server/http.h"
#include "server/repl_static.h"
#include "server/unsynced.h"

#define GRACE_MS        10000 /* for requests under way when the server is told to stop */
#define EXPIRE_EVERY_MS 10000 /* at most; more often where tombstones are kept for less */
#define EXPIRE_MOST     10000 /* tombstones dropped in one transaction */
#define PATH_BYTES      4096

struct server {
	struct conf conf;
	struct api api;
	struct listener *network, *control;
	struct reload *reload;

	/* The store's state: one of release, open and stop at a time. */
	pthread_mutex_t state_lock;
	int data_lock; /* descriptor of data_dir/lock, -1 while released */

	/* Expiry, at most one job at a time. */
	atomic_int_fast64_t tombstone_keep_ms; /* live */
	atomic_bool expiring;
	int64_t expired_ms; /* when the last one was begun */
	struct commit_job expire_job;
};

/* --- The store comes and goes --- */

static int
data_path(const struct server *s, const char *name, char *out, struct sp_error *err)
{
	return file_join(out, PATH_BYTES, s->conf.server_data_dir, name, err);
}

static bool
data_exists(const struct server *s, const char *name)
{
	char path[PATH_BYTES];

	return data_path(s, name, path, NULL) == 0 && file_exists(path);
}

static int
take_data_lock(struct server *s, struct sp_error *err)
{
	char path[PATH_BYTES];
	int rc;

	rc = file_make_dirs(s->conf.server_data_dir, err);
	if (rc == 0)
		rc = data_path(s, "lock", path, err);
	if (rc == 0)
		rc = file_lock(path, err);
	if (rc < 0)
		return sp_error_wrap(err, "data directory %s", s->conf.server_data_dir);
	s->data_lock = rc;
	return 0;
}

/* A leader makes a store where there is none, but never where an interrupted seeding has left one half in place. */
static int
attach_store(struct server *s, struct sp_error *err)
{
	bool leads = s->api.repl->ops->role(s->api.repl) == ROLE_LEADER;
	int rc;

	if (!data_exists(s, "store") && (data_exists(s, "store.ready") || data_exists(s, "store.old")))
		return sp_error_set(err, SP_EVOLUME,
		    "%s holds a seeding that was interrupted; seedpod-init finishes it", s->conf.server_data_dir);
	rc = store_attach(s->api.store, leads ? STORE_CREATE : STORE_EXISTING, err);
	if (rc == SP_ENOTFOUND && !leads) {
		log_warn("no store yet: serving 503 until this follower was seeded",
		    LOG_STR("data_dir", s->conf.server_data_dir));
		return 0;
	}
	return rc;
}

/* Before anything relies on a store that was open with durability = async when the machine went down, all of it is
 * read. */
static int
settle_unsynced(struct server *s, struct sp_error *err)
{
	const char *dir = s->conf.server_data_dir;
	struct digest found;
	int rc;

	if (unsynced_in_doubt(dir)) {
		log_warn("the machine went down with writes on their way to the disk: verifying the store");
		rc = store_verify(s->api.store, &found, err);
		if (rc < 0 && rc != SP_ENOTFOUND)
			return sp_error_wrap(err, "the machine went down with writes on their way to the disk");
	}
	if (s->conf.server_durability == CONF_DURABILITY_ASYNC)
		return unsynced_mark(dir, err);
	/* A process that was killed since has left its last commits to the kernel. */
	rc = store_sync(s->api.store, err);
	return rc == 0 || rc == SP_EAGAIN ? unsynced_clear(dir, err) : rc;
}

/*
 * A data directory with a snapshot's seedpod.json beside its store was unpacked by hand (a backup), or restored by
 * seedpod-init: whoever leads on from it writes another history than the donor did, so it begins an epoch of its own.
 */
static int
leave_donors_history(struct server *s, struct sp_error *err)
{
	struct repl *repl = s->api.repl;
	int rc;

	if (repl->ops->role(repl) != ROLE_LEADER || !data_exists(s, "seedpod.json"))
		return 0;
	log_info("the store was unpacked from a snapshot", LOG_STR("data_dir", s->conf.server_data_dir));
	/* The image may be a leader's; only a follower's begins an epoch when it is led on. */
	rc = repl->ops->set_role(repl, ROLE_FOLLOWER, err);
	return rc == 0 ? repl->ops->set_role(repl, ROLE_LEADER, err) : rc;
}

/* It is told once. */
static int
put_description_away(struct server *s, struct sp_error *err)
{
	char from[PATH_BYTES], to[PATH_BYTES];
	int rc;

	if (!data_exists(s, "seedpod.json"))
		return 0;
	rc = data_path(s, "seedpod.json", from, err);
	if (rc == 0)
		rc = data_path(s, "seedpod.json.used", to, err);
	return rc == 0 ? file_rename_sync(from, to, err) : rc;
}

/* Bring an attached store into the pod's role and say where it stands. */
static int
enter_role(struct server *s, struct sp_error *err)
{
	char digest[DIGEST_HEX_SIZE];
	struct position p;
	int rc;

	/* First, so that a follower's image begins one epoch and not two. */
	rc = leave_donors_history(s, err);
	if (rc == 0)
		rc = s->api.repl->ops->attached(s->api.repl, err);
	if (rc == SP_ENOTFOUND)
		return 0;
	if (rc == 0)
		rc = put_description_away(s, err);
	if (rc == 0)
		rc = store_position(s->api.store, &p, err);
	if (rc < 0)
		return rc;
	waiters_notify(s->api.waiters, p.consistent ? p.seq : 0);
	digest_to_hex(p.digest, digest);
	log_info("store open", LOG_STR("role", role_name(s->api.repl->ops->role(s->api.repl))),
	    LOG_STR("cluster", p.cluster), LOG_U64("epoch", p.epoch), LOG_U64("seq", p.seq), LOG_U64("keys", p.keys),
	    LOG_STR("digest", digest), LOG_BOOL("consistent", p.consistent));
	return 0;
}

/* With async, the commits before the failed sync may have left the store in any state. */
static void
failing(void *arg)
{
	struct server *s = arg;

	if (s->conf.server_durability == CONF_DURABILITY_ASYNC)
		unsynced_mark_failed(s->conf.server_data_dir);
}

/* Close the store, all of it on disk, and give the data directory away. */
static void
close_store(struct server *s)
{
	struct sp_error err;

	if (store_detach(s->api.store) < 0) {
		log_error("the last writes could not be put on disk", LOG_STR("data_dir", s->conf.server_data_dir));
		failing(s);
	} else if (unsynced_clear(s->conf.server_data_dir, &err) < 0) {
		log_warn("the next start will verify the store", LOG_STR("error", err.text));
	}
	close(s->data_lock);
	s->data_lock = -1;
}

static int
release_store(void *arg, struct sp_error *err)
{
	struct server *s = arg;

	if (s->api.repl->ops->role(s->api.repl) == ROLE_LEADER)
		return sp_error_set(err, SP_EDIVERGED, "this pod leads: its store is not given away");
	pthread_mutex_lock(&s->state_lock);
	if (s->data_lock >= 0) {
		snapshots_drop(s->api.snapshots);
		close_store(s);
		/* One that was begun in between is of the closed store too. */
		snapshots_drop(s->api.snapshots);
		log_info("store released");
	}
	pthread_mutex_unlock(&s->state_lock);
	return 0;
}

static int
open_store(void *arg, struct sp_error *err)
{
	struct server *s = arg;
	int rc = 0;

	pthread_mutex_lock(&s->state_lock);
	if (s->data_lock < 0) {
		rc = take_data_lock(s, err);
		if (rc == 0)
			rc = attach_store(s, err);
		if (rc == 0)
			rc = settle_unsynced(s, err);
		if (rc == 0)
			rc = enter_role(s, err);
		if (rc < 0 && s->data_lock >= 0) {
			store_detach(s->api.store);
			close(s->data_lock);
			s->data_lock = -1;
		}
	}
	pthread_mutex_unlock(&s->state_lock);
	return rc;
}

/* --- Expiry of tombstones --- */

static int
run_expire(struct commit_job *job, struct store_txn *txn)
{
	struct server *s = (struct server *)((char *)job - offsetof(struct server, expire_job));
	unsigned dropped;

	return store_txn_expire(
	    txn, clock_wall_ms() - (int64_t)atomic_load(&s->tombstone_keep_ms), EXPIRE_MOST, &dropped, &job->err);
}

static void
expire_done(struct commit_job *job)
{
	struct server *s = (struct server *)((char *)job - offsetof(struct server, expire_job));

	if (job->code < 0 && job->code != SP_EAGAIN && job->code != SP_ENOTFOUND)
		log_warn("tombstones cannot be dropped", LOG_STR("error", job->err.text));
	atomic_store(&s->expiring, false);
}

void
server_tick(struct server *s)
{
	int64_t keep = (int64_t)atomic_load(&s->tombstone_keep_ms);
	int64_t every = keep / 4 < EXPIRE_EVERY_MS ? keep / 4 : EXPIRE_EVERY_MS;
	int64_t now = clock_mono_ms();

	snapshots_expire(s->api.snapshots);
	if (now - s->expired_ms < every || atomic_exchange(&s->expiring, true))
		return;
	s->expired_ms = now;
	s->expire_job = (struct commit_job){ .run = run_expire, .done = expire_done };
	if (committer_submit(s->api.committer, &s->expire_job, NULL) < 0)
		atomic_store(&s->expiring, false);
}

/* --- Start, live configuration, stop --- */

static void
committed(const struct position *now, void *arg)
{
	struct server *s = arg;

	if (now->consistent)
		waiters_notify(s->api.waiters, now->seq);
}

/* The live keys, at the start and whenever they change. */
static void
configure(const struct conf *conf, void *arg)
{
	struct server *s = arg;

	atomic_store(&s->api.reject_writes, conf->server_follower_writes == CONF_WRITES_REJECT);
	atomic_store(&s->api.min_seq_wait_ms, conf->server_min_seq_wait_ms);
	atomic_store(&s->tombstone_keep_ms, conf->server_tombstone_keep_ms);
	snapshots_configure(s->api.snapshots, conf->server_snapshot_hold_ms);
}

static int
make_replication(struct server *s, struct sp_error *err)
{
	const struct conf *c = &s->conf;
	char self[POSITION_URL_MAX], leader[POSITION_URL_MAX];
	struct repl_static_options o = {
		.committer = s->api.committer, .leads = conf_is_leader(c), .self_url = self, .leader_url = leader
	};
	int rc;

	rc = conf_peer_url(c, c->pod.ordinal, self, sizeof(self), err);
	if (rc == 0)
		rc = conf_peer_url(c, c->replication_leader_ordinal, leader, sizeof(leader), err);
	if (rc < 0)
		return rc;
	s->api.repl = repl_static_new(&o, err);
	return s->api.repl != NULL ? 0 : err->code;
}

/* Everything but the listeners. */
static int
make_parts(struct server *s, struct sp_error *err)
{
	const struct conf *c = &s->conf;
	char dir[PATH_BYTES];
	bool async = c->server_durability == CONF_DURABILITY_ASYNC;
	struct store_options store = { .dir = dir, .map_size = c->server_map_size, .sync_later = async };
	struct committer_options writer = { .async = async, .committed = committed, .failing = failing, .arg = s };
	int rc;

	rc = conf_store_dir(c, dir, sizeof(dir), err);
	if (rc < 0)
		return rc;
	s->api.store = store_new(&store, err);
	if (s->api.store == NULL)
		return err->code;
	s->api.waiters = waiters_new(err);
	if (s->api.waiters == NULL)
		return err->code;
	s->api.snapshots = snapshots_new(s->api.store, &s->api.counters, c->pod.name, c->server_snapshot_hold_ms, err);
	if (s->api.snapshots == NULL)
		return err->code;
	writer.store = s->api.store;
	s->api.committer = committer_new(&writer, err);
	if (s->api.committer == NULL)
		return err->code;
	return make_replication(s, err);
}

static int
make_control_dir(const struct server *s, struct sp_error *err)
{
	char path[CONF_TEXT_MAX];

	snprintf(path, sizeof(path), "%s", s->conf.server_control_socket);
	return file_make_dirs(dirname(path), err);
}

static int
listen_all(struct server *s, struct sp_error *err)
{
	int rc;

	rc = make_control_dir(s, err);
	if (rc < 0)
		return rc;
	s->control = http_serve_control(&s->api, s->conf.server_control_socket, err);
	if (s->control == NULL)
		return err->code;
	s->network = http_serve(&s->api, s->conf.server_listen, s->conf.server_threads, err);
	if (s->network == NULL)
		return err->code;
	log_info(
	    "serving", LOG_STR("listen", s->conf.server_listen), LOG_STR("control", s->conf.server_control_socket));
	return 0;
}

int
server_start(const struct conf *conf, const char *config_path, struct server **out, struct sp_error *err)
{
	struct server *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return sp_error_set(err, SP_ENOMEM, "server");
	s->conf = *conf;
	s->data_lock = -1;
	pthread_mutex_init(&s->state_lock, NULL);
	s->api.max_value = (size_t)conf->server_max_value;
	s->api.release = release_store;
	s->api.open = open_store;
	s->api.arg = s;
	rc = make_parts(s, err);
	if (rc == 0) {
		configure(conf, s);
		rc = open_store(s, err);
	}
	if (rc == 0)
		rc = listen_all(s, err);
	if (rc == 0) {
		s->reload = reload_new(config_path, conf, configure, s, err);
		rc = s->reload != NULL ? 0 : err->code;
	}
	if (rc < 0) {
		server_stop(s);
		return rc;
	}
	*out = s;
	return 0;
}

/* Let the requests under way finish; the writer must live as long, since they wait for it. */
static void
drain(struct listener *l, int64_t deadline)
{
	while (l != NULL && listener_requests(l) > 0 && clock_mono_ms() < deadline)
		clock_sleep_ms(5);
}

void
server_stop(struct server *s)
{
	int64_t deadline = clock_mono_ms() + GRACE_MS;

	reload_free(s->reload);
	atomic_store(&s->api.stopping, true);
	if (s->network != NULL)
		listener_stop(s->network);
	if (s->control != NULL)
		listener_stop(s->control);
	if (s->api.waiters != NULL)
		waiters_stop(s->api.waiters);
	drain(s->network, deadline);
	drain(s->control, deadline);
	/* Answers all that is queued, so that no suspended request is left for the listeners to trip over. */
	if (s->api.committer != NULL)
		committer_stop(s->api.committer);
	listener_free(s->network, 1000);
	listener_free(s->control, 1000);
	committer_free(s->api.committer);
	snapshots_free(s->api.snapshots);
	waiters_free(s->api.waiters);
	if (s->api.repl != NULL)
		s->api.repl->ops->free(s->api.repl);
	if (s->data_lock >= 0)
		close_store(s);
	store_free(s->api.store);
	pthread_mutex_destroy(&s->state_lock);
	free(s);
}
