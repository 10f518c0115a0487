#include "server/http/changes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/json_text.h"
#include "server/http/json_bytes.h"

int
changes_check(const struct position *here, const struct changes_query *q, struct sp_error *err)
{
	struct position asker = { .epoch = q->epoch, .seq = q->since };
	char why[256];

	if (q->since > here->seq)
		return sp_error_set(err, SP_EDIVERGED, "since %" PRIu64 " lies ahead of this store's seq %" PRIu64,
		    q->since, here->seq);
	if (q->since < here->horizon)
		return sp_error_set(err, SP_EHORIZON,
		    "changes since %" PRIu64 " cannot be told any more; the horizon is %" PRIu64, q->since,
		    here->horizon);
	memcpy(asker.cluster, q->cluster[0] != '\0' ? q->cluster : here->cluster, sizeof(asker.cluster));
	/* A follower that does not name its epoch is assumed to be in ours. */
	if (q->epoch == 0 && strcmp(asker.cluster, here->cluster) == 0)
		return 0;
	switch (position_relate(here, &asker, why, sizeof(why))) {
	case RELATION_DIVERGED:
	case RELATION_OTHER_CLUSTER:
		return sp_error_set(err, SP_EDIVERGED, "to whoever asks: %s", why);
	default:
		return 0;
	}
}

static int
write_ndjson_record(struct buf *out, const struct store_record *r)
{
	json_t *line = json_object();
	char *text = NULL;
	int rc;

	rc = json_object_set_new(line, "seq", json_integer((json_int_t)r->seq));
	if (rc == 0)
		rc = json_object_set_new(line, "op", json_string(r->is_delete ? "delete" : "put"));
	if (rc == 0)
		rc = set_json_bytes(line, "key", r->key, r->key_len);
	if (rc == 0 && !r->is_delete)
		rc = set_json_bytes(line, "value", r->value, r->value_len);
	if (rc == 0)
		text = text_of_json(line, JSON_COMPACT);
	rc = text != NULL ? buf_printf(out, "%s\n", text) : SP_ENOMEM;
	free(text);
	json_decref(line);
	return rc;
}

static int
write_record(struct buf *out, const struct store_record *r, bool ndjson)
{
	if (ndjson)
		return write_ndjson_record(out, r);
	if (r->is_delete)
		return feed_write_delete(out, r->seq, r->key, r->key_len);
	return feed_write_put(out, r->seq, r->key, r->key_len, r->value, r->value_len);
}

/* The closing entry: a cut is where a follower's digest must equal this store's. */
static int
write_close(struct buf *out, const struct position *here, bool cut, bool ndjson)
{
	char digest[DIGEST_HEX_SIZE];

	if (!ndjson)
		return cut ? feed_write_cut(out, here) : feed_write_more(out, here->seq);
	if (!cut)
		return buf_printf(out, "{\"more\":true,\"seq\":%" PRIu64 "}\n", here->seq);
	digest_to_hex(here->digest, digest);
	return buf_printf(out,
	    "{\"cut\":{\"cluster\":\"%s\",\"epoch\":%" PRIu64 ",\"seq\":%" PRIu64 ",\"digest\":\"%s\",\"keys\":%" PRIu64
	    "}}\n",
	    here->cluster, here->epoch, here->seq, digest, here->keys);
}

int
changes_write(struct store_view *view, const struct changes_query *q, struct buf *out, struct changes_cost *cost,
    struct sp_error *err)
{
	struct store_cursor *cursor = NULL;
	struct position here;
	struct store_record r;
	uint32_t records = 0;
	bool all = false;
	int rc;

	rc = store_view_position(view, &here, err);
	if (rc < 0)
		return rc;
	if (!q->ndjson)
		rc = feed_write_header(out, &here, q->since);
	if (rc == 0)
		rc = store_cursor_changes(view, q->since, &cursor, err);
	/* One at least, however few bytes were asked for: a client that asks again from the same
	 * place must advance. */
	while (rc == 0 && records < q->limit && (records == 0 || out->len < q->bytes)) {
		rc = store_cursor_next(cursor, &r, err);
		if (rc <= 0) {
			all = rc == 0;
			break;
		}
		cost->records++;
		rc = write_record(out, &r, q->ndjson);
		records++;
	}
	/* The limit may have fallen just on the last record. */
	if (rc == 0 && !all) {
		rc = store_cursor_next(cursor, &r, err);
		all = rc == 0;
		rc = rc < 0 ? rc : 0;
	}
	store_cursor_free(cursor);
	cost->cut = all && here.consistent;
	cost->seq = here.seq;
	cost->epoch = here.epoch;
	if (rc == 0)
		rc = write_close(out, &here, cost->cut, q->ndjson);
	if (rc == 0 && !q->ndjson)
		rc = feed_write_end(out, records);
	if (rc == SP_ETOOBIG || rc == SP_ENOMEM)
		sp_error_set(err, rc, "the change feed");
	return rc;
}
