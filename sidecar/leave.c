#include "sidecar/leave.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/net/http_client.h"
#include "lib/protocol/position.h"

#define ACCOUNT_DIR        "/var/run/secrets/kubernetes.io/serviceaccount"
#define URL_SIZE           1024
#define PATH_SIZE          1024
#define TOKEN_BYTES_MAX    (64u << 10)
#define ANSWER_BYTES_MAX   (1u << 20) /* a StatefulSet with all its managed fields */
#define CALL_MS            5000
#define PAUSE_MS           300 /* between two tries */
#define REDIRECTS_MAX      4
#define AUTHORIZATION_NAME "Authorization: Bearer "

/* --- Does the StatefulSet still count this pod? --- */

static int
statefulset_url(const struct leave_options *o, char *out, size_t size, struct sp_error *err)
{
	const struct pod *pod = &o->conf->pod;
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
	char api[URL_SIZE];
	int len;

	if (o->api != NULL) {
		snprintf(api, sizeof(api), "%s", o->api);
	} else if (host == NULL || port == NULL) {
		return sp_error_set(err, SP_ECONF, "this is no pod of Kubernetes: KUBERNETES_SERVICE_HOST is not set");
	} else {
		/* An IPv6 address stands in brackets. */
		snprintf(api, sizeof(api), strchr(host, ':') != NULL ? "https://[%s]:%s" : "https://%s:%s", host, port);
	}
	len = snprintf(out, size, "%s/apis/apps/v1/namespaces/%s/statefulsets/%s", api, pod->name_space, pod->set);
	return (size_t)len < size ? 0 : sp_error_set(err, SP_ETOOBIG, "the URL of the StatefulSet is too long");
}

static int
read_replicas(const struct http_reply *reply, const char *url, unsigned *out, struct sp_error *err)
{
	json_t *root, *replicas;
	int rc = 0;

	if (reply->status == 401 || reply->status == 403)
		return sp_error_set(
		    err, SP_EPERM, "GET %s: status %ld: the pod's service account may not read it", url, reply->status);
	if (reply->status != 200)
		return sp_error_set(err, SP_EUNAVAIL, "GET %s: status %ld", url, reply->status);
	root = json_loadb(reply->body.data, reply->body.len, 0, NULL);
	replicas = json_object_get(json_object_get(root, "spec"), "replicas");
	if (json_is_integer(replicas) && json_integer_value(replicas) >= 0)
		*out = (unsigned)json_integer_value(replicas);
	else
		rc = sp_error_set(err, SP_EBADDATA, "GET %s: there is no spec.replicas in the answer", url);
	json_decref(root);
	return rc;
}

/* «Authorization: Bearer …», from a file that Kubernetes renews. */
static int
read_token(const char *account, struct buf *out, struct sp_error *err)
{
	char path[PATH_SIZE];
	struct buf token;
	int rc;

	buf_init(&token, TOKEN_BYTES_MAX);
	if ((rc = file_join(path, sizeof(path), account, "token", err)) == 0 &&
	    (rc = file_read_all(path, &token, err)) == 0)
		rc = buf_printf(out, AUTHORIZATION_NAME "%.*s", (int)strcspn(token.data, "\r\n"), token.data);
	buf_release(&token);
	return rc;
}

static int
ask_replicas(const struct leave_options *o, unsigned *out, struct sp_error *err)
{
	const char *account = o->account != NULL ? o->account : ACCOUNT_DIR;
	char url[URL_SIZE], ca[PATH_SIZE];
	struct http_client *client = NULL;
	struct http_reply reply;
	struct buf token;
	int rc;

	http_reply_init(&reply, ANSWER_BYTES_MAX);
	buf_init(&token, TOKEN_BYTES_MAX + sizeof(AUTHORIZATION_NAME));
	if ((rc = statefulset_url(o, url, sizeof(url), err)) < 0 || (rc = read_token(account, &token, err)) < 0 ||
	    (rc = file_join(ca, sizeof(ca), account, "ca.crt", err)) < 0)
		goto out;
	client = http_client_new(
	    &(struct http_client_options){ .connect_timeout_ms = CALL_MS, .stall_timeout_ms = CALL_MS, .ca_file = ca },
	    err);
	rc = client != NULL ? 0 : err->code;
	if (rc == 0)
		rc = http_call(client,
		    &(struct http_request_out){ .url = url,
			.headers = (const char *const[]){ token.data, "Accept: application/json", NULL },
			.timeout_ms = CALL_MS },
		    &reply, err);
	if (rc == 0)
		rc = read_replicas(&reply, url, out, err);
out:
	http_client_free(client);
	buf_release(&token);
	http_reply_release(&reply);
	return rc;
}

/* --- Leaving --- */

/* DELETE at `url`, following redirects to the leader: the last status, or an error. */
static int
delete_at(struct http_client *client, char *url, struct http_reply *reply, struct sp_error *err)
{
	char location[URL_SIZE];
	int rc;

	for (int hop = 0; hop < REDIRECTS_MAX; hop++) {
		rc = http_call(client,
		    &(struct http_request_out){ .method = "DELETE", .url = url, .timeout_ms = CALL_MS }, reply, err);
		if (rc < 0)
			return rc;
		if (reply->status != 307 || !http_reply_header(reply, "Location", location, sizeof(location)))
			return 0;
		memcpy(url, location, sizeof(location));
	}
	return sp_error_set(err, SP_EAGAIN, "%s: members send on to one another: there is no leader at present", url);
}

/* One try at the pod with that ordinal: 1 when this member is out, 0 to try again (why is in *err), or an error. */
static int
try_at(const struct leave_options *o, struct http_client *client, unsigned ordinal, struct sp_error *err)
{
	char base[POSITION_URL_MAX], url[URL_SIZE];
	struct http_reply reply;
	int rc;

	if ((rc = conf_peer_url(o->conf, ordinal, base, sizeof(base), err)) < 0)
		return rc;
	snprintf(url, sizeof(url), "%s/v1/members/%u", base, o->conf->pod.ordinal + 1);
	http_reply_init(&reply, ANSWER_BYTES_MAX);
	rc = delete_at(client, url, &reply, err);
	if (rc == 0 && (reply.status == 204 || reply.status == 200 || reply.status == 404))
		rc = 1;
	else if (rc == 0)
		sp_error_set(err, SP_EAGAIN, "DELETE %s: status %ld: %.300s", url, reply.status, reply.body.data);
	else if (rc != SP_ENOMEM)
		rc = 0;
	http_reply_release(&reply);
	return rc;
}

/* The member's own server first: it knows who leads, if it still runs. */
static int
leave_now(const struct leave_options *o, int64_t deadline_ms, struct sp_error *err)
{
	const struct conf *conf = o->conf;
	struct http_client *client = http_client_new(
	    &(struct http_client_options){ .connect_timeout_ms = CALL_MS / 5, .stall_timeout_ms = CALL_MS }, err);
	unsigned ordinal = conf->pod.ordinal;
	int rc = client != NULL ? 0 : err->code;

	while (rc == 0 && (rc = try_at(o, client, ordinal, err)) == 0) {
		if (clock_mono_ms() >= deadline_ms) {
			sp_error_wrap(err, "leave the cluster");
			rc = err->code;
			break;
		}
		ordinal = (ordinal + 1) % conf->bootstrap_max_peers;
		clock_sleep_ms(PAUSE_MS);
	}
	http_client_free(client);
	return rc < 0 ? rc : 0;
}

int
leave(const struct leave_options *o, enum leave_outcome *out, struct sp_error *err)
{
	int64_t deadline_ms = clock_mono_ms() + (o->timeout_ms > 0 ? o->timeout_ms : LEAVE_TIMEOUT_MS);
	unsigned replicas = 0;
	int rc;

	if (o->conf->replication_mode != CONF_MODE_RAFT)
		return sp_error_set(err, SP_ECONF, "only a member of mode raft can leave");
	if (!o->always) {
		if (ask_replicas(o, &replicas, err) < 0)
			return sp_error_wrap(err, "ask for the StatefulSet's replicas");
		if (o->conf->pod.ordinal < replicas) {
			*out = LEAVE_STAYS;
			return 0;
		}
	}
	if ((rc = leave_now(o, deadline_ms, err)) == 0)
		*out = LEAVE_LEFT;
	return rc;
}
