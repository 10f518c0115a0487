#include "conf/schema.h"

#include "conf/conf.h"

#define MS(n)      (n)
#define SECONDS(n) (1000ull * (n))
#define MINUTES(n) (60 * SECONDS(n))
#define HOURS(n)   (60 * MINUTES(n))
#define DAYS(n)    (24 * HOURS(n))
#define KIB(n)     ((uint64_t)(n) << 10)
#define MIB(n)     ((uint64_t)(n) << 20)
#define GIB(n)     ((uint64_t)(n) << 30)
#define TIB(n)     ((uint64_t)(n) << 40)

#define FIELD(f)  .offset = offsetof(struct conf, f), .size = sizeof(((struct conf *)0)->f)
#define KEY(s, n) .section = (s), .name = (n)
#define TEXT(f)   .type = KEY_TEXT, .form = (f)
#define WORDS(...)                                                                                                     \
	.type = KEY_ENUM, .words = (const char *const[])                                                               \
	{                                                                                                              \
		__VA_ARGS__, NULL                                                                                      \
	}
#define U32(lo, hi)                    .type = KEY_U32, .min = (lo), .max = (hi), .min_text = #lo, .max_text = #hi
#define U64(lo, hi)                    .type = KEY_U64, .min = (lo), .max = (hi), .min_text = #lo, .max_text = #hi
#define RATIO(lo, hi)                  .type = KEY_DOUBLE, .min = (lo), .max = (hi), .min_text = #lo, .max_text = #hi
#define SIZE(lo, lo_text, hi, hi_text) .type = KEY_SIZE, .min = lo, .max = hi, .min_text = lo_text, .max_text = hi_text
#define DURATION(lo, lo_text, hi, hi_text)                                                                             \
	.type = KEY_DURATION, .min = lo, .max = hi, .min_text = lo_text, .max_text = hi_text

/* A batch ends with the change that fills it, so the largest one is batch_bytes and a value of max_value; together with
 * keys and headers these stay well below FEED_BYTES_MAX. */

/* Words stand in the order of their enums. */
_Static_assert(CONF_MODE_STATIC == 0 && CONF_MODE_RAFT == 1 && CONF_MODE_CHAIN == 2, "order of words");
_Static_assert(CONF_DRIVER_SEEDPOD == 0 && CONF_DRIVER_DIRECTORY == 1 && CONF_DRIVER_EXEC == 2, "order of words");
_Static_assert(LOG_DEBUG == 0 && LOG_INFO == 1 && LOG_WARN == 2 && LOG_ERROR == 3, "order of words");
_Static_assert(TLS_CLIENT_NONE == 0 && TLS_CLIENT_OPTIONAL == 1 && TLS_CLIENT_REQUIRE == 2, "order of words");
_Static_assert(TLS_VERSION_1_2 == 0 && TLS_VERSION_1_3 == 1, "order of words");
_Static_assert(LOG_LOGFMT == 0 && LOG_JSON == 1, "order of words");

/* clang-format off */
const struct schema_key schema_keys[] = {
	{ KEY("pod", "name"), FIELD(pod.name), TEXT(FORM_POD_NAME), .default_text = "",
	  .help = "The name of this pod, <set>-<ordinal>. Left empty it is $POD_NAME, then the host name." },
	{ KEY("pod", "namespace"), FIELD(pod.name_space), TEXT(FORM_DNS_DEFAULT), .default_text = "",
	  .help = "The Kubernetes namespace of the pod. Left empty it is $POD_NAMESPACE, then \"default\"." },
	{ KEY("pod", "service"), FIELD(pod.service), TEXT(FORM_DNS), .default_text = "seedpod-headless",
	  .help = "The headless Service that gives the pods their names." },
	{ KEY("pod", "peer_url"), FIELD(pod_peer_url), .type = KEY_TEMPLATE, .form = FORM_URL,
	  .default_text = "http://{name}.{service}.{namespace}.svc:9876",
	  .help = "Where the server of a pod is reached; {name} and {ordinal} are those of the pod that "
		  "is asked." },
	{ KEY("pod", "termination_log"), FIELD(pod_termination_log), TEXT(FORM_FILE),
	  .default_text = "/dev/termination-log",
	  .help = "Where seedpod-init leaves its last words, if the folder exists. Left empty: nowhere." },

	{ KEY("replication", "mode"), FIELD(replication_mode), WORDS("static", "raft", "chain"),
	  .default_text = "static",
	  .help = "Who leads. With static it is the pod with leader_ordinal; with raft the pods elect a leader, and "
		  "any majority of them goes on without the rest. chain is not available in this version." },
	{ KEY("replication", "leader_ordinal"), FIELD(replication_leader_ordinal), U32(0, 9999), .live = true,
	  .default_text = "0",
	  .help = "The ordinal of the pod that is to lead, in mode static: a change of it is a planned hand-over, in which "
		  "no acknowledged write is lost. In mode raft, of the pod that founds the cluster." },

	{ KEY("raft", "listen"), FIELD(raft_listen), TEXT(FORM_LISTEN), .default_text = "0.0.0.0:9875",
	  .help = "Where the server takes the other members' raft messages, in mode raft." },
	{ KEY("raft", "peer"), FIELD(raft_peer), .type = KEY_TEMPLATE, .form = FORM_LISTEN,
	  .default_text = "{name}.{service}.{namespace}.svc:9875",
	  .help = "Where the raft port of a pod is reached; {name} and {ordinal} are those of that pod." },
	{ KEY("raft", "secret_file"), FIELD(raft_secret_file), TEXT(FORM_FILE), .default_text = "",
	  .help = "A file with a secret a line that members prove to one another: the first is proved with, all are "
		  "good. New files are taken while running. Left empty: any program may speak at the raft port." },
	{ KEY("raft", "election_timeout"), FIELD(raft_election_timeout_ms),
	  DURATION(MS(100), "100ms", SECONDS(60), "60s"), .default_text = "500ms",
	  .help = "After one to two times so long without a word from the leader, a member stands for election. At "
		  "least twice the heartbeat." },
	{ KEY("raft", "heartbeat"), FIELD(raft_heartbeat_ms), DURATION(MS(10), "10ms", SECONDS(10), "10s"),
	  .default_text = "100ms",
	  .help = "How often a leader that has nothing to say shows that it is there." },
	{ KEY("raft", "max_voters"), FIELD(raft_max_voters), U32(1, 15), .default_text = "5",
	  .help = "The most members that vote; the others are stand-bys, which hold the data and do not vote." },
	{ KEY("raft", "trailing"), FIELD(raft_trailing), U32(16, 1000000), .default_text = "8192",
	  .help = "Entries of the log that are kept behind a raft snapshot, for members that are a little behind." },
	{ KEY("raft", "snapshot_every"), FIELD(raft_snapshot_every), U32(16, 1000000), .default_text = "16384",
	  .help = "Entries after which the log is cut. A raft snapshot is a pointer and costs nothing that grows with "
		  "the data." },

	{ KEY("server", "listen"), FIELD(server_listen), TEXT(FORM_LISTEN), .default_text = "0.0.0.0:9876",
	  .help = "Where the server takes requests of clients and peers." },
	{ KEY("server", "control_socket"), FIELD(server_control_socket), TEXT(FORM_SOCKET),
	  .default_text = "/run/seedpod/control.sock",
	  .help = "The Unix socket on which the server obeys the sidecar of its pod." },
	{ KEY("server", "data_dir"), FIELD(server_data_dir), TEXT(FORM_DIR), .default_text = "/var/lib/seedpod",
	  .help = "The folder on the volume; the store is in its subfolder store." },
	{ KEY("server", "threads"), FIELD(server_threads), U32(0, 256), .default_text = "0",
	  .help = "HTTP threads; 0 is one a core." },
	{ KEY("server", "map_size"), FIELD(server_map_size), SIZE(MIB(16), "16MiB", TIB(16), "16TiB"),
	  .default_text = "64GiB",
	  .help = "Address space for the store. It takes no memory or disk by itself, and grows when it "
		  "must." },
	{ KEY("server", "max_value"), FIELD(server_max_value), SIZE(KIB(1), "1KiB", MIB(32), "32MiB"),
	  .default_text = "8MiB",
	  .help = "The largest value that a client may store." },
	{ KEY("server", "durability"), FIELD(server_durability), WORDS("sync", "async"), .default_text = "sync",
	  .help = "When a write is answered: on disk (sync), or synced within a second (async; a power cut loses the "
		  "last second). Mode raft always waits for the disk." },
	{ KEY("server", "follower_writes"), FIELD(server_follower_writes), WORDS("redirect", "reject"), .live = true,
	  .default_text = "redirect",
	  .help = "What a follower answers to a write: a redirect to the leader (307) or a refusal (403)." },
	{ KEY("server", "min_seq_wait"), FIELD(server_min_seq_wait_ms), DURATION(0, "0s", SECONDS(60), "60s"),
	  .live = true, .default_text = "2s",
	  .help = "How long a read with Seedpod-Min-Seq waits for this replica before it is sent to the "
		  "leader." },
	{ KEY("server", "tombstone_keep"), FIELD(server_tombstone_keep_ms),
	  DURATION(SECONDS(1), "1s", DAYS(3650), "3650d"), .live = true, .default_text = "24h",
	  .help = "How long deletions are remembered. A follower that was away for longer is seeded again." },
	{ KEY("server", "snapshot_hold"), FIELD(server_snapshot_hold_ms), DURATION(SECONDS(1), "1s", HOURS(24), "24h"),
	  .live = true, .default_text = "60s",
	  .help = "How long a snapshot that nobody reads is held, so that a download can be resumed." },

	{ KEY("store", "driver"), FIELD(store_driver), WORDS("seedpod", "directory", "exec"), .default_text = "seedpod",
	  .help = "The kind of store: seedpod-server's own, or any other through an executable that speaks the "
		  "driver contract (exec). The programs of this version accept seedpod alone." },
	{ KEY("store", "command"), FIELD(store_command), TEXT(FORM_FILE), .default_text = "",
	  .help = "The executable of driver exec." },
	{ KEY("store", "path"), FIELD(store_path), TEXT(FORM_FILE), .default_text = "",
	  .help = "The directory of a store that is not seedpod-server's: a subdirectory of the volume, apart from "
		  "[server] data_dir." },
	{ KEY("store", "timeout"), FIELD(store_timeout_ms), DURATION(MS(100), "100ms", HOURS(1), "1h"),
	  .default_text = "30s",
	  .help = "Time limit for each verb of driver exec that answers JSON." },
	{ KEY("store", "idle_timeout"), FIELD(store_idle_timeout_ms), DURATION(MS(100), "100ms", HOURS(24), "24h"),
	  .default_text = "60s",
	  .help = "A verb of driver exec that moves a stream is killed after so long without a byte." },
	{ KEY("store", "secrets_dir"), FIELD(store_secrets_dir), TEXT(FORM_FILE), .default_text = "",
	  .help = "A directory of files with the secrets that driver exec needs. Left empty: none." },

	{ KEY("bootstrap", "donor"), FIELD(bootstrap_donor), WORDS("auto", "leader"), .default_text = "auto",
	  .help = "Who seeds an empty volume: with auto the freshest ready peer, or always the leader." },
	{ KEY("bootstrap", "attempts"), FIELD(bootstrap_attempts), U32(0, 1000000), .default_text = "0",
	  .help = "How often seeding is tried before seedpod-init gives up; 0 is for ever." },
	{ KEY("bootstrap", "retry_delay"), FIELD(bootstrap_retry_delay_ms),
	  DURATION(MS(10), "10ms", MINUTES(10), "10m"), .default_text = "1s",
	  .help = "The wait after the first failure; it doubles with each further one, with jitter." },
	{ KEY("bootstrap", "stall_timeout"), FIELD(bootstrap_stall_timeout_ms),
	  DURATION(MS(100), "100ms", HOURS(1), "1h"), .default_text = "30s",
	  .help = "A donor that sends nothing for so long has stalled." },
	{ KEY("bootstrap", "rate_limit"), FIELD(bootstrap_rate_limit), SIZE(0, "0", TIB(1), "1TiB"), .default_text = "0",
	  .help = "The most bytes a second that a download takes; 0 is no limit." },
	{ KEY("bootstrap", "compression"), FIELD(bootstrap_compression), WORDS("none", "zstd"), .default_text = "none",
	  .help = "Compression of the snapshot on its way." },
	{ KEY("bootstrap", "fan_out"), FIELD(bootstrap_fan_out), U32(0, 16), .default_text = "2",
	  .help = "How many pods a donor sends a snapshot to at once; these pass it on to further ones. "
		  "0: it sends it to each of them." },
	{ KEY("bootstrap", "reseed_ratio"), FIELD(bootstrap_reseed_ratio), RATIO(0, 1000), .default_text = "0.5",
	  .help = "A follower that lacks more changes than this share of the leader's keys is seeded "
		  "instead of synced." },
	{ KEY("bootstrap", "peer_grace"), FIELD(bootstrap_peer_grace_ms), DURATION(0, "0s", MINUTES(10), "10m"),
	  .default_text = "5s",
	  .help = "How long a leader with an empty volume waits for peers that do not answer yet." },
	{ KEY("bootstrap", "max_peers"), FIELD(bootstrap_max_peers), U32(1, 256), .default_text = "16",
	  .help = "Peers are asked by ordinal, from 0 up to this number, all at once." },

	{ KEY("sync", "mode"), FIELD(sync_mode), WORDS("stream", "poll"), .live = true, .default_text = "stream",
	  .help = "With stream changes arrive as they happen; with poll the leader is asked every interval." },
	{ KEY("sync", "interval"), FIELD(sync_interval_ms), DURATION(MS(100), "100ms", HOURS(24), "24h"), .live = true,
	  .default_text = "10s",
	  .help = "How often the leader is asked, in mode poll." },
	{ KEY("sync", "stall_timeout"), FIELD(sync_stall_timeout_ms), DURATION(MS(100), "100ms", HOURS(1), "1h"),
	  .live = true, .default_text = "30s",
	  .help = "A leader that sends nothing for so long has stalled." },
	{ KEY("sync", "batch_bytes"), FIELD(sync_batch_bytes), SIZE(KIB(4), "4KiB", MIB(16), "16MiB"), .live = true,
	  .default_text = "4MiB",
	  .help = "The size of the batches in which changes are fetched and applied." },
	{ KEY("sync", "on_divergence"), FIELD(sync_on_divergence), WORDS("halt", "reseed"), .live = true,
	  .default_text = "halt",
	  .help = "What to do with a store that is not part of the leader's history: stop and report, "
		  "or seed it again." },

	{ KEY("readiness", "max_lag"), FIELD(readiness_max_lag_ms), DURATION(MS(100), "100ms", HOURS(24), "24h"),
	  .live = true, .default_text = "10s",
	  .help = "A follower that is further behind is not ready." },
	{ KEY("readiness", "max_lag_changes"), FIELD(readiness_max_lag_changes), U64(0, 1000000000000), .live = true,
	  .default_text = "0",
	  .help = "The same, counted in changes; 0 is not looked at." },
	{ KEY("readiness", "leader_loss"), FIELD(readiness_leader_loss), WORDS("serve", "unready"), .live = true,
	  .default_text = "serve",
	  .help = "A follower that lost its leader goes on serving and says that it is stale, or turns "
		  "unready." },

	{ KEY("sidecar", "listen"), FIELD(sidecar_listen), TEXT(FORM_LISTEN), .default_text = "0.0.0.0:9877",
	  .help = "Where the sidecar answers probes, metrics and status." },
	{ KEY("sidecar", "tls"), FIELD(sidecar_tls), WORDS("off", "on"), .default_text = "off",
	  .help = "Whether these pages are HTTPS, with the certificate of [tls]. Clients are not asked for one "
		  "here: the kubelet has none." },

	{ KEY("tls", "cert"), FIELD(tls_cert), TEXT(FORM_FILE), .default_text = "",
	  .help = "This pod's certificate in PEM form, then what leads to its authority. The server then speaks "
		  "HTTPS alone, and shows it to peers too. New files are taken while running. Left empty: HTTP." },
	{ KEY("tls", "key"), FIELD(tls_key), TEXT(FORM_FILE), .default_text = "",
	  .help = "The private key of cert, in PEM form, without a password." },
	{ KEY("tls", "ca"), FIELD(tls_ca), TEXT(FORM_FILE), .default_text = "",
	  .help = "The authorities that peers' and clients' certificates must come from. Left empty: the system's "
		  "for peers. Needed with cert in mode raft." },
	{ KEY("tls", "client_auth"), FIELD(tls_client_auth), WORDS("none", "optional", "require"),
	  .default_text = "none",
	  .help = "Whether whoever asks the server must show a certificate from ca: with optional, one that is "
		  "shown must be good." },
	{ KEY("tls", "min_version"), FIELD(tls_min_version), WORDS("1.2", "1.3"), .default_text = "1.2",
	  .help = "The least version of TLS that is spoken." },
	{ KEY("tls", "peer_name"), FIELD(tls_peer_name), .type = KEY_TEMPLATE, .form = FORM_CERT_NAME,
	  .default_text = "",
	  .help = "The name that a peer's certificate must bear, where that is not the host of peer_url; {name} "
		  "and {ordinal} are those of the pod that is asked." },

	{ KEY("auth", "tokens"), FIELD(auth_tokens), TEXT(FORM_FOLDER), .default_text = "",
	  .help = "A folder with the files read, write, peer and metrics: the tokens of each role, one a line. New "
		  "files are taken while running. Left empty: anyone may read and write." },

	{ KEY("log", "level"), FIELD(log_level), WORDS("debug", "info", "warn", "error"), .live = true,
	  .default_text = "info",
	  .help = "The least level that is logged." },
	{ KEY("log", "format"), FIELD(log_format), WORDS("logfmt", "json"), .live = true, .default_text = "logfmt",
	  .help = "How log lines are written." },
};
/* clang-format on */

const size_t schema_key_count = sizeof(schema_keys) / sizeof(schema_keys[0]);
_Static_assert(sizeof(schema_keys) / sizeof(schema_keys[0]) <= SCHEMA_KEYS_MAX, "raise SCHEMA_KEYS_MAX");
