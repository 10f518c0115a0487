#include "server/replication/raft/directory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/json_text.h"
#include "lib/base/number.h"

void
directory_release(struct directory *d)
{
	free(d->contacts);
	*d = (struct directory){ 0 };
}

/* The place of the number, or where it would be. */
static size_t
place_of(const struct directory *d, unsigned number)
{
	size_t i = 0;

	while (i < d->count && d->contacts[i].number < number)
		i++;
	return i;
}

const struct contact *
directory_find(const struct directory *d, unsigned number)
{
	size_t i = place_of(d, number);

	return i < d->count && d->contacts[i].number == number ? &d->contacts[i] : NULL;
}

int
directory_set(struct directory *d, const struct contact *m, struct sp_error *err)
{
	size_t i = place_of(d, m->number);
	struct contact *grown;

	if (i == d->count || d->contacts[i].number != m->number) {
		if (d->count == DIRECTORY_MAX)
			return sp_error_set(err, SP_ETOOBIG, "a cluster has at most %d members", DIRECTORY_MAX);
		grown = realloc(d->contacts, (d->count + 1) * sizeof(*grown));
		if (grown == NULL)
			return sp_error_set(err, SP_ENOMEM, "directory of members");
		memmove(grown + i + 1, grown + i, (d->count - i) * sizeof(*grown));
		d->contacts = grown;
		d->count++;
	}
	d->contacts[i] = *m;
	return 0;
}

/* Ids have 64 bits, of which JSON numbers do not show all everywhere: they are texts. */
static json_t *
contact_json(const struct contact *m)
{
	char id[24];

	snprintf(id, sizeof(id), "%" PRIu64, m->id);
	return json_pack(
	    "{si ss ss ss ss}", "number", (int)m->number, "id", id, "name", m->name, "url", m->url, "raft", m->raft);
}

static char *
dump(json_t *root)
{
	char *text = text_of_json(root, JSON_COMPACT);

	json_decref(root);
	return text;
}

char *
contact_to_json(const struct contact *m)
{
	return dump(contact_json(m));
}

char *
directory_to_json(const struct directory *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->count; i++)
		if (json_array_append_new(list, contact_json(&d->contacts[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	return dump(list);
}

static bool
get_text(json_t *o, const char *name, char *out, size_t size)
{
	json_t *v = json_object_get(o, name);

	if (!json_is_string(v) || json_string_length(v) >= size ||
	    strlen(json_string_value(v)) != json_string_length(v))
		return false;
	memcpy(out, json_string_value(v), json_string_length(v) + 1);
	return true;
}

static int
read_contact(json_t *o, struct contact *out, struct sp_error *err)
{
	json_int_t number = json_integer_value(json_object_get(o, "number"));
	struct contact m = { 0 };
	char id[24];

	if (number < 1 || number > MEMBER_NUMBER_MAX)
		return sp_error_set(
		    err, SP_EBADDATA, "member: \"number\" must be a whole number from 1 to %d", MEMBER_NUMBER_MAX);
	m.number = (unsigned)number;
	if (!get_text(o, "id", id, sizeof(id)))
		return sp_error_set(err, SP_EBADDATA, "member: \"id\" must be a number as a text");
	if (!number_from_text(id, UINT64_MAX, &m.id) || (m.id != 0 && MEMBER_NUMBER(m.id) != m.number))
		return sp_error_set(err, SP_EBADDATA, "member: \"id\" is not one of number %u", m.number);
	if (!get_text(o, "name", m.name, sizeof(m.name)) || !get_text(o, "url", m.url, sizeof(m.url)) ||
	    !get_text(o, "raft", m.raft, sizeof(m.raft)))
		return sp_error_set(err, SP_EBADDATA, "member: \"name\", \"url\" and \"raft\" must be texts");
	if (strncmp(m.url, "http", 4) != 0 || strrchr(m.raft, ':') == NULL)
		return sp_error_set(err, SP_EBADDATA, "member: \"url\" must be a URL, \"raft\" host:port");
	*out = m;
	return 0;
}

int
contact_from_json(const char *text, size_t len, struct contact *out, struct sp_error *err)
{
	json_t *root = json_loadb(text, len, 0, NULL);
	int rc;

	rc = json_is_object(root) ? read_contact(root, out, err)
				  : sp_error_set(err, SP_EBADDATA, "member: not a JSON object");
	json_decref(root);
	return rc;
}

int
directory_from_json(const char *text, size_t len, struct directory *out, struct sp_error *err)
{
	json_t *root = json_loadb(text, len, 0, NULL);
	struct directory d = { 0 };
	struct contact m;
	json_t *o;
	size_t i;
	int rc = 0;

	if (!json_is_array(root))
		rc = sp_error_set(err, SP_EBADDATA, "directory of members: not a JSON list");
	json_array_foreach(root, i, o)
	{
		if (rc == 0)
			rc = read_contact(o, &m, err);
		if (rc == 0)
			rc = directory_set(&d, &m, err);
	}
	json_decref(root);
	if (rc < 0) {
		directory_release(&d);
		return rc;
	}
	directory_release(out);
	*out = d;
	return 0;
}
