#include "init/facts.h"

#include <stdlib.h>
#include <string.h>

#include "init/stop.h"
#include "lib/base/file.h"
#include "lib/net/http_client.h"

static int
add_peer(struct facts *f, const struct conf *conf, unsigned ordinal, struct sp_error *err)
{
	struct peer_fact *peer = &f->peers[f->peer_count];
	int rc;

	peer->ordinal = ordinal;
	if ((rc = pod_expand("{name}", &conf->pod, ordinal, peer->name, sizeof(peer->name), err)) < 0 ||
	    (rc = conf_peer_url(conf, ordinal, peer->url, sizeof(peer->url), err)) < 0)
		return rc;
	f->peer_count++;
	return 0;
}

int
facts_init(struct facts *f, const struct conf *conf, struct sp_error *err)
{
	unsigned leader = conf->replication_leader_ordinal, own = conf->pod.ordinal;
	int rc = 0;

	memset(f, 0, sizeof(*f));
	memcpy(f->pod, conf->pod.name, sizeof(f->pod));
	f->ordinal = own;
	f->leader_ordinal = leader;
	f->mode = conf->replication_mode;
	f->leader = conf_is_founder(conf);
	f->donor_auto = conf->bootstrap_donor == CONF_DONOR_AUTO;
	f->reseed_diverged = conf->sync_on_divergence == CONF_DIVERGENCE_RESEED;
	f->reseed_ratio = conf->bootstrap_reseed_ratio;
	if ((f->peers = calloc((size_t)conf->bootstrap_max_peers + 1, sizeof(*f->peers))) == NULL)
		return sp_error_set(err, SP_ENOMEM, "list the peers: out of memory");
	for (unsigned i = 0; rc == 0 && i < conf->bootstrap_max_peers; i++)
		if (i != own)
			rc = add_peer(f, conf, i, err);
	if (rc == 0 && leader >= conf->bootstrap_max_peers && leader != own)
		rc = add_peer(f, conf, leader, err);
	if (rc < 0)
		facts_release(f);
	return rc;
}

void
facts_release(struct facts *f)
{
	free(f->peers);
	f->peers = NULL;
	f->peer_count = 0;
}

int
facts_read_store(struct facts *f, const struct volume *v, struct driver *driver, struct sp_error *err)
{
	struct sp_error found = { 0 };
	int rc;

	volume_look(v, &f->volume);
	f->store = STORE_EMPTY;
	f->unpacked = file_exists(v->origin);
	volume_describe_empty(v, f->no_store, sizeof(f->no_store));
	if (!f->volume.store && !f->volume.ready && !f->volume.old)
		return 0;
	rc = driver->ops->position(driver, &f->own, &found);
	if (rc == 0 && f->own.cluster[0] != '\0')
		f->store = STORE_PRESENT;
	if (rc == 0 || rc == SP_ENOTFOUND)
		return 0;
	if (rc == SP_EBADDATA || rc == SP_ETRUNCATED || rc == SP_EDIGEST) {
		f->store = STORE_DAMAGED;
		memcpy(f->damage, found.text, sizeof(f->damage));
		return 0;
	}
	if (err != NULL)
		*err = found;
	return rc;
}

const char *
facts_no_store(const struct facts *f)
{
	return f->no_store[0] != '\0' ? f->no_store : "there is no store here";
}

struct peer_fact *
facts_present_leader(const struct facts *f)
{
	struct peer_fact *leads = NULL;

	for (size_t i = 0; i < f->peer_count; i++) {
		const struct position *p = &f->peers[i].answer.position;

		if (f->peers[i].answer.has_store && p->role == ROLE_LEADER && p->raft.role == MEMBER_ROLE_NONE &&
		    (f->store != STORE_PRESENT || strcmp(p->cluster, f->own.cluster) == 0) &&
		    (leads == NULL || p->epoch > leads->answer.position.epoch))
			leads = &f->peers[i];
	}
	return leads;
}

struct peer_fact *
facts_leader(const struct facts *f)
{
	struct peer_fact *present = f->mode == CONF_MODE_STATIC ? facts_present_leader(f) : NULL;

	if (present != NULL)
		return present;
	for (size_t i = 0; i < f->peer_count; i++)
		if (f->peers[i].ordinal == f->leader_ordinal)
			return &f->peers[i];
	return NULL;
}

/* peer_positions(), which SIGTERM ends. */
static int
ask_watched(const struct http_access *access, const char *const *urls, struct peer_answer *answers, size_t n,
    int64_t timeout_ms, struct sp_error *err)
{
	struct http_client *c = http_client_new(&(struct http_client_options){ .access = access }, err);
	int rc;

	if (c == NULL)
		return SP_ENOMEM;
	stop_watch(c);
	rc = peer_positions(c, urls, answers, n, timeout_ms, err);
	stop_watch(NULL);
	http_client_free(c);
	return rc;
}

static void
note_answer(struct peer_fact *peer, struct peer_answer *fresh, const char *url)
{
	/* A server that has a store without any history has nothing to give. */
	if (fresh->has_store && fresh->position.cluster[0] == '\0') {
		fresh->has_store = false;
		sp_error_set(&fresh->err, SP_EAGAIN, "%s: nothing was ever stored there", url);
	}
	if (peer->had_data && !fresh->has_store)
		fresh->position = peer->answer.position;
	peer->had_data |= fresh->has_store;
	peer->answer = *fresh;
	peer->asked = true;
}

int
facts_ask(struct facts *f, enum facts_whom whom, int64_t timeout_ms, struct sp_error *err)
{
	const char **urls = calloc(f->peer_count + 1, sizeof(*urls));
	struct peer_fact **asked = calloc(f->peer_count + 1, sizeof(*asked));
	struct peer_answer *answers = calloc(f->peer_count + 1, sizeof(*answers));
	size_t n = 0;
	int rc;

	if (urls == NULL || asked == NULL || answers == NULL) {
		rc = sp_error_set(err, SP_ENOMEM, "ask the peers: out of memory");
		goto out;
	}
	for (size_t i = 0; i < f->peer_count; i++) {
		if (whom == FACTS_LEADER && f->peers[i].ordinal != f->leader_ordinal)
			continue;
		asked[n] = &f->peers[i];
		urls[n++] = f->peers[i].url;
	}
	if ((rc = ask_watched(f->access, urls, answers, n, timeout_ms, err)) < 0)
		goto out;
	for (size_t i = 0; i < n; i++)
		note_answer(asked[i], &answers[i], urls[i]);
	f->all_asked = whom == FACTS_ALL;
out:
	free(urls);
	free(asked);
	free(answers);
	return rc;
}
