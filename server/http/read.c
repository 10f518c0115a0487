/* Reads that must see every write that was answered before them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/number.h"
#include "server/http/api.h"

static void
read_done(struct repl_read *rd)
{
	struct call *c = rd->arg;

	c->stage = CALL_CURRENT;
	request_resume(c->rq);
}

static void
wait_current(struct call *c)
{
	struct sp_error err;

	c->read = (struct repl_read){ .done = read_done, .arg = c };
	request_suspend(c->rq);
	if (c->api->repl->ops->read(c->api->repl, &c->read, &err) < 0) {
		c->read.code = err.code;
		c->read.err = err;
		read_done(&c->read);
	}
}

bool
api_is_current(struct call *c)
{
	char word[16];
	int len;

	if (c->stage == CALL_CURRENT && c->read.code == 0)
		return true;
	if (c->stage == CALL_CURRENT) {
		/* Only the leader itself can say more. */
		if (c->api->repl->ops->role(c->api->repl) == ROLE_LEADER)
			api_error(c, &c->read.err);
		else
			api_redirect(c);
		return false;
	}
	len = request_query(c->rq, "consistency", word, sizeof(word));
	if (len == REQUEST_QUERY_ABSENT || c->stage != CALL_NEW || (len > 0 && strcmp(word, "local") == 0))
		return true;
	if (len > 0 && strcmp(word, "linearizable") == 0)
		wait_current(c);
	else
		api_problem(c, 400, "query", "consistency must be local or linearizable");
	return false;
}

bool
api_reached_min_seq(struct call *c)
{
	const char *header = request_header(c->rq, "Seedpod-Min-Seq");
	struct position p;
	struct sp_error err;
	uint64_t seq;
	int rc;

	if (header == NULL)
		return true;
	if (!number_from_text(header, UINT64_MAX, &seq)) {
		api_problem(c, 400, "header", "Seedpod-Min-Seq must be a whole number");
		return false;
	}
	rc = store_position(c->api->store, &p, &err);
	if (rc < 0) {
		api_problem(c, rc == SP_ENOTFOUND ? 503 : api_status(rc), sp_code_name(rc), err.text);
		return false;
	}
	if (p.seq >= seq && p.consistent)
		return true;
	if (c->stage != CALL_WAITED && !atomic_load(&c->api->stopping)) {
		c->stage = CALL_WAITED;
		waiters_add(
		    c->api->waiters, c->rq, seq, clock_mono_ms() + (int64_t)atomic_load(&c->api->min_seq_wait_ms));
	} else if (c->api->repl->ops->role(c->api->repl) == ROLE_LEADER) {
		api_problem(c, 503, "seq", "the leader itself has not reached this Seedpod-Min-Seq");
	} else {
		api_redirect(c);
	}
	return false;
}

/* For the other members: how far a store must be to answer what is asked from now on. Of the leader alone. */
void
api_read_index(struct call *c)
{
	char body[64];
	struct position p;
	struct sp_error err;

	if (c->api->repl->ops->members == NULL) {
		api_problem(c, 404, "path", "there is nothing at this path");
		return;
	}
	if (c->stage == CALL_NEW) {
		if (c->api->repl->ops->role(c->api->repl) == ROLE_LEADER)
			wait_current(c);
		else
			api_problem(c, 503, "no_leader", "this pod does not lead");
		return;
	}
	if (c->read.code < 0 || store_position(c->api->store, &p, &err) < 0) {
		api_error(c, c->read.code < 0 ? &c->read.err : &err);
		return;
	}
	snprintf(body, sizeof(body), "{\"applied\":%" PRIu64 "}", p.raft.applied);
	request_reply(c->rq, 200, API_JSON, body, strlen(body));
}
