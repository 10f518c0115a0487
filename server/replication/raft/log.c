/*
 * The log's disk, watched. libraft does not report when a follower's log cannot be written: it
 * accepts no more entries, for good, and its leader keeps trying. So each append passes through
 * here. Also repairs the remains of a crash with which libraft does not start. On the loop's
 * thread.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "server/replication/raft/internal.h"

/* Of the volume: with less left, writes are refused, and one that failed is want of room. */
#define ROOM_BYTES (16u << 20)

/* An append on its way, with the request that it is for. */
struct watched_append {
	struct raft_io_append request; /* first */
	struct repl_raft *owner;
	struct raft_io_append *wanted; /* libraft's, answered by `cb` */
	raft_io_append_cb cb;
	uint64_t term;        /* in which it was asked for */
	uint64_t truncations; /* before it */
};

void
repl_raft_log_note_failure(struct repl_raft *r, int code)
{
	if (r->closing || r->log_failed)
		return;
	r->log_failed = true;
	atomic_fetch_add(&r->log_failures, 1);
	/* Not every code of its I/O is one that libraft has words for. */
	if (code <= 0 || code > RAFT_TOOMANY)
		code = RAFT_IOERR;
	repl_raft_error(&r->log_error, code, r->io.errmsg, "write the raft log");
	r->log_error.code = SP_EIO;
}

bool
repl_raft_log_has_room(const struct repl_raft *r)
{
	uint64_t room;

	return file_free_bytes(r->dir, &room, NULL) < 0 || room >= ROOM_BYTES;
}

static void
append_over(struct raft_io_append *request, int status)
{
	struct watched_append *w = (struct watched_append *)request;
	struct watched_append done = *w;

	free(w);
	if (status != 0 && status != RAFT_CANCELED)
		repl_raft_log_note_failure(done.owner, status);
	if (done.truncations == done.owner->truncations)
		done.owner->truncating = false;
	done.owner->written_term = done.term;
	done.cb(done.wanted, status);
	done.owner->written_term = 0;
}

static int
append(struct raft_io *io, struct raft_io_append *request, const struct raft_entry entries[], unsigned n,
    raft_io_append_cb cb)
{
	struct repl_raft *r = repl_raft_of_io(io);
	struct watched_append *w = malloc(sizeof(*w));
	int rc;

	if (w == NULL)
		return RAFT_NOMEM;
	*w = (struct watched_append){
		.owner = r, .wanted = request, .cb = cb, .term = r->raft.current_term, .truncations = r->truncations
	};
	rc = r->append(io, &w->request, entries, n, append_over);
	if (rc == 0)
		return 0;
	free(w);
	if (rc != RAFT_NOMEM)
		repl_raft_log_note_failure(r, rc);
	return rc;
}

void
repl_raft_log_watch(struct repl_raft *r)
{
	r->append = r->io.append;
	r->io.append = append;
}

void
repl_raft_log_settle(struct repl_raft *r)
{
	/* Its term or its vote could not be written: libraft has given up. */
	if (raft_state(&r->raft) == RAFT_UNAVAILABLE)
		repl_raft_log_note_failure(r, RAFT_IOERR);
	if (!r->log_failed)
		return;
	if (repl_raft_log_has_room(r))
		repl_raft_fail_stop(&r->log_error);
	log_error("the raft log cannot be written: this member takes no part until its volume has room",
	    LOG_STR("error", r->log_error.text), LOG_STR("dir", r->dir));
	repl_raft_begin_end(r);
}

/* --- After a crash --- */

#define INDEX_DIGITS 16 /* a closed segment is named by its first and last index, "%016llu-%016llu" */

static int
is_closed_segment(const struct dirent *entry)
{
	const char *name = entry->d_name;

	return strspn(name, "0123456789") == INDEX_DIGITS && name[INDEX_DIGITS] == '-' &&
	       strspn(name + INDEX_DIGITS + 1, "0123456789") == INDEX_DIGITS && name[2 * INDEX_DIGITS + 1] == '\0';
}

int
repl_raft_log_undo_truncation(struct repl_raft *r, struct sp_error *err)
{
	char path[sizeof(r->dir) + 2 * INDEX_DIGITS + 3];
	struct dirent **names;
	int n, rc = 0;

	n = scandir(r->dir, &names, is_closed_segment, alphasort);
	if (n < 0)
		return sp_error_errno(err, errno, "%s", r->dir);
	for (int i = 0; rc == 0 && i + 1 < n; i++) {
		if (strncmp(names[i]->d_name, names[i + 1]->d_name, INDEX_DIGITS) != 0)
			continue;
		rc = file_join(path, sizeof(path), r->dir, names[i]->d_name, err);
		if (rc == 0 && unlink(path) != 0)
			rc = sp_error_errno(err, errno, "remove %s", path);
		if (rc == 0)
			log_info("a crash came while the log was cut short: it has its former end again",
			    LOG_STR("removed", path));
	}
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	return rc;
}
