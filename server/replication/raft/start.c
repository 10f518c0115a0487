/* The loop's start and its end, as others see them: this member's identity, the content of its
 * store, libraft set up. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <uuid.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/number.h"
#include "server/replication/raft/internal.h"

#define POINTER_TIMEOUT_MS 2000       /* a pointer is 200 bytes; libraft counts on whole snapshots, 30 s */
#define SEGMENT_BYTES      (4u << 20) /* of the log on disk; two or three are allocated ahead */
#define IDLE_WAIT_MS       3000
#define MEMBER_FILE        "member"
#define MEMBER_FILE_MAX    128

int
repl_raft_error(struct sp_error *err, int code, const char *reason, const char *what)
{
	int ours = code == RAFT_NOMEM                               ? SP_ENOMEM
		   : code == RAFT_NOSPACE                           ? SP_ENOSPACE
		   : code == RAFT_IOERR                             ? SP_EIO
		   : code == RAFT_CORRUPT || code == RAFT_MALFORMED ? SP_EBADDATA
		   : code == RAFT_UNAUTHORIZED                      ? SP_EPERM
								    : SP_EAGAIN;

	return sp_error_set(
	    err, ours, "%s: %s", what, reason != NULL && reason[0] != '\0' ? reason : raft_strerror(code));
}

/* "number N", "id N", a line each. */
static bool
parse_identity(const char *text, unsigned *number, uint64_t *id)
{
	uint64_t n;

	if (strncmp(text, "number ", 7) != 0)
		return false;
	text += 7;
	if (!number_take(&text, UINT_MAX, &n) || strncmp(text, "\nid ", 4) != 0)
		return false;
	text += 4;
	*number = (unsigned)n;
	return number_take(&text, UINT64_MAX, id) && strcmp(text, "\n") == 0;
}

/* This member's id: drawn once for a raft directory. */
static int
read_identity(struct repl_raft *r, struct sp_error *err)
{
	char path[sizeof(r->dir) + 16];
	unsigned number = 0;
	struct buf text;
	uuid_t random;
	uint64_t incarnation = 0;
	int rc;

	rc = file_join(path, sizeof(path), r->dir, MEMBER_FILE, err);
	if (rc < 0)
		return rc;
	buf_init(&text, MEMBER_FILE_MAX);
	rc = file_read_all(path, &text, err);
	if (rc == 0) {
		if (!parse_identity(text.data, &number, &r->self.id) || MEMBER_NUMBER(r->self.id) != number)
			rc = sp_error_set(err, SP_EBADDATA, "%s: not a member's file", path);
		else if (number != r->self.number)
			rc = sp_error_set(err, SP_EBADDATA, "%s: this volume is member %u's, this is %u", path, number,
			    r->self.number);
	} else if (rc == SP_ENOTFOUND) {
		uuid_generate(random);
		memcpy(&incarnation, random, 5);
		r->self.id = MEMBER_ID(incarnation + 1, r->self.number);
		buf_reset(&text);
		rc = buf_printf(&text, "number %u\nid %" PRIu64 "\n", r->self.number, r->self.id);
		if (rc == 0)
			rc = file_write_atomic(path, text.data, text.len, 0600, err);
		FAULT_POINT("raft.identity");
	}
	buf_release(&text);
	return rc;
}

/* Whether this folder has been a member's before: libraft's first file has its term and vote. */
static bool
has_log(const struct repl_raft *r)
{
	char path[sizeof(r->dir) + 16];

	for (int i = 1; i <= 2; i++) {
		snprintf(path, sizeof(path), "%s/metadata%d", r->dir, i);
		if (file_exists(path))
			return true;
	}
	return false;
}

/*
 * The content of the store. If raft never wrote to it, `founds`: a cluster may be founded on it, by
 * the founder, and only if no peer is a member. But a joining member must not bring data along that
 * no log knows of; such a store must be seeded from any member, hence `needed`.
 */
static int
read_store(struct repl_raft *r, bool *founds, uint64_t *needed, struct sp_error *err)
{
	struct position p;
	struct buf note;
	int rc;

	rc = store_position(r->store, &p, err);
	if (rc < 0)
		return rc;
	*founds = r->founder && p.raft.applied == 0;
	*needed = !r->founder && p.raft.applied == 0 && p.seq > 0 ? 1 : 0;
	if (*founds && !has_log(r) && (rc = repl_raft_ask_before_founding(r, &p, founds, err)) < 0)
		return rc;
	buf_init(&note, 1u << 20);
	pthread_mutex_lock(&r->lock);
	r->applied = r->delivered = p.raft.applied;
	r->epoch = p.epoch;
	directory_release(&r->directory);
	rc = store_note(r->store, DIRECTORY_NOTE, &note, err);
	if (rc == 0)
		rc = directory_from_json(note.data, note.len, &r->directory, err);
	else if (rc == SP_ENOTFOUND)
		rc = 0;
	pthread_mutex_unlock(&r->lock);
	buf_release(&note);
	return rc;
}

/* The cluster that greetings are judged by: a member that has applied nothing yet and founds
 * nothing has none. */
static void
own_cluster(void *arg, char out[LOG_ORIGIN_MAX])
{
	struct repl_raft *r = arg;
	struct position p;

	out[0] = '\0';
	if (store_position(r->store, &p, NULL) < 0 || (p.seq == 0 && p.raft.applied == 0))
		return;
	if (p.raft.log != 0)
		snprintf(out, LOG_ORIGIN_MAX, "%s/%" PRIu64, p.cluster, p.raft.log);
	else
		snprintf(out, LOG_ORIGIN_MAX, "%s", p.cluster);
}

bool
repl_raft_is_member(const struct repl_raft *r, raft_id id)
{
	const struct raft_configuration *c = &r->raft.configuration;

	for (unsigned i = 0; i < c->n; i++)
		if (c->servers[i].id == id)
			return true;
	return c->n == 0;
}

static bool
is_member(void *arg, raft_id id)
{
	return repl_raft_is_member(arg, id);
}

static uint64_t
term_of(void *arg, uint64_t index)
{
	return repl_raft_term_at(arg, index);
}

static void
message_facts(void *arg, struct member_stream_facts *out)
{
	struct repl_raft *r = arg;

	if (r->closing)
		return;
	*out = (struct member_stream_facts){ .leads = raft_state(&r->raft) == RAFT_LEADER,
		.term = r->raft.current_term,
		.commit = r->raft.commit_index,
		.term_of = term_of,
		.arg = r };
}

static int
member_name(void *arg, raft_id id, char *out, size_t size)
{
	struct repl_raft *r = arg;

	return MEMBER_NUMBER(id) > 0 ? r->member_name(r->arg, MEMBER_NUMBER(id), out, size) : SP_ENOTFOUND;
}

/* libraft on the loop, not yet started. */
static int
set_up(struct repl_raft *r, struct sp_error *err)
{
	int rc;

	transport_init(&r->transport, &r->loop, r->listen);
	r->transport.peers = (struct transport_peers){ .cluster = own_cluster,
		.is_member = is_member,
		.name = member_name,
		.facts = message_facts,
		.tls = r->tls,
		.secret = r->secret,
		.arg = r };
	memset(&r->io, 0, sizeof(r->io));
	memset(&r->raft, 0, sizeof(r->raft));
	rc = raft_uv_init(&r->io, &r->loop, r->dir, &r->transport.base);
	if (rc != 0) {
		transport_release(&r->transport);
		return repl_raft_error(err, rc, r->io.errmsg, r->dir);
	}
	/* libraft 0.15 brings async_work() and says version 1 all the same. */
	if (r->io.async_work != NULL && r->io.version < 2)
		r->io.version = 2;
	repl_raft_fsm_setup(r);
	rc = raft_init(&r->raft, &r->io, &r->fsm, r->self.id, r->self.raft);
	if (rc != 0) {
		raft_uv_close(&r->io);
		transport_release(&r->transport);
		return repl_raft_error(err, rc, r->raft.errmsg, r->dir);
	}
	r->raft.data = r;
	repl_raft_log_watch(r);
	repl_raft_hold_watch(r);
	repl_raft_count_watch(r);
	repl_raft_rollback_watch(r);
	raft_uv_set_segment_size(&r->io, SEGMENT_BYTES);
	raft_uv_set_connect_retry_delay(&r->io, r->heartbeat_ms);
	raft_uv_set_snapshot_compression(&r->io, false);
	/* It would set what is damaged aside, and forget what it acknowledged. */
	raft_uv_set_auto_recovery(&r->io, false);
	raft_set_election_timeout(&r->raft, r->election_timeout_ms);
	raft_set_heartbeat_timeout(&r->raft, r->heartbeat_ms);
	/* libraft waits so long for a member that was sent a pointer, and sends it nothing else:
	 * the pointer may have been lost. */
	raft_set_install_snapshot_timeout(&r->raft, POINTER_TIMEOUT_MS);
	raft_set_snapshot_threshold(&r->raft, r->snapshot_every);
	raft_set_snapshot_trailing(&r->raft, r->trailing);
	raft_set_pre_vote(&r->raft, true);
	return 0;
}

static int
bootstrap(struct repl_raft *r)
{
	struct raft_configuration c;
	int rc;

	raft_configuration_init(&c);
	rc = raft_configuration_add(&c, r->self.id, r->self.raft, RAFT_VOTER);
	if (rc == 0)
		rc = raft_bootstrap(&r->raft, &c);
	raft_configuration_close(&c);
	/* There is a log already. */
	return rc == RAFT_CANTBOOTSTRAP ? 0 : rc;
}

static int
mark_running(struct repl_raft *r, struct sp_error *err)
{
	char path[sizeof(r->dir) + 16];
	int rc = file_join(path, sizeof(path), r->dir, REPL_RAFT_RUNNING_MARK, err);

	return rc == 0 ? file_write_atomic(path, "", 0, 0600, err) : rc;
}

/* Applied entries may be in memory alone, and in the log. */
static void
unmark_running(struct repl_raft *r)
{
	char path[sizeof(r->dir) + 16];
	struct sp_error err;

	if (store_flush(r->store, &err) == 0 && store_sync(r->store, &err) == 0 &&
	    file_join(path, sizeof(path), r->dir, REPL_RAFT_RUNNING_MARK, NULL) == 0)
		unlink(path);
}

int
repl_raft_loop_start(struct repl_raft *r, struct sp_error *err)
{
	bool founds;
	uint64_t base_needed;
	int rc;

	rc = repl_raft_wait_idle(r, IDLE_WAIT_MS)
		 ? read_store(r, &founds, &base_needed, err)
		 : sp_error_set(err, SP_EAGAIN, "entries of the log are still being applied");
	if (rc == 0)
		rc = file_make_dirs(r->dir, err);
	pthread_mutex_lock(&r->lock);
	if (rc == 0)
		rc = read_identity(r, err);
	if (rc == 0)
		rc = repl_raft_log_undo_truncation(r, err);
	if (rc == 0)
		rc = mark_running(r, err);
	pthread_mutex_unlock(&r->lock);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&r->lock);
	r->stop_wanted = false;
	pthread_mutex_unlock(&r->lock);
	r->closing = r->closed = false;
	r->end_by_ms = 0;
	r->needs = base_needed;
	r->log_failed = false;
	r->cut_bytes = r->cut_entries = 0;
	r->kept = r->trailing;
	r->kept_from = 0;
	r->rounds = 0;
	r->round_bytes = repl_raft_window_bytes(r) / 2;
	parts_drop(&r->parts);
	r->change = NULL;
	r->change_busy = false;
	pthread_mutex_lock(&r->lock);
	r->was_member = false;
	r->member_count = 0;
	pthread_mutex_unlock(&r->lock);
	r->seen_state = RAFT_UNAVAILABLE;
	atomic_store(&r->halted, false);
	if (uv_loop_init(&r->loop) != 0)
		return sp_error_set(err, SP_ENOMEM, "start the raft loop");
	rc = set_up(r, err);
	if (rc < 0) {
		uv_loop_close(&r->loop);
		return rc;
	}
	repl_raft_turns_begin(r);
	rc = founds ? bootstrap(r) : 0;
	FAULT_POINT("raft.bootstrapped");
	if (rc == 0)
		rc = raft_start(&r->raft);
	FAULT_POINT("raft.started");
	if (rc != 0)
		repl_raft_error(err, rc, r->raft.errmsg, r->dir);
	else if (r->raft.current_term == 0 && raft_last_index(&r->raft) > 0)
		rc = sp_error_set(err, SP_EBADDATA,
		    "%s: its metadata are gone, and with them what this member voted for; its log is not. Without "
		    "this folder it joins as another member",
		    r->dir);
	else if (r->raft.current_term > LOG_NUMBER_LIMIT)
		rc = sp_error_set(err, SP_EBADDATA,
		    "%s: term %llu is no election's: a forged message has ended this log's terms. Found the cluster "
		    "anew on the store of one member",
		    r->dir, r->raft.current_term);
	if (rc == 0) {
		pthread_mutex_lock(&r->lock);
		r->accepts = true;
		pthread_mutex_unlock(&r->lock);
		repl_raft_observe(r);
		rc = pthread_create(&r->thread, NULL, repl_raft_turns_run, r);
		if (rc == 0)
			return 0;
		sp_error_errno(err, rc, "start the raft loop");
	}
	r->stop_wanted = true;
	repl_raft_begin_end(r);
	repl_raft_turns_run(r);
	uv_loop_close(&r->loop);
	return err->code;
}

void
repl_raft_loop_stop(struct repl_raft *r)
{
	pthread_mutex_lock(&r->lock);
	r->stop_wanted = true;
	pthread_mutex_unlock(&r->lock);
	repl_raft_loop_wake(r);
	/* Committed entries are applied and answered, as far as the disk takes them; the rest after
	 * the next start. */
	if (!repl_raft_wait_idle(r, IDLE_WAIT_MS)) {
		pthread_mutex_lock(&r->lock);
		atomic_store(&r->halted, true);
		pthread_cond_broadcast(&r->applied_cond);
		pthread_mutex_unlock(&r->lock);
	}
	pthread_join(r->thread, NULL);
	uv_loop_close(&r->loop);
	if (repl_raft_wait_idle(r, IDLE_WAIT_MS) && !atomic_load(&r->halted))
		unmark_running(r);
}
