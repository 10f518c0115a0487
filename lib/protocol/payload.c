#include "lib/protocol/payload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/json_text.h"
#include "lib/protocol/sums_line.h"

#define HEAD_NAME "seedpod.json"
#define SUMS_NAME "seedpod.sums"

/* "payload/000001" */
#define PIECE_NAME_SIZE 24

static void
piece_name(uint64_t number, char out[PIECE_NAME_SIZE])
{
	snprintf(out, PIECE_NAME_SIZE, "payload/%06" PRIu64, number);
}

static bool
is_word(const char *text)
{
	return text != NULL && text[0] != '\0' && strlen(text) < PAYLOAD_WORD_SIZE &&
	       text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* --- Writing --- */

struct payload_writer {
	struct payload_head head;
	payload_sink sink;
	void *arg;
	struct buf json;            /* seedpod.json */
	struct digest_stream *hash; /* of the payload */
	uint64_t pieces;            /* sent */
	size_t filled;              /* bytes of `piece` */
	char *piece;
};

static int
make_head(const struct payload_head *h, struct buf *out, struct sp_error *err)
{
	json_t *root;
	char *text;
	int rc;

	if (!is_word(h->store) || !is_word(h->driver) || !is_word(h->carrier) || !is_word(h->proof))
		return sp_error_set(err, SP_EUSAGE, HEAD_NAME ": store, driver, carrier and proof must be words");
	root = json_pack("{si ss ss ss ss ss sI}", "format", PAYLOAD_FORMAT, "store", h->store, "driver", h->driver,
	    "carrier", h->carrier, "proof", h->proof, "donor", h->donor, "created", (json_int_t)h->created);
	text = root != NULL ? text_of_json(root, JSON_COMPACT) : NULL;
	json_decref(root);
	rc = text != NULL ? buf_printf(out, "%s\n", text) : SP_ENOMEM;
	free(text);
	return rc < 0 ? sp_error_set(err, rc, "write " HEAD_NAME) : 0;
}

struct payload_writer *
payload_writer_new(const struct payload_head *head, payload_sink sink, void *arg, struct sp_error *err)
{
	struct payload_writer *w = calloc(1, sizeof(*w));

	if (w == NULL || (w->piece = malloc(PAYLOAD_PIECE)) == NULL) {
		sp_error_set(err, SP_ENOMEM, "write a snapshot: out of memory");
		free(w);
		return NULL;
	}
	w->head = *head;
	w->sink = sink;
	w->arg = arg;
	w->hash = digest_stream_new();
	buf_init(&w->json, PAYLOAD_HEAD_MAX);
	if (make_head(head, &w->json, err) < 0) {
		payload_writer_free(w);
		return NULL;
	}
	return w;
}

void
payload_writer_free(struct payload_writer *w)
{
	if (w == NULL)
		return;
	digest_stream_free(w->hash);
	buf_release(&w->json);
	free(w->piece);
	free(w);
}

/* One member: header, data, padding. */
static int
send_member(struct payload_writer *w, const char *name, const void *data, size_t len, struct sp_error *err)
{
	static const char zeros[TAR_BLOCK];
	struct buf header;
	int rc;

	buf_init(&header, 64u << 10);
	if ((rc = tar_write_header(&header, name, len, w->head.created, err)) == 0)
		rc = w->sink(w->arg, header.data, header.len, err);
	buf_release(&header);
	if (rc == 0)
		rc = w->sink(w->arg, data, len, err);
	if (rc == 0 && tar_padding(len) > 0)
		rc = w->sink(w->arg, zeros, tar_padding(len), err);
	return rc;
}

static int
send_piece(struct payload_writer *w, struct sp_error *err)
{
	char name[PIECE_NAME_SIZE];
	int rc;

	if (w->pieces == PAYLOAD_PIECES_MAX)
		return sp_error_set(err, SP_ETOOBIG, "a snapshot has at most %d pieces", PAYLOAD_PIECES_MAX);
	if (w->pieces == 0 && (rc = send_member(w, HEAD_NAME, w->json.data, w->json.len, err)) < 0)
		return rc;
	piece_name(w->pieces + 1, name);
	if ((rc = send_member(w, name, w->piece, w->filled, err)) < 0)
		return rc;
	w->pieces++;
	w->filled = 0;
	return 0;
}

int
payload_writer_add(struct payload_writer *w, const void *data, size_t len, struct sp_error *err)
{
	const char *from = data;
	int rc;

	digest_stream_add(w->hash, data, len);
	while (len > 0) {
		size_t room = PAYLOAD_PIECE - w->filled, n = len < room ? len : room;

		memcpy(w->piece + w->filled, from, n);
		w->filled += n;
		from += n;
		len -= n;
		if (w->filled == PAYLOAD_PIECE && (rc = send_piece(w, err)) < 0)
			return rc;
	}
	return 0;
}

static int
make_sums(const struct payload_writer *w, const struct position *position, struct buf *out, struct sp_error *err)
{
	char head[DIGEST_HEX_SIZE], data[DIGEST_HEX_SIZE], total[DIGEST_HEX_SIZE];
	char *json = position_to_json(position);
	int rc;

	digest_to_hex(digest_of(w->json.data, w->json.len), head);
	digest_to_hex(digest_stream_value(w->hash), data);
	rc = json == NULL ? SP_ENOMEM
			  : buf_printf(out, "%s  " HEAD_NAME "\n%s  payload\n# position %s\n", head, data, json);
	free(json);
	digest_to_hex(digest_of(out->data, out->len), total);
	if (rc == 0)
		rc = buf_printf(out, "# total %s\n", total);
	return rc < 0 ? sp_error_set(err, rc, "write " SUMS_NAME) : 0;
}

int
payload_writer_end(struct payload_writer *w, const struct position *position, struct sp_error *err)
{
	static const char zeros[TAR_END_BYTES];
	struct buf sums;
	int rc = 0;

	if (w->pieces == 0 && w->filled == 0)
		return sp_error_set(err, SP_EBADDATA, "the snapshot has no payload");
	if (!position_cluster_valid(position->cluster))
		return sp_error_set(err, SP_EBADDATA, "the snapshot's position names no cluster");
	if (w->filled > 0 && (rc = send_piece(w, err)) < 0)
		return rc;
	buf_init(&sums, PAYLOAD_SUMS_MAX);
	rc = make_sums(w, position, &sums, err);
	if (rc == 0)
		rc = send_member(w, SUMS_NAME, sums.data, sums.len, err);
	if (rc == 0)
		rc = w->sink(w->arg, zeros, sizeof(zeros), err);
	buf_release(&sums);
	return rc;
}

/* --- Reading --- */

struct payload_reader {
	struct tar_reader *tar;
	struct digest head_hash;
	struct digest_stream *hash; /* of the payload */
	uint64_t pieces;            /* begun */
	uint64_t bytes;             /* of payload */
	bool inside;                /* in the data of a piece */
	bool last;                  /* the piece is shorter than the others: none may follow */
	bool broken;                /* an error was returned */
};

struct payload_reader *
payload_reader_new(tar_source source, void *arg, struct sp_error *err)
{
	struct payload_reader *r = calloc(1, sizeof(*r));

	if (r == NULL || (r->tar = tar_reader_new(source, arg, err)) == NULL) {
		if (r == NULL)
			sp_error_set(err, SP_ENOMEM, "read a snapshot: out of memory");
		free(r);
		return NULL;
	}
	r->hash = digest_stream_new();
	return r;
}

void
payload_reader_free(struct payload_reader *r)
{
	if (r == NULL)
		return;
	tar_reader_free(r->tar);
	digest_stream_free(r->hash);
	free(r);
}

/* A whole small member. */
static int
read_small(struct payload_reader *r, const struct tar_member *m, struct buf *out, struct sp_error *err)
{
	const void *data;
	size_t len;
	int rc;

	if (m->size > out->limit)
		return sp_error_set(
		    err, SP_EBADDATA, "%s has %" PRIu64 " bytes, more than %zu", m->name, m->size, out->limit);
	while ((rc = tar_reader_data(r->tar, &data, &len, err)) == 1)
		if ((rc = buf_add(out, data, len)) < 0)
			return sp_error_set(err, rc, "read %s", m->name);
	return rc;
}

static int
take_word(json_t *root, const char *name, char out[PAYLOAD_WORD_SIZE], struct sp_error *err)
{
	json_t *value = json_object_get(root, name);
	const char *text = json_string_value(value);

	if (!is_word(text) || json_string_length(value) != strlen(text))
		return sp_error_set(err, SP_EBADDATA, HEAD_NAME ": \"%s\" is missing or no word of [a-z0-9-]", name);
	snprintf(out, PAYLOAD_WORD_SIZE, "%s", text);
	return 0;
}

static int
one_of(const char *what, const char *word, const char *const *words, struct sp_error *err)
{
	for (; *words != NULL; words++)
		if (strcmp(word, *words) == 0)
			return 0;
	return sp_error_set(err, SP_EBADDATA, HEAD_NAME ": \"%s\" is \"%s\", which is not known", what, word);
}

static int
read_members(json_t *root, struct payload_head *h, struct sp_error *err)
{
	static const char *const carriers[] = { "feed", "native", "none", NULL };
	static const char *const proofs[] = { "digest", "position", NULL };
	json_t *format = json_object_get(root, "format"), *created = json_object_get(root, "created");
	const char *donor = json_string_value(json_object_get(root, "donor"));
	int rc;

	if (!json_is_integer(format))
		return sp_error_set(err, SP_EBADDATA, HEAD_NAME ": \"format\" is missing or no number");
	if (json_integer_value(format) == 1)
		return sp_error_set(err, SP_EBADDATA,
		    HEAD_NAME ": format 1 is a snapshot of seedpod-server's store; expected one of another store (%d)",
		    PAYLOAD_FORMAT);
	if (json_integer_value(format) != PAYLOAD_FORMAT)
		return sp_error_set(err, SP_EBADDATA, HEAD_NAME ": format %lld is not known; this program knows %d",
		    (long long)json_integer_value(format), PAYLOAD_FORMAT);
	if ((rc = take_word(root, "store", h->store, err)) < 0 ||
	    (rc = take_word(root, "driver", h->driver, err)) < 0 ||
	    (rc = take_word(root, "carrier", h->carrier, err)) < 0 ||
	    (rc = take_word(root, "proof", h->proof, err)) < 0 ||
	    (rc = one_of("carrier", h->carrier, carriers, err)) < 0 ||
	    (rc = one_of("proof", h->proof, proofs, err)) < 0)
		return rc;
	if (!json_is_integer(created) || json_integer_value(created) < 0)
		return sp_error_set(err, SP_EBADDATA, HEAD_NAME ": \"created\" is missing or no time");
	if (donor == NULL || strlen(donor) >= sizeof(h->donor))
		return sp_error_set(err, SP_EBADDATA, HEAD_NAME ": \"donor\" is missing or too long");
	h->created = json_integer_value(created);
	snprintf(h->donor, sizeof(h->donor), "%s", donor);
	return 0;
}

static int
parse_head(const struct buf *text, struct payload_head *out, struct sp_error *err)
{
	struct payload_head h = { .created = 0 };
	json_error_t where;
	json_t *root = json_loadb(text->data, text->len, JSON_REJECT_DUPLICATES, &where);
	int rc;

	if (!json_is_object(root)) {
		rc = sp_error_set(err, SP_EBADDATA, HEAD_NAME ": not a JSON object%s%s", root == NULL ? ": " : "",
		    root == NULL ? where.text : "");
		json_decref(root);
		return rc;
	}
	rc = read_members(root, &h, err);
	json_decref(root);
	if (rc == 0)
		*out = h;
	return rc;
}

static int
read_head(struct payload_reader *r, struct payload_head *out, struct sp_error *err)
{
	struct tar_member m;
	struct buf text;
	int rc = tar_reader_next(r->tar, &m, err);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return sp_error_set(err, SP_EBADDATA, "the archive is empty");
	if (strcmp(m.name, HEAD_NAME) != 0)
		return sp_error_set(err, SP_EBADDATA, "the first member is %s; expected " HEAD_NAME, m.name);
	buf_init(&text, PAYLOAD_HEAD_MAX);
	rc = read_small(r, &m, &text, err);
	if (rc == 0) {
		r->head_hash = digest_of(text.data, text.len);
		rc = parse_head(&text, out, err);
	}
	buf_release(&text);
	return rc;
}

int
payload_reader_head(struct payload_reader *r, struct payload_head *out, struct sp_error *err)
{
	int rc = read_head(r, out, err);

	r->broken = rc < 0;
	return rc;
}

static int
check_sums(struct payload_reader *r, const struct buf *text, struct position *out, struct sp_error *err)
{
	const char *at = text->data, *end = at + text->len, *json, *eol;
	struct digest head, data, said, total;
	int rc;

	if (!sums_line_hash(&at, end, &head) || !sums_line_word(&at, end, "  " HEAD_NAME "\n"))
		return sp_error_set(err, SP_EBADDATA, SUMS_NAME ": line 1 is not the hash of " HEAD_NAME);
	if (!sums_line_hash(&at, end, &data) || !sums_line_word(&at, end, "  payload\n"))
		return sp_error_set(err, SP_EBADDATA, SUMS_NAME ": line 2 is not the hash of the payload");
	json = at;
	if (!sums_line_word(&json, end, "# position ") || (eol = memchr(json, '\n', (size_t)(end - json))) == NULL)
		return sp_error_set(err, SP_EBADDATA, SUMS_NAME ": line 3 is not the position");
	at = eol + 1;
	total = digest_of(text->data, (size_t)(at - text->data));
	if (!sums_line_word(&at, end, "# total ") || !sums_line_hash(&at, end, &said) ||
	    !sums_line_word(&at, end, "\n"))
		return sp_error_set(err, SP_EBADDATA, SUMS_NAME ": line 4 is not the total");
	if (at != end)
		return sp_error_set(err, SP_EBADDATA, SUMS_NAME ": there is more after line 4");
	if ((rc = sums_line_compare(SUMS_NAME " itself", said, total, err)) < 0 ||
	    (rc = sums_line_compare(HEAD_NAME, head, r->head_hash, err)) < 0 ||
	    (rc = sums_line_compare("the payload", data, digest_stream_value(r->hash), err)) < 0 ||
	    (rc = position_from_json(json, (size_t)(eol - json), out, err)) < 0)
		return rc;
	return out->cluster[0] != '\0' ? 0 : sp_error_set(err, SP_EBADDATA, SUMS_NAME ": the position has no cluster");
}

/* The last member, and nothing after it. */
static int
read_end(struct payload_reader *r, const struct tar_member *m, struct payload_end *end, struct sp_error *err)
{
	struct payload_end found = { .bytes = r->bytes };
	struct tar_member more;
	struct buf text;
	int rc;

	if (r->pieces == 0)
		return sp_error_set(err, SP_EBADDATA, "the snapshot has no payload");
	buf_init(&text, PAYLOAD_SUMS_MAX);
	rc = read_small(r, m, &text, err);
	if (rc == 0)
		rc = check_sums(r, &text, &found.position, err);
	buf_release(&text);
	if (rc < 0)
		return rc;
	if ((rc = tar_reader_next(r->tar, &more, err)) < 0)
		return rc;
	if (rc == 1)
		return sp_error_set(err, SP_EBADDATA, "%s comes after " SUMS_NAME, more.name);
	*end = found;
	return 0;
}

/* A piece: 1. Anything that is not the next one: an error. */
static int
begin_piece(struct payload_reader *r, const struct tar_member *m, struct sp_error *err)
{
	char expected[PIECE_NAME_SIZE];

	piece_name(r->pieces + 1, expected);
	if (r->pieces == PAYLOAD_PIECES_MAX || strcmp(m->name, expected) != 0)
		return sp_error_set(
		    err, SP_EBADDATA, "%s comes where %s or " SUMS_NAME " is expected", m->name, expected);
	if (r->last)
		return sp_error_set(err, SP_EBADDATA, "%s comes after a piece that is not full", m->name);
	if (m->size == 0 || m->size > PAYLOAD_PIECE)
		return sp_error_set(
		    err, SP_EBADDATA, "%s has %" PRIu64 " bytes; allowed are 1 to %u", m->name, m->size, PAYLOAD_PIECE);
	r->last = m->size < PAYLOAD_PIECE;
	r->pieces++;
	r->inside = true;
	return 1;
}

static int
read_data(struct payload_reader *r, const void **data, size_t *len, struct payload_end *end, struct sp_error *err)
{
	struct tar_member m;
	int rc;

	for (;;) {
		if (r->inside) {
			if ((rc = tar_reader_data(r->tar, data, len, err)) < 0)
				return rc;
			if (rc == 1 && *len > 0) {
				digest_stream_add(r->hash, *data, *len);
				r->bytes += *len;
				return 1;
			}
			r->inside = rc == 1;
			continue;
		}
		if ((rc = tar_reader_next(r->tar, &m, err)) < 0)
			return rc;
		if (rc == 0)
			return sp_error_set(err, SP_ETRUNCATED, "the archive ends without " SUMS_NAME);
		if (strcmp(m.name, SUMS_NAME) == 0)
			return read_end(r, &m, end, err);
		if ((rc = begin_piece(r, &m, err)) < 0)
			return rc;
	}
}

int
payload_reader_data(
    struct payload_reader *r, const void **data, size_t *len, struct payload_end *end, struct sp_error *err)
{
	int rc;

	if (r->broken)
		return sp_error_set(err, SP_EUSAGE, "the snapshot was rejected already");
	rc = read_data(r, data, len, end, err);
	r->broken = rc < 0;
	return rc;
}
