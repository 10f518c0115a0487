/* One key at a time: GET, HEAD, PUT and DELETE of /v1/kv/{key}. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/number.h"
#include "server/http/api.h"

#define MEHDB_WRITTEN "WRITE completed" /* no newline */

/* Whether a list of entity tags (""12", "13"" or "*") holds this seq. */
static bool
tags_match(const char *tags, uint64_t seq)
{
	char tag[32];

	if (strcmp(tags, "*") == 0)
		return true;
	snprintf(tag, sizeof(tag), "\"%" PRIu64 "\"", seq);
	return strstr(tags, tag) != NULL;
}

static void
reply_value(struct call *c, const struct store_record *r)
{
	const char *tags = request_header(c->rq, "If-None-Match"), *match = request_header(c->rq, "If-Match");
	bool same = tags != NULL && tags_match(tags, r->seq);

	api_seq_headers(c, r->seq);
	if (match != NULL && !tags_match(match, r->seq)) {
		api_problem(c, 412, "SP_EPRECOND", "the key's last change is not one that If-Match names");
		return;
	}
	/* A 304 sends no value, but must not say another length than the 200 would. */
	request_reply(c->rq, same ? 304 : 200, same ? NULL : API_BYTES, r->value, r->value_len);
}

void
api_kv_get(struct call *c)
{
	struct store_view *view;
	struct store_record r;
	struct sp_error err;
	int rc;

	/* Before the view, which then shows what is there by now, or more. */
	if (!api_is_current(c) || !api_reached_min_seq(c))
		return;
	rc = store_view_begin_present(c->api->store, &view, &err);
	if (rc < 0) {
		api_problem(c, 503, sp_code_name(rc), err.text);
		return;
	}
	atomic_fetch_add(&c->api->counters.reads, 1);
	rc = store_view_get(view, c->key, c->key_len, &r, &err);
	if (rc == 0)
		reply_value(c, &r);
	store_view_end(view);
	if (rc == SP_ENOTFOUND)
		api_present_seq(c);
	if (rc == SP_EBADDATA) {
		atomic_fetch_add(&c->api->counters.damaged_records, 1);
		log_error("damaged record", LOG_STR("error", err.text));
	}
	if (rc < 0)
		api_error(c, &err);
}

/* The preconditions of a write, and that all of the value is there. False: it was answered. */
static bool
read_conditions(struct call *c)
{
	const char *match = request_header(c->rq, "If-Match");
	const char *none = request_header(c->rq, "If-None-Match");
	const char *end;

	c->batch.condition = REPL_ALWAYS;
	/* A part of a value (`curl -C 5 -T file`) would take the place of all of it. */
	if (request_header(c->rq, "Content-Range") != NULL) {
		api_problem(c, 400, "header", "a value is stored whole: Content-Range is not taken");
		return false;
	}
	if (none != NULL && strcmp(none, "*") != 0) {
		api_problem(c, 400, "header", "a write takes If-None-Match only as \"*\"");
		return false;
	}
	if (none != NULL && match != NULL) {
		api_problem(c, 400, "header", "If-Match and If-None-Match exclude each other");
		return false;
	}
	if (none != NULL)
		c->batch.condition = REPL_IF_ABSENT;
	if (match == NULL)
		return true;
	if (strcmp(match, "*") == 0) {
		c->batch.condition = REPL_IF_PRESENT;
		return true;
	}
	c->batch.condition = REPL_IF_SEQ;
	end = match + 1;
	if (match[0] != '"' || !number_take(&end, UINT64_MAX, &c->batch.if_seq) || strcmp(end, "\"") != 0) {
		api_problem(
		    c, 412, "SP_EPRECOND", "If-Match takes one tag as the server gave it, \"\"<seq>\"\", or \"*\"");
		return false;
	}
	return true;
}

static void
reply_written(struct call *c)
{
	if (c->batch.code < 0) {
		api_not_written(c);
		return;
	}
	atomic_fetch_add(&c->api->counters.writes, 1);
	api_seq_headers(c, c->batch.seq);
	if (c->handler == api_set)
		request_reply(c->rq, 200, API_TEXT, MEHDB_WRITTEN, strlen(MEHDB_WRITTEN));
	else
		request_reply(c->rq, 204, NULL, "", 0);
}

static void
write_key(struct call *c, struct repl_op op)
{
	if (c->stage == CALL_WRITTEN) {
		reply_written(c);
		return;
	}
	if (api_sent_to_leader(c) || !read_conditions(c))
		return;
	c->op = op;
	c->op.key = c->key;
	c->op.key_len = c->key_len;
	api_submit(c, &c->op, 1);
}

void
api_kv_put(struct call *c)
{
	struct repl_op op = { .kind = REPL_PUT };

	op.value = request_body(c->rq, &op.value_len);
	write_key(c, op);
}

void
api_kv_delete(struct call *c)
{
	write_key(c, (struct repl_op){ .kind = REPL_DELETE });
}
