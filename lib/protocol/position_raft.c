#include "lib/protocol/position_raft.h"
#include "lib/base/number.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_SIZE 21 /* 20 digits, and NUL: a text, because not every JSON reader has numbers of 64 bits */

static const char *const names[] = { "none", "stopped", "joining", "standby", "follower", "candidate", "leader",
	"needs_snapshot", "no_room", "removed" };

const char *
member_role_name(enum member_role r)
{
	return names[r];
}

json_t *
position_raft_to_json(const struct position_raft *m)
{
	char id[ID_SIZE], log[ID_SIZE];

	/* With `s*`, what is NULL is left out. */
	if (m->role == MEMBER_ROLE_NONE)
		return NULL;
	snprintf(id, sizeof(id), "%" PRIu64, m->id);
	snprintf(log, sizeof(log), "%" PRIu64, m->log);
	return json_pack("{ss ss sI sI ss sb sI sI sI sI sI ss*}", "id", id, "log", log, "number",
	    (json_int_t)m->number, "term", (json_int_t)m->term, "role", member_role_name(m->role), "leader_known",
	    (int)m->leader_known, "commit", (json_int_t)m->commit, "applied", (json_int_t)m->applied, "needs",
	    (json_int_t)m->needs, "members", (json_int_t)m->members, "voters", (json_int_t)m->voters, "unresolved",
	    m->unresolved[0] != '\0' ? m->unresolved : NULL);
}

static int
read_number(const json_t *json, const char *name, uint64_t most, uint64_t *out, struct sp_error *err)
{
	const json_t *v = json_object_get(json, name);

	if (v == NULL)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > most)
		return sp_error_set(
		    err, SP_EBADDATA, "position: raft: \"%s\" must be a whole number of 0 to %" PRIu64, name, most);
	*out = (uint64_t)json_integer_value(v);
	return 0;
}

static int
read_count(const json_t *json, const char *name, unsigned *out, struct sp_error *err)
{
	uint64_t n = 0;
	int rc = read_number(json, name, UINT_MAX, &n, err);

	*out = (unsigned)n;
	return rc;
}

static int
read_id(const json_t *json, const char *name, uint64_t *out, struct sp_error *err)
{
	const json_t *v = json_object_get(json, name);
	const char *text = json_string_value(v);

	if (v == NULL)
		return 0;
	if (!number_from_text(text, UINT64_MAX, out))
		return sp_error_set(
		    err, SP_EBADDATA, "position: raft: \"%s\" must be a text of digits, below 2^64", name);
	return 0;
}

static int
read_role(const json_t *json, enum member_role *out, struct sp_error *err)
{
	const char *name = json_string_value(json_object_get(json, "role"));

	for (size_t i = MEMBER_ROLE_STOPPED; name != NULL && i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0) {
			*out = (enum member_role)i;
			return 0;
		}
	return sp_error_set(err, SP_EBADDATA, "position: raft: \"role\" must be one of the roles that are known");
}

static int
read_leader_known(const json_t *json, bool *out, struct sp_error *err)
{
	const json_t *v = json_object_get(json, "leader_known");

	if (v != NULL && !json_is_boolean(v))
		return sp_error_set(err, SP_EBADDATA, "position: raft: \"leader_known\" must be true or false");
	*out = json_is_true(v);
	return 0;
}

static int
read_unresolved(const json_t *json, char out[POSITION_HOST_MAX], struct sp_error *err)
{
	const json_t *v = json_object_get(json, "unresolved");

	if (v == NULL)
		return 0;
	if (!json_is_string(v) || json_string_length(v) >= POSITION_HOST_MAX)
		return sp_error_set(err, SP_EBADDATA, "position: raft: \"unresolved\" must be a host name");
	memcpy(out, json_string_value(v), json_string_length(v) + 1);
	return 0;
}

int
position_raft_from_json(const json_t *json, struct position_raft *out, struct sp_error *err)
{
	struct position_raft m = { .role = MEMBER_ROLE_NONE };
	int rc;

	if (json == NULL) {
		*out = m;
		return 0;
	}
	if (!json_is_object(json))
		return sp_error_set(err, SP_EBADDATA, "position: \"raft\" must be an object");
	if ((rc = read_role(json, &m.role, err)) < 0 || (rc = read_id(json, "id", &m.id, err)) < 0 ||
	    (rc = read_id(json, "log", &m.log, err)) < 0 || (rc = read_count(json, "number", &m.number, err)) < 0 ||
	    (rc = read_number(json, "term", INT64_MAX, &m.term, err)) < 0 ||
	    (rc = read_leader_known(json, &m.leader_known, err)) < 0 ||
	    (rc = read_number(json, "commit", INT64_MAX, &m.commit, err)) < 0 ||
	    (rc = read_number(json, "applied", INT64_MAX, &m.applied, err)) < 0 ||
	    (rc = read_number(json, "needs", INT64_MAX, &m.needs, err)) < 0 ||
	    (rc = read_count(json, "members", &m.members, err)) < 0 ||
	    (rc = read_count(json, "voters", &m.voters, err)) < 0 ||
	    (rc = read_unresolved(json, m.unresolved, err)) < 0)
		return rc;
	*out = m;
	return 0;
}
