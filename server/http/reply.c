/* Answers and the parts of requests that several handlers share. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/base/json_text.h"
#include "lib/base/number.h"
#include "server/http/api.h"
#include "server/replication/committer.h"

#define RETRY_AFTER_S "1"
#define FLUSH_WAIT_MS 10000

unsigned
api_status(int code)
{
	switch (code) {
	case SP_EUSAGE:
		return 400;
	case SP_ENOTFOUND:
		return 404;
	case SP_EGAP:
	case SP_EDIVERGED:
	case SP_EDIGEST:
		return 409;
	case SP_EHORIZON:
		return 410;
	case SP_EPRECOND:
		return 412;
	case SP_ETOOBIG:
		return 413;
	case SP_EAGAIN:
	case SP_EUNKNOWN:
	case SP_ENOMEM:
		return 503;
	case SP_ENOSPACE:
		return 507;
	default:
		return 500;
	}
}

static const char *
status_title(unsigned status)
{
	switch (status) {
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 409:
		return "Conflict";
	case 410:
		return "Gone";
	case 412:
		return "Precondition Failed";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 503:
		return "Service Unavailable";
	case 507:
		return "Insufficient Storage";
	default:
		return "Internal Server Error";
	}
}

void
api_problem(struct call *c, unsigned status, const char *code, const char *detail)
{
	json_t *body;
	char *text;

	if (status >= 500)
		atomic_fetch_add(&c->api->counters.errors, 1);
	if (status == 503)
		request_add_header(c->rq, "Retry-After", RETRY_AFTER_S);
	if (c->plain) {
		request_reply(c->rq, status, API_TEXT, detail, strlen(detail));
		return;
	}
	body = json_pack("{ss ss si ss ss}", "type", "about:blank", "title", status_title(status), "status",
	    (int)status, "detail", detail, "code", code);
	text = text_of_json(body, JSON_COMPACT);
	json_decref(body);
	/* A detail that is no UTF-8 (a key, say) is left out. */
	request_reply(c->rq, status, API_PROBLEM, text != NULL ? text : "{}", text != NULL ? strlen(text) : 2);
	free(text);
}

void
api_error(struct call *c, const struct sp_error *err)
{
	api_problem(c, api_status(err->code), sp_code_name(err->code), err->text);
}

void
api_challenge(struct call *c, unsigned status, const char *detail)
{
	const char *error = "";
	char challenge[80];

	if (status == 403)
		error = ", error=\"insufficient_scope\"";
	else if (request_header(c->rq, "Authorization") != NULL)
		error = ", error=\"invalid_token\"";
	snprintf(challenge, sizeof(challenge), "Bearer realm=\"seedpod\"%s", error);
	request_add_header(c->rq, "WWW-Authenticate", challenge);
	api_problem(c, status, status == 401 ? "unauthorized" : "forbidden", detail);
}

void
api_method(struct call *c, const char *allow)
{
	request_add_header(c->rq, "Allow", allow);
	api_problem(c, 405, "method", "this method is not offered here");
}

void
api_redirect(struct call *c)
{
	char leader[POSITION_URL_MAX];
	struct buf location;

	c->api->repl->ops->leader(c->api->repl, leader, sizeof(leader));
	if (leader[0] == '\0' || c->api->repl->ops->role(c->api->repl) == ROLE_LEADER) {
		api_problem(c, 503, "no_leader", "no leader is known at present");
		return;
	}
	buf_init(&location, 65536);
	if (buf_printf(&location, "%s%s", leader, request_target(c->rq)) < 0) {
		api_problem(c, 503, "no_memory", "out of memory");
		return;
	}
	atomic_fetch_add(&c->api->counters.redirects, 1);
	request_add_header(c->rq, "Location", location.data);
	request_reply(c->rq, 307, NULL, "", 0);
	buf_release(&location);
}

bool
api_takes_writes(struct api *api)
{
	if (api->repl->ops->takes_writes != NULL)
		return api->repl->ops->takes_writes(api->repl);
	return api->repl->ops->role(api->repl) == ROLE_LEADER;
}

bool
api_sent_to_leader(struct call *c)
{
	if (api_takes_writes(c->api))
		return false;
	if (atomic_load(&c->api->reject_writes))
		api_problem(c, 403, "follower", "this pod follows; writes go to the leader");
	else
		api_redirect(c);
	return true;
}

bool
api_flushed(struct call *c)
{
	int64_t now;

	if (c->flush_seq == 0 && !store_unflushed(c->api->store, &c->flush_seq))
		return true;
	if (store_flushed_seq(c->api->store) >= c->flush_seq)
		return true;
	now = clock_mono_ms();
	if (c->flush_until_ms == 0)
		c->flush_until_ms = now + FLUSH_WAIT_MS;
	if (now >= c->flush_until_ms || atomic_load(&c->api->stopping)) {
		api_problem(c, 503, "SP_EAGAIN", "the last changes are not in the store's index yet");
		return false;
	}
	/* Ask for the flush first: a request that is notified between the two need not wait. */
	store_flush_soon(c->api->store);
	waiters_add(c->api->flush_waiters, c->rq, c->flush_seq, c->flush_until_ms);
	return false;
}

void
api_seq_headers(struct call *c, uint64_t seq)
{
	char number[32];

	snprintf(number, sizeof(number), "%" PRIu64, seq);
	request_add_header(c->rq, "Seedpod-Seq", number);
	snprintf(number, sizeof(number), "\"%" PRIu64 "\"", seq);
	request_add_header(c->rq, "ETag", number);
}

void
api_present_seq(struct call *c)
{
	char number[32];
	struct position p;

	if (store_position(c->api->store, &p, NULL) < 0)
		return;
	snprintf(number, sizeof(number), "%" PRIu64, p.seq);
	request_add_header(c->rq, "Seedpod-Seq", number);
}

void
api_not_written(struct call *c)
{
	if (!c->batch.moved || !api_sent_to_leader(c))
		api_error(c, &c->batch.err);
}

static void
batch_done(struct repl_batch *b)
{
	struct call *c = b->arg;

	c->stage = CALL_WRITTEN;
	request_resume(c->rq);
}

void
api_submit(struct call *c, const struct repl_op *ops, size_t count)
{
	struct sp_error err;

	c->batch.ops = ops;
	c->batch.count = count;
	c->batch.done = batch_done;
	c->batch.arg = c;
	request_suspend(c->rq);
	if (c->api->repl->ops->submit(c->api->repl, &c->batch, &err) < 0) {
		/* It was not taken: answer when the request comes back. */
		c->batch.code = err.code;
		c->batch.err = err;
		batch_done(&c->batch);
	}
}

bool
api_query_number(struct call *c, const char *name, uint64_t otherwise, uint64_t most, uint64_t *out)
{
	char text[32], detail[128];
	int len = request_query(c->rq, name, text, sizeof(text));

	*out = otherwise;
	if (len == REQUEST_QUERY_ABSENT)
		return true;
	if (len < 0 || !number_from_bytes(text, (size_t)len, most, out)) {
		snprintf(detail, sizeof(detail), "%s must be a whole number from 0 to %" PRIu64, name, most);
		api_problem(c, 400, "query", detail);
		return false;
	}
	return true;
}

bool
api_query_duration(struct call *c, const char *name, int64_t most, int64_t *out)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "", 0 } };
	char text[32], detail[128];
	const char *end = text;
	int len = request_query(c->rq, name, text, sizeof(text));
	bool is_number = len > 0 && memchr(text, '\0', (size_t)len) == NULL;
	uint64_t n = 0;

	*out = 0;
	if (len == REQUEST_QUERY_ABSENT)
		return true;
	is_number = is_number && number_take(&end, 999999999, &n);
	for (size_t i = 0; is_number && i < sizeof(units) / sizeof(units[0]); i++) {
		/* Nothing needs no unit. */
		if (strcmp(end, units[i].unit) != 0 || (units[i].ms == 0 && n > 0))
			continue;
		*out = (int64_t)n * units[i].ms;
		*out = *out < most ? *out : most;
		return true;
	}
	snprintf(detail, sizeof(detail), "%s must be a duration such as 500ms, 30s or 1m", name);
	api_problem(c, 400, "query", detail);
	return false;
}

int
api_position_of(struct api *api, struct position *out, struct sp_error *err)
{
	struct committer_stats stats;
	int rc;

	rc = store_position(api->store, out, err);
	if (rc < 0)
		return rc;
	committer_stats(api->committer, &stats);
	api->repl->ops->describe(api->repl, out);
	out->role = api->repl->ops->role(api->repl);
	/* After a refusal for want of space, room on the volume is as good a sign as a write:
	 * clients may hold their writes back until this says so. */
	out->writable =
	    (!stats.full || store_has_room(api->store)) && !atomic_load(&api->stopping) && store_in_place(api->store);
	snprintf(out->mode, sizeof(out->mode), "%s", api->repl->ops->mode);
	api->repl->ops->leader(api->repl, out->leader, sizeof(out->leader));
	return 0;
}
