/* GET /v1/kv: the keys in order, a page at a time. */
#include <string.h>

#include <jansson.h>

#include "lib/base/json_text.h"
#include "server/http/api.h"
#include "server/http/json_bytes.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX     10000
#define PAGE_BYTES    (8u << 20) /* a page ends when it holds so much, though not before its first item */

struct list_query {
	char prefix[STORE_KEY_MAX + 1], after[STORE_KEY_MAX + 1];
	int prefix_len, after_len;
	uint64_t limit;
	bool values;
};

static bool
read_query(struct call *c, struct list_query *q)
{
	char values[8];
	int len;

	q->prefix_len = request_query(c->rq, "prefix", q->prefix, sizeof(q->prefix));
	q->after_len = request_query(c->rq, "after", q->after, sizeof(q->after));
	if (q->prefix_len == REQUEST_QUERY_BAD || q->after_len == REQUEST_QUERY_BAD) {
		api_problem(c, 400, "query", "prefix and after are percent-encoded keys of at most 480 bytes");
		return false;
	}
	if (!api_query_number(c, "limit", LIMIT_DEFAULT, LIMIT_MAX, &q->limit))
		return false;
	/* What is too long to be looked at is neither of the two. */
	len = request_query(c->rq, "values", values, sizeof(values));
	q->values = len == REQUEST_QUERY_BAD || (len > 0 && strcmp(values, "false") != 0 && strcmp(values, "0") != 0);
	return true;
}

static int
add_item(json_t *items, const struct list_query *q, const struct store_record *r)
{
	json_t *item = json_object();
	int rc;

	rc = set_json_bytes(item, "key", r->key, r->key_len);
	if (rc == 0)
		rc = json_object_set_new(item, "seq", json_integer((json_int_t)r->seq));
	if (rc == 0)
		rc = json_object_set_new(item, "size", json_integer((json_int_t)r->value_len));
	if (rc == 0 && q->values)
		rc = set_json_bytes(item, "value", r->value, r->value_len);
	/* Takes the item over, also on failure. */
	if (json_array_append_new(items, item) != 0)
		rc = SP_ENOMEM;
	return rc == 0 ? 0 : SP_ENOMEM;
}

/* Whether key a (of length <= 0 if there is none) stands before key b in the store's order. */
static bool
before(const char *a, int a_len, const char *b, int b_len)
{
	int order = a_len > 0 ? memcmp(a, b, (size_t)(a_len < b_len ? a_len : b_len)) : -1;

	return order < 0 || (order == 0 && a_len < b_len);
}

/* Fill `items`; if there are more, `next` says the last key as `after` takes it. */
static int
list_page(struct store_view *view, const struct list_query *q, json_t *root, json_t *items, struct sp_error *err)
{
	/* Keys with the prefix are neighbours, so the walk begins at the prefix, or after `after` where that is further
	 * on. */
	bool from_prefix = q->prefix_len > 0 && before(q->after, q->after_len, q->prefix, q->prefix_len);
	struct store_cursor *cursor;
	struct store_record r, prefix_itself;
	size_t bytes = 0;
	unsigned char last[STORE_KEY_MAX];
	size_t last_len = 0;
	int rc;

	if (from_prefix && q->limit > 0) {
		rc = store_view_get(view, q->prefix, (size_t)q->prefix_len, &prefix_itself, err);
		if (rc == 0 && (rc = add_item(items, q, &prefix_itself)) < 0)
			sp_error_set(err, rc, "list the keys");
		else if (rc == 0)
			memcpy(last, prefix_itself.key, last_len = prefix_itself.key_len);
		if (rc < 0 && rc != SP_ENOTFOUND)
			return rc;
	}
	rc = store_cursor_keys(view, from_prefix ? q->prefix : q->after,
	    (size_t)(from_prefix        ? q->prefix_len
		     : q->after_len > 0 ? q->after_len
					: 0),
	    &cursor, err);
	if (rc < 0)
		return rc;
	while ((rc = store_cursor_next(cursor, &r, err)) == 1) {
		if (q->prefix_len > 0 &&
		    (r.key_len < (size_t)q->prefix_len || memcmp(r.key, q->prefix, (size_t)q->prefix_len) != 0)) {
			rc = 0;
			break;
		}
		if (json_array_size(items) >= q->limit || bytes >= PAGE_BYTES) {
			rc = last_len > 0 ? set_json_bytes(root, "next", last, last_len) : 0;
			if (rc < 0)
				sp_error_set(err, rc, "list the keys");
			break;
		}
		rc = add_item(items, q, &r);
		if (rc < 0) {
			sp_error_set(err, rc, "list the keys");
			break;
		}
		memcpy(last, r.key, last_len = r.key_len);
		bytes += r.key_len + 64 + (q->values ? r.value_len : 0);
	}
	store_cursor_free(cursor);
	return rc;
}

void
api_kv_list(struct call *c)
{
	struct list_query q;
	struct store_view *view;
	struct sp_error err = { 0 };
	json_t *root;
	char *text;
	int rc;

	if (!read_query(c, &q) || !api_is_current(c) || !api_reached_min_seq(c) || !api_flushed(c))
		return;
	rc = store_view_begin(c->api->store, &view, &err);
	if (rc < 0) {
		api_problem(c, 503, sp_code_name(rc), err.text);
		return;
	}
	root = json_pack("{s[]sn}", "items", "next");
	rc = root == NULL ? sp_error_set(&err, SP_ENOMEM, "list the keys")
			  : list_page(view, &q, root, json_object_get(root, "items"), &err);
	store_view_end(view);
	/* A key that is no UTF-8 stands under next64; "next" is then of no use. */
	if (json_object_get(root, "next64") != NULL)
		json_object_del(root, "next");
	text = rc == 0 ? text_of_json(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (rc < 0) {
		api_error(c, &err);
	} else if (text == NULL) {
		api_problem(c, 503, "no_memory", "out of memory");
	} else {
		struct buf body = { .data = text, .len = strlen(text), .size = strlen(text) + 1, .limit = SIZE_MAX };

		api_present_seq(c);
		request_reply_buf(c->rq, 200, API_JSON, &body);
	}
}
