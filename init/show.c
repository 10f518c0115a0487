#include "init/show.h"

#include <inttypes.h>
#include <stdlib.h>

#include <jansson.h>

#include "lib/base/json_text.h"

static const char *
store_name(enum facts_store s)
{
	static const char *const names[] = { "empty", "present", "damaged" };

	return names[s];
}

static int
show_position(const struct position *p, struct buf *out)
{
	char digest[DIGEST_HEX_SIZE];

	digest_to_hex(p->digest, digest);
	if (p->raft.role != MEMBER_ROLE_NONE)
		return buf_printf(out,
		    "cluster %s, epoch %" PRIu64 ", seq %" PRIu64 ", digest %s, %" PRIu64 " keys, %s, index %" PRIu64,
		    p->cluster, p->epoch, p->seq, digest, p->keys, member_role_name(p->raft.role), p->raft.applied);
	return buf_printf(out,
	    "cluster %s, epoch %" PRIu64 ", seq %" PRIu64 ", digest %s, %" PRIu64 " keys, horizon %" PRIu64 "%s",
	    p->cluster, p->epoch, p->seq, digest, p->keys, p->horizon, p->consistent ? "" : ", not on a cut");
}

static int
show_volume(const struct facts *f, struct buf *out)
{
	int rc = buf_printf(out, "volume  store %s%s%s%s\n", store_name(f->store),
	    f->volume.incoming ? "; a download was not finished, it will be removed" : "",
	    f->volume.ready ? "; a store is ready, the swap will be finished" : "",
	    f->volume.old ? "; a former store is left over" : "");

	if (rc == 0 && f->mode == CONF_MODE_RAFT)
		rc = buf_printf(out, "log     %s\n", f->volume.raft ? "present" : "none");
	if (rc == 0 && f->store == STORE_DAMAGED)
		rc = buf_printf(out, "store   %s\n", f->damage);
	if (rc == 0 && f->store == STORE_PRESENT && (rc = buf_adds(out, "store   ")) == 0 &&
	    (rc = show_position(&f->own, out)) == 0)
		rc = buf_adds(out, "\n");
	return rc;
}

/* As it says itself; if none does, by configuration. */
static bool
is_leader(const struct facts *f, const struct peer_fact *peer)
{
	if (f->mode == CONF_MODE_RAFT)
		return peer->answer.has_store && peer->answer.position.role == ROLE_LEADER;
	return facts_leader(f) == peer;
}

static const char *
pod_kind(const struct facts *f)
{
	if (f->mode == CONF_MODE_RAFT)
		return f->leader ? "member, founder" : "member";
	return f->leader ? "leader" : "follower";
}

static int
show_peer(const struct facts *f, const struct peer_fact *peer, struct buf *out)
{
	int rc = buf_printf(out, "peer    %s%s %s: ", peer->name, is_leader(f, peer) ? " (leader)" : "", peer->url);

	if (rc < 0)
		return rc;
	if (peer->answer.has_store)
		rc = show_position(&peer->answer.position, out);
	else
		rc =
		    buf_printf(out, "%s: %s", peer->answer.reached ? "no store" : "not reached", peer->answer.err.text);
	return rc < 0 ? rc : buf_adds(out, "\n");
}

int
show_text(const struct facts *f, const struct plan *p, struct buf *out)
{
	int rc = buf_printf(out, "pod     %s (%s)\n", f->pod, pod_kind(f));

	if (rc == 0)
		rc = show_volume(f, out);
	for (size_t i = 0; rc == 0 && i < f->peer_count; i++)
		if (f->peers[i].asked)
			rc = show_peer(f, &f->peers[i], out);
	if (rc == 0)
		rc = buf_printf(out, "action  %s%s%s%s%s%s\nwhy     %s\n", plan_action_name(p->action),
		    p->donor != NULL ? " from " : "", p->donor != NULL ? p->donor->name : "",
		    p->donor != NULL ? " (" : "", p->donor != NULL ? p->donor->url : "", p->donor != NULL ? ")" : "",
		    p->why);
	return rc;
}

static json_t *
position_object(const struct position *p)
{
	char *text = position_to_json(p);
	json_t *json = text != NULL ? json_loads(text, 0, NULL) : NULL;

	free(text);
	return json;
}

static json_t *
peer_object(const struct peer_fact *peer)
{
	json_t *json = json_pack("{ss sI ss sb}", "name", peer->name, "ordinal", (json_int_t)peer->ordinal, "url",
	    peer->url, "reached", (int)peer->answer.reached);

	if (peer->answer.has_store)
		json_object_set_new(json, "position", position_object(&peer->answer.position));
	else
		json_object_set_new(json, "error", json_string(peer->answer.err.text));
	return json;
}

int
show_json(const struct facts *f, const struct plan *p, struct buf *out)
{
	json_t *peers = json_array(), *json;
	char *text;
	int rc;

	for (size_t i = 0; i < f->peer_count; i++)
		if (f->peers[i].asked)
			json_array_append_new(peers, peer_object(&f->peers[i]));
	json = json_pack("{ss sb s{ss sb sb sb sb} so? so ss ss? ss sb}", "pod", f->pod, "leader", (int)f->leader,
	    "volume", "store", store_name(f->store), "incoming", (int)f->volume.incoming, "ready", (int)f->volume.ready,
	    "old", (int)f->volume.old, "damaged", (int)(f->store == STORE_DAMAGED), "position",
	    f->store == STORE_PRESENT ? position_object(&f->own) : NULL, "peers", peers, "action",
	    plan_action_name(p->action), "donor", p->donor != NULL ? p->donor->name : NULL, "why", p->why, "warning",
	    (int)p->warn);
	if (json == NULL || (text = text_of_json(json, JSON_COMPACT)) == NULL) {
		json_decref(json);
		return SP_ENOMEM;
	}
	if ((rc = buf_adds(out, text)) == 0)
		rc = buf_adds(out, "\n");
	free(text);
	json_decref(json);
	return rc;
}
