/*
 * Takes back entries that another leader replaced.
 *
 * The log is not cut at the same time: if libraft 0.15 has to put a pointer on the disk and to take
 * entries back at the same time, it may forget one of the two, and its next start refuses the log.
 * So a message that replaces entries is dropped while a pointer is on its way, nor a pointer while
 * entries are taken back, and none is begun. The leader sends both again.
 *
 * A change of members among these entries is taken back as well. libraft 0.15 looks for the members
 * before in the log alone, where their entry may have been cut away, and then reads address 0.
 * After a restart it regards a change that is in the log as committed, and never takes it back. So
 * this is done here, before libraft hears of the entries that replace the change: the members
 * before are those of the change before it that is in the log, or else of the pointer that the log
 * begins with.
 *
 * A pointer names members that are committed, because the log is not cut while the newest change in it is not
 * (repl_raft_rollback_is_open()). On the loop's thread.
 */
#include <string.h>

#include "lib/base/le.h"
#include "lib/base/log.h"
#include "server/replication/raft/internal.h"

#define CONF_HEAD 9 /* version and count */

/* --- libraft's log in memory --- */

static const struct raft_entry *
entry_at(const struct repl_raft *r, raft_index index)
{
	const struct raft_log *log = &r->raft.log;
	size_t count = log->back >= log->front ? log->back - log->front : log->size - log->front + log->back;

	if (index <= log->offset || index - log->offset > count)
		return NULL;
	return &log->entries[(log->front + (index - log->offset - 1)) % log->size];
}

uint64_t
repl_raft_term_at(const struct repl_raft *r, uint64_t index)
{
	const struct raft_entry *e = entry_at(r, index);

	if (index != 0 && index == r->raft.log.snapshot.last_index)
		return r->raft.log.snapshot.last_term;
	return e != NULL ? e->term : 0;
}

/* --- Configurations --- */

static int
copy_configuration(const struct raft_configuration *from, struct raft_configuration *to)
{
	int rc = 0;

	raft_configuration_init(to);
	for (unsigned i = 0; rc == 0 && i < from->n; i++)
		rc = raft_configuration_add(to, from->servers[i].id, from->servers[i].address, from->servers[i].role);
	if (rc != 0)
		raft_configuration_close(to);
	return rc;
}

/* As libraft encodes one; the bytes are this member's own log, which was checked when it came. */
static int
read_configuration(const struct raft_buffer *buf, struct raft_configuration *to)
{
	const unsigned char *p = buf->base, *end = p + buf->len, *nul;
	uint64_t n, id;
	int rc = 0;

	raft_configuration_init(to);
	if (buf->len < CONF_HEAD || p[0] != 1)
		return RAFT_MALFORMED;
	n = le_get(p + 1, 8);
	p += CONF_HEAD;
	for (; rc == 0 && n > 0; n--) {
		nul = end - p > 8 ? memchr(p + 8, '\0', (size_t)(end - p - 8)) : NULL;
		if (nul == NULL || nul + 1 >= end) {
			rc = RAFT_MALFORMED;
			break;
		}
		id = le_get(p, 8);
		rc = raft_configuration_add(to, id, (const char *)p + 8, nul[1]);
		p = nul + 2;
	}
	if (rc != 0)
		raft_configuration_close(to);
	return rc;
}

void
repl_raft_rollback_note(struct repl_raft *r, const struct raft_snapshot *pointer)
{
	raft_configuration_close(&r->base);
	r->base_index = pointer->configuration_index;
	if (copy_configuration(&pointer->configuration, &r->base) != 0)
		r->base_index = 0;
}

/* The members before the entry `index`, and the index of their change. */
static int
members_before(const struct repl_raft *r, raft_index index, struct raft_configuration *out, raft_index *at)
{
	const struct raft_entry *e;

	for (*at = index - 1; *at > 0 && (e = entry_at(r, *at)) != NULL; (*at)--)
		if (e->type == RAFT_CHANGE)
			return read_configuration(&e->buf, out);
	*at = r->base_index;
	return r->base_index > 0 && r->base_index < index ? copy_configuration(&r->base, out) : RAFT_NOTFOUND;
}

/* --- Messages --- */

/* The index of the first entry here that this message replaces; 0: it replaces none, or libraft rejects it. */
static raft_index
first_replaced(const struct repl_raft *r, const struct raft_append_entries *a)
{
	if (a->term < r->raft.current_term || (a->term == r->raft.current_term && r->raft.state == RAFT_LEADER) ||
	    (a->prev_log_index > 0 && repl_raft_term_at(r, a->prev_log_index) != a->prev_log_term))
		return 0;
	for (unsigned i = 0; i < a->n_entries; i++) {
		raft_index index = a->prev_log_index + 1 + i;
		raft_term ours = repl_raft_term_at(r, index);

		if (ours != 0 && ours != a->entries[i].term)
			return index > r->raft.commit_index ? index : 0;
	}
	return 0;
}

/* The members are those before the entry `first`, which is replaced. */
static void
take_back_change(struct repl_raft *r, raft_index first)
{
	raft_index newest = r->raft.configuration_uncommitted_index > r->raft.configuration_index
				? r->raft.configuration_uncommitted_index
				: r->raft.configuration_index;
	struct raft_configuration before;
	struct sp_error err;
	raft_index at;

	if (newest < first)
		return;
	if (members_before(r, first, &before, &at) != 0) {
		sp_error_set(&err, SP_EBADDATA, "%s: the members before entry %llu are not known", r->dir, first);
		repl_raft_fail_stop(&err);
	}
	log_info("a change of members is taken back", LOG_U64("index", newest), LOG_U64("members", before.n));
	raft_configuration_close(&r->raft.configuration);
	r->raft.configuration = before;
	r->raft.configuration_index = at;
	r->raft.configuration_uncommitted_index = 0;
}

bool
repl_raft_rollback_before(struct repl_raft *r, struct raft_message *m)
{
	struct raft_append_entries *a = &m->append_entries;
	raft_index first;

	if (m->type == RAFT_IO_INSTALL_SNAPSHOT && r->truncating) {
		raft_configuration_close(&m->install_snapshot.conf);
		raft_free(m->install_snapshot.data.base);
		return false;
	}
	first = m->type == RAFT_IO_APPEND_ENTRIES ? first_replaced(r, a) : 0;
	if (first == 0)
		return true;
	/* The rest is a heartbeat. */
	if (r->puts > 0 || r->raft.snapshot.pending.term != 0) {
		raft_free(a->entries[0].batch);
		raft_free(a->entries);
		a->entries = NULL;
		a->n_entries = 0;
		return true;
	}
	take_back_change(r, first);
	return true;
}

static int
take_back(struct raft_io *io, raft_index index)
{
	struct repl_raft *r = repl_raft_of_io(io);

	r->truncations++;
	r->truncating = true;
	return r->truncate(io, index);
}

bool
repl_raft_rollback_is_open(const struct repl_raft *r)
{
	return r->truncating || r->raft.configuration_uncommitted_index != 0 ||
	       r->raft.configuration_index > r->raft.commit_index;
}

/* --- The pointer that the log begins with at the start --- */

static int
load(struct raft_io *io, raft_term *term, raft_id *voted_for, struct raft_snapshot **pointer, raft_index *first,
    struct raft_entry *entries[], size_t *n)
{
	struct repl_raft *r = repl_raft_of_io(io);
	int rc = r->load(io, term, voted_for, pointer, first, entries, n);

	if (rc == 0 && *pointer != NULL)
		repl_raft_rollback_note(r, *pointer);
	return rc;
}

void
repl_raft_rollback_watch(struct repl_raft *r)
{
	r->truncate = r->io.truncate;
	r->io.truncate = take_back;
	r->puts = 0;
	r->truncating = false;
	r->load = r->io.load;
	r->io.load = load;
	raft_configuration_close(&r->base);
	raft_configuration_init(&r->base);
	r->base_index = 0;
}
