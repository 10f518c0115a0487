#include "sidecar/status_page.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/json_text.h"
#include "lib/base/version.h"

static json_t *
position_object(bool known, const struct position *p)
{
	char *text = known ? position_to_json(p) : NULL;
	json_t *object = text != NULL ? json_loads(text, 0, NULL) : NULL;

	free(text);
	return object != NULL ? object : json_null();
}

static json_t *
time_string(int64_t wall_ms)
{
	char text[CLOCK_RFC3339_SIZE];

	clock_format(wall_ms, text, sizeof(text));
	return json_string(text);
}

/* JSON takes UTF-8 alone; a text that was cut within a character, or came from elsewhere, loses what is not ASCII. */
static json_t *
text_string(const char *text)
{
	json_t *string = json_string(text);
	char *copy;

	if (string != NULL || (copy = strdup(text)) == NULL)
		return string;
	for (char *p = copy; *p != '\0'; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	string = json_string(copy);
	free(copy);
	return string;
}

static json_t *
checks_array(const struct readiness *r)
{
	json_t *array = json_array();

	for (size_t i = 0; i < r->count; i++)
		json_array_append_new(array, json_pack("{s:s, s:b, s:o}", "name", r->checks[i].name, "ok",
						 r->checks[i].ok, "text", text_string(r->checks[i].text)));
	return array;
}

static json_t *
error_object(const struct view_error *e)
{
	if (e->code == 0)
		return json_null();
	return json_pack("{s:s, s:s, s:o, s:o}", "code", sp_code_name(e->code), "reason", sync_reason_label(e->reason),
	    "text", text_string(e->text), "at", time_string(e->wall_ms));
}

static json_t *
pod_name(const struct view *v, uint32_t ordinal)
{
	char name[POD_NAME_MAX];

	if (ordinal == LEAD_NOBODY || pod_expand("{name}", &v->conf.pod, ordinal, name, sizeof(name), NULL) < 0)
		return json_null();
	return json_string(name);
}

/* Mode static. `last` is the last one that this pod's server took part in since its start. */
static json_t *
handover_object(const struct view *v)
{
	const struct lead_report *r = &v->own.handover;
	json_t *last = json_null();

	if (v->own.raft.role != MEMBER_ROLE_NONE)
		return json_null();
	if (v->local_store_known && r->state != HANDOVER_NONE)
		last =
		    json_pack("{s:s, s:o, s:o, s:I, s:o}", "state", lead_report_name(r), "from", pod_name(v, r->from),
			"to", pod_name(v, r->to), "pause_ms", (json_int_t)r->pause_ms, "at", time_string(r->wall_ms));
	return json_pack("{s:o, s:b, s:o, s:o}", "named", pod_name(v, v->conf.replication_leader_ordinal), "waiting",
	    (int)v->wants_lead, "why", text_string(v->handover_text), "last", last);
}

static json_t *
config_object(const struct reload_status *c)
{
	return json_pack("{s:s, s:b, s:o, s:o, s:o}", "hash", c->hash, "success", c->success, "applied_at",
	    time_string(c->applied_wall_ms), "error", text_string(c->error), "restart_needed", text_string(c->restart));
}

static const char *
sync_mode_name(const struct conf *c)
{
	return c->sync_mode == CONF_SYNC_POLL ? "poll" : "stream";
}

static const char *
replication_mode_name(const struct conf *c)
{
	switch (c->replication_mode) {
	case CONF_MODE_RAFT:
		return "raft";
	case CONF_MODE_CHAIN:
		return "chain";
	case CONF_MODE_STATIC:
		break;
	}
	return "static";
}

/* A member of which the value cannot be made (not UTF-8, out of memory) is null. */
static void
set(json_t *object, const char *name, json_t *value)
{
	json_object_set_new(object, name, value != NULL ? value : json_null());
}

static json_t *
status_object(const struct view *v, const struct reload_status *conf, const char *seed_json)
{
	json_t *o = json_object();

	set(o, "pod", text_string(v->conf.pod.name));
	set(o, "role", json_string(role_name(v->role)));
	set(o, "mode", json_string(replication_mode_name(&v->conf)));
	set(o, "sync_mode", json_string(sync_mode_name(&v->conf)));
	set(o, "state", json_string(v->phase));
	set(o, "ready", json_boolean(v->readiness.ready));
	set(o, "proven", json_boolean(v->proven));
	set(o, "stale", json_boolean(v->stale));
	set(o, "position", position_object(v->local_store_known, &v->own));
	set(o, "leader", text_string(v->leader_url));
	set(o, "leader_position", position_object(v->leader_known, &v->leader));
	set(o, "leader_contact_age_seconds", json_real((double)v->contact_age_ms / 1000));
	set(o, "lag",
	    json_pack("{s:I, s:f}", "changes", (json_int_t)v->lag.changes, "seconds", (double)v->lag.ms / 1000));
	set(o, "handover", handover_object(v));
	set(o, "checks", checks_array(&v->readiness));
	set(o, "last_error", error_object(&v->last_error));
	set(o, "config", config_object(conf));
	set(o, "seed", seed_json != NULL ? json_loads(seed_json, 0, NULL) : NULL);
	set(o, "applied_changes", json_integer((json_int_t)v->counters.applied_changes));
	set(o, "reseeds", json_integer((json_int_t)v->counters.reseeds));
	set(o, "uptime_seconds", json_real((double)v->uptime_ms / 1000));
	set(o, "version", json_string(SEEDPOD_VERSION));
	return o;
}

char *
status_page(const struct view *v, const struct reload_status *conf, const char *seed_json)
{
	json_t *o = status_object(v, conf, seed_json);
	char *text = text_of_json(o, JSON_INDENT(2) | JSON_REAL_PRECISION(9));

	json_decref(o);
	return text;
}
