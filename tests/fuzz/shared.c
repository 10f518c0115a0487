#include "tests/fuzz/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/le.h"
#include "lib/base/utf8.h"
#include "lib/protocol/digest.h"
#include "lib/protocol/tar.h"

void
fuzz_fail(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

void
fuzz_require_error(int rc, const struct sp_error *err)
{
	FUZZ_REQUIRE(rc < 0);
	FUZZ_REQUIRE(err->code == rc);
	FUZZ_REQUIRE(err->text[0] != '\0');
	for (const char *at = err->text; *at != '\0'; at += utf8_length(at))
		FUZZ_REQUIRE(utf8_length(at) > 0);
}

int
fuzz_pieces_next(void *arg, const void **data, size_t *len, struct sp_error *err)
{
	struct fuzz_pieces *p = arg;
	size_t left = p->size - p->at;

	(void)err;
	free(p->piece);
	p->piece = NULL;
	if (left == 0)
		return 0;
	*len = left < p->piece_bytes ? left : p->piece_bytes;
	p->piece = malloc(*len);
	FUZZ_REQUIRE(p->piece != NULL);
	memcpy(p->piece, p->data + p->at, *len);
	p->at += *len;
	*data = p->piece;
	return 1;
}

void
fuzz_pieces_release(struct fuzz_pieces *p)
{
	free(p->piece);
	p->piece = NULL;
}

void
fuzz_seal_tar(uint8_t *data, size_t size)
{
	const size_t magic = 257, checksum = 148;

	for (size_t at = 0; at + TAR_BLOCK <= size; at += TAR_BLOCK) {
		char text[8];
		unsigned sum = 0;

		if (memcmp(data + at + magic, "ustar", 5) != 0)
			continue;
		memset(data + at + checksum, ' ', 8);
		for (size_t i = 0; i < TAR_BLOCK; i++)
			sum += data[at + i];
		snprintf(text, sizeof(text), "%06o", sum & 0777777);
		memcpy(data + at + checksum, text, 7);
	}
}

#define FEED_FIXED 50 /* header up to the history */
#define FEED_END   21 /* 'E' records hash */

/* How many records a walk finds, as far as lengths lead. */
static uint32_t
count_records(const uint8_t *data, size_t size)
{
	size_t at = FEED_FIXED + le_get(data + 48, 2) * 16, fixed;
	uint32_t count = 0;

	for (; at + 15 < size && (data[at] == 'P' || data[at] == 'D'); count++) {
		fixed = data[at] == 'P' ? 15 : 11;
		if (data[at] == 'P')
			fixed += le_get(data + at + 3, 3);
		at += fixed + le_get(data + at + 1, 2);
	}
	return count;
}

void
fuzz_seal_feed(uint8_t *data, size_t size)
{
	uint8_t *end = data + size - FEED_END;
	uint32_t records;

	if (size < FEED_FIXED + FEED_END)
		return;
	records = count_records(data, size);
	end[0] = 'E';
	le_put(end + 1, records, 4);
	digest_to_bytes(digest_of(data, size - FEED_END), end + 5);
}

/* --- The folder --- */

static char folder[TEMPDIR_MAX];

static void
remove_folder(void)
{
	tempdir_remove(folder);
}

const char *
fuzz_folder(void)
{
	if (folder[0] == '\0') {
		tempdir_make(folder);
		atexit(remove_folder);
	}
	return folder;
}
