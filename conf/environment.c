/* Overrides from the environment. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "conf/form.h"
#include "conf/raw.h"

#define PREFIX "SEEDPOD_"

const char *
raw_environment_value(const char *const *environment, const char *name)
{
	size_t len = strlen(name);

	for (; environment != NULL && *environment != NULL; environment++)
		if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
			return *environment + len + 1;
	return NULL;
}

/* Whether `name` ends with `part`, as a whole word between underscores. */
static bool
ends_with_word(const char *name, size_t len, const char *part)
{
	size_t part_len = strlen(part);

	if (len < part_len || memcmp(name + len - part_len, part, part_len) != 0)
		return false;
	return len == part_len || name[len - part_len - 1] == '_';
}

/* "PORT_9876_TCP", then nothing or "_PROTO", "_PORT" or "_ADDR". */
static bool
is_docker_link(const char *p)
{
	static const char *const protocols[] = { "TCP", "UDP", "SCTP" };
	static const char *const ends[] = { "", "_PROTO", "_PORT", "_ADDR" };
	size_t digits = strspn(p, "0123456789");

	if (digits == 0 || p[digits] != '_')
		return false;
	p += digits + 1;
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		size_t len = strlen(protocols[i]);

		if (strncmp(p, protocols[i], len) != 0)
			continue;
		for (size_t j = 0; j < sizeof(ends) / sizeof(ends[0]); j++)
			if (strcmp(p + len, ends[j]) == 0)
				return true;
	}
	return false;
}

/*
 * Whether a variable is one that the kubelet makes for a Service: X_SERVICE_HOST, X_SERVICE_PORT, X_SERVICE_PORT_NAME,
 * X_PORT=tcp://…, X_PORT_1_TCP…
 * (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables). `name` is what follows our
 * section's name, so that X may have been used up.
 */
static bool
is_service_variable(const char *name, size_t len, const char *value)
{
	static const char *const schemes[] = { "tcp://", "udp://", "sctp://" };
	const char *end = name + len, *p;

	if (ends_with_word(name, len, "SERVICE_HOST") || ends_with_word(name, len, "SERVICE_PORT"))
		return true;
	if (ends_with_word(name, len, "PORT"))
		for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
			if (strncmp(value, schemes[i], strlen(schemes[i])) == 0)
				return true;
	for (p = name; (p = strstr(p, "PORT_")) != NULL && p < end; p++) {
		char link[64];

		if (p != name && p[-1] != '_')
			continue;
		if (ends_with_word(name, (size_t)(p - name) + 4, "SERVICE_PORT"))
			return true;
		snprintf(link, sizeof(link), "%.*s", (int)(end - p - 5), p + 5);
		if (is_docker_link(link))
			return true;
	}
	return false;
}

/* The key that the variable names; *ours says whether its name begins as one of our sections. `rest` is what follows.
 */
static const struct schema_key *
find_key(const char *variable, size_t len, bool *ours, const char **rest)
{
	char name[96];

	*ours = false;
	for (size_t i = 0; i < schema_key_count; i++) {
		const char *section = schema_keys[i].section;
		size_t prefix_len = strlen(PREFIX) + strlen(section) + 1;

		schema_variable(&schema_keys[i], name, sizeof(name));
		if (strlen(name) == len && memcmp(name, variable, len) == 0) {
			*ours = true;
			return &schema_keys[i];
		}
		if (len >= prefix_len && memcmp(name, variable, prefix_len) == 0) {
			*ours = true;
			*rest = variable + prefix_len;
		}
	}
	return NULL;
}

/* Take the value without the blanks around it, as the parser of the file does. */
static void
store(struct raw_value *slot, const char *value)
{
	size_t len;

	while (isspace((unsigned char)*value))
		value++;
	len = strlen(value);
	while (len > 0 && isspace((unsigned char)value[len - 1]))
		len--;
	slot->origin = RAW_ENVIRONMENT;
	snprintf(slot->text, sizeof(slot->text), "%.*s", (int)len, value);
}

static void
unknown_variable(const char *variable, const char *rest, struct mistakes *m)
{
	char section[32], name[64], suggestion[96];
	const struct schema_key *nearest;

	/* SEEDPOD_<section>_<rest> */
	snprintf(section, sizeof(section), "%.*s", (int)(rest - variable - 1 - (ptrdiff_t)strlen(PREFIX)),
	    variable + strlen(PREFIX));
	for (char *p = section; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(rest, "="), rest);
	nearest = schema_nearest_key(section, name);
	if (nearest != NULL)
		schema_variable(nearest, suggestion, sizeof(suggestion));
	mistakes_add_variable(m, variable, "names no key; %s%s%s", nearest != NULL ? "did you mean " : "",
	    nearest != NULL ? suggestion : "a key's variable is SEEDPOD_<SECTION>_<KEY>", nearest != NULL ? "?" : "");
}

void
raw_read_environment(struct raw *raw, const char *const *environment, struct mistakes *m)
{
	for (; environment != NULL && *environment != NULL; environment++) {
		const char *variable = *environment, *value = strchr(variable, '='), *rest = NULL;
		const struct schema_key *key;
		char name[128];
		bool ours;

		if (value == NULL || strncmp(variable, PREFIX, strlen(PREFIX)) != 0)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(value - variable), variable);
		key = find_key(variable, (size_t)(value - variable), &ours, &rest);
		value++;
		if (key == NULL) {
			if (ours && !is_service_variable(rest, (size_t)(value - 1 - rest), value))
				unknown_variable(name, name + (rest - variable), m);
			continue;
		}
		if (strlen(value) >= CONF_TEXT_MAX)
			mistakes_add_variable(
			    m, name, "[%s] %s: is longer than %d bytes", key->section, key->name, CONF_TEXT_MAX - 1);
		else
			store(&raw->values[schema_index(key)], value);
	}
}
