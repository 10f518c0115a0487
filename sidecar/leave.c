#include "sidecar/leave.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "lib/net/kube_client.h"
#include "lib/protocol/position.h"

#define URL_SIZE         1024
#define ANSWER_BYTES_MAX (1u << 20) /* a StatefulSet with all its managed fields */
#define CALL_MS          5000
#define PAUSE_MS         300 /* between two tries */
#define REDIRECTS_MAX    4

/* --- Does the StatefulSet still count this pod? --- */

static int
read_replicas(const struct http_reply *reply, const char *path, unsigned *out, struct sp_error *err)
{
	json_t *root, *replicas;
	int rc = 0;

	root = json_loadb(reply->body.data, reply->body.len, 0, NULL);
	replicas = json_object_get(json_object_get(root, "spec"), "replicas");
	if (json_is_integer(replicas) && json_integer_value(replicas) >= 0)
		*out = (unsigned)json_integer_value(replicas);
	else
		rc = sp_error_set(err, SP_EBADDATA, "GET %s: there is no spec.replicas in the answer", path);
	json_decref(root);
	return rc;
}

static int
ask_replicas(const struct leave_options *o, unsigned *out, struct sp_error *err)
{
	const struct kube_options kube = { .api = o->api, .account = o->account };
	const struct pod *pod = &o->conf->pod;
	struct http_reply reply;
	char path[URL_SIZE];
	int rc;

	snprintf(path, sizeof(path), "/apis/apps/v1/namespaces/%s/statefulsets/%s", pod->name_space, pod->set);
	http_reply_init(&reply, ANSWER_BYTES_MAX);
	if ((rc = kube_call(&kube, &(struct kube_request){ .path = path }, &reply, err)) == 0)
		rc = read_replicas(&reply, path, out, err);
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

/* The member's own server first: it knows the leader, if it still runs. */
static int
leave_now(const struct leave_options *o, int64_t deadline_ms, struct sp_error *err)
{
	const struct conf *conf = o->conf;
	struct http_client *client = http_client_new(
	    &(struct http_client_options){
		.access = o->access, .connect_timeout_ms = CALL_MS / 5, .stall_timeout_ms = CALL_MS },
	    err);
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
