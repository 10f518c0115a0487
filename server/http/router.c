#include "server/http/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/access_control.h"

#define ALLOW_SIZE      64
#define CONTROL_THREADS 4 /* some may be in a release or a promotion while another says the position */

/* Access: a caller needs one of these roles. The control socket is restricted to the pod by file
 * modes. */
#define ANYONE  0
#define READERS (TOKEN_READ | TOKEN_WRITE)

struct route {
	const char *method; /* GET also answers HEAD */
	const char *path;   /* whole, or up to the key where `key` says there is one */
	enum { KEY_NONE, KEY_MEHDB, KEY_ANY } key;
	void (*handler)(struct call *c);
	unsigned roles;
};

static const struct route network_routes[] = {
	{ "PUT", "/set/", KEY_MEHDB, api_set, TOKEN_WRITE },
	{ "GET", "/get/", KEY_MEHDB, api_get, READERS },
	{ "GET", "/keys", KEY_NONE, api_keys, READERS },
	{ "GET", "/status", KEY_NONE, api_mehdb_status, ANYONE },
	{ "GET", "/v1/kv/", KEY_ANY, api_kv_get, READERS },
	{ "PUT", "/v1/kv/", KEY_ANY, api_kv_put, TOKEN_WRITE },
	{ "DELETE", "/v1/kv/", KEY_ANY, api_kv_delete, TOKEN_WRITE },
	{ "GET", "/v1/kv", KEY_NONE, api_kv_list, READERS },
	{ "POST", "/v1/batch", KEY_NONE, api_batch, TOKEN_WRITE },
	{ "GET", "/v1/position", KEY_NONE, api_position, READERS | TOKEN_PEER },
	{ "GET", "/v1/read-index", KEY_NONE, api_read_index, READERS | TOKEN_PEER },
	{ "GET", "/v1/members", KEY_NONE, api_members, READERS | TOKEN_PEER },
	{ "POST", "/v1/members", KEY_NONE, api_members_add, TOKEN_PEER },
	{ "DELETE", "/v1/members/", KEY_ANY, api_members_remove, TOKEN_PEER },
	{ "GET", "/v1/changes", KEY_NONE, api_changes, TOKEN_PEER },
	{ "GET", "/v1/snapshot", KEY_NONE, api_snapshot, TOKEN_PEER },
	{ "POST", "/v1/handover", KEY_NONE, api_handover, TOKEN_PEER },
	{ 0 },
};

/* The API of the Raft key-value store, at all paths that none of the above owns; in a mode with members. */
static const struct route root_routes[] = {
	{ "PUT", "/", KEY_ANY, api_kv_put, TOKEN_WRITE },
	{ "GET", "/", KEY_ANY, api_kv_get, READERS },
	{ "POST", "/", KEY_ANY, api_root_add, TOKEN_PEER },
	{ "DELETE", "/", KEY_ANY, api_members_remove, TOKEN_PEER },
	{ 0 },
};

static const struct route control_routes[] = {
	{ "GET", "/position", KEY_NONE, api_control_position, ANYONE },
	{ "POST", "/apply", KEY_NONE, api_control_apply, ANYONE },
	{ "POST", "/pull", KEY_NONE, api_control_pull, ANYONE },
	{ "POST", "/role", KEY_NONE, api_control_role, ANYONE },
	{ "POST", "/leader", KEY_NONE, api_control_leader, ANYONE },
	{ "POST", "/handover", KEY_NONE, api_handover, ANYONE },
	{ "POST", "/release", KEY_NONE, api_control_release, ANYONE },
	{ "POST", "/open", KEY_NONE, api_control_open, ANYONE },
	{ "GET", "/metrics", KEY_NONE, api_control_metrics, ANYONE },
	{ "GET", "/digest", KEY_NONE, api_control_digest, ANYONE },
	{ "GET", "/snapshot", KEY_NONE, api_snapshot, ANYONE },
	{ 0 },
};

static bool
is_mehdb_key(const char *key)
{
	return *key != '\0' && key[strspn(key, "abcdefghijklmnopqrstuvwxyz")] == '\0';
}

static bool
path_matches(const struct route *r, const char *path)
{
	size_t len = strlen(r->path);

	if (r->key == KEY_NONE)
		return strcmp(path, r->path) == 0;
	if (strncmp(path, r->path, len) != 0)
		return false;
	/* To the mehdb API, a key that is not [a-z]+ is no route at all. */
	return r->key == KEY_ANY || is_mehdb_key(path + len);
}

static bool
method_matches(const struct route *r, const char *method)
{
	return strcmp(r->method, method) == 0 || (strcmp(r->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* The route, or NULL; `allow` then names the methods that the path does have, "" if it has none. */
static const struct route *
find_route(const struct route *routes, const char *method, const char *path, char *allow, size_t size)
{
	size_t used = 0;

	allow[0] = '\0';
	for (const struct route *r = routes; r->method != NULL; r++) {
		if (!path_matches(r, path))
			continue;
		if (method_matches(r, method))
			return r;
		used += (size_t)snprintf(allow + used, size - used, "%s%s%s", used > 0 ? ", " : "", r->method,
		    strcmp(r->method, "GET") == 0 ? ", HEAD" : "");
	}
	return NULL;
}

static bool
is_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* Whether the path may be a key at the root. What looks like another API's path is not: that would surprise. */
static bool
is_root_key(const struct listener_settings *settings, const char *path)
{
	return settings->routes == network_routes && settings->api->repl->ops->members != NULL && path[0] == '/' &&
	       path[1] != '\0' && !is_below(path, "/v1") && !is_below(path, "/set") && !is_below(path, "/get");
}

/* The one place that says which handler a request goes to, and so which roles it needs. */
static const struct route *
route_of(const struct listener_settings *settings, const struct request *rq, char allow[ALLOW_SIZE])
{
	const char *method = request_method(rq), *path = request_path(rq);
	const struct route *r = find_route(settings->routes, method, path, allow, ALLOW_SIZE);

	if (r == NULL && allow[0] == '\0' && is_root_key(settings, path))
		r = find_route(root_routes, method, path, allow, ALLOW_SIZE);
	return r;
}

/* Decode the key that follows the route's path. False: the call was answered. */
static bool
decode_key(struct call *c, const struct route *r, const char *path)
{
	const char *raw = path + strlen(r->path);
	char key[3 * STORE_KEY_MAX + 1];
	int64_t len;

	if (r->key == KEY_NONE)
		return true;
	/* Every byte may take three characters. */
	if (strlen(raw) > 3 * STORE_KEY_MAX) {
		api_problem(c, 414, "key", "a key has at most 480 bytes");
		return false;
	}
	len = percent_decode(raw, strlen(raw), key, sizeof(key));
	if (len <= 0) {
		api_problem(
		    c, 400, "key", len < 0 ? "the key's percent-encoding is broken" : "a key has at least one byte");
		return false;
	}
	if (len > STORE_KEY_MAX) {
		api_problem(c, 414, "key", "a key has at most 480 bytes");
		return false;
	}
	memcpy(c->key, key, (size_t)len);
	c->key_len = (size_t)len;
	return true;
}

/* The mehdb API speaks plain text; /v1 and the control socket speak problem+json. */
static bool
answers_plainly(const struct listener_settings *settings, const char *path)
{
	return settings->routes == network_routes && strncmp(path, "/v1/", 4) != 0 && strcmp(path, "/v1") != 0;
}

static void
begin(const struct listener_settings *settings, struct request *rq)
{
	const char *path = request_path(rq);
	const struct route *r;
	struct call *c = calloc(1, sizeof(*c));
	char allow[ALLOW_SIZE];

	if (c == NULL) {
		request_reply(rq, 503, API_TEXT, "out of memory", 13);
		return;
	}
	c->api = settings->api;
	c->rq = rq;
	c->plain = answers_plainly(settings, path);
	buf_init(&c->arena, 0);
	request_set_state(rq, c);
	r = route_of(settings, rq, allow);
	if (r == NULL && allow[0] != '\0')
		api_method(c, allow);
	else if (r == NULL)
		api_problem(c, 404, "path", "there is nothing at this path");
	else if (decode_key(c, r, path)) {
		c->handler = r->handler;
		c->handler(c);
	}
}

static void
handle(struct request *rq, void *arg)
{
	struct call *c = request_state(rq);

	if (c == NULL)
		begin(arg, rq);
	else
		c->handler(c);
}

static void
done(struct request *rq, void *arg)
{
	struct call *c = request_state(rq);

	(void)arg;
	if (c == NULL)
		return;
	store_walk_free(c->walk);
	free(c->pull);
	buf_release(&c->arena);
	free(c->ops);
	free(c);
}

/* Whether the request's token allows it: 0, or the status to refuse it with. */
static unsigned
check_token(struct api *api, const struct request *rq, const struct route *r, const char **detail)
{
	const char *authorization = request_header(rq, "Authorization");
	unsigned roles;

	if (r->roles == ANYONE)
		return 0;
	roles = tokens_roles(api->access_control->tokens, authorization);
	if ((roles & r->roles) != 0)
		return 0;
	atomic_fetch_add(roles == 0 ? &api->counters.unauthorized : &api->counters.forbidden, 1);
	if (roles == 0)
		*detail = authorization == NULL ? "a bearer token is needed here" : "the token is not known here";
	else
		*detail = "the token does not allow this";
	return roles == 0 ? 401 : 403;
}

/* Before a body is taken: what is not there is answered 404 or 405 later, what is must be allowed. A write that waits
 * for "100 Continue" is sent on to the leader without its body, which the client may be able to read only once. */
static unsigned
admit(struct request *rq, const char **detail, void *arg)
{
	const struct listener_settings *settings = arg;
	struct api *api = settings->api;
	bool waits = request_header(rq, "Expect") != NULL;
	bool guarded = api->access_control != NULL && api->access_control->tokens != NULL;
	const struct route *r;
	char allow[ALLOW_SIZE];
	unsigned status;

	if (settings->routes != network_routes || !(guarded || waits) || (r = route_of(settings, rq, allow)) == NULL)
		return 0;
	status = guarded ? check_token(api, rq, r, detail) : 0;
	if (status == 0 && waits && r->roles == TOKEN_WRITE && !api_takes_writes(api)) {
		status = 307;
		*detail = "writes go to the leader";
	}
	return status;
}

static size_t
body_limit(struct request *rq, void *arg)
{
	const struct listener_settings *settings = arg;
	const char *path = request_path(rq);
	size_t value = settings->api->max_value, most = value;

	if (settings->routes == control_routes)
		most = FEED_BYTES_MAX;
	else if (strcmp(path, "/v1/batch") == 0)
		most = 2 * value > API_BATCH_BYTES ? 2 * value : API_BATCH_BYTES;
	return most < settings->api->budgets.largest ? most : settings->api->budgets.largest;
}

static void
refuse(struct request *rq, unsigned status, const char *detail, void *arg)
{
	const struct listener_settings *settings = arg;
	struct call c = { .api = settings->api, .rq = rq, .plain = answers_plainly(settings, request_path(rq)) };
	const char *code = "SP_EAGAIN";

	if (status == 307) {
		if (!api_sent_to_leader(&c))
			api_problem(&c, 503, code, "this pod has begun to lead just now");
		return;
	}
	if (status == 401 || status == 403) {
		api_challenge(&c, status, detail);
		return;
	}
	if (status == 400)
		code = "request";
	else if (status == 413)
		code = "SP_ETOOBIG";
	api_problem(&c, status, code, detail);
}

/* A second port has the same settings, whose first one may be at work already. */
static const struct listener_settings *
fill(struct listener_settings *settings, struct api *api, const struct route *routes)
{
	if (settings->routes == NULL)
		*settings = (struct listener_settings){ .api = api, .routes = routes };
	return settings;
}

static struct listener *
serve(const struct listener_settings *settings, const char *address, unsigned threads, struct sp_error *err)
{
	struct api *api = settings->api;
	struct listener_options o = { .address = address,
		.threads = threads,
		.body_budget_bytes = api->budgets.bodies,
		.reply_budget_bytes = api->budgets.answers,
		.largest_bytes = api->budgets.largest,
		.tls = settings->routes == network_routes && api->access_control != NULL ? api->access_control->serving
											 : NULL,
		.ask_client = true,
		.admit = admit,
		.body_limit = body_limit,
		.handle = handle,
		.done = done,
		.refuse = refuse,
		.arg = (void *)(uintptr_t)settings };

	return listener_new(&o, err);
}

struct listener *
http_serve(struct api *api, const char *address, unsigned threads, struct sp_error *err)
{
	return serve(fill(&api->at_network, api, network_routes), address, threads, err);
}

struct listener *
http_serve_control(struct api *api, const char *path, struct sp_error *err)
{
	char address[256];

	snprintf(address, sizeof(address), "unix:%s", path);
	return serve(fill(&api->at_control, api, control_routes), address, CONTROL_THREADS, err);
}
