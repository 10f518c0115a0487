#include "server/server.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/access_control.h"
#include "conf/reload.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/net/listener.h"
#include "server/data_directory.h"
#include "server/http/router.h"
#include "server/replication/committer.h"
#include "server/replication/raft/address.h"
#include "server/replication/raft/repl_raft.h"
#include "server/replication/static/repl_static.h"

#define GRACE_MS         10000 /* for requests under way when the server is stopped */
#define EXPIRE_EVERY_MS  10000 /* at most; more often where tombstones are kept for less, or many are due */
#define EXPIRE_MOST      10000 /* tombstones dropped in one transaction, and so with one tick */
#define PATH_BYTES       4096
#define SAVE_BELOW_BYTES ((uint64_t)256 << 20) /* of memory: freed blocks are not kept */

struct server {
	struct conf conf;
	struct access_control access_control;
	const struct http_access *peer_access; /* the rules for peers that this server asks */
	struct api api;
	const struct server_cluster *cluster; /* or NULL */
	struct listener *network, *control;
	struct listener *peers; /* with `cluster`: a port of its own for the other members; or NULL */
	struct reload *reload;

	struct data_directory data_directory;
	atomic_bool removed; /* from the cluster: the server is to end */

	/* Expiry, at most one job at a time. */
	atomic_int_fast64_t tombstone_keep_ms; /* live */
	atomic_bool expiring;
	atomic_bool more_due;
	int64_t expired_ms; /* when the last one was begun */
	struct commit_job expire_job;
};

/* --- Expiry of tombstones --- */

static int
run_expire(struct commit_job *job, struct store_txn *txn)
{
	struct server *s = (struct server *)((char *)job - offsetof(struct server, expire_job));
	unsigned dropped;
	int rc;

	rc = store_txn_expire(
	    txn, clock_wall_ms() - (int64_t)atomic_load(&s->tombstone_keep_ms), EXPIRE_MOST, &dropped, &job->err);
	atomic_store(&s->more_due, dropped == EXPIRE_MOST);
	return rc;
}

static void
expire_done(struct commit_job *job)
{
	struct server *s = (struct server *)((char *)job - offsetof(struct server, expire_job));

	if (job->code < 0 && job->code != SP_EAGAIN && job->code != SP_ENOTFOUND)
		log_warn("tombstones cannot be dropped", LOG_STR("error", job->err.text));
	if (job->code < 0)
		atomic_store(&s->more_due, false);
	atomic_store(&s->expiring, false);
}

bool
server_tick(struct server *s)
{
	int64_t keep = (int64_t)atomic_load(&s->tombstone_keep_ms);
	int64_t every = keep / 4 < EXPIRE_EVERY_MS ? keep / 4 : EXPIRE_EVERY_MS;
	int64_t now = clock_mono_ms();

	access_control_look(&s->access_control);
	snapshots_expire(s->api.snapshots);
	if (atomic_load(&s->removed))
		return false;
	if ((now - s->expired_ms < every && !atomic_load(&s->more_due)) || atomic_exchange(&s->expiring, true))
		return true;
	s->expired_ms = now;
	s->expire_job = (struct commit_job){ .run = run_expire, .done = expire_done, .alone = true };
	if (committer_submit(s->api.committer, &s->expire_job, NULL) < 0)
		atomic_store(&s->expiring, false);
	return true;
}

/* --- Start, live configuration, stop --- */

static void
committed(const struct position *now, void *arg)
{
	struct server *s = arg;

	if (now->consistent)
		waiters_notify(s->api.waiters, now->seq);
}

/* Views of the store, and with them the feed, have come up to seq. */
static void
flushed(uint64_t seq, void *arg)
{
	struct server *s = arg;

	waiters_notify(s->api.flush_waiters, seq);
}

/* Answered writes are in the journal, and the next start reads them from there. */
static void
flush_failed(const struct sp_error *err, void *arg)
{
	(void)arg;
	log_error("the store cannot be written; stopping", LOG_STR("error", err->text));
	_exit(sp_code_exit(err->code));
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
	if (s->api.repl->ops->named != NULL)
		s->api.repl->ops->named(s->api.repl, conf->replication_leader_ordinal);
}

static void
url_of(void *arg, uint32_t ordinal, char *out, size_t size)
{
	const struct server *s = arg;

	if (conf_peer_url(&s->conf, ordinal, out, size, NULL) < 0)
		out[0] = '\0';
}

/* Followers that wait for this pod's next change ask another pod for it now. */
static void
role_changed(void *arg)
{
	struct server *s = arg;

	waiters_wake(s->api.waiters);
}

static int
make_static(struct server *s, struct sp_error *err)
{
	const struct conf *c = &s->conf;
	char self[POSITION_URL_MAX], leader[POSITION_URL_MAX];
	struct repl_static_options o = { .committer = s->api.committer,
		.store = s->api.store,
		.leads = conf_is_leader(c),
		.self_url = self,
		.leader_url = leader,
		.ordinal = c->pod.ordinal,
		.named = c->replication_leader_ordinal,
		.url_of = url_of,
		.role_changed = role_changed,
		.arg = s };
	int rc;

	rc = conf_peer_url(c, c->pod.ordinal, self, sizeof(self), err);
	if (rc == 0)
		rc = conf_peer_url(c, c->replication_leader_ordinal, leader, sizeof(leader), err);
	if (rc < 0)
		return rc;
	s->api.repl = repl_static_new(&o, err);
	if (s->api.repl == NULL)
		return err->code;
	s->api.pull = pull_new(s->api.repl, s->api.store, s->peer_access, err);
	return s->api.pull != NULL ? 0 : err->code;
}

/* The URLs of the pods that may be members: malloc'ed, each too, ended by NULL; or NULL. */
static char **
peer_urls(const struct conf *c)
{
	char **urls = calloc(c->bootstrap_max_peers + 1, sizeof(*urls));
	char url[POSITION_URL_MAX];

	for (unsigned i = 0; urls != NULL && i < c->bootstrap_max_peers; i++)
		if (conf_peer_url(c, i, url, sizeof(url), NULL) == 0)
			urls[i] = strdup(url);
	return urls;
}

static void
free_urls(char **urls)
{
	for (size_t i = 0; urls != NULL && urls[i] != NULL; i++)
		free(urls[i]);
	free(urls);
}

static void
removed(void *arg)
{
	struct server *s = arg;

	atomic_store(&s->removed, true);
}

/* Whatever a member says of itself: in a pod, names and addresses are those of its number. */
static int
member_name(void *arg, unsigned number, char *out, size_t size)
{
	const struct server *s = arg;
	const struct conf *c = &s->conf;
	char address[MEMBER_ADDRESS_MAX];
	struct wire_address at;

	if (c->tls_peer_name[0] != '\0')
		return pod_expand(c->tls_peer_name, &c->pod, number - 1, out, size, NULL);
	if (conf_raft_peer(c, number - 1, address, sizeof(address), NULL) < 0 || !wire_address_parse(address, &at))
		return SP_ECONF;
	return (size_t)snprintf(out, size, "%s", at.host) < size ? 0 : SP_ETOOBIG;
}

static int
make_raft(struct server *s, struct sp_error *err)
{
	const struct conf *c = &s->conf;
	char dir[PATH_BYTES], url[POSITION_URL_MAX], address[MEMBER_ADDRESS_MAX];
	struct repl_raft_options o = { .store = s->api.store,
		.committer = s->api.committer,
		.dir = dir,
		.number = c->pod.ordinal + 1,
		.name = c->pod.name,
		.url = url,
		.address = address,
		.listen = c->raft_listen,
		.founder = conf_is_founder(c),
		.election_timeout_ms = (unsigned)c->raft_election_timeout_ms,
		.heartbeat_ms = (unsigned)c->raft_heartbeat_ms,
		.max_voters = c->raft_max_voters,
		.trailing = c->raft_trailing,
		.snapshot_every = c->raft_snapshot_every,
		.log_bytes_max = s->api.budgets.raft_log,
		.tls = s->access_control.serving,
		.access = s->peer_access,
		.secret = s->access_control.secret,
		.member_name = member_name,
		.removed = removed,
		.arg = s };
	char **peers;
	int rc;

	rc = file_join(dir, sizeof(dir), c->server_data_dir, "raft", err);
	if (rc == 0)
		rc = conf_peer_url(c, c->pod.ordinal, url, sizeof(url), err);
	if (rc == 0)
		rc = conf_raft_peer(c, c->pod.ordinal, address, sizeof(address), err);
	if (rc < 0)
		return rc;
	peers = peer_urls(c);
	o.peers = (const char *const *)peers;
	if (s->cluster != NULL) {
		o.number = s->cluster->number;
		o.url = s->cluster->url;
		o.address = s->cluster->wire_address;
		o.listen = s->cluster->raft_listen;
		o.peers = s->cluster->peers;
		o.founder = s->cluster->founds;
		o.makes_store = true;
	}
	if (peers != NULL)
		s->api.repl = repl_raft_new(&o, err);
	else
		sp_error_set(err, SP_ENOMEM, "replication");
	free_urls(peers);
	return s->api.repl != NULL ? 0 : err->code;
}

/* Everything but the listeners. */
static int
make_parts(struct server *s, struct sp_error *err)
{
	const struct conf *c = &s->conf;
	char dir[PATH_BYTES];
	/* A write that a member of mode raft answers is in the logs of a majority, on disk,
	 * whatever the durability. */
	bool raft = c->replication_mode == CONF_MODE_RAFT;
	bool async = c->server_durability == CONF_DURABILITY_ASYNC && !raft;
	struct store_options store = { .dir = dir,
		.map_size = c->server_map_size,
		.sync_later = async,
		.log = raft ? STORE_LOG_CALLERS : STORE_LOG_JOURNAL,
		.table_bytes = s->api.budgets.memtable,
		.flush_bytes = s->api.budgets.flush,
		.flushed = flushed,
		.failed = flush_failed,
		.arg = s };
	struct committer_options writer = { .async = async, .committed = committed, .arg = s };
	int rc;

	rc = conf_store_dir(c, dir, sizeof(dir), err);
	if (rc < 0)
		return rc;
	s->api.store = store_new(&store, err);
	if (s->api.store == NULL)
		return err->code;
	s->api.waiters = waiters_new(err);
	s->api.flush_waiters = waiters_new(err);
	if (s->api.waiters == NULL || s->api.flush_waiters == NULL)
		return err->code;
	s->api.snapshots = snapshots_new(s->api.store, &s->api.counters, c->pod.name, c->server_snapshot_hold_ms, err);
	if (s->api.snapshots == NULL)
		return err->code;
	snapshots_set_fan_out(s->api.snapshots, c->bootstrap_fan_out);
	writer.store = s->api.store;
	s->api.committer = committer_new(&writer, err);
	if (s->api.committer == NULL)
		return err->code;
	return raft ? make_raft(s, err) : make_static(s, err);
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

	access_control_warn(&s->access_control);
	if (s->conf.replication_mode == CONF_MODE_RAFT && s->access_control.serving == NULL &&
	    s->access_control.secret == NULL)
		log_warn(
		    "any program that reaches the raft port can end the cluster: set [tls] cert or [raft] secret_file",
		    LOG_STR("listen", s->cluster != NULL ? s->cluster->raft_listen : s->conf.raft_listen));
	/* The control socket last: the sidecar, which finds that it answers, assumes that the
	 * server serves clients. */
	s->network = http_serve(&s->api, s->conf.server_listen, s->conf.server_threads, err);
	if (s->network == NULL)
		return err->code;
	atomic_store(&s->api.network, s->network);
	if (s->cluster != NULL) {
		s->peers = http_serve(&s->api, s->cluster->listen, s->conf.server_threads, err);
		if (s->peers == NULL)
			return err->code;
	}
	rc = make_control_dir(s, err);
	if (rc < 0)
		return rc;
	s->control = http_serve_control(&s->api, s->conf.server_control_socket, err);
	if (s->control == NULL)
		return err->code;
	log_info("serving", LOG_STR("listen", s->conf.server_listen), LOG_STR("control", s->conf.server_control_socket),
	    LOG_BOOL("tls", s->access_control.serving != NULL), LOG_BOOL("auth", s->access_control.tokens != NULL));
	return 0;
}

static void
choose_budgets(struct server *s)
{
	const struct memory_budgets *b = &s->api.budgets;
	struct memory_limit limit;

	memory_limit_read("", &limit);
	memory_budgets_of(limit.bytes, &s->api.budgets);
	if (limit.bytes < SAVE_BELOW_BYTES)
		memory_save_heap();
	if (limit.bytes == MEMORY_UNLIMITED)
		log_info("memory is shared out", LOG_STR("limit", "none"), LOG_U64("bodies", b->bodies),
		    LOG_U64("answers", b->answers), LOG_U64("memtable", b->memtable), LOG_U64("flush", b->flush),
		    LOG_U64("raft_log", b->raft_log));
	else
		log_info("memory is shared out", LOG_U64("limit", limit.bytes), LOG_STR("source", limit.source),
		    LOG_U64("bodies", b->bodies), LOG_U64("answers", b->answers), LOG_U64("largest", b->largest),
		    LOG_U64("memtable", b->memtable), LOG_U64("flush", b->flush), LOG_U64("raft_log", b->raft_log));
	if (b->largest < s->api.max_value)
		log_warn("the memory limit is too small for values of max_value; larger ones are refused",
		    LOG_U64("max_value", s->api.max_value), LOG_U64("largest", b->largest));
}

int
server_start(const struct conf *conf, const char *config_path, const struct server_cluster *cluster,
    struct server **out, struct sp_error *err)
{
	struct server *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return sp_error_set(err, SP_ENOMEM, "server");
	s->conf = *conf;
	s->cluster = cluster;
	data_directory_init(&s->data_directory, &s->conf, &s->api);
	s->api.max_value = (size_t)conf->server_max_value;
	choose_budgets(s);
	s->api.access_control = &s->access_control;
	s->api.release = data_directory_release;
	s->api.open = data_directory_open;
	s->api.arg = &s->data_directory;
	rc = access_control_open(&s->access_control, conf, err);
	if (rc == 0) {
		s->peer_access = access_control_for_peers(&s->access_control);
		rc = make_parts(s, err);
	}
	if (rc == 0) {
		configure(conf, s);
		rc = data_directory_open(&s->data_directory, err);
	}
	if (rc == 0)
		rc = listen_all(s, err);
	if (rc == 0 && config_path != NULL) {
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

	FAULT_POINT("stop.begun");
	reload_free(s->reload);
	atomic_store(&s->api.stopping, true);
	/* While clients can still be redirected to the next leader. */
	if (s->api.repl != NULL)
		s->api.repl->ops->stop(s->api.repl);
	if (s->network != NULL)
		listener_stop(s->network);
	if (s->peers != NULL)
		listener_stop(s->peers);
	if (s->control != NULL)
		listener_stop(s->control);
	if (s->api.pull != NULL)
		pull_stop(s->api.pull);
	if (s->api.waiters != NULL)
		waiters_stop(s->api.waiters);
	if (s->api.flush_waiters != NULL)
		waiters_stop(s->api.flush_waiters);
	drain(s->network, deadline);
	drain(s->peers, deadline);
	drain(s->control, deadline);
	FAULT_POINT("stop.drained");
	if (s->api.repl != NULL)
		s->api.repl->ops->detach(s->api.repl);
	/* Answers all that is queued, so that no suspended request is left for the listeners to trip over. */
	if (s->api.committer != NULL)
		committer_stop(s->api.committer);
	atomic_store(&s->api.network, NULL);
	listener_free(s->network, 1000);
	listener_free(s->peers, 1000);
	listener_free(s->control, 1000);
	FAULT_POINT("stop.unlistened");
	pull_free(s->api.pull);
	committer_free(s->api.committer);
	snapshots_free(s->api.snapshots);
	waiters_free(s->api.waiters);
	data_directory_end(&s->data_directory);
	if (s->api.repl != NULL)
		s->api.repl->ops->free(s->api.repl);
	store_free(s->api.store);
	waiters_free(s->api.flush_waiters);
	access_control_close(&s->access_control);
	free(s);
}
