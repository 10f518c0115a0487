/*
 * What a connection brings after its greeting at the raft port: what passes the check is read here as libraft reads it,
 * which believes each size and count, in memory of just the size that it would have. The verdict is the same however
 * the bytes are cut, and no byte of the unit that breaks a rule passes.
 */
#include <stdlib.h>
#include <string.h>

#include <raft.h>

#include "lib/base/le.h"
#include "server/replication/raft/entry.h"
#include "server/replication/raft/stream.h"
#include "tests/fuzz/shared.h"

#define SENDER   0x123450002ull
#define TERM     7
#define TERM_MAX (TERM + TERM_BOUND_AT_ONCE)

static const uint8_t *
copy_of(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	FUZZ_REQUIRE(copy != NULL);
	memcpy(copy, data, size);
	return copy;
}

/* Each byte is looked at, so that the sanitizer sees one that is not there. */
static void
touch(const uint8_t *data, size_t size)
{
	volatile uint8_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + data[i]);
}

static void
require_number(uint64_t value)
{
	FUZZ_REQUIRE(value <= LOG_NUMBER_LIMIT);
}

/* --- As libraft does, without a look at any end --- */

static void
read_configuration(const uint8_t *data, size_t size)
{
	const uint8_t *own = copy_of(data, size), *p = own + 9;
	uint64_t n = le_get(own + 1, 8);

	FUZZ_REQUIRE(own[0] == 1 && n > 0);
	for (uint64_t i = 0; i < n; i++) {
		FUZZ_REQUIRE(le_get(p, 8) != 0);
		p += 8 + strlen((const char *)p + 8) + 1;
		FUZZ_REQUIRE(*p <= RAFT_SPARE);
		p++;
	}
	free((void *)(uintptr_t)own);
}

static void
read_entry(const uint8_t *data, size_t size, unsigned type, uint64_t term)
{
	const uint8_t *own = copy_of(data, size);
	struct sp_error err;
	struct entry e;

	touch(own, size);
	if (type == RAFT_CHANGE)
		read_configuration(own, size);
	if (type == RAFT_COMMAND) {
		FUZZ_REQUIRE(entry_decode(own, size, &e, &err) == 0);
		FUZZ_REQUIRE(e.term == term);
		entry_release(&e);
	}
	free((void *)(uintptr_t)own);
}

/* The payload of this append, of which `left` bytes are there. Its size; 0: it is not whole. */
static size_t
read_entries(const uint8_t *header, uint64_t n, const uint8_t *data, size_t left)
{
	size_t size = 0, at = 0;

	for (uint64_t i = 0; i < n; i++)
		size += le_get(header + 40 + 16 * i + 12, 4);
	FUZZ_REQUIRE(size <= MEMBER_STREAM_MESSAGE_MAX && (size > 0) == (n > 0));
	if (size > left)
		return 0;
	for (uint64_t i = 0; i < n; i++) {
		const uint8_t *head = header + 40 + 16 * i;
		size_t len = le_get(head + 12, 4);

		FUZZ_REQUIRE(at + len <= size);
		read_entry(data + at, len, head[8], le_get(head, 8));
		at += (len + 7) / 8 * 8;
	}
	return size;
}

/* One message in this header; how many bytes follow it, or SIZE_MAX where they are not all there. */
static size_t
read_message(uint64_t type, const uint8_t *header, const uint8_t *data, size_t left)
{
	uint64_t n;
	size_t size;

	FUZZ_REQUIRE(le_get(header, 8) <= TERM_MAX);
	require_number(le_get(header + 8, 8));
	switch (type) {
	case RAFT_IO_REQUEST_VOTE:
		FUZZ_REQUIRE(le_get(header + 8, 8) == SENDER);
		require_number(le_get(header + 16, 8));
		touch(header, 40);
		return 0;
	case RAFT_IO_REQUEST_VOTE_RESULT:
		touch(header, 24);
		return 0;
	case RAFT_IO_APPEND_ENTRIES_RESULT:
	case RAFT_IO_TIMEOUT_NOW:
		require_number(le_get(header + 16, 8) * (type == RAFT_IO_APPEND_ENTRIES_RESULT));
		touch(header, 24);
		return 0;
	case RAFT_IO_APPEND_ENTRIES:
		require_number(le_get(header + 24, 8));
		n = le_get(header + 32, 8);
		size = read_entries(header, n, data, left);
		return size == 0 && n > 0 ? SIZE_MAX : size;
	default:
		FUZZ_REQUIRE(type == RAFT_IO_INSTALL_SNAPSHOT);
		n = le_get(header + 32, 8);
		read_configuration(header + 40, n);
		size = le_get(header + 40 + n, 8);
		FUZZ_REQUIRE(size > 0 && size <= 1u << 20);
		if (size <= left)
			touch(data, size);
		return size <= left ? size : SIZE_MAX;
	}
}

/* All that has passed. */
static void
read_all(const uint8_t *data, size_t size)
{
	size_t at = 0, follows;
	uint64_t header_size;
	const uint8_t *header;

	while (size - at >= 16) {
		header_size = le_get(data + at + 8, 8);
		if (header_size > size - at - 16)
			return;
		header = copy_of(data + at + 16, header_size);
		follows = read_message(
		    le_get(data + at, 8), header, data + at + 16 + header_size, size - at - 16 - header_size);
		free((void *)(uintptr_t)header);
		if (follows == SIZE_MAX)
			return;
		at += 16 + header_size + follows;
	}
}

/* --- The check --- */

static uint64_t
term_of(void *arg, uint64_t index)
{
	(void)arg;
	return index >= 190 && index <= 202 ? TERM - 1 : 0;
}

/* How many bytes pass, in pieces of this size; *refused: not all do. */
static size_t
check_in_pieces(const uint8_t *data, size_t size, size_t piece, bool leads, bool *refused)
{
	const struct member_stream_facts facts = {
		.leads = leads, .term = TERM, .term_max = TERM_MAX, .commit = 201, .term_of = term_of
	};
	struct member_stream s;
	struct sp_error err = { 0 };
	size_t at = 0, n;
	int rc = 0;

	member_stream_init(&s, SENDER);
	while (at < size) {
		const uint8_t *own;

		n = size - at < piece ? size - at : piece;
		own = copy_of(data + at, n);
		rc = member_stream_check(&s, &facts, own, n, &err);
		free((void *)(uintptr_t)own);
		if (rc < 0)
			break;
		at += n;
	}
	member_stream_release(&s);
	if (rc < 0) {
		fuzz_require_error(rc, &err);
		FUZZ_REQUIRE(rc == SP_EBADDATA);
	}
	*refused = rc < 0;
	return at;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece, passed;
	bool leads, refused, refused_too;

	if (size < 2)
		return 0;
	piece = (size_t)data[0] + 1;
	leads = (data[1] & 1) != 0;
	data += 2;
	size -= 2;
	passed = check_in_pieces(data, size, 1, leads, &refused);
	read_all(data, passed);
	passed = check_in_pieces(data, size, piece, leads, &refused_too);
	FUZZ_REQUIRE(refused == refused_too);
	read_all(data, passed);
	return 0;
}
