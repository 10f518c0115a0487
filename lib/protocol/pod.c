#include "lib/protocol/pod.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define ORDINAL_MAX_DIGITS 4

/* The ordinal as the StatefulSet controller writes it: no sign and no leading zero, or the name made again from set and
 * ordinal would be another pod's. */
static bool
parse_ordinal(const char *text, unsigned *out)
{
	unsigned value = 0;
	size_t len = strlen(text);

	if (len == 0 || len > ORDINAL_MAX_DIGITS || (len > 1 && text[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)text[i]))
			return false;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	*out = value;
	return true;
}

int
pod_parse_name(const char *name, struct pod *out, struct sp_error *err)
{
	const char *dash = strrchr(name, '-');
	size_t set_len;
	unsigned ordinal;

	if (strlen(name) >= POD_NAME_MAX)
		return sp_error_set(
		    err, SP_ECONF, "pod name \"%.40s...\" is longer than %d bytes", name, POD_NAME_MAX - 1);
	if (dash == NULL || dash == name || !parse_ordinal(dash + 1, &ordinal))
		return sp_error_set(
		    err, SP_ECONF, "pod name \"%s\" is not <set>-<ordinal> with an ordinal from 0 to 9999", name);
	set_len = (size_t)(dash - name);
	memset(out->name, 0, sizeof(out->name));
	memset(out->set, 0, sizeof(out->set));
	memcpy(out->name, name, strlen(name));
	memcpy(out->set, name, set_len);
	out->ordinal = ordinal;
	return 0;
}

/* The value of {word}: 0 with the text in out, SP_ECONF for a word that is unknown or has no
 * value. */
static int
word_value(
    const char *word, size_t len, const struct pod *pod, unsigned ordinal, char *out, size_t size, struct sp_error *err)
{
	bool known = true, has_value = pod->set[0] != '\0';

	if (len == 3 && memcmp(word, "set", len) == 0)
		snprintf(out, size, "%s", pod->set);
	else if (len == 7 && memcmp(word, "ordinal", len) == 0)
		snprintf(out, size, "%u", ordinal);
	else if (len == 4 && memcmp(word, "name", len) == 0)
		snprintf(out, size, "%s-%u", pod->set, ordinal);
	else if (len == 7 && memcmp(word, "service", len) == 0)
		has_value = snprintf(out, size, "%s", pod->service) > 0;
	else if (len == 9 && memcmp(word, "namespace", len) == 0)
		has_value = snprintf(out, size, "%s", pod->name_space) > 0;
	else
		known = false;
	if (!known)
		return sp_error_set(err, SP_ECONF,
		    "unknown template word {%.*s}; known: {set} {ordinal} {name} {service} {namespace}",
		    len > 40 ? 40 : (int)len, word);
	if (!has_value)
		return sp_error_set(err, SP_ECONF, "{%.*s} cannot be used here: it is not known yet", (int)len, word);
	return 0;
}

int
pod_expand(const char *tmpl, const struct pod *pod, unsigned ordinal, char *out, size_t size, struct sp_error *err)
{
	char result[4096], word[POD_NAME_MAX + 16];
	size_t used = 0, len;
	int rc;

	for (const char *p = tmpl; *p != '\0';) {
		const char *piece = p, *close;
		if (*p == '{') {
			close = strchr(p, '}');
			if (close == NULL)
				return sp_error_set(err, SP_ECONF, "unclosed { in \"%.80s\"", tmpl);
			rc = word_value(p + 1, (size_t)(close - p - 1), pod, ordinal, word, sizeof(word), err);
			if (rc < 0)
				return rc;
			piece = word;
			len = strlen(word);
			p = close + 1;
		} else {
			len = strcspn(p, "{");
			p += len;
		}
		if (used + len >= size || used + len >= sizeof(result))
			return sp_error_set(err, SP_ETOOBIG, "\"%.80s\" is longer than %zu bytes when it is filled in",
			    tmpl, (size < sizeof(result) ? size : sizeof(result)) - 1);
		memcpy(result + used, piece, len);
		used += len;
	}
	if (size == 0)
		return sp_error_set(err, SP_ETOOBIG, "no room for \"%.80s\"", tmpl);
	memcpy(out, result, used);
	out[used] = '\0';
	return 0;
}
