/* The payload after a header: entries, or a pointer. An entry that this server cannot apply would
 * end it at each start. */
#include "server/replication/raft/stream_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <raft.h>
#include <uuid.h>

#include "lib/base/le.h"
#include "lib/protocol/feed.h"
#include "server/replication/raft/directory.h"
#include "server/replication/raft/entry.h"
#include "server/replication/raft/parts.h"

#define OP_BYTES     8
#define CONF_HEAD    9  /* version and count */
#define MEMBER_LEAST 11 /* id, an address of one byte with its NUL, role */
#define FOUND_MAX    (POSITION_CLUSTER_SIZE + 48)

/* --- Configurations --- */

static int
check_member(const unsigned char **p, const unsigned char *end, const unsigned char *first, struct sp_error *err)
{
	const unsigned char *address = *p + 8, *nul;
	uint64_t id;

	nul = end - *p >= MEMBER_LEAST ? memchr(address, '\0', (size_t)(end - address)) : NULL;
	if (nul == NULL || nul == address || nul + 1 >= end || (size_t)(nul - address) >= MEMBER_ADDRESS_MAX)
		return stream_refuse(err, "a configuration is cut short");
	id = le_get(*p, 8);
	if (id == 0 || nul[1] > RAFT_SPARE)
		return stream_refuse(err, "a configuration with member %" PRIu64 " in role %u", id, nul[1]);
	/* libraft takes no id and no address twice. */
	while (first < *p) {
		const char *before = (const char *)first + 8;

		if (le_get(first, 8) == id || strcmp(before, (const char *)address) == 0)
			return stream_refuse(err, "a configuration with a member twice");
		first += 8 + strlen(before) + 2;
	}
	*p = nul + 2;
	return 0;
}

int
stream_check_configuration(const unsigned char *bytes, size_t len, struct sp_error *err)
{
	const unsigned char *p = bytes + CONF_HEAD, *end = bytes + len;
	uint64_t n;
	int rc = 0;

	if (len < CONF_HEAD || bytes[0] != 1)
		return stream_refuse(err, "a configuration of %zu bytes", len);
	n = le_get(bytes + 1, 8);
	if (n == 0 || n > DIRECTORY_MAX)
		return stream_refuse(err, "a configuration of %" PRIu64 " members", n);
	for (uint64_t i = 0; rc == 0 && i < n; i++)
		rc = check_member(&p, end, bytes + CONF_HEAD, err);
	return rc;
}

/* --- Entries of ours --- */

static int
check_text(const struct member_stream *s, struct sp_error *err)
{
	const char *text = (const char *)s->unit + ENTRY_HEAD_BYTES;
	char found[FOUND_MAX];
	struct entry e;
	struct contact m;
	uuid_t cluster;
	int rc = entry_decode(s->unit, s->want, &e, err);

	if (rc == 0 && e.kind == ENTRY_MEMBER)
		rc = contact_from_json(text, e.text_len, &m, err);
	if (rc == 0 && e.kind == ENTRY_FOUND) {
		if (e.text_len >= sizeof(found))
			return stream_refuse(err, "a cluster's name of %zu bytes", e.text_len);
		memcpy(found, text, e.text_len);
		found[e.text_len] = '\0';
		found[strcspn(found, " ")] = '\0';
		if (uuid_parse(found, cluster) != 0)
			rc = stream_refuse(err, "a cluster's name that is no UUID");
	}
	return rc;
}

static int
skip_rest(struct member_stream *s, struct sp_error *err)
{
	s->skip = s->entry_left;
	s->want = s->have = 0;
	s->after = NEXT_ENTRY;
	return s->skip > 0 ? 0 : stream_go_on(s, err);
}

static int
check_term(uint64_t term, const struct member_stream_entry *is, struct sp_error *err)
{
	if (term == is->term)
		return 0;
	return stream_refuse(
	    err, "an entry that was proposed in term %" PRIu64 ", in the log in term %" PRIu64, term, is->term);
}

/* A part of a large entry. What its whole amounts to is known with the last one (apply.c); its kind with the first. */
static int
part(struct member_stream *s, const struct member_stream_entry *is, struct sp_error *err)
{
	struct part p;
	int rc = part_decode(s->unit, is->size, &p, err);

	if (rc == 0)
		rc = check_term(p.term, is, err);
	if (rc == 0 && part_size(p.len) != is->size)
		rc = stream_refuse(err, "a part of %" PRIu32 " bytes in an entry of %" PRIu32, p.len, is->size);
	if (rc == 0 && p.offset == 0 && p.len < ENTRY_HEAD_BYTES)
		rc = stream_refuse(err, "a first part of %" PRIu32 " bytes", p.len);
	if (rc != 0)
		return rc;
	s->entry_left = is->size - ENTRY_HEAD_BYTES;
	return p.offset == 0 ? stream_expect(s, UNIT_WHOLE, ENTRY_HEAD_BYTES, err) : skip_rest(s, err);
}

static int
whole(struct member_stream *s, struct sp_error *err)
{
	struct entry_head h;
	int rc = entry_head_read(s->unit, &h, err);

	if (rc == 0)
		rc = check_term(h.term, &s->entries[s->entry], err);
	if (rc == 0 && h.kind != ENTRY_BATCH)
		rc = stream_refuse(err, "parts of an entry of kind %u", h.kind);
	if (rc == 0 && h.count == 0)
		rc = stream_refuse(err, "parts of a batch without an op");
	if (rc != 0)
		return rc;
	s->entry_left -= ENTRY_HEAD_BYTES;
	return skip_rest(s, err);
}

/* Its head: kind, term and count. */
static int
command(struct member_stream *s, struct sp_error *err)
{
	const struct member_stream_entry *is = &s->entries[s->entry];
	struct entry_head h;
	int rc;

	if (part_is(s->unit, ENTRY_HEAD_BYTES))
		return part(s, is, err);
	rc = entry_head_read(s->unit, &h, err);
	if (rc == 0)
		rc = check_term(h.term, is, err);
	if (rc != 0)
		return rc;
	s->entry_left = is->size - ENTRY_HEAD_BYTES;
	if (h.kind == ENTRY_BATCH) {
		if (h.count == 0)
			return stream_refuse(err, "a batch without an op");
		s->ops_left = h.count;
		s->want = s->have = 0;
		s->after = NEXT_OP;
		return stream_go_on(s, err);
	}
	if (h.count == 0 || h.count > s->entry_left || s->entry_left > STREAM_TEXT_MAX)
		return stream_refuse(err, "a text of %" PRIu32 " bytes in an entry of %" PRIu32, h.count, is->size);
	/* The whole entry is gathered, its head stays. */
	rc = stream_expect(s, UNIT_TEXT, is->size, err);
	s->have = ENTRY_HEAD_BYTES;
	return rc;
}

static int
next_op(struct member_stream *s, struct sp_error *err)
{
	if (s->ops_left == 0)
		return skip_rest(s, err);
	if (s->entry_left < OP_BYTES)
		return stream_refuse(err, "an entry that ends before its last %" PRIu32 " ops", s->ops_left);
	return stream_expect(s, UNIT_OP, OP_BYTES, err);
}

static int
op(struct member_stream *s, struct sp_error *err)
{
	unsigned kind = s->unit[0];
	uint64_t key = le_get(s->unit + 2, 2), value = le_get(s->unit + 4, 4);

	s->entry_left -= OP_BYTES;
	if (kind != REPL_PUT && kind != REPL_DELETE)
		return stream_refuse(err, "an op of kind %u", kind);
	if (key == 0 || key > FEED_KEY_MAX || value > FEED_VALUE_MAX)
		return stream_refuse(err, "a key of %" PRIu64 " bytes with a value of %" PRIu64, key, value);
	if (key + value > s->entry_left)
		return stream_refuse(
		    err, "an op of %" PRIu64 " bytes with %" PRIu64 " left", key + value, s->entry_left);
	s->entry_left -= key + value;
	s->ops_left--;
	s->skip = key + value;
	s->want = s->have = 0;
	s->after = NEXT_OP;
	return 0;
}

/* --- Entries --- */

static int
begin_entry(struct member_stream *s, struct sp_error *err)
{
	const struct member_stream_entry *e = &s->entries[s->entry];

	switch (e->type) {
	case RAFT_BARRIER:
		s->skip = e->size;
		s->want = s->have = 0;
		s->after = NEXT_ENTRY;
		return 0;
	case RAFT_CHANGE:
		if (e->size > STREAM_CONF_MAX)
			return stream_refuse(err, "a configuration of %" PRIu32 " bytes", e->size);
		return stream_expect(s, UNIT_CHANGE, e->size, err);
	default:
		if (e->size < ENTRY_HEAD_BYTES)
			return stream_refuse(err, "an entry of %" PRIu32 " bytes", e->size);
		return stream_expect(s, UNIT_COMMAND, ENTRY_HEAD_BYTES, err);
	}
}

static int
next_entry(struct member_stream *s, struct sp_error *err)
{
	s->entry++;
	if (s->entry < s->count)
		return begin_entry(s, err);
	s->want = s->have = 0; /* the message is over */
	return 0;
}

static int
check_pointer(const struct member_stream *s, struct sp_error *err)
{
	const char *text = (const char *)s->unit;
	json_t *root = json_loadb(text, strnlen(text, s->want), 0, NULL), *applied = json_object_get(root, "applied");
	json_int_t value = json_is_integer(applied) ? json_integer_value(applied) : -1;

	json_decref(root);
	if (value < 0 || (uint64_t)value > s->index)
		return stream_refuse(err, "a snapshot that is no pointer");
	return 0;
}

int
stream_begin_payload(struct member_stream *s, struct sp_error *err)
{
	s->entry = 0;
	if (s->count > 0)
		return begin_entry(s, err);
	if (s->type == RAFT_IO_INSTALL_SNAPSHOT)
		return stream_expect(s, UNIT_POINTER, (size_t)s->payload, err);
	s->want = s->have = 0;
	return 0;
}

int
stream_go_on(struct member_stream *s, struct sp_error *err)
{
	return s->after == NEXT_OP ? next_op(s, err) : next_entry(s, err);
}

int
stream_payload_unit(struct member_stream *s, struct sp_error *err)
{
	int rc;

	switch (s->at) {
	case UNIT_COMMAND:
		return command(s, err);
	case UNIT_OP:
		return op(s, err);
	case UNIT_WHOLE:
		return whole(s, err);
	case UNIT_POINTER:
		rc = check_pointer(s, err);
		break;
	case UNIT_CHANGE:
		rc = stream_check_configuration(s->unit, s->want, err);
		break;
	default:
		rc = check_text(s, err);
		break;
	}
	return rc == 0 ? next_entry(s, err) : rc;
}
