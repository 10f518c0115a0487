#include "sidecar/handover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/protocol/peer.h"
#include "lib/protocol/problem.h"

#define ANSWER_BYTES_MAX (64u << 10)
#define URL_MAX          1024
#define COMMIT_MS        8000 /* how long a commit without an answer is asked for again */
#define COMMIT_PAUSE_MS  100
#define LED_TIMEOUT_MS   1000

static char *
step_body(const struct handover_step *s)
{
	char *at = s->at != NULL ? position_to_json(s->at) : NULL;
	json_t *root, *position = at != NULL ? json_loads(at, 0, NULL) : json_object();
	char *text = NULL;

	free(at);
	/* A hand-over needs to know where we stand, not all that we tell of ourselves. */
	json_object_del(position, "lead");
	root = json_pack("{ss sI sb so}", "step", s->step, "to", (json_int_t)s->to, "by_hand", (int)s->by_hand, "at",
	    position != NULL ? position : json_object());
	if (root != NULL)
		text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

static int
refused(const struct handover_step *s, const struct http_reply *reply, struct sp_error *err)
{
	char text[PROBLEM_TEXT_MAX];
	int code = SP_EBADDATA;

	if (reply->status == 404 || reply->status == 405)
		return sp_error_set(err, SP_ENOTFOUND, "%s: its version or mode has no planned hand-overs", s->url);
	if (reply->status == 401 || reply->status == 403)
		code = SP_EPERM;
	else if (reply->status == 503)
		code = SP_EAGAIN;
	problem_text(&reply->body, text);
	return sp_error_set(err, problem_code(&reply->body, code), "%s", text);
}

int
handover_ask(struct http_client *c, const struct handover_step *s, struct position *out, struct sp_error *err)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	char *body = step_body(s);
	struct http_reply reply;
	int rc;

	if (body == NULL)
		return sp_error_set(err, SP_ENOMEM, "hand-over: out of memory");
	http_reply_init(&reply, ANSWER_BYTES_MAX);
	rc = http_call(c,
	    &(struct http_request_out){ .method = "POST",
		.url = s->url,
		.headers = headers,
		.body = body,
		.body_len = strlen(body),
		.timeout_ms = s->at != NULL ? HANDOVER_CALL_MS : LED_TIMEOUT_MS },
	    &reply, err);
	if (rc == 0 && (reply.status < 200 || reply.status > 299))
		rc = refused(s, &reply, err);
	else if (rc == 0 && out != NULL)
		rc = position_from_json(reply.body.data, reply.body.len, out, err);
	http_reply_release(&reply);
	free(body);
	return rc;
}

static int
ask(struct handover *h, const char *step, const struct position *at, struct position *out, struct sp_error *err)
{
	char url[URL_MAX];

	snprintf(url, sizeof(url), "%s/v1/handover", h->leader_url);
	return handover_ask(h->client,
	    &(struct handover_step){ .url = url, .step = step, .to = h->to, .by_hand = h->by_hand, .at = at }, out,
	    err);
}

/* Whether the leader said no, so that it leads on. Anything else leaves open whether it heard the question. */
static bool
is_refusal(int rc)
{
	return rc == SP_EPRECOND || rc == SP_EDIVERGED || rc == SP_ENOTFOUND || rc == SP_EUSAGE || rc == SP_EPERM;
}

/* Nothing but a release of the very position where this pod stands lets it lead. */
static int
check_release(const struct handover *h, const struct position *at, struct sp_error *err)
{
	if (!lead_awaits(at, h->to) || !lead_same_place(&at->lead, &h->own))
		return sp_error_set(err, SP_EBADDATA, "the leader's answer is no release to this pod");
	return 0;
}

static int
commit(struct handover *h, struct sp_error *err)
{
	int64_t until_ms = clock_mono_ms() + COMMIT_MS;
	struct position at;
	int rc;

	while ((rc = ask(h, "commit", &h->own, &at, err)) < 0) {
		if (is_refusal(rc))
			return rc;
		if (clock_mono_ms() >= until_ms) {
			sp_error_wrap(err, "whether the lead was released is not known");
			return err->code = SP_EUNKNOWN;
		}
		clock_sleep_ms(COMMIT_PAUSE_MS);
	}
	if ((rc = check_release(h, &at, err)) < 0)
		return rc;
	FAULT_POINT("handover.committed");
	return 0;
}

static int
take(struct handover *h, int64_t since_ms, struct sp_error *err)
{
	int rc = h->lead(h, clock_mono_ms() - since_ms, err);

	if (rc < 0)
		return sp_error_wrap(err, "begin to lead");
	h->pause_ms = clock_mono_ms() - since_ms;
	/* That we lead it finds out by itself, too. */
	if (ask(h, "led", NULL, NULL, err) < 0)
		log_debug("the old leader was not told that this pod leads", LOG_STR("error", err->text));
	return 0;
}

int
handover_take(struct handover *h, struct sp_error *err)
{
	return take(h, clock_mono_ms(), err);
}

int
handover_run(struct handover *h, struct sp_error *err)
{
	struct sp_error ignored;
	struct position final;
	int64_t since_ms;
	int rc;

	rc = ask(h, "prepare", &h->own, &final, err);
	if (rc < 0)
		return rc;
	FAULT_POINT("handover.prepared");
	since_ms = clock_mono_ms();
	rc = h->catch_up(h, &final, since_ms + HANDOVER_CATCH_UP_MS, err);
	if (rc == 0 && final.role != ROLE_LEADER)
		return (rc = check_release(h, &final, err)) < 0 ? rc : take(h, since_ms, err);
	FAULT_POINT("handover.caught_up");
	if (rc == 0)
		rc = commit(h, err);
	if (rc == 0)
		return take(h, since_ms, err);
	if (rc != SP_EUNKNOWN)
		ask(h, "cancel", NULL, NULL, &ignored);
	return rc;
}

/* --- Finding the pod that leads --- */

/* The URLs of all pods but this one: malloc'ed, each too; ordinals[] beside them. */
static size_t
list_peers(const struct conf *conf, char (*urls)[POSITION_URL_MAX], const char **list, unsigned *ordinals)
{
	unsigned own = conf->pod.ordinal, named = conf->replication_leader_ordinal;
	size_t n = 0;

	for (unsigned i = 0; i <= conf->bootstrap_max_peers; i++) {
		unsigned ordinal = i < conf->bootstrap_max_peers ? i : named;

		if (ordinal == own || (i == conf->bootstrap_max_peers && named < conf->bootstrap_max_peers) ||
		    conf_peer_url(conf, ordinal, urls[n], POSITION_URL_MAX, NULL) < 0)
			continue;
		list[n] = urls[n];
		ordinals[n++] = ordinal;
	}
	return n;
}

static void
weigh(const struct position *p, unsigned ordinal, unsigned own, struct handover_search *out)
{
	if (p->role == ROLE_LEADER && (!out->found || p->epoch > out->at.epoch)) {
		out->found = true;
		out->ordinal = ordinal;
		out->at = *p;
	}
	if (lead_awaits(p, own) && p->lead.pod == ordinal && (!out->awaited || p->epoch > out->released.epoch)) {
		out->awaited = true;
		out->from = ordinal;
		out->released = *p;
	} else if (p->role == ROLE_FOLLOWER && p->lead.kind == LEAD_RELEASED && p->lead.pod == ordinal &&
		   lead_same_place(&p->lead, p)) {
		if (p->lead.to == LEAD_NOBODY)
			snprintf(out->why, sizeof(out->why),
			    "pod %u gave the lead up by hand; seedpod-sidecar --role leader --force in a pod takes it",
			    ordinal);
		else
			snprintf(out->why, sizeof(out->why),
			    "pod %u handed the lead to pod %u, which does not lead yet", ordinal, p->lead.to);
	}
}

/* A pod in a later epoch than a release shows that the release was used: a pod led from there. */
static void
drop_used_release(const struct position *latest, unsigned ordinal, struct handover_search *out)
{
	if (!out->awaited || latest == NULL || latest->epoch <= out->released.epoch)
		return;
	out->awaited = false;
	snprintf(out->why, sizeof(out->why),
	    "the lead that pod %u released to this pod after epoch %" PRIu64 " was taken already: pod %u is in epoch "
	    "%" PRIu64 "; seedpod-sidecar --role leader --force in pod %u has it lead",
	    out->from, out->released.epoch, ordinal, latest->epoch, ordinal);
}

void
handover_weigh(const struct peer_answer *answers, const unsigned *ordinals, size_t n, const char *cluster, unsigned own,
    struct handover_search *out)
{
	const struct position *p, *latest = NULL;
	unsigned latest_ordinal = 0;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < n; i++) {
		p = &answers[i].position;
		if (!answers[i].has_store || strcmp(p->cluster, cluster) != 0)
			continue;
		weigh(p, ordinals[i], own, out);
		if (latest == NULL || p->epoch > latest->epoch || (p->epoch == latest->epoch && p->seq > latest->seq)) {
			latest = p;
			latest_ordinal = ordinals[i];
		}
	}
	out->awaited &= !out->found;
	drop_used_release(latest, latest_ordinal, out);
}

int
handover_find(struct http_client *c, const struct conf *conf, const char *cluster, struct handover_search *out,
    struct sp_error *err)
{
	size_t most = conf->bootstrap_max_peers + 1, n;
	char(*urls)[POSITION_URL_MAX] = calloc(most, sizeof(*urls));
	const char **list = calloc(most, sizeof(*list));
	unsigned *ordinals = calloc(most, sizeof(*ordinals));
	struct peer_answer *answers = calloc(most, sizeof(*answers));
	int rc = SP_ENOMEM;

	memset(out, 0, sizeof(*out));
	if (urls == NULL || list == NULL || ordinals == NULL || answers == NULL) {
		sp_error_set(err, SP_ENOMEM, "ask who leads: out of memory");
		goto out;
	}
	n = list_peers(conf, urls, list, ordinals);
	rc = peer_positions(c, list, answers, n, HANDOVER_CALL_MS / 3, err);
	if (rc == 0)
		handover_weigh(answers, ordinals, n, cluster, conf->pod.ordinal, out);
out:
	free(urls);
	free(list);
	free(ordinals);
	free(answers);
	return rc;
}
