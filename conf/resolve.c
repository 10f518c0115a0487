/* From the texts of keys to a struct conf: defaults, the pod's identity, templates, types and bounds. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conf/raw.h"
#include "conf/value.h"

void
raw_complain(
    const struct raw *raw, const struct schema_key *key, const char *what, const char *allowed, struct mistakes *m)
{
	const struct raw_value *value = &raw->values[schema_index(key)];
	const char *but = allowed != NULL ? "; allowed: " : "";
	char variable[96];

	if (allowed == NULL)
		allowed = "";
	if (value->origin == RAW_ENVIRONMENT) {
		schema_variable(key, variable, sizeof(variable));
		mistakes_add_variable(m, variable, "[%s] %s: %s%s%s", key->section, key->name, what, but, allowed);
	} else {
		mistakes_add_line(m, value->line, "[%s] %s: %s%s%s", key->section, key->name, what, but, allowed);
	}
}

/* The first label of the host name: a pod's is its name, with the domain behind it where setHostnameAsFQDN is. */
static void
host_label(char *out, size_t size)
{
	if (gethostname(out, size) < 0)
		out[0] = '\0';
	out[size - 1] = '\0';
	out[strcspn(out, ".")] = '\0';
}

/* After a mistake in a text, one that is beyond suspicion stands in for it: the texts that contain it are still looked
 * at, without complaints that follow from the first. */
static void
stand_in(const struct schema_key *key, struct conf *out)
{
	if (key->type == KEY_TEXT)
		snprintf((char *)out + key->offset, key->size, "unknown");
	if (key->form == FORM_POD_NAME)
		pod_parse_name("unknown-0", &out->pod, NULL);
}

/* pod.name without a value: $POD_NAME, then the host name. A wrong one is explained at length, because it is the first
 * thing that goes wrong outside Kubernetes. */
static void
resolve_default_name(const struct schema_key *key, const char *const *environment, struct conf *out, struct mistakes *m)
{
	const char *name = raw_environment_value(environment, "POD_NAME");
	struct sp_error why = { 0 };
	char host[POD_NAME_MAX];

	if (name != NULL && name[0] != '\0') {
		if (value_set(key, name, out, &why) == 0)
			return;
		mistakes_add_variable(m, "POD_NAME", "[pod] name: %s", why.text);
		stand_in(key, out);
		return;
	}
	host_label(host, sizeof(host));
	if (value_set(key, host, out, &why) == 0)
		return;
	stand_in(key, out);
	mistakes_add_line(m, 0,
	    "[pod] name: the host name \"%.64s\" is not <set>-<ordinal>; set it as \"name = mystore-0\", or by "
	    "SEEDPOD_POD_NAME or POD_NAME in the environment",
	    host);
}

static void
resolve_key(const struct raw *raw, const struct schema_key *key, const char *const *environment, struct conf *out,
    struct mistakes *m)
{
	const struct raw_value *value = &raw->values[schema_index(key)];
	const char *text = value->origin == RAW_DEFAULT ? key->default_text : value->text;
	struct sp_error why = { 0 };
	char allowed[120];

	if (text[0] == '\0' && key->form == FORM_POD_NAME) {
		resolve_default_name(key, environment, out, m);
		return;
	}
	if (text[0] == '\0' && key->form == FORM_DNS_DEFAULT) {
		text = raw_environment_value(environment, "POD_NAMESPACE");
		if (text == NULL || text[0] == '\0')
			text = "default";
	}
	if (value_set(key, text, out, &why) == 0)
		return;
	raw_complain(raw, key, why.text, schema_allowed(key, allowed, sizeof(allowed)), m);
	stand_in(key, out);
}

/* NEEDSWORK: goes when mode chain is there; the word is known already so that the schema need not change. */
static void
refuse_missing_mode(const struct raw *raw, const struct conf *c, struct mistakes *m)
{
	if (c->replication_mode == CONF_MODE_CHAIN)
		raw_complain(raw, schema_find("replication", "mode"), "mode chain is not available in this version",
		    "static, raft", m);
}

static void
check_raft_times(const struct raw *raw, const struct conf *c, struct mistakes *m)
{
	const struct schema_key *key = schema_find("raft", "election_timeout");

	if (c->raft_election_timeout_ms == 0 || c->raft_election_timeout_ms >= 2 * c->raft_heartbeat_ms)
		return;
	if (raw->values[schema_index(key)].origin == RAW_DEFAULT)
		key = schema_find("raft", "heartbeat");
	raw_complain(raw, key, "heartbeat and election_timeout do not fit together",
	    "an election_timeout of at least twice the heartbeat", m);
}

void
raw_resolve(const struct raw *raw, const char *const *environment, struct conf *out, struct mistakes *m)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < schema_key_count; i++)
		resolve_key(raw, &schema_keys[i], environment, out, m);
	out->driver_key_count = raw->free_count;
	memcpy(out->driver_keys, raw->free_keys, raw->free_count * sizeof(raw->free_keys[0]));
	refuse_missing_mode(raw, out, m);
	check_raft_times(raw, out, m);
	raw_agree(raw, out, m);
}
