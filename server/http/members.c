/* The members of a cluster: /v1/members, and the form that users of the Raft key-value store know,
 * POST and DELETE /{id}. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/json_text.h"
#include "lib/base/number.h"
#include "server/http/api.h"
#include "server/replication/member_address.h"

#define ANNOUNCEMENT_MAX 4096

static bool
has_members(struct call *c)
{
	if (c->api->repl->ops->members != NULL)
		return true;
	api_problem(c, 404, "path", "there is nothing at this path");
	return false;
}

void
api_members(struct call *c)
{
	struct sp_error err;
	struct buf body;

	if (!has_members(c))
		return;
	buf_init(&body, 1u << 20);
	if (c->api->repl->ops->members(c->api->repl, &body, &err) < 0)
		api_error(c, &err);
	else
		request_reply_buf(c->rq, 200, API_JSON, &body);
	buf_release(&body);
}

static void
change_done(struct repl_change *change)
{
	struct call *c = change->arg;

	c->stage = CALL_WRITTEN;
	request_resume(c->rq);
}

/* Hand the change over and suspend; the handler is called again with stage CALL_WRITTEN. */
static void
submit(struct call *c)
{
	struct sp_error err;

	c->change.done = change_done;
	c->change.arg = c;
	request_suspend(c->rq);
	if (c->api->repl->ops->change(c->api->repl, &c->change, &err) < 0) {
		c->change.code = err.code;
		c->change.err = err;
		change_done(&c->change);
	}
}

static bool
leads_elsewhere(struct call *c)
{
	char leader[POSITION_URL_MAX];

	c->api->repl->ops->leader(c->api->repl, leader, sizeof(leader));
	return leader[0] != '\0' && c->api->repl->ops->role(c->api->repl) != ROLE_LEADER;
}

static void
reply_changed(struct call *c)
{
	/* The lead went to another meanwhile: the change begins anew there, and continues from the
	 * steps that were done. */
	if (c->change.code == SP_EAGAIN && leads_elsewhere(c) && api_sent_to_leader(c))
		return;
	if (c->change.code == SP_EPRECOND)
		api_problem(c, 409, sp_code_name(c->change.code), c->change.err.text);
	else if (c->change.code < 0)
		api_error(c, &c->change.err);
	else
		request_reply(c->rq, 204, NULL, "", 0);
}

/* Whether the applicant's store, if it has one, is of this cluster. False: it was answered. */
static bool
is_of_this_cluster(struct call *c, const char *body, size_t len)
{
	json_t *root = json_loadb(body, len, 0, NULL);
	const char *theirs = json_string_value(json_object_get(root, "cluster"));
	const char *log = json_string_value(json_object_get(root, "log"));
	struct position p, applicant = { 0 };
	char detail[256];
	struct sp_error err;
	bool same = true;

	if (log != NULL && !number_from_text(log, UINT64_MAX, &applicant.raft.log)) {
		api_problem(c, 400, "member", "\"log\" must be a whole number as a text");
		json_decref(root);
		return false;
	}
	snprintf(applicant.cluster, sizeof(applicant.cluster), "%s", theirs != NULL ? theirs : "");
	if (theirs != NULL && store_position(c->api->store, &p, &err) == 0 && !position_same_log(&p, &applicant)) {
		snprintf(detail, sizeof(detail),
		    "the applicant's store is of cluster %.40s (log %" PRIu64 "), this one is of %s (log %" PRIu64 ")",
		    theirs, applicant.raft.log, p.cluster, p.raft.log);
		api_problem(c, 409, "SP_EDIVERGED", detail);
		same = false;
	}
	json_decref(root);
	return same;
}

void
api_members_add(struct call *c)
{
	size_t len;
	const char *body;

	if (c->stage == CALL_WRITTEN) {
		reply_changed(c);
		return;
	}
	if (!has_members(c) || api_sent_to_leader(c))
		return;
	body = request_body(c->rq, &len);
	if (!is_of_this_cluster(c, body, len))
		return;
	c->change = (struct repl_change){ .kind = REPL_ADD, .text = body, .len = len };
	submit(c);
}

/* The number that the path ends in. False: it is invalid, and was answered. */
static bool
read_number(struct call *c, unsigned *out)
{
	uint64_t number = 0;

	if (!number_from_bytes((const char *)c->key, c->key_len, MEMBER_NUMBER_MAX, &number) || number < 1) {
		api_problem(c, 400, "number", "a member's number is a whole number from 1 to 10000");
		return false;
	}
	*out = (unsigned)number;
	return true;
}

void
api_members_remove(struct call *c)
{
	unsigned number;

	if (c->stage == CALL_WRITTEN) {
		reply_changed(c);
		return;
	}
	if (!has_members(c) || !read_number(c, &number) || api_sent_to_leader(c))
		return;
	c->change = (struct repl_change){ .kind = REPL_REMOVE, .number = number };
	submit(c);
}

/* A URL as the body: the member is not running yet, so its raft port follows from the URL by rule (docs/raft.md). */
static int
announce(struct call *c, unsigned number, const char *url, size_t len)
{
	char text[POSITION_URL_MAX], raft[POSITION_URL_MAX];
	json_t *root;
	char *json;

	while (len > 0 && (url[len - 1] == '\n' || url[len - 1] == '\r' || url[len - 1] == '/'))
		len--;
	if (len == 0 || len >= sizeof(text))
		return SP_EUSAGE;
	memcpy(text, url, len);
	text[len] = '\0';
	if (member_address(text, raft, sizeof(raft)) < 0)
		return SP_EUSAGE;
	root = json_pack("{si ss ss ss ss}", "number", (int)number, "id", "0", "name", "", "url", text, "raft", raft);
	json = text_of_json(root, JSON_COMPACT);
	json_decref(root);
	if (json == NULL)
		return SP_ENOMEM;
	c->arena.limit = ANNOUNCEMENT_MAX;
	if (buf_adds(&c->arena, json) < 0) {
		free(json);
		return SP_ENOMEM;
	}
	free(json);
	return 0;
}

void
api_root_add(struct call *c)
{
	unsigned number;
	const char *body;
	size_t len;
	int rc;

	c->plain = true;
	if (c->stage == CALL_WRITTEN) {
		reply_changed(c);
		return;
	}
	if (!has_members(c) || !read_number(c, &number) || api_sent_to_leader(c))
		return;
	body = request_body(c->rq, &len);
	rc = announce(c, number, body, len);
	if (rc < 0) {
		api_problem(
		    c, rc == SP_EUSAGE ? 400 : 503, "body", "the body must be the member's URL, http[s]://host:port");
		return;
	}
	c->change = (struct repl_change){ .kind = REPL_ADD, .text = c->arena.data, .len = c->arena.len };
	submit(c);
}
