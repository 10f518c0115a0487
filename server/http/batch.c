/* POST /v1/batch: many puts and deletes, all or nothing, as NDJSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/http/api.h"
#include "server/http/batch_parse.h"

static void
reply_written(struct call *c)
{
	char body[64];
	struct position p;
	struct sp_error err;

	/* A batch whose deletes find nothing changes nothing, also if there is one of them. */
	if (c->batch.code == SP_ENOTFOUND && store_position(c->api->store, &p, &err) == 0) {
		c->batch.code = 0;
		c->batch.seq = p.seq;
	}
	if (c->batch.code < 0) {
		api_not_written(c);
		return;
	}
	atomic_fetch_add(&c->api->counters.writes, 1);
	api_seq_headers(c, c->batch.seq);
	snprintf(body, sizeof(body), "{\"seq\":%" PRIu64 "}", c->batch.seq);
	request_reply(c->rq, 200, API_JSON, body, strlen(body));
}

void
api_batch(struct call *c)
{
	struct batch batch;
	struct sp_error err;
	const char *body;
	size_t memory, len;
	int rc;

	if (c->stage == CALL_WRITTEN) {
		reply_written(c);
		return;
	}
	if (api_sent_to_leader(c))
		return;
	/* A condition that is passed over would be a write that was not meant. */
	if (request_header(c->rq, "If-Match") != NULL || request_header(c->rq, "If-None-Match") != NULL) {
		api_problem(c, 400, "header", "a batch takes neither If-Match nor If-None-Match");
		return;
	}
	body = request_body(c->rq, &len);
	if ((rc = batch_parse(body, len, c->api->max_value, &batch, &err)) < 0) {
		if (rc == SP_EUSAGE)
			api_problem(c, 400, "batch", err.text);
		else
			api_error(c, &err);
		return;
	}
	/* The call's from here on: they go when the request is over. */
	c->ops = batch.ops;
	c->arena = batch.arena;
	memory = batch.count * sizeof(*batch.ops) + batch.arena.size;
	if (memory + len > c->api->budgets.largest) {
		api_problem(
		    c, 413, "SP_ETOOBIG", "the batch takes more memory than this container has for one; split it");
		return;
	}
	if (!request_charge(c->rq, memory)) {
		api_problem(c, 503, "SP_EAGAIN", "too many large requests at once");
		return;
	}
	api_submit(c, c->ops, batch.count);
}
