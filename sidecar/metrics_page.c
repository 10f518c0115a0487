#include "sidecar/metrics_page.h"

#include <jansson.h>
#include <string.h>

#include "lib/base/version.h"
#include "lib/protocol/metrics.h"

/* Every family of this page: name, type, help. The values follow in write_…(), the names also say what not to adopt. */
#define FAMILIES(X)                                                                                                    \
	X(READY, "seedpod_ready", "gauge", "Whether this pod is ready (1) or not (0).")                                \
	X(ROLE, "seedpod_role", "gauge", "1 for the role that this pod has, 0 for the other.")                         \
	X(EPOCH, "seedpod_epoch", "gauge", "The epoch of the local store.")                                            \
	X(SEQ, "seedpod_seq", "gauge", "The number of the last change in the local store.")                            \
	X(KEYS, "seedpod_keys", "gauge", "Live keys in the local store.")                                              \
	X(LEADER_SEQ, "seedpod_leader_seq", "gauge", "The leader's last change, as far as this pod knows.")            \
	X(LAG_CHANGES, "seedpod_lag_changes", "gauge", "Changes that the leader has and the local store does not.")    \
	X(LAG_SECONDS, "seedpod_lag_seconds", "gauge",                                                                 \
	    "For how long the local store has been behind the leader, or "                                             \
	    "the leader silent beyond what was due.")                                                                  \
	X(CONTACT, "seedpod_leader_contact_age_seconds", "gauge", "Seconds since the leader last answered.")           \
	X(STALE, "seedpod_stale", "gauge", "Whether this is a follower that does not hear its leader.")                \
	X(PROVEN, "seedpod_proven", "gauge", "Whether the content was shown to be the leader's.")                      \
	X(SERVER_UP, "seedpod_server_up", "gauge", "Whether the local server answers and has a store.")                \
	X(APPLIED, "seedpod_applied_changes_total", "counter", "Changes applied to the local store.")                  \
	X(BATCHES, "seedpod_applied_batches_total", "counter", "Feeds applied to the local store.")                    \
	X(BYTES, "seedpod_applied_bytes_total", "counter", "Bytes of the feeds applied to the local store.")           \
	X(ERRORS, "seedpod_sync_errors_total", "counter", "Failed tries to sync, by reason.")                          \
	X(MISMATCH, "seedpod_digest_mismatch_total", "counter", "Digests that differed from the leader's.")            \
	X(RESEEDS, "seedpod_reseeds_total", "counter", "Times that the store was replaced while the pod ran.")         \
	X(SNAPSHOT_BYTES, "seedpod_snapshot_bytes_total", "counter",                                                   \
	    "Bytes of the snapshot that last seeded this "                                                             \
	    "volume.")                                                                                                 \
	X(SNAPSHOT_SECONDS, "seedpod_snapshot_duration_seconds", "gauge",                                              \
	    "Seconds that seeding this volume last "                                                                   \
	    "took.")                                                                                                   \
	X(RAFT_ROLE, "seedpod_raft_role", "gauge", "1 for what this member is at present, 0 for all else.")            \
	X(RAFT_TERM, "seedpod_raft_term", "gauge", "The term that this member is in.")                                 \
	X(RAFT_LEADER, "seedpod_raft_leader_known", "gauge", "Whether this member knows who leads in its term.")       \
	X(RAFT_COMMIT, "seedpod_raft_commit_index", "gauge", "The last index that it knows to be committed.")          \
	X(RAFT_APPLIED, "seedpod_raft_applied_index", "gauge", "The last index of the log that is in its store.")      \
	X(RAFT_MEMBERS, "seedpod_raft_members", "gauge", "Members in the configuration that it has.")                  \
	X(RAFT_VOTERS, "seedpod_raft_voters", "gauge", "Members in it that vote.")                                     \
	X(RELOAD_OK, "seedpod_config_reload_success", "gauge", "Whether the newest configuration is in force.")        \
	X(RELOAD_TIME, "seedpod_config_reload_timestamp_seconds", "gauge",                                             \
	    "When the configuration in force came "                                                                    \
	    "into force.")                                                                                             \
	X(CONFIG, "seedpod_config_info", "gauge", "The hash of the configuration in force.")                           \
	X(BUILD, "seedpod_build_info", "gauge", "The version of this program.")

enum family {
#define X(id, name, type, help) FAMILY_##id,
	FAMILIES(X)
#undef X
	    FAMILY_COUNT
};

static const struct {
	const char *name;
	const char *type;
	const char *help;
} families[FAMILY_COUNT] = {
#define X(id, name, type, help) { name, type, help },
	FAMILIES(X)
#undef X
};

static int
head(struct buf *out, enum family f)
{
	return metrics_head(out, families[f].name, families[f].type, families[f].help);
}

static int
sample(struct buf *out, enum family f, const char *label, const char *label_value, double value)
{
	struct buf labels;
	int rc;

	buf_init(&labels, 1024);
	rc = metrics_label(&labels, label, label_value);
	if (rc == 0)
		rc = metrics_value(out, families[f].name, labels.data, value);
	buf_release(&labels);
	return rc;
}

static int
single(struct buf *out, enum family f, double value)
{
	return metrics_single(out, families[f].name, families[f].type, families[f].help, value);
}

static int
write_position(struct buf *out, const struct view *v)
{
	int rc = 0;

	rc = rc < 0 ? rc : single(out, FAMILY_READY, v->readiness.ready ? 1 : 0);
	rc = rc < 0 ? rc : head(out, FAMILY_ROLE);
	rc = rc < 0 ? rc : sample(out, FAMILY_ROLE, "role", "leader", v->role == ROLE_LEADER ? 1 : 0);
	rc = rc < 0 ? rc : sample(out, FAMILY_ROLE, "role", "follower", v->role == ROLE_FOLLOWER ? 1 : 0);
	rc = rc < 0 ? rc : single(out, FAMILY_EPOCH, (double)v->own.epoch);
	rc = rc < 0 ? rc : single(out, FAMILY_SEQ, (double)v->own.seq);
	rc = rc < 0 ? rc : single(out, FAMILY_KEYS, (double)v->own.keys);
	rc = rc < 0 ? rc : single(out, FAMILY_LEADER_SEQ, v->leader_known ? (double)v->leader_seq : 0);
	rc = rc < 0 ? rc : single(out, FAMILY_LAG_CHANGES, (double)v->lag.changes);
	rc = rc < 0 ? rc : single(out, FAMILY_LAG_SECONDS, (double)v->lag.ms / 1000);
	rc = rc < 0 ? rc : single(out, FAMILY_CONTACT, (double)v->contact_age_ms / 1000);
	rc = rc < 0 ? rc : single(out, FAMILY_STALE, v->stale ? 1 : 0);
	rc = rc < 0 ? rc : single(out, FAMILY_PROVEN, v->proven ? 1 : 0);
	rc = rc < 0 ? rc : single(out, FAMILY_SERVER_UP, v->server_ok ? 1 : 0);
	return rc;
}

/* Nothing if the mode is not raft, or the server has not reported its member yet. */
static int
write_member(struct buf *out, const struct position_raft *m)
{
	int rc;

	if (m->role == MEMBER_ROLE_NONE)
		return 0;
	rc = head(out, FAMILY_RAFT_ROLE);
	for (int role = MEMBER_ROLE_JOINING; role <= MEMBER_ROLE_REMOVED && rc == 0; role++)
		rc = sample(out, FAMILY_RAFT_ROLE, "role", member_role_name((enum member_role)role),
		    m->role == (enum member_role)role ? 1 : 0);
	rc = rc < 0 ? rc : single(out, FAMILY_RAFT_TERM, (double)m->term);
	rc = rc < 0 ? rc : single(out, FAMILY_RAFT_LEADER, m->leader_known ? 1 : 0);
	rc = rc < 0 ? rc : single(out, FAMILY_RAFT_COMMIT, (double)m->commit);
	rc = rc < 0 ? rc : single(out, FAMILY_RAFT_APPLIED, (double)m->applied);
	rc = rc < 0 ? rc : single(out, FAMILY_RAFT_MEMBERS, (double)m->members);
	rc = rc < 0 ? rc : single(out, FAMILY_RAFT_VOTERS, (double)m->voters);
	return rc;
}

static int
write_counters(struct buf *out, const struct view_counters *c)
{
	int rc = 0;

	rc = rc < 0 ? rc : single(out, FAMILY_APPLIED, (double)c->applied_changes);
	rc = rc < 0 ? rc : single(out, FAMILY_BATCHES, (double)c->applied_batches);
	rc = rc < 0 ? rc : single(out, FAMILY_BYTES, (double)c->applied_bytes);
	rc = rc < 0 ? rc : head(out, FAMILY_ERRORS);
	for (int i = 0; i < SYNC_REASON_COUNT && rc == 0; i++)
		rc = sample(out, FAMILY_ERRORS, "reason", sync_reason_label((enum sync_reason)i), (double)c->errors[i]);
	rc = rc < 0 ? rc : single(out, FAMILY_MISMATCH, (double)c->digest_mismatches);
	rc = rc < 0 ? rc : single(out, FAMILY_RESEEDS, (double)c->reseeds);
	return rc;
}

int
metrics_page_write(
    struct buf *out, const struct view *v, const struct reload_status *conf, const struct metrics_seed *seed)
{
	int rc = write_position(out, v);

	rc = rc < 0 ? rc : write_member(out, &v->own.raft);
	rc = rc < 0 ? rc : write_counters(out, &v->counters);
	rc = rc < 0 ? rc : single(out, FAMILY_SNAPSHOT_BYTES, seed->bytes);
	rc = rc < 0 ? rc : single(out, FAMILY_SNAPSHOT_SECONDS, seed->seconds);
	rc = rc < 0 ? rc : single(out, FAMILY_RELOAD_OK, conf->success ? 1 : 0);
	rc = rc < 0 ? rc : single(out, FAMILY_RELOAD_TIME, (double)conf->applied_wall_ms / 1000);
	rc = rc < 0 ? rc : head(out, FAMILY_CONFIG);
	rc = rc < 0 ? rc : sample(out, FAMILY_CONFIG, "hash", conf->hash, 1);
	rc = rc < 0 ? rc : head(out, FAMILY_BUILD);
	rc = rc < 0 ? rc : sample(out, FAMILY_BUILD, "version", SEEDPOD_VERSION, 1);
	return rc;
}

struct metrics_seed
metrics_page_seed(const char *seed_json)
{
	struct metrics_seed seed = { 0 };
	json_t *root = seed_json != NULL ? json_loads(seed_json, 0, NULL) : NULL;

	seed.bytes = json_number_value(json_object_get(root, "bytes"));
	seed.seconds = json_number_value(json_object_get(root, "seconds"));
	json_decref(root);
	return seed;
}

/* The length of the metric name at `p`, of at most `len` bytes. */
static size_t
name_length(const char *p, size_t len)
{
	size_t n = 0;

	while (n < len && strchr(" {\t\r\n", p[n]) == NULL)
		n++;
	return n;
}

/* Whether a line tells of one of our families: a comment on it, or a sample of it. */
static bool
is_ours(const char *line, size_t len)
{
	size_t skip = 0, n;

	if (len > 7 && (memcmp(line, "# HELP ", 7) == 0 || memcmp(line, "# TYPE ", 7) == 0))
		skip = 7;
	n = name_length(line + skip, len - skip);
	for (size_t i = 0; i < FAMILY_COUNT; i++)
		if (strlen(families[i].name) == n && memcmp(families[i].name, line + skip, n) == 0)
			return true;
	return false;
}

int
metrics_page_adopt(const struct buf *server, struct buf *out)
{
	const char *line = server->data;
	const char *end = server->data + server->len;
	const char *newline;
	size_t len;
	int rc = 0;

	/* A last line without its end was cut: it is left out. */
	while (rc == 0 && (newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
		len = (size_t)(newline - line);
		if (len > 0 && !is_ours(line, len))
			rc = buf_add(out, line, len + 1);
		line = newline + 1;
	}
	return rc;
}
