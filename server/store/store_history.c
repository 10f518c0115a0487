/* The history that the store holds: applying the leader's changes, leading, following. */
#include <string.h>

#include <uuid.h>

#include "lib/base/fault.h"
#include "server/store/store_internal.h"

/* The epoch that wrote change `seq`, by a leader's history. */
static uint64_t
epoch_at(const struct feed_info *info, uint64_t seq)
{
	uint64_t epoch = info->history[0].epoch;

	for (size_t i = 1; i < info->history_count && info->history[i].since < seq; i++)
		epoch = info->history[i].epoch;
	return epoch;
}

/* Take over the leader's history, up to the epoch that wrote our last change. */
static void
adopt_history(struct meta *m, const struct feed_info *info, uint64_t epoch)
{
	m->epoch = epoch;
	m->history_count = 0;
	for (size_t i = 0; i < info->history_count && info->history[i].epoch <= epoch; i++)
		m->history[m->history_count++] = info->history[i];
}

/* Whether our last change is one of the leader's: written in an epoch that it knows, not before that began nor after it
 * ended. The leader looks at this before it makes a feed; but a store must not take another's word for it. */
static bool
in_history(const struct meta *m, const struct feed_info *info)
{
	for (size_t i = 0; i < info->history_count; i++)
		if (info->history[i].epoch == m->epoch)
			return m->seq >= info->history[i].since &&
			       m->seq <= (i + 1 < info->history_count ? info->history[i + 1].since : info->seq);
	return false;
}

/* At a cut: the content must now be the leader's. */
static int
check_cut(struct store_txn *t, const struct feed_info *info, struct sp_error *err)
{
	char expected[DIGEST_HEX_SIZE], found[DIGEST_HEX_SIZE];

	if (digest_equal(t->meta.digest, info->digest) && t->meta.keys == info->keys)
		return 0;
	digest_to_hex(info->digest, expected);
	digest_to_hex(t->meta.digest, found);
	return sp_error_set(err, SP_EDIGEST,
	    "at seq %llu the leader has digest %s over %llu keys, this store %s over %llu",
	    (unsigned long long)info->seq, expected, (unsigned long long)info->keys, found,
	    (unsigned long long)t->meta.keys);
}

int
store_txn_apply(struct store_txn *t, const void *feed, size_t len, const struct feed_info *info, struct sp_error *err)
{
	char cluster[POSITION_CLUSTER_SIZE];
	struct feed_record r;
	size_t cursor = 0;
	int rc;

	uuid_unparse_lower(t->meta.cluster, cluster);
	if (strcmp(cluster, info->cluster) != 0)
		return sp_error_set(
		    err, SP_EDIVERGED, "the feed is of cluster %s, this store of %s", info->cluster, cluster);
	if (info->since != t->meta.seq)
		return sp_error_set(err, SP_EGAP, "the feed begins after seq %llu, this store is at %llu",
		    (unsigned long long)info->since, (unsigned long long)t->meta.seq);
	if (info->since < info->horizon)
		return sp_error_set(err, SP_EGAP, "the feed begins after seq %llu, below its horizon %llu",
		    (unsigned long long)info->since, (unsigned long long)info->horizon);
	if (!in_history(&t->meta, info))
		return sp_error_set(err, SP_EDIVERGED,
		    "this store is at epoch %llu seq %llu, which is not in the feed's history (now epoch %llu seq "
		    "%llu)",
		    (unsigned long long)t->meta.epoch, (unsigned long long)t->meta.seq, (unsigned long long)info->epoch,
		    (unsigned long long)info->seq);
	while (feed_next(feed, len, &cursor, &r) == 1) {
		rc = r.is_delete ? store_delete_at(t, r.seq, r.key, r.key_len, err)
				 : store_put_at(t, r.seq, r.key, r.key_len, r.value, r.value_len, err);
		if (rc < 0)
			return rc;
		FAULT_POINT("apply.record");
	}
	t->changed = true;
	t->meta.writer = false;
	t->meta.consistent = info->cut;
	if (!info->cut) {
		adopt_history(&t->meta, info, epoch_at(info, t->meta.seq));
		return 0;
	}
	t->meta.seq = info->seq;
	adopt_history(&t->meta, info, info->epoch);
	FAULT_POINT("apply.records");
	return check_cut(t, info, err);
}

/* Later writes are epoch `epoch`'s. */
static void
begin_epoch(struct meta *m, uint64_t epoch)
{
	if (m->history_count == POSITION_HISTORY_MAX) {
		memmove(m->history, m->history + 1, (POSITION_HISTORY_MAX - 1) * sizeof(m->history[0]));
		m->history_count--;
	}
	m->epoch = epoch;
	m->history[m->history_count++] = (struct epoch_start){ .epoch = epoch, .since = m->seq };
}

/* Later writes are in no log of raft's, so the store is at no index of one. */
static int
forget_applied(struct store_txn *t, struct sp_error *err)
{
	int rc;

	if (t->meta.applied_index == 0)
		return 0;
	rc = meta_forget_applied(t->store, t->txn, &t->meta);
	if (rc != 0)
		return t->broken = store_error(err, rc, "forget raft's log");
	t->changed = true;
	return 0;
}

int
store_txn_lead(struct store_txn *t, bool *began, struct sp_error *err)
{
	struct meta *m = &t->meta;

	*began = !m->writer || m->tail_lost;
	if (forget_applied(t, err) < 0)
		return t->broken;
	if (!*began)
		return 0;
	begin_epoch(m, m->epoch + 1);
	m->writer = true;
	m->tail_lost = false;
	/* From here on this content is the history, whether or not it was a cut of the former leader's. */
	m->consistent = true;
	t->changed = true;
	return 0;
}

int
store_txn_follow(struct store_txn *t, struct sp_error *err)
{
	if (t->meta.writer) {
		t->meta.writer = false;
		t->changed = true;
	}
	return forget_applied(t, err);
}

void
store_txn_applied(const struct store_txn *t, uint64_t *index, uint64_t *term)
{
	*index = t->meta.applied_index;
	*term = t->meta.applied_term;
}

void
store_txn_set_applied(struct store_txn *t, uint64_t index, uint64_t term)
{
	t->meta.applied_index = index;
	t->meta.applied_term = term;
	/* Should this store ever be led in mode static, that is a new history. */
	t->meta.writer = false;
	t->meta.consistent = true;
	t->changed = true;
}

int
store_txn_begin_epoch(struct store_txn *t, uint64_t epoch, struct sp_error *err)
{
	if (epoch <= t->meta.epoch)
		return 0;
	/* The table has changes alone. */
	if (t->txn == NULL) {
		t->broken =
		    sp_error_set(err, SP_EINTERNAL, "epoch %llu begins within a group", (unsigned long long)epoch);
		return t->broken;
	}
	begin_epoch(&t->meta, epoch);
	t->changed = true;
	return 0;
}

int
store_txn_found(struct store_txn *t, const char *cluster, uint64_t base, uint64_t log, struct sp_error *err)
{
	uuid_t id;

	if (uuid_parse(cluster, id) != 0)
		t->broken = sp_error_set(err, SP_EBADDATA, "cluster \"%s\" is no UUID", cluster);
	else if (t->meta.seq > 0 && memcmp(t->meta.cluster, id, sizeof(id)) != 0)
		t->broken =
		    sp_error_set(err, SP_EDIVERGED, "this store holds another cluster's data, not %s's", cluster);
	else if (t->meta.seq != base)
		t->broken = sp_error_set(err, SP_EDIVERGED,
		    "the log begins on a store at seq %llu, this one is at %llu: seed it from a member",
		    (unsigned long long)base, (unsigned long long)t->meta.seq);
	if (t->broken < 0)
		return t->broken;
	memcpy(t->meta.cluster, id, sizeof(id));
	t->meta.applied_log = log;
	t->changed = true;
	return 0;
}
