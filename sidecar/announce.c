#include "sidecar/announce.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/base/json_text.h"
#include "lib/base/log.h"
#include "sidecar/announce_decide.h"
#include "sidecar/thread.h"
#include "sidecar/view.h"

#define LABEL            "seedpod.dev/role"
#define ANSWER_BYTES_MAX (1u << 20) /* a pod with all its managed fields */
#define PATH_SIZE        1024
#define RETRY_MS         5000   /* after no answer */
#define REFUSED_MS       300000 /* after "you may not" */

struct announce {
	struct announce_options o;
	struct bell bell;
	pthread_t thread;
	atomic_bool stopping;

	/* The thread's own. */
	struct announced told;
	const char *label;                /* what the pod carries; NULL: not known */
	char uid[64];                     /* the pod's, from the answer to the first label; events name it */
	char created[CLOCK_RFC3339_SIZE]; /* likewise */
	int64_t retry_ms;                 /* not before this */
	bool failing;                     /* that it fails has been logged */
};

/* --- What is asked of the API server --- */

static int
call(struct announce *a, const struct kube_request *rq, struct http_reply *reply)
{
	struct sp_error err = { 0 };
	int rc = kube_call(&a->o.kube, rq, reply, &err);

	if (rc < 0) {
		a->retry_ms = clock_mono_ms() + (rc == SP_EPERM ? REFUSED_MS : RETRY_MS);
		if (!a->failing)
			log_warn("Kubernetes is not told of this pod's role and events", LOG_STR("error", err.text));
	}
	a->failing = rc < 0;
	return rc;
}

/* The pod as the API server returns it tells which one it is. */
static void
read_pod(struct announce *a, const struct buf *body)
{
	json_t *root = json_loadb(body->data, body->len, 0, NULL), *metadata = json_object_get(root, "metadata");
	const char *uid = json_string_value(json_object_get(metadata, "uid"));
	const char *created = json_string_value(json_object_get(metadata, "creationTimestamp"));

	snprintf(a->uid, sizeof(a->uid), "%s", uid != NULL ? uid : "");
	snprintf(a->created, sizeof(a->created), "%s", created != NULL ? created : "");
	json_decref(root);
}

static void
write_label(struct announce *a, const struct pod *pod, const char *label)
{
	struct http_reply reply;
	char path[PATH_SIZE], body[128];

	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/pods/%s", pod->name_space, pod->name);
	snprintf(body, sizeof(body), "{\"metadata\":{\"labels\":{\"" LABEL "\":\"%s\"}}}", label);
	http_reply_init(&reply, ANSWER_BYTES_MAX);
	if (call(a,
		&(struct kube_request){
		    .method = "PATCH", .path = path, .content_type = "application/merge-patch+json", .body = body },
		&reply) == 0) {
		if (a->uid[0] == '\0')
			read_pod(a, &reply.body);
		a->label = label;
		log_info("role label written", LOG_STR("role", label));
	}
	http_reply_release(&reply);
}

static char *
event_text(const struct announce *a, const struct pod *pod, const struct announce_event *event)
{
	char now[CLOCK_RFC3339_SIZE], name[POD_NAME_MAX + 1];
	json_t *json;
	char *text;

	clock_format(clock_wall_ms(), now, sizeof(now));
	snprintf(name, sizeof(name), "%s.", pod->name);
	/* An Event's times are in whole seconds. */
	memcpy(now + sizeof("2026-11-20T11:02:03") - 1, "Z", 2);
	json = json_pack("{ss ss s{ss ss} s{ss ss ss ss ss} ss ss ss s{ss} ss ss ss ss si}", "apiVersion", "v1", "kind",
	    "Event", "metadata", "generateName", name, "namespace", pod->name_space, "involvedObject", "apiVersion",
	    "v1", "kind", "Pod", "namespace", pod->name_space, "name", pod->name, "uid", a->uid, "reason",
	    event->reason, "message", event->text, "type", event->warning ? "Warning" : "Normal", "source", "component",
	    "seedpod-sidecar", "reportingComponent", "seedpod.dev/sidecar", "reportingInstance", pod->name,
	    "firstTimestamp", now, "lastTimestamp", now, "count", 1);
	text = text_of_json(json, JSON_COMPACT);
	json_decref(json);
	return text;
}

/* An event that cannot be written is left out: the log and /status say the same. */
static void
write_event(struct announce *a, const struct pod *pod, const struct announce_event *event)
{
	char *text = event_text(a, pod, event);
	struct http_reply reply;
	char path[PATH_SIZE];

	if (text == NULL)
		return;
	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/events", pod->name_space);
	http_reply_init(&reply, ANSWER_BYTES_MAX);
	call(a,
	    &(struct kube_request){ .method = "POST", .path = path, .content_type = "application/json", .body = text },
	    &reply);
	http_reply_release(&reply);
	free(text);
}

/* --- The facts --- */

/* seed.json in a sentence, and when it was. */
static void
read_seed(struct announce *a, char finished[CLOCK_RFC3339_SIZE], char *out, size_t size)
{
	char *text = view_seed(a->o.state);
	json_t *seed = text != NULL ? json_loads(text, 0, NULL) : NULL;
	const char *when = json_string_value(json_object_get(seed, "finished"));
	const char *donor = json_string_value(json_object_get(seed, "donor"));

	snprintf(finished, CLOCK_RFC3339_SIZE, "%s", when != NULL ? when : "");
	snprintf(out, size, "seeded from %s: %" JSON_INTEGER_FORMAT " bytes in %.1f s", donor != NULL ? donor : "?",
	    json_integer_value(json_object_get(seed, "bytes")), json_number_value(json_object_get(seed, "seconds")));
	json_decref(seed);
	free(text);
}

static void
step(struct announce *a, struct view *v, struct reload_status *reload)
{
	struct announce_event events[ANNOUNCE_EVENTS_MAX];
	char finished[CLOCK_RFC3339_SIZE], seed[256];
	struct announce_facts now = { .seeded = finished, .seed = seed, .created = a->created, .diverged = "" };
	const char *label;
	unsigned count;

	view_take(a->o.state, clock_mono_ms(), v);
	memset(reload, 0, sizeof(*reload));
	if (a->o.reload != NULL)
		reload_status(a->o.reload, reload);
	read_seed(a, finished, seed, sizeof(seed));
	now.role_known = v->local_store_known;
	now.leads = v->role == ROLE_LEADER;
	now.server_ok = v->server_ok;
	now.raft = v->conf.replication_mode == CONF_MODE_RAFT;
	now.rejected = reload->error;
	if (strcmp(v->phase, "diverged") == 0)
		now.diverged = v->last_error.text[0] != '\0' ? v->last_error.text : "this pod has diverged";
	if ((label = announce_label(&now)) != NULL && label != a->label)
		write_label(a, &v->conf.pod, label);
	if (a->uid[0] == '\0')
		return;
	count = announce_events(&a->told, &now, events);
	for (unsigned i = 0; i < count; i++)
		write_event(a, &v->conf.pod, &events[i]);
}

static void *
run(void *arg)
{
	struct announce *a = arg;
	struct view *v = malloc(sizeof(*v));
	struct reload_status *reload = malloc(sizeof(*reload));

	while (v != NULL && reload != NULL && !atomic_load(&a->stopping)) {
		if (clock_mono_ms() >= a->retry_ms)
			step(a, v, reload);
		bell_wait(&a->bell, a->o.interval_ms);
	}
	free(reload);
	free(v);
	return NULL;
}

struct announce *
announce_new(const struct announce_options *o, struct sp_error *err)
{
	struct announce *a = calloc(1, sizeof(*a));

	if (a == NULL) {
		sp_error_set(err, SP_ENOMEM, "out of memory");
		return NULL;
	}
	a->o = *o;
	if (a->o.interval_ms == 0)
		a->o.interval_ms = 500;
	if (bell_init(&a->bell, err) < 0)
		goto fail_memory;
	if (thread_start(&a->thread, "announce", run, a, err) < 0)
		goto fail_bell;
	return a;

fail_bell:
	bell_release(&a->bell);
fail_memory:
	free(a);
	return NULL;
}

bool
announce_stop(struct announce *a, int64_t timeout_ms)
{
	atomic_store(&a->stopping, true);
	bell_ring(&a->bell);
	return thread_join(a->thread, timeout_ms);
}

void
announce_free(struct announce *a)
{
	if (a == NULL)
		return;
	bell_release(&a->bell);
	free(a);
}
