/* Planned hand-overs of the lead in mode static: the steps that the next leader asks for, and which
 * pod leads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/log.h"
#include "server/http/api.h"

#define STEP_BODY_MAX 4096

static void
handover_done(struct repl_handover *h)
{
	struct call *c = h->arg;

	c->stage = CALL_WRITTEN;
	request_resume(c->rq);
}

static void
submit(struct call *c)
{
	struct sp_error err;

	c->handover->done = handover_done;
	c->handover->arg = c;
	request_suspend(c->rq);
	if (c->api->repl->ops->handover(c->api->repl, c->handover, &err) < 0) {
		c->handover->code = err.code;
		c->handover->err = err;
		handover_done(c->handover);
	}
}

static bool
read_step(const char *word, enum repl_step *out)
{
	static const char *const steps[] = { "prepare", "commit", "cancel", "led" };

	for (size_t i = 0; word != NULL && i < sizeof(steps) / sizeof(steps[0]); i++)
		if (strcmp(word, steps[i]) == 0) {
			*out = (enum repl_step)i;
			return true;
		}
	return false;
}

/* {"step":…,"to":N,"by_hand":…,"at":{a position}}. False: it is not such a body. */
static bool
read_body(const char *body, size_t len, struct repl_handover *out, struct sp_error *err)
{
	json_t *root = len <= STEP_BODY_MAX ? json_loadb(body, len, 0, NULL) : NULL;
	json_t *to = json_object_get(root, "to");
	char *at = json_dumps(json_object_get(root, "at"), JSON_COMPACT);
	bool good = read_step(json_string_value(json_object_get(root, "step")), &out->step) && json_is_integer(to) &&
		    json_integer_value(to) >= 0 && json_integer_value(to) <= 9999;

	if (good) {
		out->to = (uint32_t)json_integer_value(to);
		out->by_hand = json_is_true(json_object_get(root, "by_hand"));
	}
	sp_error_set(err, SP_EUSAGE,
	    "the body must be {\"step\":\"prepare\", \"commit\", \"cancel\" or \"led\","
	    "\"to\":ORDINAL,\"at\":POSITION}");
	if (good && (out->step == REPL_PREPARE || out->step == REPL_COMMIT))
		good = at != NULL && position_from_json(at, strlen(at), &out->at, err) == 0;
	free(at);
	json_decref(root);
	return good;
}

static void
reply_handover(struct call *c)
{
	struct repl_handover *h = c->handover;
	char *text = NULL;

	if (h->code < 0) {
		api_error(c, &h->err);
	} else if (h->step != REPL_PREPARE && h->step != REPL_COMMIT) {
		request_reply(c->rq, 204, NULL, "", 0);
	} else {
		h->at.role = c->api->repl->ops->role(c->api->repl);
		c->api->repl->ops->describe(c->api->repl, &h->at);
		if ((text = position_to_json(&h->at)) != NULL)
			request_reply(c->rq, 200, API_JSON, text, strlen(text));
		else
			api_problem(c, 503, "no_memory", "out of memory");
	}
	free(text);
	free(h);
	c->handover = NULL;
}

void
api_handover(struct call *c)
{
	struct repl_handover h = { .code = 0 };
	struct sp_error err;
	const char *body;
	size_t len;

	if (c->stage == CALL_WRITTEN) {
		reply_handover(c);
		return;
	}
	if (c->api->repl->ops->handover == NULL) {
		api_problem(c, 404, "mode", "in this mode the members elect their leader");
		return;
	}
	body = request_body(c->rq, &len);
	if (!read_body(body, len, &h, &err)) {
		api_problem(c, 400, "body", err.text);
		return;
	}
	/* Flush to LMDB before writes wait, so that they wait for the rest alone. */
	if (h.step == REPL_PREPARE && !api_flushed(c))
		return;
	if ((c->handover = malloc(sizeof(h))) == NULL) {
		api_problem(c, 503, "no_memory", "out of memory");
		return;
	}
	*c->handover = h;
	submit(c);
}

/* --- The control socket --- */

void
api_control_leader(struct call *c)
{
	size_t len;
	const char *body = request_body(c->rq, &len);
	json_t *root = json_loadb(body, len, 0, NULL);
	const char *url = json_string_value(json_object_get(root, "url"));

	if (c->api->repl->ops->follow == NULL)
		api_problem(c, 404, "mode", "in this mode the members elect their leader");
	else if (url == NULL || strlen(url) >= POSITION_URL_MAX)
		api_problem(c, 400, "body", "the body must be {\"url\":\"http://…\"}, or \"\" where nobody leads");
	else {
		c->api->repl->ops->follow(c->api->repl, url);
		request_reply(c->rq, 204, NULL, "", 0);
	}
	json_decref(root);
}
