/* The records of the store as bytes, and the position among them. */
#include <string.h>

#include <uuid.h>

#include "lib/base/le.h"
#include "server/store/store_internal.h"

#define STATE_KEY     "state"
#define APPLIED_KEY   "applied" /* index:u64 term:u64 log:u64; only in a store that raft writes to */
#define APPLIED_BYTES 24
/* magic[8] format:u32 flags:u32 cluster[16] epoch seq digest[16] keys horizon count:u64, then the history's pairs. */
#define STATE_FIXED_BYTES (8 + 4 + 4 + 16 + 8 + 8 + 16 + 8 + 8 + 8)
#define STATE_MAX_BYTES   (STATE_FIXED_BYTES + POSITION_HISTORY_MAX * 16)
#define STATE_CONSISTENT  1u
#define STATE_WRITER      2u
#define STATE_TAIL_LOST   4u /* with STATE_WRITER alone */

static const unsigned char state_magic[8] = "seedpod";

void
record_header_pack(const struct record_header *h, unsigned char out[RECORD_HEADER_BYTES])
{
	le_put(out, h->seq, 8);
	le_put(out + 8, h->flags, 8); /* the upper half is the reserved word */
	digest_to_bytes(h->hash, out + 16);
}

int
record_header_unpack(const MDB_val *v, struct record_header *out)
{
	const unsigned char *p = v->mv_data;

	if (v->mv_size < RECORD_HEADER_BYTES)
		return SP_EBADDATA;
	out->seq = le_get(p, 8);
	out->flags = (uint32_t)le_get(p + 8, 8);
	out->hash = digest_from_bytes(p + 16);
	return 0;
}

static int
put_applied(struct store *s, MDB_txn *txn, const struct meta *m)
{
	unsigned char bytes[APPLIED_BYTES];
	MDB_val key = { .mv_size = strlen(APPLIED_KEY), .mv_data = APPLIED_KEY };
	MDB_val value = { .mv_size = sizeof(bytes), .mv_data = bytes };

	le_put(bytes, m->applied_index, 8);
	le_put(bytes + 8, m->applied_term, 8);
	le_put(bytes + 16, m->applied_log, 8);
	return mdb_put(txn, s->meta, &key, &value, 0);
}

int
meta_forget_applied(struct store *s, MDB_txn *txn, struct meta *m)
{
	MDB_val key = { .mv_size = strlen(APPLIED_KEY), .mv_data = APPLIED_KEY };
	int rc = mdb_del(txn, s->meta, &key, NULL);

	if (rc != 0 && rc != MDB_NOTFOUND)
		return rc;
	m->applied_index = m->applied_term = m->applied_log = 0;
	return 0;
}

/* A store that raft never wrote to has no such record: zero. */
static int
get_applied(struct store *s, MDB_txn *txn, struct meta *m, struct sp_error *err)
{
	MDB_val key = { .mv_size = strlen(APPLIED_KEY), .mv_data = APPLIED_KEY };
	MDB_val value;
	int rc;

	rc = mdb_get(txn, s->meta, &key, &value);
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0)
		return store_error(err, rc, "%s: read the store's state", s->dir);
	if (value.mv_size != APPLIED_BYTES && value.mv_size != APPLIED_BYTES - 8)
		return sp_error_set(err, SP_EBADDATA, "%s: the store's applied index is damaged", s->dir);
	m->applied_index = le_get(value.mv_data, 8);
	m->applied_term = le_get((unsigned char *)value.mv_data + 8, 8);
	/* Older ones do not name their log. */
	if (value.mv_size == APPLIED_BYTES)
		m->applied_log = le_get((unsigned char *)value.mv_data + 16, 8);
	return 0;
}

int
meta_put(struct store *s, MDB_txn *txn, const struct meta *m)
{
	unsigned char bytes[STATE_MAX_BYTES];
	unsigned char *p = bytes;
	uint64_t flags = (m->consistent ? STATE_CONSISTENT : 0) | (m->writer ? STATE_WRITER : 0) |
			 (m->writer && m->tail_lost ? STATE_TAIL_LOST : 0);
	MDB_val key = { .mv_size = strlen(STATE_KEY), .mv_data = STATE_KEY };
	MDB_val value = { .mv_data = bytes };
	int rc;

	memcpy(p, state_magic, sizeof(state_magic));
	le_put(p + 8, STORE_FORMAT | flags << 32, 8);
	memcpy(p + 16, m->cluster, 16);
	le_put(p + 32, m->epoch, 8);
	le_put(p + 40, m->seq, 8);
	digest_to_bytes(m->digest, p + 48);
	le_put(p + 64, m->keys, 8);
	le_put(p + 72, m->horizon, 8);
	le_put(p + 80, m->history_count, 8);
	p += STATE_FIXED_BYTES;
	for (size_t i = 0; i < m->history_count; i++, p += 16) {
		le_put(p, m->history[i].epoch, 8);
		le_put(p + 8, m->history[i].since, 8);
	}
	value.mv_size = (size_t)(p - bytes);
	rc = mdb_put(txn, s->meta, &key, &value, 0);
	return rc == 0 && m->applied_index > 0 ? put_applied(s, txn, m) : rc;
}

int
meta_get(struct store *s, MDB_txn *txn, struct meta *out, struct sp_error *err)
{
	MDB_val key = { .mv_size = strlen(STATE_KEY), .mv_data = STATE_KEY };
	MDB_val value;
	const unsigned char *p;
	uint64_t word;
	int rc;

	rc = mdb_get(txn, s->meta, &key, &value);
	if (rc != 0)
		return store_error(err, rc, "%s: read the store's state", s->dir);
	p = value.mv_data;
	if (value.mv_size < STATE_FIXED_BYTES || memcmp(p, state_magic, sizeof(state_magic)) != 0)
		return sp_error_set(err, SP_EBADDATA, "%s: not a seedpod store", s->dir);
	word = le_get(p + 8, 8);
	if ((uint32_t)word != STORE_FORMAT)
		return sp_error_set(err, SP_EBADDATA, "%s: a store of format %u; this program knows format %d", s->dir,
		    (uint32_t)word, STORE_FORMAT);
	memset(out, 0, sizeof(*out));
	out->consistent = (word >> 32 & STATE_CONSISTENT) != 0;
	out->writer = (word >> 32 & STATE_WRITER) != 0;
	out->tail_lost = (word >> 32 & STATE_TAIL_LOST) != 0;
	memcpy(out->cluster, p + 16, 16);
	out->epoch = le_get(p + 32, 8);
	out->seq = le_get(p + 40, 8);
	out->digest = digest_from_bytes(p + 48);
	out->keys = le_get(p + 64, 8);
	out->horizon = le_get(p + 72, 8);
	out->history_count = le_get(p + 80, 8);
	if (out->history_count > POSITION_HISTORY_MAX || value.mv_size != STATE_FIXED_BYTES + out->history_count * 16)
		return sp_error_set(err, SP_EBADDATA, "%s: the store's state is damaged", s->dir);
	p += STATE_FIXED_BYTES;
	for (size_t i = 0; i < out->history_count; i++, p += 16) {
		out->history[i].epoch = le_get(p, 8);
		out->history[i].since = le_get(p + 8, 8);
	}
	return get_applied(s, txn, out, err);
}

void
meta_position(const struct meta *m, struct position *out)
{
	memset(out, 0, sizeof(*out));
	uuid_unparse_lower(m->cluster, out->cluster);
	out->epoch = m->epoch;
	out->seq = m->seq;
	out->digest = m->digest;
	out->keys = m->keys;
	out->horizon = m->horizon;
	out->consistent = m->consistent;
	out->writer = m->writer;
	out->tail_lost = m->writer && m->tail_lost;
	out->raft.applied = m->applied_index;
	out->raft.term = m->applied_term;
	out->raft.log = m->applied_log;
	if (m->applied_index > 0)
		out->raft.role = MEMBER_ROLE_STOPPED;
	out->history_count = m->history_count;
	memcpy(out->history, m->history, m->history_count * sizeof(m->history[0]));
}
