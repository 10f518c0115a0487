/* The state machine under libraft: committed entries go to the committer; raft's snapshots are pointers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "lib/base/fault.h"
#include "lib/base/json_text.h"
#include "lib/base/log.h"
#include "lib/base/number.h"
#include "lib/protocol/feed.h"
#include "server/replication/batch.h"
#include "server/replication/raft/internal.h"

void
repl_raft_fail_stop(const struct sp_error *err)
{
	log_error("what raft has committed cannot be kept here; stopping", LOG_STR("error", err->text),
	    LOG_STR("code", sp_code_name(err->code)));
	_exit(sp_code_exit(err->code));
}

/* --- One entry in the store. On the committer's writer thread. --- */

static int
run_found(const struct entry *e, struct store_txn *txn, struct sp_error *err)
{
	char text[FOUND_SIZE];
	const char *at;
	uint64_t base = 0, log = 0;
	size_t len;

	snprintf(text, sizeof(text), "%.*s", (int)e->text_len, e->text);
	len = strcspn(text, " ");
	at = text + len + (text[len] == ' ');
	if (*at != '\0' &&
	    (!number_take(&at, UINT64_MAX, &base) || *at++ != ' ' || !number_from_text(at, UINT64_MAX, &log)))
		return sp_error_set(err, SP_EBADDATA, "log entry that founds the cluster is malformed");
	text[len] = '\0';
	return store_txn_found(txn, text, base, log, err);
}

/* A member goes into the directory. A wrong one was rejected before it was proposed. */
static int
run_member(const struct entry *e, struct store_txn *txn, struct sp_error *err)
{
	struct directory d = { 0 };
	struct contact m;
	struct buf note;
	char *text = NULL;
	int rc;

	buf_init(&note, 1u << 20);
	rc = store_txn_note_get(txn, DIRECTORY_NOTE, &note, err);
	if (rc == 0)
		rc = directory_from_json(note.data, note.len, &d, err);
	else if (rc == SP_ENOTFOUND)
		rc = 0;
	if (rc == 0)
		rc = contact_from_json(e->text, e->text_len, &m, err);
	if (rc == 0)
		rc = directory_set(&d, &m, err);
	if (rc == 0 && (text = directory_to_json(&d)) == NULL)
		rc = sp_error_set(err, SP_ENOMEM, "directory of members");
	if (rc == 0)
		rc = store_txn_note_put(txn, DIRECTORY_NOTE, text, strlen(text), err);
	free(text);
	directory_release(&d);
	buf_release(&note);
	return rc;
}

static int
run_job(struct commit_job *job, struct store_txn *txn)
{
	struct repl_raft_job *j = (struct repl_raft_job *)job;
	uint64_t applied, term;

	/* The one before could not be applied. */
	if (atomic_load(&j->owner->halted))
		return sp_error_set(&job->err, SP_EAGAIN, "the store is being closed");
	store_txn_applied(txn, &applied, &term);
	j->code = 0;
	if (j->index <= applied)
		return 0;
	if (applied < j->after)
		return sp_error_set(&job->err, SP_EGAP,
		    "the store holds the log up to %llu, the next entry follows %llu", (unsigned long long)applied,
		    (unsigned long long)j->after);
	switch (j->entry.kind) {
	case ENTRY_FOUND:
		j->code = run_found(&j->entry, txn, &j->err);
		break;
	case ENTRY_MEMBER:
		j->code = run_member(&j->entry, txn, &j->err);
		break;
	case ENTRY_BATCH:
		j->code = store_txn_begin_epoch(txn, j->entry.term, &j->err);
		if (j->code == 0)
			j->code = repl_batch_run(&j->entry.batch, txn, &j->seq, &j->err);
		break;
	}
	if (store_txn_broken(txn) < 0) {
		job->err = j->err;
		return store_txn_broken(txn);
	}
	/* A batch that its condition forbids is an entry like any other: it has had its turn. */
	store_txn_set_applied(txn, j->index, j->entry.term);
	return 0;
}

static void
note_applied(struct repl_raft_job *j)
{
	struct repl_raft *r = j->owner;
	struct contact m;

	pthread_mutex_lock(&r->lock);
	if (j->index > r->applied)
		r->applied = j->index;
	if (j->entry.kind == ENTRY_MEMBER && contact_from_json(j->entry.text, j->entry.text_len, &m, NULL) == 0)
		(void)directory_set(&r->directory, &m, NULL);
	pthread_cond_broadcast(&r->applied_cond);
	pthread_mutex_unlock(&r->lock);
}

static void
note_over(struct repl_raft *r)
{
	pthread_mutex_lock(&r->lock);
	if (--r->outstanding == 0)
		pthread_cond_broadcast(&r->applied_cond);
	pthread_mutex_unlock(&r->lock);
}

bool
repl_raft_wait_idle(struct repl_raft *r, int64_t timeout_ms)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	bool idle;
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	while (r->outstanding > 0 && rc == 0)
		rc = cond_wait_until(&r->applied_cond, &r->lock, deadline);
	idle = r->outstanding == 0;
	pthread_mutex_unlock(&r->lock);
	return idle;
}

static void
job_done(struct commit_job *job)
{
	struct repl_raft_job *j = (struct repl_raft_job *)job;
	struct repl_raft *r = j->owner;

	if (job->code == 0) {
		note_applied(j);
		if (j->batch != NULL) {
			j->batch->code = j->code;
			j->batch->err = j->err;
			j->batch->seq = j->seq;
			j->batch->done(j->batch);
			j->batch = NULL;
			FAULT_POINT("raft.told");
		}
		repl_raft_job_free(j);
		note_over(r);
		return;
	}
	if (job->code != SP_EAGAIN && job->code != SP_ENOTFOUND && job->code != SP_ENOSPACE)
		repl_raft_fail_stop(&job->err);
	/* The store is closed, or is about to be: what is in the log is applied after the next start. */
	pthread_mutex_lock(&r->lock);
	atomic_store(&r->halted, true);
	pthread_cond_broadcast(&r->applied_cond);
	pthread_mutex_unlock(&r->lock);
	repl_raft_job_fail(j, SP_EUNKNOWN, "the server stops; the write is in the log and may be made by others");
	note_over(r);
}

/* --- What libraft calls --- */

/* The proposal of this member that has become this entry, or NULL if it came from another. */
static struct repl_raft_job *
take_proposal(struct repl_raft *r, uint64_t index, uint64_t term)
{
	struct repl_raft_job *j = r->proposed.first;

	if (j == NULL || j->index != index)
		return NULL;
	job_list_pop(&r->proposed);
	if (j->entry.term == term)
		return j;
	repl_raft_job_fail(j, SP_EAGAIN, "another leader's entry took this write's place");
	return NULL;
}

/* What the port checks of other entries (stream_payload.c), of one that came in parts. */
static int
check_whole(const struct entry *e, struct sp_error *err)
{
	if (e->kind != ENTRY_BATCH)
		return 0;
	if (e->batch.count == 0)
		return sp_error_set(err, SP_EBADDATA, "a batch without an op");
	for (size_t i = 0; i < e->batch.count; i++)
		if (e->batch.ops[i].value_len > FEED_VALUE_MAX)
			return sp_error_set(
			    err, SP_EBADDATA, "a batch with a value of %zu bytes", e->batch.ops[i].value_len);
	return 0;
}

/* An entry that came by the log as a job; takes the bytes. NULL: it is a whole of parts that no member can read, so
 * that all of them pass it over: no leader of ours has written it. */
static struct repl_raft_job *
job_of(struct repl_raft *r, void *bytes, size_t len, bool in_parts)
{
	struct repl_raft_job *j = repl_raft_job_new(r);
	struct sp_error err;
	int rc;

	if (j == NULL) {
		sp_error_set(&err, SP_ENOMEM, "apply a log entry of %zu bytes", len);
		repl_raft_fail_stop(&err);
	}
	j->bytes = bytes;
	rc = entry_decode(bytes, len, &j->entry, &err);
	if (rc == 0 && in_parts)
		rc = check_whole(&j->entry, &err);
	if (rc == 0)
		return j;
	if (!in_parts || err.code != SP_EBADDATA)
		repl_raft_fail_stop(&err);
	log_error("an entry of the log is passed over", LOG_STR("error", err.text), LOG_U64("bytes", len));
	repl_raft_job_free(j);
	return NULL;
}

static struct repl_raft_job *
copy_entry(struct repl_raft *r, const struct raft_buffer *buf)
{
	void *copy = malloc(buf->len);
	struct sp_error err;

	if (copy == NULL) {
		sp_error_set(&err, SP_ENOMEM, "apply a log entry of %zu bytes", buf->len);
		repl_raft_fail_stop(&err);
	}
	memcpy(copy, buf->base, buf->len);
	return job_of(r, copy, buf->len, false);
}

/* The next part of a large entry. True: it is the last one, and *whole is the entry, malloc'ed. */
static bool
take_part(struct repl_raft *r, const struct raft_buffer *buf, struct raft_buffer *whole)
{
	struct part part;
	struct sp_error err;
	int rc = part_decode(buf->base, buf->len, &part, &err);

	if (rc == 0)
		rc = parts_take(&r->parts, &part, &err);
	if (rc < 0)
		repl_raft_fail_stop(&err);
	if (rc == 0)
		return false;
	*whole = (struct raft_buffer){ .base = r->parts.whole, .len = r->parts.len };
	r->parts.whole = NULL;
	parts_drop(&r->parts);
	return true;
}

/*
 * libraft keeps the log in memory, and counts entries, not bytes: where they are large, the log is cut early, and fewer
 * are kept.
 */
static void
bound_log(struct repl_raft *r, uint64_t index, size_t bytes)
{
	r->cut_bytes += bytes;
	r->cut_entries++;
	(void)repl_raft_hold_is_on(r, index, bytes);
	raft_set_snapshot_threshold(&r->raft, r->snapshot_every);
	if (r->cut_bytes >= r->log_bytes_max / 2) {
		/* At the mean size of these entries, so many fit. */
		r->kept = r->cut_entries < r->trailing ? (unsigned)r->cut_entries : r->trailing;
		raft_set_snapshot_threshold(&r->raft, 1);
	} else if (r->cut_entries >= r->trailing) {
		r->kept = r->trailing;
	}
	raft_set_snapshot_trailing(&r->raft, r->kept);
}

/* The log is being cut: count anew. */
static void
unbound_log(struct repl_raft *r)
{
	r->cut_bytes = r->cut_entries = 0;
	r->kept_from = r->delivered > r->kept ? r->delivered - r->kept : 0;
	raft_set_snapshot_threshold(&r->raft, r->snapshot_every);
}

/* Hand the entry to the committer. If the writer falls behind, the log waits for it. */
static void
deliver(struct repl_raft *r, struct repl_raft_job *j, uint64_t index, size_t bytes)
{
	j->index = index;
	j->after = r->delivered;
	j->job.run = run_job;
	j->job.done = job_done;
	j->job.must = true;
	j->job.bytes = bytes;
	/* An entry with more than puts and deletes, such as a new epoch, goes straight to LMDB. */
	j->job.alone = j->entry.kind != ENTRY_BATCH || j->entry.term > r->epoch;
	if (j->entry.kind == ENTRY_BATCH && j->entry.term > r->epoch)
		r->epoch = j->entry.term;
	r->delivered = index;
	FAULT_POINT("raft.committed");
	pthread_mutex_lock(&r->lock);
	r->outstanding++;
	pthread_mutex_unlock(&r->lock);
	while (committer_submit(r->committer, &j->job, NULL) < 0) {
		if (atomic_load(&r->halted)) {
			repl_raft_job_fail(j, SP_EUNKNOWN, "the server stops");
			note_over(r);
			break;
		}
		clock_sleep_ms(1);
	}
}

static int
fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
	struct repl_raft *r = fsm->data;
	uint64_t index = raft_last_applied(&r->raft) + 1;
	struct raft_buffer whole = { 0 };
	struct repl_raft_job *j;

	*result = NULL;
	bound_log(r, index, buf->len);
	j = take_proposal(r, index, entry_term(buf->base, buf->len));
	if (index <= r->delivered && j == NULL)
		return 0;
	if (!part_is(buf->base, buf->len)) {
		parts_drop(&r->parts);
		if (j == NULL)
			j = copy_entry(r, buf);
		deliver(r, j, index, buf->len);
	} else if (take_part(r, buf, &whole)) {
		if (j == NULL)
			j = job_of(r, whole.base, whole.len, true);
		else
			free(whole.base);
		if (j != NULL)
			deliver(r, j, index, whole.len);
	} else if (j != NULL) {
		repl_raft_job_fail(j, SP_EUNKNOWN, "the log lacks a part of the write");
	}
	return 0;
}

/* --- Snapshots: a pointer to what the store holds --- */

struct pointer {
	uint64_t applied; /* the last entry below the snapshot that changed the store */
};

/*
 * Whether the log may be cut after the last entry that was applied. A pointer between two parts would leave the later
 * ones without the earlier; one with members that are rolled back would name them for good; and one before what the
 * store holds already would point to an entry beyond itself.
 */
static bool
may_cut(struct repl_raft *r)
{
	raft_index last = raft_last_applied(&r->raft);

	/* Terms do not fall along the log: parts of an earlier term have no next one. */
	if (r->parts.whole != NULL && r->parts.term < repl_raft_term_at(r, last))
		parts_drop(&r->parts);
	return r->parts.whole == NULL && !repl_raft_rollback_is_open(r) && last >= r->delivered &&
	       !repl_raft_hold_is_on(r, last, 0);
}

/* On the loop's thread, with libraft between two entries. libraft takes RAFT_BUSY for no error, and asks again when it
 * has applied more. */
static int
fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
	struct repl_raft *r = fsm->data;
	struct pointer *p;

	if (!may_cut(r))
		return RAFT_BUSY;
	*bufs = raft_calloc(1, sizeof(**bufs));
	p = raft_malloc(sizeof(*p));
	if (*bufs == NULL || p == NULL) {
		raft_free(*bufs);
		raft_free(p);
		return RAFT_NOMEM;
	}
	p->applied = r->delivered;
	unbound_log(r);
	(*bufs)[0] = (struct raft_buffer){ .base = p, .len = sizeof(*p) };
	*n_bufs = 1;
	return 0;
}

/* Wait until the store holds that entry. False: it will not. */
static bool
wait_applied(struct repl_raft *r, uint64_t index)
{
	bool reached;

	pthread_mutex_lock(&r->lock);
	while (r->applied < index && !atomic_load(&r->halted))
		pthread_cond_wait(&r->applied_cond, &r->lock);
	reached = r->applied >= index;
	pthread_mutex_unlock(&r->lock);
	return reached;
}

static char *
write_pointer(struct repl_raft *r, uint64_t applied)
{
	struct position p;
	char digest[DIGEST_HEX_SIZE], *text;
	json_t *root;

	if (store_position(r->store, &p, NULL) < 0)
		return NULL;
	digest_to_hex(p.digest, digest);
	root = json_pack("{si sI ss ss sI sI ss}", "format", 1, "applied", (json_int_t)applied, "donor", r->self.url,
	    "cluster", p.cluster, "epoch", (json_int_t)p.epoch, "seq", (json_int_t)p.seq, "digest", digest);
	text = text_of_json(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

/* On a thread of libuv's pool: the log up to here is about to be cut, so the store must hold it, on disk. */
static int
fsm_snapshot_async(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
	struct repl_raft *r = fsm->data;
	struct pointer *p = (*bufs)[0].base;
	struct sp_error err;
	char *text, *copy;
	size_t len;

	(void)n_bufs;
	if (!wait_applied(r, p->applied))
		return RAFT_CANCELED;
	if (store_flush(r->store, &err) < 0 || store_sync(r->store, &err) < 0) {
		log_warn("the raft log cannot be cut", LOG_STR("error", err.text));
		return RAFT_IOERR;
	}
	FAULT_POINT("raft.pointer_ready");
	text = write_pointer(r, p->applied);
	len = text != NULL ? (strlen(text) + 8) / 8 * 8 : 0;
	copy = len > 0 ? raft_calloc(1, len) : NULL;
	if (copy != NULL)
		memcpy(copy, text, strlen(text) + 1);
	free(text);
	if (copy == NULL)
		return RAFT_NOMEM;
	atomic_fetch_add(&r->cuts, 1);
	raft_free(p);
	(*bufs)[0] = (struct raft_buffer){ .base = copy, .len = len };
	return 0;
}

static int
fsm_snapshot_finalize(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
	(void)fsm;
	for (unsigned i = 0; *bufs != NULL && i < *n_bufs; i++)
		raft_free((*bufs)[i].base);
	raft_free(*bufs);
	*bufs = NULL;
	*n_bufs = 0;
	FAULT_POINT("raft.pointer_written");
	return 0;
}

/* The log begins at this pointer: either the store holds what it points to, or this member cannot
 * continue with it. */
static int
fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
	struct repl_raft *r = fsm->data;
	json_t *root = json_loadb(buf->base, strnlen(buf->base, buf->len), 0, NULL);
	json_t *applied = json_object_get(root, "applied");

	if (!json_is_integer(applied)) {
		json_decref(root);
		log_error("a raft snapshot is no pointer of ours");
		return RAFT_MALFORMED;
	}
	if (r->delivered < (uint64_t)json_integer_value(applied))
		r->needs = (uint64_t)json_integer_value(applied);
	json_decref(root);
	raft_free(buf->base);
	FAULT_POINT("raft.restored");
	return 0;
}

void
repl_raft_fsm_setup(struct repl_raft *r)
{
	r->fsm = (struct raft_fsm){
		.version = 3,
		.data = r,
		.apply = fsm_apply,
		.snapshot = fsm_snapshot,
		.snapshot_async = fsm_snapshot_async,
		.snapshot_finalize = fsm_snapshot_finalize,
		.restore = fsm_restore,
	};
}
