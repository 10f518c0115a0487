/* The control socket: requests that only this pod's own containers may make. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "conf/access_control.h"
#include "lib/base/log.h"
#include "lib/protocol/metrics.h"
#include "server/http/api.h"
#include "server/replication/committer.h"

/* --- POST /apply --- */

static void
feed_done(struct repl_feed *f)
{
	struct call *c = f->arg;

	c->stage = CALL_WRITTEN;
	request_resume(c->rq);
}

static void
submit_feed(struct call *c)
{
	struct sp_error err;

	c->feed.done = feed_done;
	c->feed.arg = c;
	request_suspend(c->rq);
	if (c->api->repl->ops->apply(c->api->repl, &c->feed, &err) < 0) {
		c->feed.code = err.code;
		c->feed.err = err;
		feed_done(&c->feed);
	}
}

void
api_control_apply(struct call *c)
{
	struct sp_error err;

	if (c->stage == CALL_WRITTEN) {
		if (c->feed.code < 0) {
			api_error(c, &c->feed.err);
			return;
		}
		atomic_fetch_add(&c->api->counters.applied_records, c->feed.info.records);
		api_position(c);
		return;
	}
	c->feed.data = request_body(c->rq, &c->feed.len);
	if (feed_check(c->feed.data, c->feed.len, &c->feed.info, &err) < 0) {
		api_problem(c, 400, sp_code_name(err.code), err.text);
		return;
	}
	submit_feed(c);
}

/* --- POST /pull --- */

static void
pull_done(struct pull_call *pull)
{
	struct call *c = pull->arg;

	c->stage = CALL_WRITTEN;
	request_resume(c->rq);
}

static void
reply_pulled(struct call *c)
{
	const struct pull_call *pull = c->pull;
	struct position p;
	struct sp_error err;
	struct buf body;
	char *text;

	atomic_fetch_add(&c->api->counters.applied_records, pull->records);
	atomic_fetch_add(&c->api->counters.pulled_feeds, pull->feeds);
	if (!pull->clean)
		log_debug("the pull ended early", LOG_STR("why", pull->err.text));
	if (api_position_of(c->api, &p, &err) < 0) {
		api_error(c, &err);
		return;
	}
	text = position_to_json(&p);
	buf_init(&body, 64u << 10);
	if (text == NULL ||
	    buf_printf(&body,
		"{\"clean\":%s,\"feeds\":%" PRIu64 ",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"horizon\":%" PRIu64
		",\"position\":%s}",
		pull->clean ? "true" : "false", pull->feeds, pull->records, pull->bytes, pull->horizon, text) < 0)
		api_problem(c, 503, "no_memory", "out of memory");
	else
		request_reply_buf(c->rq, 200, API_JSON, &body);
	buf_release(&body);
	free(text);
}

/* {"url":…,"for_ms":…} */
static bool
read_pull(struct call *c, struct pull_call *out)
{
	size_t len;
	const char *body = request_body(c->rq, &len);
	json_t *root = json_loadb(body, len, 0, NULL);
	const char *url = json_string_value(json_object_get(root, "url"));
	bool ok;

	out->for_ms = json_integer_value(json_object_get(root, "for_ms"));
	ok = url != NULL && strlen(url) < sizeof(out->url) && out->for_ms >= 1 && out->for_ms <= PULL_MS_MAX;
	if (ok)
		memcpy(out->url, url, strlen(url) + 1);
	json_decref(root);
	return ok;
}

void
api_control_pull(struct call *c)
{
	if (c->stage == CALL_WRITTEN) {
		reply_pulled(c);
		return;
	}
	if (c->api->pull == NULL) {
		api_problem(c, 404, "path", "there is nothing at this path");
		return;
	}
	c->pull = calloc(1, sizeof(*c->pull));
	if (c->pull == NULL) {
		api_problem(c, 503, "no_memory", "out of memory");
		return;
	}
	if (!read_pull(c, c->pull)) {
		api_problem(c, 400, "body", "the body must be {\"url\":…,\"for_ms\":…}, of at most 1000 ms");
		return;
	}
	c->pull->done = pull_done;
	c->pull->arg = c;
	request_suspend(c->rq);
	if (pull_start(c->api->pull, c->pull, &c->pull->err) < 0)
		pull_done(c->pull);
}

/* --- POST /role, /release, /open: rare and blocking, on the control socket's own threads --- */

/* The lead was released to this pod at a position: begin to lead from exactly there. */
static void
lead_from(struct call *c, json_t *root)
{
	char *at = json_dumps(json_object_get(root, "at"), JSON_COMPACT);
	json_t *from = json_object_get(root, "from");
	struct repl_handover h = { .by_hand = json_is_true(json_object_get(root, "by_hand")) };
	struct sp_error err;
	int rc = SP_EUSAGE;

	sp_error_set(&err, SP_EUSAGE, "\"at\" must be a position, \"from\" an ordinal");
	if (at != NULL && json_is_integer(from) && c->api->repl->ops->lead_from != NULL)
		rc = position_from_json(at, strlen(at), &h.at, &err);
	free(at);
	if (rc == 0) {
		h.to = (uint32_t)json_integer_value(from);
		rc = c->api->repl->ops->lead_from(
		    c->api->repl, &h, json_integer_value(json_object_get(root, "pause_ms")), &err);
	}
	if (rc < 0)
		api_error(c, &err);
	else
		api_position(c);
}

void
api_control_role(struct call *c)
{
	size_t len;
	const char *body = request_body(c->rq, &len);
	json_t *root = json_loadb(body, len, 0, NULL);
	const char *word = json_string_value(json_object_get(root, "role"));
	bool leader = word != NULL && strcmp(word, "leader") == 0;
	bool follower = word != NULL && strcmp(word, "follower") == 0;
	struct sp_error err;

	if (leader && json_object_get(root, "at") != NULL) {
		lead_from(c, root);
		json_decref(root);
		return;
	}
	json_decref(root);
	if (!leader && !follower) {
		api_problem(c, 400, "body", "the body must be {\"role\":\"leader\"} or {\"role\":\"follower\"}");
		return;
	}
	if (c->api->repl->ops->set_role(c->api->repl, leader ? ROLE_LEADER : ROLE_FOLLOWER, &err) < 0)
		api_error(c, &err);
	else
		api_position(c);
}

void
api_control_release(struct call *c)
{
	struct sp_error err;

	if (c->api->release(c->api->arg, &err) < 0)
		api_error(c, &err);
	else
		request_reply(c->rq, 204, NULL, "", 0);
}

void
api_control_open(struct call *c)
{
	struct sp_error err;

	if (c->api->open(c->api->arg, &err) < 0)
		api_error(c, &err);
	else
		request_reply(c->rq, 204, NULL, "", 0);
}

/* --- GET /digest --- */

/* A step at a time, so that other clients of this thread, the sidecar perhaps, have a turn
 * between. */
void
api_control_digest(struct call *c)
{
	char hex[DIGEST_HEX_SIZE], body[128];
	const struct position *p;
	struct sp_error err;
	int rc = 0;

	if (c->walk == NULL && !api_flushed(c))
		return;
	if (atomic_load(&c->api->stopping))
		rc = sp_error_set(&err, SP_EAGAIN, "the server is stopping");
	if (rc == 0 && c->walk == NULL)
		rc = store_walk_new(c->api->store, &c->walk, &err);
	if (rc == 0)
		rc = store_walk_step(c->walk, STORE_WALK_RECORDS, &err);
	if (rc == 1) {
		request_suspend(c->rq);
		request_resume(c->rq);
		return;
	}
	if (rc < 0) {
		api_error(c, &err);
		return;
	}
	p = store_walk_position(c->walk);
	digest_to_hex(p->digest, hex);
	snprintf(body, sizeof(body), "{\"digest\":\"%s\",\"seq\":%llu}", hex, (unsigned long long)p->seq);
	request_reply(c->rq, 200, API_JSON, body, strlen(body));
}

/* --- GET /metrics --- */

static void
write_counters(struct call *c, struct buf *out)
{
	const struct counters *n = &c->api->counters;
	const struct {
		const char *name;
		const char *help;
		uint64_t value;
	} rows[] = {
		{ "seedpod_server_reads_total", "Reads of single keys.", atomic_load(&n->reads) },
		{ "seedpod_server_writes_total", "Writes committed, a batch counting once.", atomic_load(&n->writes) },
		{ "seedpod_server_redirects_total", "Requests sent on to the leader.", atomic_load(&n->redirects) },
		{ "seedpod_server_changes_requests_total", "Feeds served.", atomic_load(&n->changes_requests) },
		{ "seedpod_server_changes_records_read_total", "Records read from the store for the change feed.",
		    atomic_load(&n->changes_records_read) },
		{ "seedpod_server_changes_bytes_sent_total", "Bytes of change feed sent.",
		    atomic_load(&n->changes_bytes_sent) },
		{ "seedpod_server_applied_records_total", "Records applied from the leader's feed.",
		    atomic_load(&n->applied_records) },
		{ "seedpod_server_pulled_feeds_total", "Feeds that the server itself took from the leader.",
		    atomic_load(&n->pulled_feeds) },
		{ "seedpod_server_snapshots_started_total", "Snapshot streams begun.",
		    atomic_load(&n->snapshots_started) },
		{ "seedpod_server_snapshot_bytes_sent_total", "Bytes of snapshot tar sent, before compression.",
		    atomic_load(&n->snapshot_bytes_sent) },
		{ "seedpod_server_damaged_records_total", "Reads that found a record not matching its hash.",
		    atomic_load(&n->damaged_records) },
		{ "seedpod_server_unauthorized_total", "Requests refused because they showed no token that is known.",
		    atomic_load(&n->unauthorized) },
		{ "seedpod_server_forbidden_total", "Requests refused because their token does not allow them.",
		    atomic_load(&n->forbidden) },
		{ "seedpod_server_errors_total", "Answers with a status of 500 or above.", atomic_load(&n->errors) },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		metrics_single(out, rows[i].name, "counter", rows[i].help, (double)rows[i].value);
}

static void
write_store_figures(struct call *c, struct buf *out)
{
	struct listener *network = atomic_load(&c->api->network);
	struct committer_stats stats;
	uint64_t map, file, unflushed;
	int64_t unflushed_ms;

	committer_stats(c->api->committer, &stats);
	store_sizes(c->api->store, &map, &file);
	metrics_single(
	    out, "seedpod_server_commits_total", "counter", "Transactions committed.", (double)stats.commits);
	metrics_single(out, "seedpod_server_commit_failures_total", "counter", "Writes that were not committed.",
	    (double)stats.failed);
	metrics_single(out, "seedpod_server_no_space_total", "counter", "Writes refused because the volume was full.",
	    (double)stats.no_space);
	metrics_single(out, "seedpod_server_store_bytes", "gauge", "Bytes of the store's file.", (double)file);
	unflushed = store_unflushed_changes(c->api->store, &unflushed_ms);
	metrics_single(out, "seedpod_server_unflushed_changes", "gauge",
	    "Changes in the journal that LMDB has not yet.", (double)unflushed);
	metrics_single(out, "seedpod_server_unflushed_seconds", "gauge", "Since the oldest of them was made.",
	    (double)unflushed_ms / 1000);
	metrics_single(out, "seedpod_server_map_bytes", "gauge", "Bytes of address space mapped for it.", (double)map);
	metrics_single(out, "seedpod_server_snapshots_held", "gauge", "Snapshots held at present.",
	    (double)snapshots_count(c->api->snapshots));
	metrics_single(out, "seedpod_server_snapshots_withheld_bytes", "gauge",
	    "Bytes of the store's file that cannot be used again because of them.",
	    (double)snapshots_withheld(c->api->snapshots));
	metrics_single(out, "seedpod_server_waiting_requests", "gauge", "Requests waiting for a change.",
	    (double)waiters_count(c->api->waiters) + waiters_count(c->api->flush_waiters));
	if (network == NULL)
		return;
	metrics_single(out, "seedpod_server_connections", "gauge", "Connections of clients and peers.",
	    (double)listener_connections(network));
	metrics_single(out, "seedpod_server_connections_cut_total", "counter",
	    "Connections cut off for being too slow.", (double)listener_cut(network));
}

/* Counted where the lead was given away, so that a hand-over counts once. */
static void
write_handovers(struct call *c, struct buf *out)
{
	struct repl_handover_stats n;

	c->api->repl->ops->handover_stats(c->api->repl, &n);
	metrics_head(
	    out, "seedpod_handovers_total", "counter", "Hand-overs of the lead that this pod gave away, by result.");
	metrics_value(out, "seedpod_handovers_total", "result=\"done\"", (double)n.done);
	metrics_value(out, "seedpod_handovers_total", "result=\"failed\"", (double)n.failed);
	metrics_single(out, "seedpod_handover_pause_seconds", "gauge", "How long writes waited in the last of them.",
	    (double)n.pause_ms / 1000);
}

void
api_control_metrics(struct call *c)
{
	struct buf body;

	buf_init(&body, 64u << 10);
	write_counters(c, &body);
	write_store_figures(c, &body);
	if (c->api->repl->ops->handover_stats != NULL)
		write_handovers(c, &body);
	if (c->api->repl->ops->metrics != NULL)
		c->api->repl->ops->metrics(c->api->repl, &body);
	if (c->api->access_control != NULL)
		access_control_metrics(c->api->access_control, "seedpod_server_", &body);
	request_reply_buf(c->rq, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
	buf_release(&body);
}
