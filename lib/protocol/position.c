#include "lib/protocol/position.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/json_text.h"

const char *
relation_name(enum relation r)
{
	static const char *const names[] = { "same", "behind", "below horizon", "diverged", "other cluster" };

	return names[r];
}

const char *
role_name(enum role r)
{
	return r == ROLE_LEADER ? "leader" : "follower";
}

/* The seq up to which the history at index i goes: where the next epoch began, or the present. */
static uint64_t
epoch_end(const struct position *p, size_t i)
{
	return i + 1 < p->history_count ? p->history[i + 1].since : p->seq;
}

/* Whether (epoch, seq) is a point of the leader's history: one that it wrote in that epoch, or where the epoch began.
 * An epoch of the same number that began further back is another's: two took over from the same leader. */
static bool
in_history(const struct position *leader, uint64_t epoch, uint64_t seq, const char **why_not, uint64_t *where)
{
	*why_not = NULL;
	for (size_t i = 0; i < leader->history_count; i++) {
		if (leader->history[i].epoch != epoch)
			continue;
		if (seq < leader->history[i].since) {
			*why_not = "begins";
			*where = leader->history[i].since;
		} else if (seq > epoch_end(leader, i)) {
			*why_not = "ends";
			*where = epoch_end(leader, i);
		}
		return *why_not == NULL;
	}
	return false;
}

enum relation
position_relate(const struct position *leader, const struct position *follower, char *why, size_t size)
{
	char ours[DIGEST_HEX_SIZE], theirs[DIGEST_HEX_SIZE];
	const char *why_not;
	uint64_t where;

	if (why != NULL && size > 0)
		why[0] = '\0';
#define WHY(...)                                                                                                       \
	do {                                                                                                           \
		if (why != NULL)                                                                                       \
			snprintf(why, size, __VA_ARGS__);                                                              \
	} while (0)
	if (strcmp(leader->cluster, follower->cluster) != 0) {
		WHY("this store is of cluster %s, the leader's of %s", follower->cluster, leader->cluster);
		return RELATION_OTHER_CLUSTER;
	}
	if (!in_history(leader, follower->epoch, follower->seq, &why_not, &where)) {
		if (why_not != NULL)
			WHY("this store is at epoch %" PRIu64 " seq %" PRIu64 ", but the leader's epoch %" PRIu64
			    " %s at seq %" PRIu64,
			    follower->epoch, follower->seq, follower->epoch, why_not, where);
		else
			WHY("this store is at epoch %" PRIu64 " seq %" PRIu64
			    ", an epoch that the leader's history (now epoch %" PRIu64 " seq %" PRIu64
			    ") does not know",
			    follower->epoch, follower->seq, leader->epoch, leader->seq);
		return RELATION_DIVERGED;
	}
	if (follower->seq == leader->seq && follower->consistent && leader->consistent) {
		if (!digest_equal(leader->digest, follower->digest)) {
			digest_to_hex(leader->digest, theirs);
			digest_to_hex(follower->digest, ours);
			WHY("at seq %" PRIu64 " this store's digest is %s, the leader's %s", follower->seq, ours,
			    theirs);
			return RELATION_DIVERGED;
		}
		if (follower->epoch == leader->epoch)
			return RELATION_SAME;
	}
	if (follower->seq < leader->horizon) {
		WHY("this store is at seq %" PRIu64 ", below the leader's horizon %" PRIu64, follower->seq,
		    leader->horizon);
		return RELATION_BELOW_HORIZON;
	}
	WHY("this store is %" PRIu64 " change%s behind", leader->seq - follower->seq,
	    leader->seq - follower->seq == 1 ? "" : "s");
	return RELATION_BEHIND;
#undef WHY
}

enum course
position_course(const struct position *from, const struct position *to)
{
	const char *why_not;
	uint64_t where;

	if (strcmp(from->cluster, to->cluster) != 0)
		return COURSE_ASIDE;
	/* A history forgets its oldest epochs, and in mode raft each leader begins one; the log has one order for all.
	 */
	if (from->raft.applied > 0 && to->raft.applied > 0 && position_same_log(from, to))
		return to->raft.applied >= from->raft.applied ? COURSE_ONWARD : COURSE_BACK;
	if (in_history(to, from->epoch, from->seq, &why_not, &where)) {
		if (from->seq == to->seq && from->consistent && !to->consistent)
			return COURSE_BACK;
		return COURSE_ONWARD;
	}
	return in_history(from, to->epoch, to->seq, &why_not, &where) ? COURSE_BACK : COURSE_ASIDE;
}

bool
position_same_log(const struct position *a, const struct position *b)
{
	return strcmp(a->cluster, b->cluster) == 0 &&
	       (a->raft.log == 0 || b->raft.log == 0 || a->raft.log == b->raft.log);
}

json_t *
position_history_to_json(const struct position *p)
{
	json_t *history = json_array();

	for (size_t i = 0; i < p->history_count; i++)
		if (json_array_append_new(history, json_pack("{sI sI}", "epoch", (json_int_t)p->history[i].epoch,
						       "since", (json_int_t)p->history[i].since)) < 0) {
			json_decref(history);
			return NULL;
		}
	return history;
}

char *
position_to_json(const struct position *p)
{
	char digest[DIGEST_HEX_SIZE];
	json_t *history = position_history_to_json(p);
	json_t *root;
	char *text;

	if (history == NULL)
		return NULL;
	digest_to_hex(p->digest, digest);
	root = json_pack("{ss sI sI ss sI sI ss ss ss sb sb so}", "cluster", p->cluster, "epoch", (json_int_t)p->epoch,
	    "seq", (json_int_t)p->seq, "digest", digest, "keys", (json_int_t)p->keys, "horizon", (json_int_t)p->horizon,
	    "role", role_name(p->role), "leader", p->leader, "mode", p->mode, "consistent", (int)p->consistent,
	    "writable", (int)p->writable, "history", history);
	if (root == NULL)
		return NULL;
	if (p->tail_lost && json_object_set_new(root, "tail_lost", json_true()) < 0) {
		json_decref(root);
		return NULL;
	}
	if (p->raft.role != MEMBER_ROLE_NONE &&
	    json_object_set_new(root, "raft", position_raft_to_json(&p->raft)) < 0) {
		json_decref(root);
		return NULL;
	}
	if ((p->writer || p->lead.kind != LEAD_NONE || p->handover.state != HANDOVER_NONE) &&
	    json_object_set_new(root, "lead", lead_to_json(p)) < 0) {
		json_decref(root);
		return NULL;
	}
	text = text_of_json(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

/* Members of a position, with what is wrong with the first one that is. */
struct reader {
	json_t *root;
	struct sp_error *err;
	int code;
};

static uint64_t
read_number(struct reader *r, json_t *object, const char *name, bool required)
{
	json_t *v = json_object_get(object, name);

	if (v == NULL && !required)
		return 0;
	if ((!json_is_integer(v) || json_integer_value(v) < 0) && r->code == 0)
		r->code =
		    sp_error_set(r->err, SP_EBADDATA, "position: \"%s\" must be a whole number of 0 or more", name);
	return (uint64_t)json_integer_value(v);
}

static void
read_text(struct reader *r, const char *name, bool required, char *out, size_t size)
{
	json_t *v = json_object_get(r->root, name);

	out[0] = '\0';
	if (v == NULL && !required)
		return;
	if ((!json_is_string(v) || json_string_length(v) >= size) && r->code == 0)
		r->code = sp_error_set(
		    r->err, SP_EBADDATA, "position: \"%s\" must be a text of less than %zu bytes", name, size);
	else if (json_is_string(v))
		snprintf(out, size, "%s", json_string_value(v));
}

static bool
read_flag(struct reader *r, const char *name, bool otherwise)
{
	json_t *v = json_object_get(r->root, name);

	if (v == NULL)
		return otherwise;
	if (!json_is_boolean(v) && r->code == 0)
		r->code = sp_error_set(r->err, SP_EBADDATA, "position: \"%s\" must be true or false", name);
	return json_is_true(v);
}

/* The fault of a history, or NULL. One that does not fit its position would make stores that are
 * ahead of it look behind. */
static const char *
history_fault(const struct position *p)
{
	const struct epoch_start *h = p->history, *last = &h[p->history_count - 1];

	for (size_t i = 1; i < p->history_count; i++)
		if (h[i].epoch <= h[i - 1].epoch || h[i].since < h[i - 1].since)
			return "must grow from entry to entry";
	if (last->epoch != p->epoch)
		return "must end in the present epoch";
	return last->since > p->seq ? "must not begin an epoch beyond the present seq" : NULL;
}

static void
read_history(struct reader *r, struct position *p)
{
	json_t *list = json_object_get(r->root, "history");
	const char *fault;
	json_t *entry;
	size_t i;

	p->history_count = 0;
	if (list != NULL && !json_is_array(list) && r->code == 0)
		r->code = sp_error_set(r->err, SP_EBADDATA, "position: \"history\" must be a list");
	if (json_array_size(list) > POSITION_HISTORY_MAX && r->code == 0)
		r->code = sp_error_set(
		    r->err, SP_EBADDATA, "position: \"history\" has more than %d entries", POSITION_HISTORY_MAX);
	if (r->code < 0)
		return;
	json_array_foreach(list, i, entry)
	{
		p->history[i].epoch = read_number(r, entry, "epoch", true);
		p->history[i].since = read_number(r, entry, "since", true);
		p->history_count++;
	}
	if (p->history_count == 0) {
		p->history[0] = (struct epoch_start){ .epoch = p->epoch, .since = 0 };
		p->history_count = 1;
	}
	if (r->code == 0 && (fault = history_fault(p)) != NULL)
		r->code = sp_error_set(r->err, SP_EBADDATA, "position: \"history\" %s", fault);
}

bool
position_cluster_valid(const char *cluster)
{
	size_t len = strspn(cluster, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return len > 0 && len < POSITION_CLUSTER_SIZE && cluster[len] == '\0';
}

int
position_from_json(const char *json, size_t len, struct position *out, struct sp_error *err)
{
	char digest[DIGEST_HEX_SIZE], role[16];
	struct position p = { .seq = 0 };
	struct reader r = { .err = err };
	json_error_t bad;

	r.root = json_loadb(json, len, 0, &bad);
	if (!json_is_object(r.root)) {
		sp_error_set(err, SP_EBADDATA, "position: not a JSON object%s%s", r.root == NULL ? ": " : "",
		    r.root == NULL ? bad.text : "");
		json_decref(r.root);
		return SP_EBADDATA;
	}
	read_text(&r, "cluster", true, p.cluster, sizeof(p.cluster));
	if (r.code == 0 && p.cluster[0] != '\0' && !position_cluster_valid(p.cluster))
		r.code = sp_error_set(
		    err, SP_EBADDATA, "position: \"cluster\" must be letters, digits, \".\", \"_\" and \"-\" alone");
	p.epoch = read_number(&r, r.root, "epoch", true);
	p.seq = read_number(&r, r.root, "seq", true);
	read_text(&r, "digest", true, digest, sizeof(digest));
	p.keys = read_number(&r, r.root, "keys", false);
	p.horizon = read_number(&r, r.root, "horizon", false);
	read_text(&r, "role", false, role, sizeof(role));
	read_text(&r, "leader", false, p.leader, sizeof(p.leader));
	read_text(&r, "mode", false, p.mode, sizeof(p.mode));
	p.consistent = read_flag(&r, "consistent", true);
	p.writable = read_flag(&r, "writable", false);
	p.tail_lost = read_flag(&r, "tail_lost", false);
	read_history(&r, &p);
	if (r.code == 0 && digest_from_hex(digest, &p.digest) < 0)
		r.code = sp_error_set(err, SP_EBADDATA, "position: \"digest\" must be 32 hexadecimal digits");
	if (r.code == 0)
		r.code = position_raft_from_json(json_object_get(r.root, "raft"), &p.raft, err);
	if (r.code == 0 && json_object_get(r.root, "lead") != NULL &&
	    !lead_from_json(json_object_get(r.root, "lead"), &p))
		r.code = sp_error_set(err, SP_EBADDATA, "position: \"lead\" is not as this version writes it");
	p.role = strcmp(role, "leader") == 0 ? ROLE_LEADER : ROLE_FOLLOWER;
	json_decref(r.root);
	if (r.code == 0)
		*out = p;
	return r.code;
}
