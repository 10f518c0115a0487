/*
 * The joiner: a thread that asks the others' servers, because raft itself sends nothing to a server
 * outside the configuration. A member that was never added asks for it; one that hears no leader
 * finds out whether it was removed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/json_text.h"
#include "lib/base/log.h"
#include "lib/base/number.h"
#include "server/replication/raft/internal.h"

#define ASK_TIMEOUT_MS  2000
#define JOIN_TIMEOUT_MS 15000 /* longer than the leader tries */
#define EVERY_MS        250
#define SURE_AFTER      3     /* looks in a row that find this member removed */
#define SAY_AFTER_MS    5000  /* without a leader, log what this member waits for, */
#define SAY_EVERY_MS    60000 /* and again */
#define ANSWER_MAX      (1u << 20)
#define ASK_MOST        (DIRECTORY_MAX + 256)

/* The facts that this thread needs from the others, at one moment. */
struct look {
	enum member_role role;
	bool leader_known, was_member;
	struct contact self;
	uint64_t applied;
	unsigned voters;
	char unresolved[POSITION_HOST_MAX]; /* a member's name that cannot be resolved; "": none */
};

/* Its memory from one look to the next. */
struct watchdog {
	unsigned missed;      /* looks in a row that found this member removed */
	int64_t since_ms;     /* monotonic: without a leader since then; 0: it has one */
	int64_t say_after_ms; /* and log what this member waits for after this */
};

static struct look
look(struct repl_raft *r)
{
	struct look l;

	pthread_mutex_lock(&r->lock);
	l = (struct look){ .role = r->status.role,
		.leader_known = r->status.leader_known,
		.was_member = r->was_member,
		.self = r->self,
		.applied = r->applied,
		.voters = r->status.voters };
	snprintf(l.unresolved, sizeof(l.unresolved), "%s", r->status.unresolved);
	pthread_mutex_unlock(&r->lock);
	return l;
}

/* --- Asking --- */

static json_t *
ask_members(struct repl_raft *r, const char *base)
{
	char url[POSITION_URL_MAX + 16];
	struct http_request_out rq = { .url = url, .timeout_ms = ASK_TIMEOUT_MS };
	struct http_reply reply;
	json_t *root = NULL;

	snprintf(url, sizeof(url), "%s/v1/members", base);
	http_reply_init(&reply, ANSWER_MAX);
	if (http_call(r->http, &rq, &reply, NULL) == 0 && reply.status == 200)
		root = json_loadb(reply.body.data, reply.body.len, 0, NULL);
	http_reply_release(&reply);
	return root;
}

/* The URLs to ask: the directory's, then the configured ones. malloc'ed, ended by NULL. */
static char **
candidates(struct repl_raft *r)
{
	char **urls = calloc(ASK_MOST + 1, sizeof(*urls));
	size_t n = 0;

	if (urls == NULL)
		return NULL;
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < r->directory.count; i++)
		urls[n++] = strdup(r->directory.contacts[i].url);
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; r->peers[i] != NULL && n < ASK_MOST; i++)
		urls[n++] = strdup(r->peers[i]);
	return urls;
}

static bool
stopping(struct repl_raft *r)
{
	bool stop;

	pthread_mutex_lock(&r->lock);
	stop = r->stop_joining;
	pthread_mutex_unlock(&r->lock);
	return stop;
}

/* The leader's own list of the members, and its URL; NULL if none can be found. */
static json_t *
ask_leader(struct repl_raft *r, const struct look *l, char *leader, size_t size)
{
	char **urls = candidates(r);
	json_t *found = NULL, *answer;
	const char *word;

	for (size_t i = 0; urls != NULL && urls[i] != NULL; i++) {
		if (found == NULL && strcmp(urls[i], l->self.url) != 0 && !stopping(r)) {
			answer = ask_members(r, urls[i]);
			word = json_string_value(json_object_get(answer, "leader"));
			snprintf(leader, size, "%s", word != NULL ? word : "");
			json_decref(answer);
			if (leader[0] != '\0' && strcmp(leader, l->self.url) != 0)
				found = ask_members(r, leader);
			word = json_string_value(json_object_get(found, "leader"));
			if (word == NULL || strcmp(word, leader) != 0) {
				json_decref(found);
				found = NULL;
			}
		}
		free(urls[i]);
	}
	free(urls);
	return found;
}

/* Whether the leader's answer is of this store's own cluster, and its log. A store that holds nothing has none yet. */
static bool
same_cluster(struct repl_raft *r, const json_t *answer)
{
	const char *theirs = json_string_value(json_object_get(answer, "cluster"));
	const char *log = json_string_value(json_object_get(answer, "log"));
	struct position p, leader = { 0 };

	if (theirs == NULL || (log != NULL && !number_from_text(log, UINT64_MAX, &leader.raft.log)) ||
	    store_position(r->store, &p, NULL) < 0)
		return false;
	snprintf(leader.cluster, sizeof(leader.cluster), "%s", theirs);
	return (p.seq == 0 && p.raft.applied == 0) || position_same_log(&p, &leader);
}

/* Whether the leader still leads: a majority heard it just now. A leader that was cut off may not
 * know of later members. */
static bool
still_leads(struct repl_raft *r, const char *leader)
{
	char url[POSITION_URL_MAX + 16];
	struct http_request_out rq = { .url = url, .timeout_ms = ASK_TIMEOUT_MS };
	struct http_reply reply;
	bool leads;

	snprintf(url, sizeof(url), "%s/v1/read-index", leader);
	http_reply_init(&reply, ANSWER_MAX);
	leads = http_call(r->http, &rq, &reply, NULL) == 0 && reply.status == 200;
	http_reply_release(&reply);
	return leads;
}

/* Whether the leader's answer has this id as more than a spare. */
static bool
lists(const json_t *answer, uint64_t id)
{
	const char *role, *text;
	uint64_t theirs;
	json_t *m;
	size_t i;

	json_array_foreach(json_object_get(answer, "members"), i, m)
	{
		text = json_string_value(json_object_get(m, "id"));
		role = json_string_value(json_object_get(m, "role"));
		if (text != NULL && role != NULL && number_from_text(text, UINT64_MAX, &theirs) && theirs == id)
			return strcmp(role, "spare") != 0;
	}
	return false;
}

/* --- Acting --- */

/* This member as JSON, with the cluster that its store belongs to, so that another cluster refuses
 * it. malloc'ed, or NULL. */
static char *
application(struct repl_raft *r, const struct contact *self)
{
	char *text = contact_to_json(self);
	json_t *root = text != NULL ? json_loads(text, 0, NULL) : NULL;
	struct position p;
	char log[24];

	free(text);
	if (root != NULL && store_position(r->store, &p, NULL) == 0 && (p.seq > 0 || p.raft.applied > 0)) {
		snprintf(log, sizeof(log), "%" PRIu64, p.raft.log);
		json_object_set_new(root, "cluster", json_string(p.cluster));
		json_object_set_new(root, "log", json_string(log));
	}
	text = text_of_json(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

static void
join(struct repl_raft *r, const struct look *l, const char *leader)
{
	char url[POSITION_URL_MAX + 16];
	const char *const headers[] = { "Content-Type: application/json", NULL };
	struct http_request_out rq = {
		.method = "POST", .url = url, .headers = headers, .timeout_ms = JOIN_TIMEOUT_MS
	};
	struct http_reply reply;
	struct sp_error err = { 0 };
	char *body = application(r, &l->self);

	if (body == NULL)
		return;
	snprintf(url, sizeof(url), "%s/v1/members", leader);
	rq.body = body;
	rq.body_len = strlen(body);
	http_reply_init(&reply, ANSWER_MAX);
	FAULT_POINT("raft.join_asking");
	if (http_call(r->http, &rq, &reply, &err) < 0)
		log_info("cannot ask to join yet", LOG_STR("leader", leader), LOG_STR("error", err.text));
	else if (reply.status == 204) {
		FAULT_POINT("raft.joined");
		log_info("taken into the cluster", LOG_STR("leader", leader), LOG_U64("number", l->self.number));
	} else
		log_warn("not taken into the cluster", LOG_STR("leader", leader), LOG_I64("status", reply.status),
		    LOG_STR("answer", reply.body.data));
	http_reply_release(&reply);
	free(body);
}

/* This volume's member was removed while it was away. Its store is as good as any; its vote and log
 * are not: it comes back as another member. */
static void
begin_anew(struct repl_raft *r)
{
	struct sp_error err = { 0 };
	int rc;

	log_warn("this member was taken out of the cluster while it was away; it joins as a new one");
	repl_raft_loop_stop(r);
	rc = file_remove_tree(r->dir, &err);
	FAULT_POINT("raft.log_removed");
	if (rc == 0)
		rc = repl_raft_loop_start(r, &err);
	if (rc < 0)
		repl_raft_fail_stop(&err);
}

/* The log could not be written for want of room. Committed entries are applied first, so that
 * libraft begins on a store that stands still. */
static void
come_back(struct repl_raft *r)
{
	struct sp_error err = { 0 };

	if (!repl_raft_log_has_room(r) || !repl_raft_wait_idle(r, 0))
		return;
	log_info("there is room for the raft log again: this member goes on");
	repl_raft_loop_stop(r);
	if (repl_raft_loop_start(r, &err) < 0)
		repl_raft_fail_stop(&err);
}

/* --- Waiting --- */

static void
leader_found(struct watchdog *v)
{
	if (v->since_ms != 0 && v->say_after_ms > v->since_ms + SAY_AFTER_MS)
		log_info("there is a leader again");
	v->since_ms = 0;
}

/* Nobody has to wait without a word: what for, and what is to be done where that does not come. */
static void
say_what_for(const struct repl_raft *r, const struct look *l)
{
	if (l->role != MEMBER_ROLE_JOINING && l->unresolved[0] != '\0')
		log_warn("no leader is known: a member's name cannot be resolved", LOG_STR("name", l->unresolved),
		    LOG_STR("role", member_role_name(l->role)), LOG_U64("voters", l->voters));
	else if (l->role != MEMBER_ROLE_JOINING)
		log_warn(
		    "no leader is known: a majority of the voters has to be up and to reach each other's raft port",
		    LOG_STR("role", member_role_name(l->role)), LOG_U64("voters", l->voters));
	else if (l->applied > 0)
		log_warn(
		    "this member waits for a leader of the cluster that its store is of, to join it: no peer knows "
		    "one, and nobody founds a cluster on a store that a raft log wrote to. Bring the others back; "
		    "where "
		    "that cannot be (a restored backup, a majority lost for good), start this store in mode static "
		    "once, and then in mode raft again",
		    LOG_U64("applied", l->applied));
	else
		log_warn(
		    r->makes_store
			? "this member waits to be taken into a cluster: no peer knows a leader. Member 1, without "
			  "--join, begins one"
			: "this member waits to be taken into a cluster: no peer knows a leader. The pod with "
			  "replication.leader_ordinal founds it",
		    LOG_U64("number", l->self.number));
}

/* `stranger`: a leader that was found, and is of another cluster or log; NULL: none was found. */
static void
wait_for_leader(const struct repl_raft *r, const struct look *l, const char *stranger, struct watchdog *v)
{
	int64_t now = clock_mono_ms();

	if (v->since_ms == 0) {
		v->since_ms = now;
		v->say_after_ms = now + SAY_AFTER_MS;
	}
	if (now < v->say_after_ms)
		return;
	v->say_after_ms = now + SAY_EVERY_MS;
	if (stranger != NULL)
		log_warn("the leader that answers is of another cluster than this member's store, or of another log of "
			 "it (it was "
			 "founded anew): this member waits. To have it join there, clear its volume",
		    LOG_STR("leader", stranger));
	else
		say_what_for(r, l);
}

/* One look around. The pause until the next one, in milliseconds. */
static int64_t
look_around(struct repl_raft *r, struct watchdog *v)
{
	struct look l = look(r);
	char leader[POSITION_URL_MAX];
	json_t *answer;
	bool listed;

	if (l.role == MEMBER_ROLE_NO_ROOM)
		come_back(r);
	if (l.role == MEMBER_ROLE_NO_ROOM || l.role == MEMBER_ROLE_NEEDS_SNAPSHOT || l.role == MEMBER_ROLE_LEADER ||
	    (l.role != MEMBER_ROLE_JOINING && l.leader_known)) {
		leader_found(v);
		v->missed = 0;
		return EVERY_MS;
	}
	answer = ask_leader(r, &l, leader, sizeof(leader));
	if (answer == NULL || !same_cluster(r, answer)) {
		wait_for_leader(r, &l, answer != NULL ? leader : NULL, v);
		json_decref(answer);
		return EVERY_MS;
	}
	leader_found(v);
	listed = lists(answer, l.self.id);
	if (listed && (l.role != MEMBER_ROLE_JOINING || l.was_member))
		v->missed = 0; /* NOLINT(bugprone-branch-clone): the order counts */
	else if (l.role == MEMBER_ROLE_JOINING && !l.was_member)
		join(r, &l, leader);
	else if (!still_leads(r, leader))
		v->missed = 0;
	else if (++v->missed >= SURE_AFTER && !l.was_member)
		begin_anew(r);
	else if (v->missed >= SURE_AFTER) {
		log_warn("this member was taken out of the cluster: stopping", LOG_STR("leader", leader));
		pthread_mutex_lock(&r->lock);
		r->status.role = MEMBER_ROLE_REMOVED;
		r->stop_joining = true;
		pthread_mutex_unlock(&r->lock);
		r->removed(r->arg);
	}
	json_decref(answer);
	return EVERY_MS;
}

static void *
joiner(void *arg)
{
	struct repl_raft *r = arg;
	struct watchdog v = { 0 };
	int64_t pause = EVERY_MS;

	pthread_mutex_lock(&r->lock);
	while (!r->stop_joining) {
		pthread_mutex_unlock(&r->lock);
		pause = look_around(r, &v);
		pthread_mutex_lock(&r->lock);
		if (r->stop_joining)
			break;
		cond_wait_until(&r->join_cond, &r->lock, clock_mono_ms() + pause);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

int
repl_raft_join_start(struct repl_raft *r, struct sp_error *err)
{
	int rc;

	r->stop_joining = false;
	r->http = http_client_new(
	    &(struct http_client_options){ .access = r->access, .connect_timeout_ms = ASK_TIMEOUT_MS }, err);
	if (r->http == NULL)
		return err->code;
	rc = pthread_create(&r->joiner, NULL, joiner, r);
	if (rc == 0)
		return 0;
	http_client_free(r->http);
	return sp_error_errno(err, rc, "start the joiner");
}

void
repl_raft_join_stop(struct repl_raft *r)
{
	pthread_mutex_lock(&r->lock);
	r->stop_joining = true;
	pthread_cond_signal(&r->join_cond);
	pthread_mutex_unlock(&r->lock);
	http_client_cancel(r->http);
	pthread_join(r->joiner, NULL);
	http_client_free(r->http);
}
