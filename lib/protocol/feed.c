#include "lib/protocol/feed.h"

#include <string.h>

#include <uuid.h>

#include "lib/base/le.h"

static const char magic[8] = { 'S', 'P', 'F', 'E', 'E', 'D', '1', '\n' };

#define HEADER_FIXED (sizeof(magic) + 16 + 8 + 8 + 8 + 2)
#define PUT_FIXED    (1 + 2 + 4 + 8)
#define DELETE_FIXED (1 + 2 + 8)
#define CUT_BYTES    (1 + 8 + DIGEST_BYTES + 8)
#define MORE_BYTES   (1 + 8)
#define END_BYTES    (1 + 4 + DIGEST_BYTES)

/* JSON's whole numbers end here (as jansson reads them): a position beyond could not be
 * reported. */
#define NUMBER_MAX ((uint64_t)INT64_MAX)

int
feed_write_header(struct buf *out, const struct position *leader, uint64_t since)
{
	unsigned char fixed[HEADER_FIXED], pair[16];
	unsigned char *p = fixed;
	int rc;

	memcpy(p, magic, sizeof(magic));
	p += sizeof(magic);
	if (uuid_parse(leader->cluster, p) != 0)
		memset(p, 0, 16);
	le_put(p + 16, leader->epoch, 8);
	le_put(p + 24, since, 8);
	le_put(p + 32, leader->horizon, 8);
	le_put(p + 40, leader->history_count, 2);
	rc = buf_add(out, fixed, sizeof(fixed));
	for (size_t i = 0; rc == 0 && i < leader->history_count; i++) {
		le_put(pair, leader->history[i].epoch, 8);
		le_put(pair + 8, leader->history[i].since, 8);
		rc = buf_add(out, pair, sizeof(pair));
	}
	return rc;
}

int
feed_write_put(struct buf *out, uint64_t seq, const void *key, size_t key_len, const void *value, size_t value_len)
{
	unsigned char fixed[PUT_FIXED] = { 'P' };
	int rc;

	le_put(fixed + 1, key_len, 2);
	le_put(fixed + 3, value_len, 4);
	le_put(fixed + 7, seq, 8);
	rc = buf_reserve(out, sizeof(fixed) + key_len + value_len);
	if (rc < 0)
		return rc;
	buf_add(out, fixed, sizeof(fixed));
	buf_add(out, key, key_len);
	return buf_add(out, value, value_len);
}

int
feed_write_delete(struct buf *out, uint64_t seq, const void *key, size_t key_len)
{
	unsigned char fixed[DELETE_FIXED] = { 'D' };
	int rc;

	le_put(fixed + 1, key_len, 2);
	le_put(fixed + 3, seq, 8);
	rc = buf_reserve(out, sizeof(fixed) + key_len);
	if (rc < 0)
		return rc;
	buf_add(out, fixed, sizeof(fixed));
	return buf_add(out, key, key_len);
}

int
feed_write_cut(struct buf *out, const struct position *leader)
{
	unsigned char cut[CUT_BYTES] = { 'C' };

	le_put(cut + 1, leader->seq, 8);
	digest_to_bytes(leader->digest, cut + 9);
	le_put(cut + 9 + DIGEST_BYTES, leader->keys, 8);
	return buf_add(out, cut, sizeof(cut));
}

int
feed_write_more(struct buf *out, uint64_t leader_seq)
{
	unsigned char more[MORE_BYTES] = { 'M' };

	le_put(more + 1, leader_seq, 8);
	return buf_add(out, more, sizeof(more));
}

int
feed_write_end(struct buf *out, uint32_t records)
{
	unsigned char end[END_BYTES] = { 'E' };

	le_put(end + 1, records, 4);
	digest_to_bytes(digest_of(out->data, out->len), end + 5);
	return buf_add(out, end, sizeof(end));
}

/* A feed being checked; `at` never passes `len`. */
struct scan {
	const unsigned char *data;
	size_t len;
	size_t at;
	struct sp_error *err;
};

static int
need(struct scan *s, size_t bytes, const char *what)
{
	if (bytes > s->len - s->at)
		return sp_error_set(
		    s->err, SP_ETRUNCATED, "feed: ends within the %s at byte %zu of %zu", what, s->at, s->len);
	return 0;
}

static int
scan_header(struct scan *s, struct feed_info *f)
{
	const unsigned char *p;
	int rc;

	rc = need(s, HEADER_FIXED, "header");
	if (rc < 0)
		return rc;
	p = s->data;
	if (memcmp(p, magic, sizeof(magic)) != 0)
		return sp_error_set(s->err, SP_EBADDATA, "feed: does not begin with SPFEED1");
	uuid_unparse_lower(p + 8, f->cluster);
	f->epoch = le_get(p + 24, 8);
	f->since = le_get(p + 32, 8);
	f->horizon = le_get(p + 40, 8);
	f->history_count = le_get(p + 48, 2);
	s->at = HEADER_FIXED;
	if (f->history_count == 0 || f->history_count > POSITION_HISTORY_MAX)
		return sp_error_set(s->err, SP_EBADDATA, "feed: history of %zu epochs; 1 to %d are allowed",
		    f->history_count, POSITION_HISTORY_MAX);
	rc = need(s, f->history_count * 16, "history");
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < f->history_count; i++, s->at += 16) {
		f->history[i].epoch = le_get(s->data + s->at, 8);
		f->history[i].since = le_get(s->data + s->at + 8, 8);
		if (i > 0 &&
		    (f->history[i].epoch <= f->history[i - 1].epoch || f->history[i].since < f->history[i - 1].since))
			return sp_error_set(
			    s->err, SP_EBADDATA, "feed: history entry %zu does not follow the one before", i);
	}
	if (f->history[f->history_count - 1].epoch != f->epoch)
		return sp_error_set(s->err, SP_EBADDATA, "feed: the history does not end in the present epoch");
	return 0;
}

/* One record at s->at, whose first byte is P or D. */
static int
scan_record(struct scan *s, struct feed_info *f)
{
	bool put = s->data[s->at] == 'P';
	size_t fixed = put ? PUT_FIXED : DELETE_FIXED;
	size_t key_len, value_len;
	uint64_t seq;
	int rc;

	rc = need(s, fixed, "record");
	if (rc < 0)
		return rc;
	key_len = le_get(s->data + s->at + 1, 2);
	value_len = put ? le_get(s->data + s->at + 3, 4) : 0;
	seq = le_get(s->data + s->at + (put ? 7 : 3), 8);
	if (key_len == 0 || key_len > FEED_KEY_MAX)
		return sp_error_set(s->err, SP_EBADDATA, "feed: key of %zu bytes at byte %zu; 1 to %d are allowed",
		    key_len, s->at, FEED_KEY_MAX);
	if (seq <= f->last_seq)
		return sp_error_set(
		    s->err, SP_EBADDATA, "feed: seq %llu at byte %zu does not grow", (unsigned long long)seq, s->at);
	rc = need(s, fixed + key_len + value_len, "record");
	if (rc < 0)
		return rc;
	s->at += fixed + key_len + value_len;
	f->last_seq = seq;
	f->records++;
	return 0;
}

/* Epoch and seq at the close bound all epochs and seqs before them. */
static int
check_present(const struct scan *s, const struct feed_info *f)
{
	uint64_t begun = f->history[f->history_count - 1].since;

	if (f->epoch > NUMBER_MAX || f->seq > NUMBER_MAX)
		return sp_error_set(s->err, SP_EBADDATA, "feed: epoch %llu seq %llu; at most %llu is allowed",
		    (unsigned long long)f->epoch, (unsigned long long)f->seq, (unsigned long long)NUMBER_MAX);
	if (begun > f->seq)
		return sp_error_set(s->err, SP_EBADDATA,
		    "feed: its epoch began after seq %llu, beyond the leader's last change at seq %llu",
		    (unsigned long long)begun, (unsigned long long)f->seq);
	return 0;
}

static int
scan_close(struct scan *s, struct feed_info *f)
{
	int rc;

	rc = need(s, 1, "cut");
	if (rc < 0)
		return rc;
	f->cut = s->data[s->at] == 'C';
	if (!f->cut && s->data[s->at] != 'M')
		return sp_error_set(
		    s->err, SP_EBADDATA, "feed: unknown entry 0x%02x at byte %zu", s->data[s->at], s->at);
	rc = need(s, f->cut ? CUT_BYTES : MORE_BYTES, "cut");
	if (rc < 0)
		return rc;
	f->seq = le_get(s->data + s->at + 1, 8);
	if (f->cut) {
		f->digest = digest_from_bytes(s->data + s->at + 9);
		f->keys = le_get(s->data + s->at + 9 + DIGEST_BYTES, 8);
	}
	if (f->seq < f->last_seq)
		return sp_error_set(s->err, SP_EBADDATA,
		    "feed: its cut at seq %llu lies before its last record at seq %llu", (unsigned long long)f->seq,
		    (unsigned long long)f->last_seq);
	s->at += f->cut ? CUT_BYTES : MORE_BYTES;
	return check_present(s, f);
}

static int
scan_end(struct scan *s, const struct feed_info *f)
{
	const unsigned char *end = s->data + s->at;
	uint32_t records;
	int rc;

	rc = need(s, END_BYTES, "end");
	if (rc < 0)
		return rc;
	if (end[0] != 'E' || s->len - s->at != END_BYTES)
		return sp_error_set(
		    s->err, SP_EBADDATA, "feed: no end where one is due, at byte %zu of %zu", s->at, s->len);
	records = (uint32_t)le_get(end + 1, 4);
	if (records != f->records)
		return sp_error_set(s->err, SP_EBADDATA, "feed: says %u records, holds %u", records, f->records);
	if (!digest_equal(digest_of(s->data, s->at), digest_from_bytes(end + 5)))
		return sp_error_set(s->err, SP_EBADDATA, "feed: its hash does not match its %zu bytes", s->at);
	return 0;
}

int
feed_check(const void *data, size_t len, struct feed_info *out, struct sp_error *err)
{
	struct scan s = { .data = data, .len = len, .err = err };
	struct feed_info f = { .records = 0 };
	int rc;

	rc = scan_header(&s, &f);
	f.last_seq = f.since;
	while (rc == 0 && s.at < len && (s.data[s.at] == 'P' || s.data[s.at] == 'D'))
		rc = scan_record(&s, &f);
	if (rc == 0)
		rc = scan_close(&s, &f);
	if (rc == 0)
		rc = scan_end(&s, &f);
	if (rc == 0)
		*out = f;
	return rc;
}

/* The length of the entry that begins at p, of which `left` bytes have come: 0 if that cannot be told yet. */
static int
entry_length(const unsigned char *p, size_t left, size_t *length, struct sp_error *err)
{
	*length = 0;
	switch (p[0]) {
	case 'P':
		if (left >= PUT_FIXED)
			*length = PUT_FIXED + le_get(p + 1, 2) + le_get(p + 3, 4);
		return 0;
	case 'D':
		if (left >= DELETE_FIXED)
			*length = DELETE_FIXED + le_get(p + 1, 2);
		return 0;
	case 'C':
		*length = CUT_BYTES;
		return 0;
	case 'M':
		*length = MORE_BYTES;
		return 0;
	case 'E':
		*length = END_BYTES;
		return 0;
	default:
		return sp_error_set(err, SP_EBADDATA, "feed: unknown entry 0x%02x", p[0]);
	}
}

int
feed_measure(const void *data, size_t len, size_t *cursor, size_t *length, struct sp_error *err)
{
	const unsigned char *p = data;
	size_t entry, count;

	if (*cursor == 0) {
		if (len < HEADER_FIXED)
			return 0;
		count = le_get(p + 48, 2);
		if (memcmp(p, magic, sizeof(magic)) != 0 || count > POSITION_HISTORY_MAX)
			return sp_error_set(err, SP_EBADDATA, "feed: does not begin as one");
		*cursor = HEADER_FIXED + count * 16;
	}
	while (*cursor < len) {
		if (entry_length(p + *cursor, len - *cursor, &entry, err) < 0)
			return SP_EBADDATA;
		if (entry == 0 || entry > len - *cursor)
			return 0;
		if (p[*cursor] == 'E') {
			*length = *cursor + entry;
			return 1;
		}
		*cursor += entry;
	}
	return 0;
}

int
feed_next(const void *data, size_t len, size_t *cursor, struct feed_record *out)
{
	const unsigned char *p;
	bool put;

	if (*cursor == 0)
		*cursor = HEADER_FIXED + le_get((const unsigned char *)data + 48, 2) * 16;
	p = (const unsigned char *)data + *cursor;
	if (*cursor >= len || (p[0] != 'P' && p[0] != 'D'))
		return 0;
	put = p[0] == 'P';
	out->is_delete = !put;
	out->key_len = le_get(p + 1, 2);
	out->value_len = put ? le_get(p + 3, 4) : 0;
	out->seq = le_get(p + (put ? 7 : 3), 8);
	out->key = p + (put ? PUT_FIXED : DELETE_FIXED);
	out->value = (const unsigned char *)out->key + out->key_len;
	*cursor += (put ? PUT_FIXED : DELETE_FIXED) + out->key_len + out->value_len;
	return 1;
}
