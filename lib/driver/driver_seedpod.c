#include "lib/driver/driver_seedpod.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/file.h"
#include "lib/base/process.h"
#include "lib/net/http_client.h"
#include "lib/protocol/feed.h"
#include "lib/protocol/problem.h"

#define TIMEOUT_MS        30000
#define ANSWER_BYTES_MAX  (64u << 10)
#define METRICS_BYTES_MAX (1u << 20)
#define PATH_BYTES_MAX    4096

/* Reading a whole store takes its time: silence for so long is not a stall. */
#define DIGEST_PATIENCE_MS (60 * 60 * 1000)

/* The server closes or opens its store only after what is under way is done. */
#define RELEASE_PATIENCE_MS 60000

struct driver_seedpod {
	struct driver base;
	struct http_client *http; /* NULL: there is no control socket */
	char *store_dir;          /* NULL: never read it offline */
	char *server_program;     /* NULL: find it */
	int64_t timeout_ms;
};

static int
no_socket(struct sp_error *err)
{
	return sp_error_set(err, SP_EUNAVAIL, "no control socket is known");
}

/* The meaning of a refusal on the control socket if its body does not name a code. */
static int
status_code(long status)
{
	switch (status) {
	case 404:
		return SP_ENOTFOUND;
	case 413:
		return SP_ETOOBIG;
	case 503:
		return SP_EAGAIN;
	case 507:
		return SP_ENOSPACE;
	default:
		return SP_EBADDATA;
	}
}

/* One request through the control socket; anything but 2xx is an error with the server's own reason. */
static int
ask(struct driver_seedpod *d, const struct http_request_out *rq, struct http_reply *reply, struct sp_error *err)
{
	char text[PROBLEM_TEXT_MAX];
	int rc;

	if (d->http == NULL)
		return no_socket(err);
	if ((rc = http_call(d->http, rq, reply, err)) < 0)
		return rc;
	if (reply->status >= 200 && reply->status < 300)
		return 0;
	problem_text(&reply->body, text);
	return sp_error_set(err, problem_code(&reply->body, status_code(reply->status)), "%s %s: status %ld: %s",
	    rq->method != NULL ? rq->method : "GET", strrchr(rq->url, '/'), reply->status, text);
}

static int
seedpod_position(struct driver *base, struct position *out, struct sp_error *err)
{
	struct driver_seedpod *d = (struct driver_seedpod *)base;
	struct http_reply reply;
	int rc;

	http_reply_init(&reply, ANSWER_BYTES_MAX);
	rc = ask(d, &(struct http_request_out){ .url = "http://localhost/position", .timeout_ms = d->timeout_ms },
	    &reply, err);
	if (rc == 0)
		rc = position_from_json(reply.body.data, reply.body.len, out, err);
	http_reply_release(&reply);
	/* There is no server, or one that has given its store away. */
	if ((rc == SP_EUNAVAIL || rc == SP_EAGAIN) && d->store_dir != NULL)
		return driver_seedpod_read_offline(d->server_program, d->store_dir, out, err);
	return rc;
}

static int
seedpod_snapshot(struct driver *base, driver_sink sink, void *arg, struct sp_error *err)
{
	struct driver_seedpod *d = (struct driver_seedpod *)base;
	struct http_reply reply;
	char text[PROBLEM_TEXT_MAX];
	const void *data;
	size_t len;
	int rc;

	if (d->http == NULL)
		return no_socket(err);
	http_reply_init(&reply, ANSWER_BYTES_MAX);
	rc = http_stream_open(d->http, &(struct http_request_out){ .url = "http://localhost/snapshot" }, &reply, err);
	if (rc == 0 && reply.status != 200) {
		problem_text(&reply.body, text);
		rc = sp_error_set(err, problem_code(&reply.body, status_code(reply.status)),
		    "GET /snapshot: status %ld: %s", reply.status, text);
	}
	while (rc == 0 && (rc = http_stream_read(d->http, &data, &len, err)) == 1)
		rc = sink(arg, data, len, err);
	http_stream_close(d->http);
	http_reply_release(&reply);
	return rc;
}

static int
seedpod_apply(struct driver *base, const void *feed, size_t len, struct position *after, struct sp_error *err)
{
	static const char *const headers[] = { "Content-Type: " FEED_CONTENT_TYPE, NULL };
	struct http_reply reply;
	int rc;

	http_reply_init(&reply, ANSWER_BYTES_MAX);
	rc = ask((struct driver_seedpod *)base,
	    &(struct http_request_out){
		.method = "POST", .url = "http://localhost/apply", .headers = headers, .body = feed, .body_len = len },
	    &reply, err);
	if (rc == 0)
		rc = position_from_json(reply.body.data, reply.body.len, after, err);
	http_reply_release(&reply);
	return rc;
}

/* Numbers that are missing, or below zero, are an answer that cannot be used. */
static int
read_pulled(const struct buf *body, struct driver_pulled *out, struct sp_error *err)
{
	json_int_t feeds = -1, records = -1, bytes = -1, horizon = -1;
	json_t *json = json_loadb(body->data, body->len, 0, NULL), *position = NULL;
	int clean = 0, rc = SP_EBADDATA;
	char *text = NULL;

	if (json_unpack(json, "{s:b s:I s:I s:I s:I s:o}", "clean", &clean, "feeds", &feeds, "records", &records,
		"bytes", &bytes, "horizon", &horizon, "position", &position) == 0 &&
	    feeds >= 0 && records >= 0 && bytes >= 0 && horizon >= 0 &&
	    (text = json_dumps(position, JSON_COMPACT)) != NULL)
		rc = position_from_json(text, strlen(text), &out->after, err);
	else
		sp_error_set(err, rc, "POST /pull: the answer cannot be understood");
	out->clean = clean != 0;
	out->feeds = (uint64_t)feeds;
	out->records = (uint64_t)records;
	out->bytes = (uint64_t)bytes;
	out->horizon = (uint64_t)horizon;
	free(text);
	json_decref(json);
	return rc;
}

static int
seedpod_pull(struct driver *base, const char *url, int64_t for_ms, struct driver_pulled *out, struct sp_error *err)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	struct http_reply reply;
	char *body = NULL;
	json_t *json = json_pack("{ss sI}", "url", url, "for_ms", (json_int_t)for_ms);
	int rc;

	body = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (body == NULL)
		return sp_error_set(err, SP_ENOMEM, "POST /pull: out of memory");
	http_reply_init(&reply, ANSWER_BYTES_MAX);
	rc = ask((struct driver_seedpod *)base,
	    &(struct http_request_out){ .method = "POST",
		.url = "http://localhost/pull",
		.headers = headers,
		.body = body,
		.body_len = strlen(body),
		.patience_ms = 2 * for_ms },
	    &reply, err);
	if (rc == 0)
		rc = read_pulled(&reply.body, out, err);
	http_reply_release(&reply);
	free(body);
	return rc;
}

static int
seedpod_digest(struct driver *base, struct digest *out, struct sp_error *err)
{
	struct http_reply reply;
	const char *hex;
	json_t *json = NULL;
	int rc;

	http_reply_init(&reply, ANSWER_BYTES_MAX);
	rc = ask((struct driver_seedpod *)base,
	    &(struct http_request_out){ .url = "http://localhost/digest", .patience_ms = DIGEST_PATIENCE_MS }, &reply,
	    err);
	if (rc == 0) {
		json = json_loadb(reply.body.data, reply.body.len, 0, NULL);
		hex = json_string_value(json_object_get(json, "digest"));
		if (hex == NULL || digest_from_hex(hex, out) < 0)
			rc = sp_error_set(err, SP_EBADDATA, "GET /digest: the answer holds no digest");
	}
	json_decref(json);
	http_reply_release(&reply);
	return rc;
}

static void
seedpod_free(struct driver *base)
{
	struct driver_seedpod *d = (struct driver_seedpod *)base;

	if (d == NULL)
		return;
	http_client_free(d->http);
	free(d->store_dir);
	free(d->server_program);
	free(d);
}

static const struct driver_ops seedpod_ops = {
	.name = "seedpod",
	.position = seedpod_position,
	.snapshot = seedpod_snapshot,
	.apply = seedpod_apply,
	.pull = seedpod_pull,
	.digest = seedpod_digest,
	.free = seedpod_free,
};

/* strdup() that leaves NULL alone; false when out of memory. */
static bool
copy(char **to, const char *from)
{
	*to = from != NULL ? strdup(from) : NULL;
	return from == NULL || *to != NULL;
}

struct driver *
driver_seedpod_new(const struct driver_seedpod_options *o, struct sp_error *err)
{
	struct driver_seedpod *d = calloc(1, sizeof(*d));

	if (d == NULL || !copy(&d->store_dir, o->store_dir) || !copy(&d->server_program, o->server_program)) {
		seedpod_free((struct driver *)d);
		sp_error_set(err, SP_ENOMEM, "make a driver: out of memory");
		return NULL;
	}
	d->base.ops = &seedpod_ops;
	d->timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : TIMEOUT_MS;
	if (o->control_socket == NULL)
		return &d->base;
	d->http = http_client_new(
	    &(struct http_client_options){ .unix_socket = o->control_socket, .stall_timeout_ms = d->timeout_ms }, err);
	if (d->http == NULL) {
		seedpod_free(&d->base);
		return NULL;
	}
	return &d->base;
}

static int
order(struct driver *base, const char *url, struct sp_error *err)
{
	struct http_reply reply;
	int rc;

	http_reply_init(&reply, ANSWER_BYTES_MAX);
	rc = ask((struct driver_seedpod *)base,
	    &(struct http_request_out){ .method = "POST", .url = url, .patience_ms = RELEASE_PATIENCE_MS }, &reply,
	    err);
	http_reply_release(&reply);
	return rc;
}

int
driver_seedpod_release(struct driver *d, struct sp_error *err)
{
	return order(d, "http://localhost/release", err);
}

int
driver_seedpod_open(struct driver *d, struct sp_error *err)
{
	return order(d, "http://localhost/open", err);
}

/* POST with a body that is the caller's, and is freed. NULL: out of memory. */
static int
order_with(struct driver *base, const char *url, json_t *root, struct sp_error *err)
{
	char *body = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
	struct http_reply reply;
	int rc;

	json_decref(root);
	if (body == NULL)
		return sp_error_set(err, SP_ENOMEM, "ask the server: out of memory");
	http_reply_init(&reply, ANSWER_BYTES_MAX);
	rc = ask((struct driver_seedpod *)base,
	    &(struct http_request_out){ .method = "POST",
		.url = url,
		.body = body,
		.body_len = strlen(body),
		.patience_ms = RELEASE_PATIENCE_MS },
	    &reply, err);
	http_reply_release(&reply);
	free(body);
	return rc;
}

int
driver_seedpod_lead_from(
    struct driver *d, const struct position *at, unsigned from, bool by_hand, int64_t pause_ms, struct sp_error *err)
{
	char *text = position_to_json(at);
	json_t *position = text != NULL ? json_loads(text, 0, NULL) : NULL;

	free(text);
	if (position == NULL)
		return sp_error_set(err, SP_ENOMEM, "ask the server: out of memory");
	return order_with(d, "http://localhost/role",
	    json_pack("{ss so sI sb sI}", "role", "leader", "at", position, "from", (json_int_t)from, "by_hand",
		(int)by_hand, "pause_ms", (json_int_t)pause_ms),
	    err);
}

int
driver_seedpod_follow(struct driver *d, const char *url, struct sp_error *err)
{
	return order_with(d, "http://localhost/leader", json_pack("{ss}", "url", url), err);
}

int
driver_seedpod_role(struct driver *d, const char *role, struct sp_error *err)
{
	return order_with(d, "http://localhost/role", json_pack("{ss}", "role", role), err);
}

int
driver_seedpod_metrics(struct driver *base, struct buf *out, struct sp_error *err)
{
	struct driver_seedpod *d = (struct driver_seedpod *)base;
	struct http_reply reply;
	int rc;

	http_reply_init(&reply, METRICS_BYTES_MAX);
	rc = ask(d, &(struct http_request_out){ .url = "http://localhost/metrics", .timeout_ms = d->timeout_ms },
	    &reply, err);
	if (rc == 0 && (rc = buf_add(out, reply.body.data, reply.body.len)) < 0)
		sp_error_set(err, rc, "GET /metrics: no room for %zu bytes", reply.body.len);
	http_reply_release(&reply);
	return rc;
}

/* The server's program ended with a complaint: its exit code tells what kind. */
static int
offline_failure(const struct process_result *result, const char *store_dir, struct sp_error *err)
{
	static const int kinds[] = { SP_EBADDATA, SP_EPERM, SP_EIO, SP_ENOMEM, SP_EAGAIN, SP_EVOLUME };
	int code = SP_EINTERNAL;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (sp_code_exit(kinds[i]) == result->exit_code)
			code = kinds[i];
	return sp_error_set(err, code, "seedpod-server --position --store %s: exit code %d: %s", store_dir,
	    result->exit_code, result->said[0] != '\0' ? result->said : "no reason given");
}

int
driver_seedpod_read_offline(
    const char *server_program, const char *store_dir, struct position *out, struct sp_error *err)
{
	char program[PATH_BYTES_MAX], data[PATH_BYTES_MAX];
	const char *argv[] = { program, "--position", "--store", store_dir, NULL };
	struct process_result result;
	struct buf answer;
	int rc;

	if ((rc = file_join(data, sizeof(data), store_dir, "data.mdb", err)) < 0)
		return rc;
	if (!file_exists(data))
		return sp_error_set(err, SP_ENOTFOUND, "%s holds no store", store_dir);
	if (server_program != NULL)
		snprintf(program, sizeof(program), "%s", server_program);
	else
		process_find_beside("seedpod-server", program, sizeof(program));
	buf_init(&answer, ANSWER_BYTES_MAX);
	rc = process_run(argv, TIMEOUT_MS, &answer, &result, err);
	if (rc == SP_ENOTFOUND)
		rc = sp_error_set(err, SP_EINTERNAL, "run %s: it is not installed", program);
	if (rc == 0 && result.exit_code != 0)
		rc = offline_failure(&result, store_dir, err);
	if (rc == 0 && (rc = position_from_json(answer.data, answer.len, out, err)) < 0)
		sp_error_wrap(err, "read what seedpod-server --position says of %s", store_dir);
	buf_release(&answer);
	return rc;
}
