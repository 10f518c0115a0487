/* Finding keys in the schema, and guessing which one was meant. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "conf/schema.h"

/* Longer names are not typing errors. */
#define NAME_MAX_COMPARED 48

const struct schema_key *
schema_find(const char *section, const char *name)
{
	for (size_t i = 0; i < schema_key_count; i++)
		if (strcmp(schema_keys[i].section, section) == 0 && strcmp(schema_keys[i].name, name) == 0)
			return &schema_keys[i];
	return NULL;
}

size_t
schema_index(const struct schema_key *key)
{
	return (size_t)(key - schema_keys);
}

bool
schema_has_section(const char *section)
{
	for (size_t i = 0; i < schema_key_count; i++)
		if (strcmp(schema_keys[i].section, section) == 0)
			return true;
	return strcmp(section, SCHEMA_FREE_SECTION) == 0;
}

/* Letters of either case and dashes for underscores count as equal: these are the mistakes that are made most. */
static char
folded(char c)
{
	return c == '-' ? '_' : (char)tolower((unsigned char)c);
}

static size_t
min3(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Levenshtein's distance, one row at a time. */
static size_t
edit_distance(const char *a, const char *b)
{
	size_t row[NAME_MAX_COMPARED + 1];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > NAME_MAX_COMPARED || b_len > NAME_MAX_COMPARED)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t above = row[j];
			size_t swap = diagonal + (folded(a[i - 1]) != folded(b[j - 1]));

			row[j] = min3(above + 1, row[j - 1] + 1, swap);
			diagonal = above;
		}
	}
	return row[b_len];
}

/* A suggestion further away than this is more confusing than none. */
static size_t
distance_limit(const char *text)
{
	size_t third = strlen(text) / 3;

	return third > 2 ? third : 2;
}

const char *
schema_nearest_section(const char *section)
{
	const char *best = NULL;
	size_t best_distance = distance_limit(section) + 1;

	for (size_t i = 0; i < schema_key_count; i++) {
		size_t distance = edit_distance(section, schema_keys[i].section);

		if (distance < best_distance) {
			best = schema_keys[i].section;
			best_distance = distance;
		}
	}
	return edit_distance(section, SCHEMA_FREE_SECTION) < best_distance ? SCHEMA_FREE_SECTION : best;
}

const struct schema_key *
schema_nearest_key(const char *section, const char *name)
{
	const struct schema_key *best = NULL;
	size_t best_distance = distance_limit(name) + 1;

	for (size_t i = 0; i < schema_key_count; i++) {
		const struct schema_key *key = &schema_keys[i];
		size_t distance = edit_distance(name, key->name);

		/* In another section only the same name will do, and only if this section has nothing near. */
		if (strcmp(key->section, section) != 0)
			distance = distance == 0 ? distance_limit(name) : SIZE_MAX;
		if (distance < best_distance) {
			best = key;
			best_distance = distance;
		}
	}
	return best;
}

static void
allowed_words(const struct schema_key *key, char *out, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; key->words[i] != NULL && used < size; i++) {
		const char *before = i == 0 ? "" : key->words[i + 1] == NULL ? " or " : ", ";

		used += (size_t)snprintf(out + used, size - used, "%s%s", before, key->words[i]);
	}
}

static const char *
allowed_text(enum key_form form)
{
	switch (form) {
	case FORM_POD_NAME:
		return "<set>-<ordinal>, such as mystore-0";
	case FORM_DNS:
	case FORM_DNS_DEFAULT:
		return "a DNS name";
	case FORM_LISTEN:
		return "host:port or [IPv6]:port";
	case FORM_SOCKET:
		return "an absolute path of at most 107 bytes";
	case FORM_DIR:
		return "an absolute path";
	case FORM_FILE:
	case FORM_FOLDER:
		return "an absolute path, or empty";
	case FORM_CERT_NAME:
		return "a DNS name, or empty";
	case FORM_URL:
		return "http://host:port or https://host:port, without a path";
	case FORM_ANY:
		break;
	}
	return "text";
}

const char *
schema_allowed(const struct schema_key *key, char *out, size_t size)
{
	switch (key->type) {
	case KEY_TEXT:
	case KEY_TEMPLATE:
		snprintf(out, size, "%s", allowed_text(key->form));
		break;
	case KEY_U32:
	case KEY_U64:
		snprintf(out, size, "a whole number from %s to %s", key->min_text, key->max_text);
		break;
	case KEY_SIZE:
		snprintf(out, size, "a size from %s to %s", key->min_text, key->max_text);
		break;
	case KEY_DURATION:
		snprintf(out, size, "a duration from %s to %s", key->min_text, key->max_text);
		break;
	case KEY_DOUBLE:
		snprintf(out, size, "a number from %s to %s", key->min_text, key->max_text);
		break;
	case KEY_ENUM:
		allowed_words(key, out, size);
		break;
	}
	return out;
}

void
schema_variable(const struct schema_key *key, char *out, size_t size)
{
	snprintf(out, size, "SEEDPOD_%s_%s", key->section, key->name);
	for (char *p = out; *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
}
