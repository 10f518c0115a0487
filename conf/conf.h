/*
 * The configuration: one INI file for the three programs (docs/configuration.md, seedpod.ini(5)).
 *
 *	struct conf conf;
 *	if (conf_load(path, &conf, &err) < 0)	// reads, overrides, validates; all or nothing
 *		…
 *
 * The schema in schema.c is the one place that knows the keys: parsing, bounds, --print, the sample and the table in
 * the documentation follow from it. struct conf is plain data and may be copied with `=`.
 */
#ifndef CONF_CONF_H_
#define CONF_CONF_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/driver/driver_exec.h"
#include "lib/net/tls.h"
#include "lib/protocol/digest.h"
#include "lib/protocol/pod.h"

#define CONF_DEFAULT_PATH "/etc/seedpod/seedpod.ini"
#define CONF_TEXT_MAX     512          /* bytes of a text value, with NUL */
#define CONF_FILE_MAX     (256u << 10) /* bytes of a configuration file */

enum conf_mode { CONF_MODE_STATIC, CONF_MODE_RAFT, CONF_MODE_CHAIN };
enum conf_durability { CONF_DURABILITY_SYNC, CONF_DURABILITY_ASYNC };
enum conf_follower_writes { CONF_WRITES_REDIRECT, CONF_WRITES_REJECT };
enum conf_donor { CONF_DONOR_AUTO, CONF_DONOR_LEADER };
enum conf_compression { CONF_COMPRESSION_NONE, CONF_COMPRESSION_ZSTD };
enum conf_sync_mode { CONF_SYNC_STREAM, CONF_SYNC_POLL };
enum conf_on_divergence { CONF_DIVERGENCE_HALT, CONF_DIVERGENCE_RESEED };
enum conf_switch { CONF_OFF, CONF_ON };
enum conf_store_driver { CONF_DRIVER_SEEDPOD, CONF_DRIVER_DIRECTORY, CONF_DRIVER_EXEC };
enum conf_leader_loss { CONF_LOSS_SERVE, CONF_LOSS_UNREADY };

/* Fields are named <section>_<key> after the keys of the file. Durations are milliseconds, sizes bytes. */
struct conf {
	/* [pod] */
	struct pod pod;                   /* name, set, ordinal, service, name_space: resolved, templates filled */
	char pod_peer_url[CONF_TEXT_MAX]; /* the template itself: see conf_peer_url() */
	char pod_termination_log[CONF_TEXT_MAX];

	/* [replication] */
	enum conf_mode replication_mode;
	unsigned replication_leader_ordinal;

	/* [raft] */
	char raft_listen[CONF_TEXT_MAX];
	char raft_peer[CONF_TEXT_MAX];        /* the template itself: see conf_raft_peer() */
	char raft_secret_file[CONF_TEXT_MAX]; /* "": none */
	int64_t raft_election_timeout_ms;
	int64_t raft_heartbeat_ms;
	unsigned raft_max_voters;
	unsigned raft_trailing;       /* entries */
	unsigned raft_snapshot_every; /* entries */

	/* [server] */
	char server_listen[CONF_TEXT_MAX];
	char server_control_socket[CONF_TEXT_MAX];
	char server_data_dir[CONF_TEXT_MAX];
	unsigned server_threads;
	uint64_t server_map_size;
	uint64_t server_max_value;
	enum conf_durability server_durability;
	enum conf_follower_writes server_follower_writes; /* live */
	int64_t server_min_seq_wait_ms;                   /* live */
	int64_t server_tombstone_keep_ms;                 /* live */
	int64_t server_snapshot_hold_ms;                  /* live */

	/* [store] */
	enum conf_store_driver store_driver;
	char store_command[CONF_TEXT_MAX];     /* "": none; set with exec */
	char store_path[CONF_TEXT_MAX];        /* "": none; set with exec and directory */
	int64_t store_timeout_ms;              /* of verbs that answer JSON */
	int64_t store_idle_timeout_ms;         /* of streams: time without a byte */
	char store_secrets_dir[CONF_TEXT_MAX]; /* "": none */

	/* [driver]: free keys, in the order of the file */
	size_t driver_key_count;
	struct driver_exec_key driver_keys[DRIVER_EXEC_KEYS_MAX];

	/* [bootstrap] */
	enum conf_donor bootstrap_donor;
	unsigned bootstrap_attempts; /* 0: for ever */
	int64_t bootstrap_retry_delay_ms;
	int64_t bootstrap_stall_timeout_ms;
	uint64_t bootstrap_rate_limit; /* bytes a second, 0: none */
	unsigned bootstrap_fan_out;
	enum conf_compression bootstrap_compression;
	double bootstrap_reseed_ratio;
	int64_t bootstrap_peer_grace_ms;
	unsigned bootstrap_max_peers;

	/* [sync] */
	enum conf_sync_mode sync_mode;              /* live */
	int64_t sync_interval_ms;                   /* live */
	int64_t sync_stall_timeout_ms;              /* live */
	uint64_t sync_batch_bytes;                  /* live */
	enum conf_on_divergence sync_on_divergence; /* live */

	/* [readiness] */
	int64_t readiness_max_lag_ms;                /* live */
	uint64_t readiness_max_lag_changes;          /* live; 0: not looked at */
	enum conf_leader_loss readiness_leader_loss; /* live */

	/* [sidecar] */
	char sidecar_listen[CONF_TEXT_MAX];
	enum conf_switch sidecar_tls;

	/* [tls] */
	char tls_cert[CONF_TEXT_MAX]; /* "": no TLS */
	char tls_key[CONF_TEXT_MAX];
	char tls_ca[CONF_TEXT_MAX];
	enum tls_client_auth tls_client_auth;
	enum tls_version tls_min_version;
	char tls_peer_name[CONF_TEXT_MAX]; /* a template: see conf/access_control.h; "": the host of the peer's URL */

	/* [auth] */
	char auth_tokens[CONF_TEXT_MAX]; /* a folder; "": no authorization */

	/* [log] */
	enum log_level log_level;   /* live */
	enum log_format log_format; /* live */

	/* Not a key: XXH3-128 of the file's bytes, what `xxh128sum seedpod.ini` prints and every pod shows. */
	char hash[DIGEST_HEX_SIZE];
};

/*
 * Load `path`: all or nothing, except pod_termination_log, which is set even if other keys are
 * wrong. SP_ECONF with "file:line: [section] key: what is wrong; what is allowed" (every mistake of
 * the file is in the text, one a line, as far as it fits); SP_ENOTFOUND or SP_EPERM if it cannot be
 * read; SP_EAGAIN if it changed while it was read (a reload retries at its next turn). Environment
 * variables SEEDPOD_<SECTION>_<KEY> override keys; one that names no key is an error too, as is a
 * bad value, which then names the variable.
 */
int conf_load(const char *path, struct conf *out, struct sp_error *err);

/* As conf_load() on a text in memory, named `name` in messages. `environment` is as environ(7), or NULL for none. */
int conf_parse(const char *name, const char *text, size_t len, const char *const *environment, struct conf *out,
    struct sp_error *err);

/* The effective configuration as an INI file that parses again to the same. */
int conf_print(const struct conf *c, struct buf *out);

/* The base URL of the pod with that ordinal, from pod.peer_url. */
int conf_peer_url(const struct conf *c, unsigned ordinal, char *out, size_t size, struct sp_error *err);

/* The address of the raft port of the pod with that ordinal, host:port, from raft.peer. */
int conf_raft_peer(const struct conf *c, unsigned ordinal, char *out, size_t size, struct sp_error *err);

/* Whether this pod is the leader by configuration (static mode). */
bool conf_is_leader(const struct conf *c);

/* Whether this pod makes an empty store if no pod has any: the leader, and in mode raft the
 * founder. */
bool conf_is_founder(const struct conf *c);

/* data_dir/store */
int conf_store_dir(const struct conf *c, char *out, size_t size, struct sp_error *err);

/*
 * Put the live keys of `from`, and its hash, into `into`. Appends to `changed` the "section.key: old -> new" of each
 * live key that differs, and to `restart` those of the other keys that differ (which stay as they are in `into`), one a
 * line. SP_ETOOBIG or SP_ENOMEM if the lists have no room: `into` is as it was.
 */
int conf_merge_live(struct conf *into, const struct conf *from, struct buf *changed, struct buf *restart);

/* The whole schema as the sample file, and as the Markdown table of docs/configuration.md, and as the mdoc list of
 * seedpod.ini(5): `make docs` writes them, a test compares them. */
int conf_write_sample(struct buf *out);
int conf_write_markdown(struct buf *out);
int conf_write_mdoc(struct buf *out);

#endif
