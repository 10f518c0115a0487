/* The mehdb API, as its users know it: plain text, keys of [a-z]+ (the route checks that). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/http/api.h"

void
api_set(struct call *c)
{
	c->plain = true;
	api_kv_put(c);
}

void
api_get(struct call *c)
{
	c->plain = true;
	api_kv_get(c);
}

/* --- GET /keys: the whole list, streamed in pieces so that its length costs no memory --- */

#define KEYS_PIECE_BYTES (64u << 10)
#define KEYS_PIECE_KEYS  16384u /* looked at, those that are left out among them: the thread has others to serve */

struct key_list {
	struct store *store;
	unsigned char after[STORE_KEY_MAX]; /* the last key that was written */
	size_t after_len;
	bool begun, ended;
	struct buf piece;
	size_t sent; /* of the piece */
};

/* A key that mehdb can have. Its followers fetch each key of the list, and take any answer for the value. */
static bool
is_mehdb_key(const struct store_record *r)
{
	const char *key = r->key;

	for (size_t i = 0; i < r->key_len; i++)
		if (key[i] < 'a' || key[i] > 'z')
			return false;
	return true;
}

static int
add_key(struct key_list *l, const struct store_record *r)
{
	int rc;

	if (!is_mehdb_key(r))
		return 0;
	rc = buf_printf(&l->piece, "%s\"%.*s\"", l->begun ? "," : "", (int)r->key_len, (const char *)r->key);
	l->begun = true;
	return rc;
}

static int
fill_piece(struct key_list *l, struct sp_error *err)
{
	struct store_cursor *cursor = NULL;
	struct store_view *view;
	struct store_record r;
	unsigned looked_at = 0;
	bool more = true;
	int rc;

	buf_reset(&l->piece);
	l->sent = 0;
	rc = store_view_begin(l->store, &view, err);
	if (rc < 0)
		return rc;
	if (!l->begun && l->after_len == 0)
		rc = buf_adds(&l->piece, "[");
	if (rc == 0)
		rc = store_cursor_keys(view, l->after, l->after_len, &cursor, err);
	while (rc == 0 && l->piece.len < KEYS_PIECE_BYTES && looked_at++ < KEYS_PIECE_KEYS) {
		rc = store_cursor_next(cursor, &r, err);
		more = rc == 1;
		if (!more)
			break;
		memcpy(l->after, r.key, r.key_len);
		l->after_len = r.key_len;
		rc = add_key(l, &r);
	}
	/* A piece has at least a byte. */
	if (rc == 0 && more && l->piece.len == 0)
		rc = buf_adds(&l->piece, " ");
	if (rc == 0 && !more) {
		l->ended = true;
		rc = buf_adds(&l->piece, "]");
	}
	store_cursor_free(cursor);
	store_view_end(view);
	return rc;
}

static int64_t
read_keys(void *arg, uint64_t offset, char *out, size_t max)
{
	struct key_list *l = arg;
	struct sp_error err;
	size_t n;

	(void)offset;
	if (l->sent == l->piece.len) {
		if (l->ended)
			return 0;
		if (fill_piece(l, &err) < 0)
			return -1;
	}
	n = l->piece.len - l->sent < max ? l->piece.len - l->sent : max;
	memcpy(out, l->piece.data + l->sent, n);
	l->sent += n;
	return (int64_t)n;
}

static void
free_keys(void *arg)
{
	struct key_list *l = arg;

	buf_release(&l->piece);
	free(l);
}

void
api_keys(struct call *c)
{
	struct key_list *l;
	struct sp_error err;
	int rc;

	c->plain = true;
	if (!api_reached_min_seq(c) || !api_flushed(c))
		return;
	l = calloc(1, sizeof(*l));
	if (l == NULL) {
		api_problem(c, 503, "no_memory", "out of memory");
		return;
	}
	l->store = c->api->store;
	buf_init(&l->piece, 4 * KEYS_PIECE_BYTES);
	rc = fill_piece(l, &err);
	if (rc < 0) {
		free_keys(l);
		api_problem(c, rc == SP_ENOTFOUND ? 503 : api_status(rc), sp_code_name(rc), err.text);
	} else if (l->ended) {
		request_reply_buf(c->rq, 200, API_JSON, &l->piece);
		free_keys(l);
	} else {
		request_reply_stream(c->rq, 200, API_JSON, REQUEST_LENGTH_UNKNOWN, read_keys, free_keys, l);
	}
}

void
api_mehdb_status(struct call *c)
{
	char level[16], text[32];
	struct position p;
	struct sp_error err;

	c->plain = true;
	if (request_query(c->rq, "level", level, sizeof(level)) > 0 && strcmp(level, "full") == 0) {
		if (store_position(c->api->store, &p, &err) < 0) {
			atomic_fetch_add(&c->api->counters.errors, 1);
			request_reply(c->rq, 500, API_TEXT, err.text, strlen(err.text));
			return;
		}
		snprintf(text, sizeof(text), "%llu", (unsigned long long)p.keys);
	} else {
		snprintf(text, sizeof(text), "%s", role_name(c->api->repl->ops->role(c->api->repl)));
	}
	request_reply(c->rq, 200, API_TEXT, text, strlen(text));
}
