/* Messages and their headers, in this order: preamble, numbers, entries' heads or a configuration,
 * payload. */
#include "server/replication/raft/stream_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <raft.h>

#include "lib/base/le.h"

#define PREAMBLE_BYTES 16
#define HEAD_BYTES     16
#define UNUSED_BYTES   8
#define TABLE_KEPT     4096 /* entries; a longer table is freed after its message */

/* --- Units --- */

int
stream_refuse(struct sp_error *err, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return sp_error_set(err, SP_EBADDATA, "%s", text);
}

int
stream_expect(struct member_stream *s, enum stream_unit unit, size_t want, struct sp_error *err)
{
	unsigned char *grown;

	if (s->unit == NULL || want > s->unit_size) {
		grown = realloc(s->unit, want);
		if (grown == NULL) {
			sp_error_set(err, SP_ENOMEM, "check a message: out of memory");
			return SP_ENOMEM;
		}
		s->unit = grown;
		s->unit_size = want;
	}
	s->at = unit;
	s->want = want;
	s->have = 0;
	return 0;
}

static uint64_t
number(const struct member_stream *s, size_t i)
{
	return le_get(s->unit + 8 * i, 8);
}

/* --- Numbers --- */

static int
check_term(const struct member_stream_facts *f, uint64_t term, struct sp_error *err)
{
	if (term > f->term_max)
		return stream_refuse(
		    err, "term %" PRIu64 " is not possible: this member is in term %" PRIu64, term, f->term);
	return 0;
}

static int
check_index(uint64_t index, struct sp_error *err)
{
	return index <= LOG_NUMBER_LIMIT ? 0 : stream_refuse(err, "index %" PRIu64 " is not possible", index);
}

/* Entries are of their message's term or of one before it. */
static int
check_within(uint64_t entry_term, uint64_t term, struct sp_error *err)
{
	if (entry_term > term)
		return stream_refuse(
		    err, "an entry of term %" PRIu64 " in a message of term %" PRIu64, entry_term, term);
	return 0;
}

/* A term has one leader. */
static int
check_is_leaders(const struct member_stream_facts *f, uint64_t term, struct sp_error *err)
{
	if (term == 0)
		return stream_refuse(err, "a leader's message of term 0");
	if (f->leads && term == f->term)
		return stream_refuse(err, "a leader's message of term %" PRIu64 ", which this member leads", term);
	return 0;
}

/* libraft ends where what is committed is said to be something else. Leaders of former terms may still say so. */
static int
check_committed(const struct member_stream *s, const struct member_stream_facts *f, uint64_t index, uint64_t term,
    struct sp_error *err)
{
	uint64_t ours;

	if (f->term_of == NULL || index == 0 || index > f->commit || s->term < f->term)
		return 0;
	ours = f->term_of(f->arg, index);
	if (ours != 0 && ours != term)
		return stream_refuse(
		    err, "entry %" PRIu64 " is committed in term %" PRIu64 ", not %" PRIu64, index, ours, term);
	return 0;
}

/* --- Headers --- */

static int
request_vote(struct member_stream *s, struct sp_error *err)
{
	int rc = number(s, 0) > 0 ? 0 : stream_refuse(err, "a vote of term 0");

	if (rc == 0 && number(s, 1) != s->sender)
		rc = stream_refuse(err, "a vote is asked for by another member than the one that greeted");
	if (rc == 0)
		rc = check_index(number(s, 2), err);
	if (rc == 0)
		rc = check_within(number(s, 3), number(s, 0), err);
	return rc;
}

static int
append_entries(struct member_stream *s, const struct member_stream_facts *f, struct sp_error *err)
{
	uint64_t prev_index = number(s, 1), prev_term = number(s, 2), n = number(s, 4);
	int rc = check_is_leaders(f, s->term, err);

	if (rc == 0)
		rc = check_index(prev_index, err);
	if (rc == 0)
		rc = check_index(number(s, 3), err);
	if (rc == 0)
		rc = check_within(prev_term, s->term, err);
	if (rc == 0 && (prev_index == 0) != (prev_term == 0))
		rc = stream_refuse(err, "entry %" PRIu64 " of term %" PRIu64, prev_index, prev_term);
	if (rc == 0 && n > MEMBER_STREAM_ENTRIES_MAX)
		rc = stream_refuse(err, "an append of %" PRIu64 " entries", n);
	if (rc == 0 && s->header_left != n * HEAD_BYTES && s->header_left != n * HEAD_BYTES + UNUSED_BYTES)
		rc = stream_refuse(
		    err, "an append of %" PRIu64 " entries with %" PRIu64 " bytes for their heads", n, s->header_left);
	if (rc == 0)
		rc = check_committed(s, f, prev_index, prev_term, err);
	s->index = prev_index + 1;
	s->announced = n;
	return rc;
}

static int
install_snapshot(struct member_stream *s, const struct member_stream_facts *f, struct sp_error *err)
{
	uint64_t last_index = number(s, 1), last_term = number(s, 2), conf_index = number(s, 3), conf = number(s, 4);
	int rc = check_is_leaders(f, s->term, err);

	if (rc == 0)
		rc = check_index(last_index, err);
	if (rc == 0)
		rc = check_within(last_term, s->term, err);
	if (rc == 0 && (last_index == 0 || last_term == 0 || conf_index == 0 || conf_index > last_index))
		rc = stream_refuse(err, "a snapshot of entry %" PRIu64 ", with the configuration of entry %" PRIu64,
		    last_index, conf_index);
	if (rc == 0 &&
	    (conf > STREAM_CONF_MAX || (s->header_left != conf + 8 && s->header_left != conf + 8 + UNUSED_BYTES)))
		rc = stream_refuse(err, "a configuration of %" PRIu64 " bytes with %" PRIu64 " bytes left for it", conf,
		    s->header_left);
	s->index = last_index;
	return rc;
}

static int
append_result(struct member_stream *s, struct sp_error *err)
{
	int rc = check_index(number(s, 1), err);

	return rc == 0 ? check_index(number(s, 2), err) : rc;
}

static int
timeout_now(struct member_stream *s, const struct member_stream_facts *f, struct sp_error *err)
{
	int rc = check_is_leaders(f, s->term, err);

	if (rc == 0)
		rc = check_index(number(s, 1), err);
	return rc == 0 ? check_within(number(s, 2), s->term, err) : rc;
}

/* Sizes of the numbers: all of the header where nothing follows them. */
static size_t
fixed_size(uint64_t type)
{
	switch (type) {
	case RAFT_IO_REQUEST_VOTE:
	case RAFT_IO_APPEND_ENTRIES:
	case RAFT_IO_INSTALL_SNAPSHOT:
		return 40;
	case RAFT_IO_REQUEST_VOTE_RESULT:
	case RAFT_IO_APPEND_ENTRIES_RESULT:
	case RAFT_IO_TIMEOUT_NOW:
		return 24;
	default:
		return 0;
	}
}

static int
preamble(struct member_stream *s, struct sp_error *err)
{
	uint64_t size = number(s, 1);
	size_t fixed;

	s->type = number(s, 0);
	fixed = fixed_size(s->type);
	if (fixed == 0)
		return stream_refuse(err, "a message of type %" PRIu64, s->type);
	if (size < fixed || (size > fixed && s->type != RAFT_IO_APPEND_ENTRIES && s->type != RAFT_IO_INSTALL_SNAPSHOT))
		return stream_refuse(
		    err, "a message of type %" PRIu64 " with a header of %" PRIu64 " bytes", s->type, size);
	s->header_left = size - fixed;
	s->announced = s->payload = s->count = 0;
	return stream_expect(s, UNIT_FIXED, fixed, err);
}

/* The numbers are good: on to what follows them. */
static int
after_fixed(struct member_stream *s, struct sp_error *err)
{
	if (s->announced > 0)
		return stream_expect(s, UNIT_ENTRY_HEAD, HEAD_BYTES, err);
	if (s->type == RAFT_IO_INSTALL_SNAPSHOT)
		return stream_expect(s, UNIT_CONFIGURATION, (size_t)number(s, 4) + 8, err);
	if (s->header_left > 0)
		return stream_expect(s, UNIT_UNUSED, (size_t)s->header_left, err);
	return stream_begin_payload(s, err);
}

static int
fixed_part(struct member_stream *s, const struct member_stream_facts *f, struct sp_error *err)
{
	int rc;

	s->term = number(s, 0);
	rc = check_term(f, s->term, err);
	if (rc == 0 && s->type == RAFT_IO_REQUEST_VOTE)
		rc = request_vote(s, err);
	else if (rc == 0 && s->type == RAFT_IO_REQUEST_VOTE_RESULT && number(s, 1) > 1)
		rc = stream_refuse(err, "a vote that is neither given nor refused");
	else if (rc == 0 && s->type == RAFT_IO_APPEND_ENTRIES)
		rc = append_entries(s, f, err);
	else if (rc == 0 && s->type == RAFT_IO_APPEND_ENTRIES_RESULT)
		rc = append_result(s, err);
	else if (rc == 0 && s->type == RAFT_IO_INSTALL_SNAPSHOT)
		rc = install_snapshot(s, f, err);
	else if (rc == 0 && s->type == RAFT_IO_TIMEOUT_NOW)
		rc = timeout_now(s, f, err);
	return rc == 0 ? after_fixed(s, err) : rc;
}

static int
note_entry(struct member_stream *s, const struct member_stream_entry *e, struct sp_error *err)
{
	struct member_stream_entry *grown;
	size_t size = s->entries_size > 0 ? 2 * s->entries_size : 64;

	if (s->count == s->entries_size) {
		grown = realloc(s->entries, size * sizeof(*grown));
		if (grown == NULL)
			return sp_error_set(err, SP_ENOMEM, "check a message: out of memory");
		s->entries = grown;
		s->entries_size = size;
	}
	s->entries[s->count++] = *e;
	s->payload += e->size;
	return 0;
}

static int
entry_head(struct member_stream *s, const struct member_stream_facts *f, struct sp_error *err)
{
	const struct member_stream_entry e = { .term = le_get(s->unit, 8),
		.type = (uint32_t)le_get(s->unit + 8, 1),
		.size = (uint32_t)le_get(s->unit + 12, 4) };
	uint64_t before = s->count > 0 ? s->entries[s->count - 1].term : 1;
	int rc = check_within(e.term, s->term, err);

	if (rc == 0 && e.term < before)
		rc = stream_refuse(err, "an entry of term %" PRIu64 " after one of term %" PRIu64, e.term, before);
	if (rc == 0 && e.type != RAFT_COMMAND && e.type != RAFT_BARRIER && e.type != RAFT_CHANGE)
		rc = stream_refuse(err, "an entry of type %" PRIu32, e.type);
	/* libraft pads to 8 bytes in its memory what it does not pad on its way. */
	if (rc == 0 && (e.size == 0 || e.size % 8 != 0 || e.size > MEMBER_STREAM_ENTRY_MAX))
		rc = stream_refuse(err, "an entry of %" PRIu32 " bytes", e.size);
	if (rc == 0 && s->payload + e.size > MEMBER_STREAM_MESSAGE_MAX)
		rc = stream_refuse(err, "an append of more than %u bytes", MEMBER_STREAM_MESSAGE_MAX);
	if (rc == 0)
		rc = check_committed(s, f, s->index + s->count, e.term, err);
	if (rc == 0)
		rc = note_entry(s, &e, err);
	if (rc != 0)
		return rc;
	s->header_left -= HEAD_BYTES;
	if (s->count < s->announced)
		return stream_expect(s, UNIT_ENTRY_HEAD, HEAD_BYTES, err);
	return s->header_left > 0 ? stream_expect(s, UNIT_UNUSED, (size_t)s->header_left, err)
				  : stream_begin_payload(s, err);
}

static int
configuration(struct member_stream *s, struct sp_error *err)
{
	size_t len = s->want - 8;
	int rc = stream_check_configuration(s->unit, len, err);

	s->payload = le_get(s->unit + len, 8);
	if (rc == 0 && (s->payload == 0 || s->payload > STREAM_TEXT_MAX))
		rc = stream_refuse(err, "a snapshot of %" PRIu64 " bytes", s->payload);
	if (rc != 0)
		return rc;
	s->header_left -= s->want;
	return s->header_left > 0 ? stream_expect(s, UNIT_UNUSED, (size_t)s->header_left, err)
				  : stream_begin_payload(s, err);
}

/* --- The whole --- */

static int
unit_done(struct member_stream *s, const struct member_stream_facts *f, struct sp_error *err)
{
	switch (s->at) {
	case UNIT_PREAMBLE:
		return preamble(s, err);
	case UNIT_FIXED:
		return fixed_part(s, f, err);
	case UNIT_ENTRY_HEAD:
		return entry_head(s, f, err);
	case UNIT_CONFIGURATION:
		return configuration(s, err);
	case UNIT_UNUSED:
		return stream_begin_payload(s, err);
	default:
		return stream_payload_unit(s, err);
	}
}

void
member_stream_init(struct member_stream *s, uint64_t sender)
{
	*s = (struct member_stream){ .sender = sender, .at = UNIT_PREAMBLE, .want = PREAMBLE_BYTES };
}

void
member_stream_release(struct member_stream *s)
{
	free(s->unit);
	free(s->entries);
	s->unit = NULL;
	s->entries = NULL;
	s->unit_size = s->entries_size = 0;
}

/* Between two messages. */
static int
begin_message(struct member_stream *s, struct sp_error *err)
{
	if (s->entries_size > TABLE_KEPT) {
		free(s->entries);
		s->entries = NULL;
		s->entries_size = 0;
	}
	return stream_expect(s, UNIT_PREAMBLE, PREAMBLE_BYTES, err);
}

int
member_stream_check(struct member_stream *s, const struct member_stream_facts *facts, const void *bytes, size_t len,
    struct sp_error *err)
{
	const unsigned char *p = bytes;
	size_t n;
	int rc = s->unit == NULL ? stream_expect(s, UNIT_PREAMBLE, PREAMBLE_BYTES, err) : 0;

	while (rc == 0 && len > 0) {
		if (s->skip > 0) {
			n = s->skip < len ? (size_t)s->skip : len;
			s->skip -= n;
		} else {
			n = s->want - s->have < len ? s->want - s->have : len;
			memcpy(s->unit + s->have, p, n);
			s->have += n;
		}
		p += n;
		len -= n;
		if (s->skip > 0 || s->have < s->want)
			continue;
		rc = s->want > 0 ? unit_done(s, facts, err) : stream_go_on(s, err);
		if (rc == 0 && s->skip == 0 && s->want == 0)
			rc = begin_message(s, err);
	}
	return rc;
}

uint64_t
term_bound_most(struct term_bound *t, uint64_t term, int64_t now_ms)
{
	uint64_t risen = term > t->term ? term - t->term : 0;
	uint64_t room;

	if (!t->seen) {
		*t = (struct term_bound){ .seen = true, .allowance = TERM_BOUND_AT_ONCE, .at_ms = now_ms };
		/* The term that it starts with is not a rise; nor is the first one that a new
		 * member hears of. */
		risen = 0;
	} else if (t->term == 0) {
		risen = 0;
	}
	room = TERM_BOUND_AT_ONCE - t->allowance;
	if (now_ms - t->at_ms >= 1000) {
		uint64_t more = (uint64_t)(now_ms - t->at_ms) / 1000 * TERM_BOUND_A_SECOND;

		t->allowance += more < room ? more : room;
		t->at_ms = now_ms;
	}
	t->allowance -= risen < t->allowance ? risen : t->allowance;
	t->term = term;
	if (term == 0)
		return LOG_NUMBER_LIMIT;
	return term < LOG_NUMBER_LIMIT - t->allowance ? term + t->allowance : LOG_NUMBER_LIMIT;
}
