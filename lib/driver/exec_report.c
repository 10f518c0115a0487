#include "lib/driver/exec_report.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "lib/driver/driver_exec.h"

#define REQUIRED                                                                                                       \
	(DRIVER_VERB_POSITION | DRIVER_VERB_SNAPSHOT | DRIVER_VERB_RESTORE | DRIVER_VERB_VERIFY | DRIVER_VERB_CLEANUP)

static const struct {
	enum driver_verb verb;
	const char *name;
} verbs[] = {
	{ DRIVER_VERB_POSITION, "position" },
	{ DRIVER_VERB_SNAPSHOT, "snapshot" },
	{ DRIVER_VERB_RESTORE, "restore" },
	{ DRIVER_VERB_VERIFY, "verify" },
	{ DRIVER_VERB_FOLLOW, "follow" },
	{ DRIVER_VERB_PROMOTE, "promote" },
	{ DRIVER_VERB_DEMOTE, "demote" },
	{ DRIVER_VERB_CHANGES, "changes" },
	{ DRIVER_VERB_APPLY, "apply" },
	{ DRIVER_VERB_DIGEST, "digest" },
	{ DRIVER_VERB_CLEANUP, "cleanup" },
};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

const char *
exec_report_verb(enum driver_verb verb)
{
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (verbs[i].verb == verb)
			return verbs[i].name;
	return "describe";
}

static json_t *
load(const char *what, const char *json, size_t len, struct sp_error *err)
{
	json_error_t where;
	json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &where);

	if (json_is_object(root))
		return root;
	sp_error_set(err, SP_EBADDATA, "%s: not one JSON object%s%s", what, root == NULL ? ": " : "",
	    root == NULL ? where.text : "");
	json_decref(root);
	return NULL;
}

/* --- describe --- */

static int
read_verbs(json_t *list, unsigned *out, struct sp_error *err)
{
	json_t *entry;
	size_t n;

	if (!json_is_array(list))
		return sp_error_set(err, SP_EBADDATA, "describe: \"verbs\" is missing or no list");
	json_array_foreach(list, n, entry)
	{
		if (!json_is_string(entry))
			return sp_error_set(err, SP_EBADDATA, "describe: \"verbs\" holds something other than a text");
		/* Verbs that this version does not know are no mistake. */
		for (size_t i = 0; i < VERB_COUNT; i++)
			if (strcmp(json_string_value(entry), verbs[i].name) == 0)
				*out |= verbs[i].verb;
	}
	return 0;
}

static int
read_traits(json_t *root, struct driver_traits *t, struct sp_error *err)
{
	json_t *contract = json_object_get(root, "contract");
	const char *store = json_string_value(json_object_get(root, "store"));
	const char *carrier = json_string_value(json_object_get(root, "carrier"));
	const char *proof = json_string_value(json_object_get(root, "proof"));
	unsigned needed = REQUIRED, missing;
	int rc;

	if (!json_is_integer(contract))
		return sp_error_set(err, SP_EBADDATA, "describe: \"contract\" is missing or no number");
	if (json_integer_value(contract) != DRIVER_EXEC_CONTRACT)
		return sp_error_set(err, SP_ECONF, "describe: the driver speaks contract %lld; this program speaks %d",
		    (long long)json_integer_value(contract), DRIVER_EXEC_CONTRACT);
	if (store == NULL || store[0] == '\0' || strlen(store) >= sizeof(t->store) ||
	    store[strspn(store, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0')
		return sp_error_set(err, SP_EBADDATA, "describe: \"store\" must be 1 to 32 of [a-z0-9-]");
	if (carrier != NULL && strcmp(carrier, "feed") == 0) {
		t->carrier = DRIVER_CARRIER_FEED;
		needed |= DRIVER_VERB_CHANGES | DRIVER_VERB_APPLY;
	} else if (carrier != NULL && strcmp(carrier, "native") == 0) {
		t->carrier = DRIVER_CARRIER_NATIVE;
		needed |= DRIVER_VERB_FOLLOW;
	} else if (carrier != NULL && strcmp(carrier, "none") == 0) {
		t->carrier = DRIVER_CARRIER_NONE;
	} else {
		return sp_error_set(err, SP_EBADDATA, "describe: \"carrier\" must be feed, native or none");
	}
	if (proof == NULL || (strcmp(proof, "digest") != 0 && strcmp(proof, "position") != 0))
		return sp_error_set(err, SP_EBADDATA, "describe: \"proof\" must be digest or position");
	t->proof = strcmp(proof, "digest") == 0 ? DRIVER_PROOF_DIGEST : DRIVER_PROOF_POSITION;
	snprintf(t->store, sizeof(t->store), "%s", store);
	if ((rc = read_verbs(json_object_get(root, "verbs"), &t->verbs, err)) < 0)
		return rc;
	missing = needed & ~t->verbs;
	if (missing != 0)
		return sp_error_set(err, SP_EBADDATA, "describe: \"verbs\" lacks \"%s\"",
		    exec_report_verb((enum driver_verb)(missing & -missing)));
	return 0;
}

int
exec_report_traits(const char *json, size_t len, struct driver_traits *out, struct sp_error *err)
{
	json_t *root = load("describe", json, len, err);
	struct driver_traits t = { .verbs = 0 };
	int rc;

	if (root == NULL)
		return SP_EBADDATA;
	if ((rc = read_traits(root, &t, err)) == 0)
		*out = t;
	json_decref(root);
	return rc;
}

/* --- positions --- */

static int
take_number(json_t *value, const char *name, uint64_t *out, struct sp_error *err)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return sp_error_set(
		    err, SP_EBADDATA, "position: \"%s\" must be a whole number from 0 to 2^63 - 1", name);
	*out = (uint64_t)json_integer_value(value);
	return 0;
}

/* An optional text; one that is too long, or holds a NUL, is refused. */
static int
take_text(json_t *root, const char *name, char *out, size_t size, struct sp_error *err)
{
	json_t *value = json_object_get(root, name);

	out[0] = '\0';
	if (value == NULL || json_is_null(value))
		return 0;
	if (!json_is_string(value) || json_string_length(value) >= size ||
	    strlen(json_string_value(value)) != json_string_length(value))
		return sp_error_set(
		    err, SP_EBADDATA, "position: \"%s\" must be a text of less than %zu bytes", name, size);
	snprintf(out, size, "%s", json_string_value(value));
	return 0;
}

static int
take_history(json_t *list, struct position *p, struct sp_error *err)
{
	json_t *entry;
	size_t i;
	int rc;

	if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > POSITION_HISTORY_MAX)
		return sp_error_set(
		    err, SP_EBADDATA, "position: \"history\" must be a list of 1 to %d pairs", POSITION_HISTORY_MAX);
	json_array_foreach(list, i, entry)
	{
		struct epoch_start *e = &p->history[i];

		if (json_array_size(entry) != 2)
			return sp_error_set(
			    err, SP_EBADDATA, "position: \"history\" must hold [epoch, first seq] pairs");
		if ((rc = take_number(json_array_get(entry, 0), "history", &e->epoch, err)) < 0 ||
		    (rc = take_number(json_array_get(entry, 1), "history", &e->since, err)) < 0)
			return rc;
		if (i > 0 && (e->epoch <= e[-1].epoch || e->since < e[-1].since))
			return sp_error_set(err, SP_EBADDATA, "position: \"history\" must grow from pair to pair");
		p->history_count = i + 1;
	}
	if (p->history[p->history_count - 1].epoch != p->epoch)
		return sp_error_set(err, SP_EBADDATA, "position: \"history\" must end in the present epoch");
	if (p->history[p->history_count - 1].since > p->seq)
		return sp_error_set(err, SP_EBADDATA, "position: \"history\" begins an epoch beyond the present seq");
	return 0;
}

static int
read_report(json_t *root, struct driver_report *r, struct sp_error *err)
{
	struct position *p = &r->position;
	char digest[DIGEST_HEX_SIZE], role[16];
	int rc;

	if ((rc = take_text(root, "cluster", p->cluster, sizeof(p->cluster), err)) < 0)
		return rc;
	if (!position_cluster_valid(p->cluster))
		return sp_error_set(err, SP_EBADDATA, "position: \"cluster\" must be 1 to 64 of [A-Za-z0-9._-]");
	if ((rc = take_number(json_object_get(root, "epoch"), "epoch", &p->epoch, err)) < 0 ||
	    (rc = take_number(json_object_get(root, "seq"), "seq", &p->seq, err)) < 0 ||
	    (rc = take_history(json_object_get(root, "history"), p, err)) < 0 ||
	    (rc = take_text(root, "role", role, sizeof(role), err)) < 0 ||
	    (rc = take_text(root, "digest", digest, sizeof(digest), err)) < 0 ||
	    (rc = take_text(root, "following", r->following, sizeof(r->following), err)) < 0 ||
	    (rc = take_text(root, "detail", r->detail, sizeof(r->detail), err)) < 0)
		return rc;
	if (strcmp(role, "leader") != 0 && strcmp(role, "follower") != 0)
		return sp_error_set(err, SP_EBADDATA, "position: \"role\" must be leader or follower");
	p->role = strcmp(role, "leader") == 0 ? ROLE_LEADER : ROLE_FOLLOWER;
	p->consistent = true;
	snprintf(p->mode, sizeof(p->mode), "static");
	r->has_digest = digest[0] != '\0';
	if (r->has_digest && digest_from_hex(digest, &p->digest) < 0)
		return sp_error_set(err, SP_EBADDATA, "position: \"digest\" must be 32 hexadecimal digits");
	return 0;
}

int
exec_report_position(const char *json, size_t len, struct driver_report *out, struct sp_error *err)
{
	json_t *root = load("position", json, len, err);
	struct driver_report r = { .has_digest = false };
	int rc;

	if (root == NULL)
		return SP_EBADDATA;
	if ((rc = read_report(root, &r, err)) == 0)
		*out = r;
	json_decref(root);
	return rc;
}
