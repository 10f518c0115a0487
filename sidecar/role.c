#include "sidecar/role.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/driver/driver_seedpod.h"
#include "lib/net/http_client.h"
#include "lib/protocol/peer.h"
#include "sidecar/handover.h"

#define LOOK_MS      5   /* between two looks at a store that catches up */
#define RETRY_MS     300 /* between two tries of a hand-over that was refused for now */
#define CALL_MS      3000
#define OWN_HANDOVER "http://localhost/handover"

/* The data of one run. */
struct role_run {
	const struct role_options *o;
	struct driver *driver;      /* of this pod's server */
	struct http_client *client; /* to other pods */
	struct http_client *own;    /* to this pod's control socket */
	int64_t until_ms;
};

static bool
same_place(const struct position *a, const struct position *b)
{
	return strcmp(a->cluster, b->cluster) == 0 && a->epoch == b->epoch && a->seq == b->seq && a->consistent &&
	       b->consistent && digest_equal(a->digest, b->digest);
}

/* The running sidecar pulls; this process looks. */
static int
catch_up(struct handover *h, const struct position *to, int64_t until_ms, struct sp_error *err)
{
	struct role_run *r = h->arg;
	int rc;

	while ((rc = r->driver->ops->position(r->driver, &h->own, err)) == 0 && !same_place(&h->own, to)) {
		if (clock_mono_ms() >= until_ms)
			return sp_error_set(err, SP_EAGAIN, "this pod did not reach the leader's last change in time");
		clock_sleep_ms(LOOK_MS);
	}
	return rc;
}

static int
lead(struct handover *h, int64_t pause_ms, struct sp_error *err)
{
	struct role_run *r = h->arg;

	return driver_seedpod_lead_from(r->driver, &h->own, h->from, h->by_hand, pause_ms, err);
}

static bool
may_retry(const struct role_run *r, int rc)
{
	return rc == SP_EAGAIN && clock_mono_ms() + RETRY_MS < r->until_ms;
}

/* One try to take over the lead. */
static int
try_to_lead(struct role_run *r, struct position *own, char *told, size_t size, struct sp_error *err)
{
	const struct conf *conf = r->o->conf;
	struct handover h = { .client = r->client, .to = conf->pod.ordinal, .by_hand = true, .own = *own };
	char url[POSITION_URL_MAX];
	struct handover_search s;
	int rc;

	if ((rc = handover_find(r->client, conf, own->cluster, &s, err)) < 0)
		return rc;
	h.catch_up = catch_up;
	h.lead = lead;
	h.arg = r;
	h.leader_url = url;
	if (!s.found && !s.awaited) {
		if (!r->o->force)
			return sp_error_set(err, SP_EUNAVAIL,
			    "no pod that holds the lead answers%s%s; if it is lost for good, --force has this pod lead "
			    "from "
			    "epoch %llu seq %llu, and what only the other had is lost",
			    s.why[0] != '\0' ? ": " : "", s.why, (unsigned long long)own->epoch,
			    (unsigned long long)own->seq);
		snprintf(told, size, "leads, by force, from epoch %llu seq %llu", (unsigned long long)own->epoch,
		    (unsigned long long)own->seq);
		return driver_seedpod_role(r->driver, "leader", err);
	}
	h.from = s.found ? s.ordinal : s.from;
	if ((rc = conf_peer_url(conf, h.from, url, sizeof(url), err)) < 0)
		return rc;
	if (s.found)
		rc = handover_run(&h, err);
	else if ((rc = catch_up(&h, &s.released, r->until_ms, err)) == 0)
		rc = handover_take(&h, err);
	if (rc == 0)
		snprintf(told, size, "leads, from epoch %llu seq %llu of pod %u; writes waited %lld ms",
		    (unsigned long long)h.own.epoch, (unsigned long long)h.own.seq, h.from, (long long)h.pause_ms);
	return rc;
}

static int
become_leader(struct role_run *r, struct position *own, char *told, size_t size, struct sp_error *err)
{
	int rc;

	while ((rc = try_to_lead(r, own, told, size, err)) < 0 && may_retry(r, rc)) {
		clock_sleep_ms(RETRY_MS);
		if ((rc = r->driver->ops->position(r->driver, own, err)) < 0)
			return rc;
	}
	return rc;
}

/* The follower that is furthest on; of equals the first. */
static int
choose_successor(
    struct role_run *r, const struct position *own, unsigned *ordinal, struct position *at, struct sp_error *err)
{
	const struct conf *conf = r->o->conf;
	char url[POSITION_URL_MAX];
	struct position p;
	bool found = false;

	for (unsigned i = 0; i < conf->bootstrap_max_peers; i++) {
		if (i == conf->pod.ordinal || conf_peer_url(conf, i, url, sizeof(url), NULL) < 0 ||
		    peer_position(r->client, url, CALL_MS, &p, NULL) < 0 || strcmp(p.cluster, own->cluster) != 0 ||
		    p.epoch != own->epoch || !p.consistent || p.role == ROLE_LEADER || (found && p.seq <= at->seq))
			continue;
		found = true;
		*ordinal = i;
		*at = p;
	}
	return found ? 0
		     : sp_error_set(err, SP_EAGAIN, "no follower of this pod answers from where it could take over");
}

static int
ask_own(struct role_run *r, const char *step, unsigned to, const struct position *at, struct position *out,
    struct sp_error *err)
{
	return handover_ask(r->own,
	    &(struct handover_step){ .url = OWN_HANDOVER, .step = step, .to = to, .by_hand = true, .at = at }, out,
	    err);
}

/* Until the pod at `url` is where `to` is, or leads. */
static int
wait_for_peer(struct role_run *r, const char *url, const struct position *to, int64_t until_ms, struct sp_error *err)
{
	struct position p;

	for (;;) {
		if (peer_position(r->client, url, CALL_MS, &p, err) == 0 &&
		    (to != NULL ? same_place(&p, to) : p.role == ROLE_LEADER))
			return 0;
		if (clock_mono_ms() >= until_ms)
			return sp_error_set(
			    err, SP_EAGAIN, "%s did not %s in time", url, to != NULL ? "catch up" : "begin to lead");
		clock_sleep_ms(LOOK_MS);
	}
}

/* One try to hand the lead over. Its sidecar takes it when it finds the release. */
static int
try_to_follow(struct role_run *r, const struct position *own, char *told, size_t size, struct sp_error *err)
{
	struct position at, final;
	struct sp_error ignored;
	char url[POSITION_URL_MAX];
	unsigned to = 0;
	int rc;

	if ((rc = choose_successor(r, own, &to, &at, err)) < 0 ||
	    (rc = conf_peer_url(r->o->conf, to, url, sizeof(url), err)) < 0 ||
	    (rc = ask_own(r, "prepare", to, &at, &final, err)) < 0)
		return rc;
	rc = wait_for_peer(r, url, &final, clock_mono_ms() + HANDOVER_CATCH_UP_MS, err);
	if (rc == 0)
		rc = ask_own(r, "commit", to, &final, NULL, err);
	if (rc < 0) {
		ask_own(r, "cancel", to, NULL, NULL, &ignored);
		return rc;
	}
	if (wait_for_peer(r, url, NULL, r->until_ms, err) < 0)
		return sp_error_wrap(err, "the lead was released to pod %u", to);
	snprintf(told, size, "follows; pod %u leads, from epoch %llu seq %llu", to, (unsigned long long) final.epoch,
	    (unsigned long long) final.seq);
	return 0;
}

static int
become_follower(struct role_run *r, struct position *own, char *told, size_t size, struct sp_error *err)
{
	int rc;

	while ((rc = try_to_follow(r, own, told, size, err)) < 0 && may_retry(r, rc)) {
		clock_sleep_ms(RETRY_MS);
		if ((rc = r->driver->ops->position(r->driver, own, err)) < 0)
			return rc;
		if (own->role != ROLE_LEADER)
			return sp_error_set(err, SP_EAGAIN, "the lead was released, and the next leader has not begun");
	}
	return rc;
}

static int
run(struct role_run *r, char *told, size_t size, struct sp_error *err)
{
	struct position own;
	int rc = r->driver->ops->position(r->driver, &own, err);

	if (rc < 0)
		return sp_error_wrap(err, "ask this pod's server");
	if (r->o->leader == (own.role == ROLE_LEADER)) {
		snprintf(told, size, r->o->leader ? "leads already" : "follows already");
		return 0;
	}
	return r->o->leader ? become_leader(r, &own, told, size, err) : become_follower(r, &own, told, size, err);
}

int
role_set(const struct role_options *o, char *told, size_t size, struct sp_error *err)
{
	const char *socket = o->conf->server_control_socket;
	struct role_run r = { .o = o, .until_ms = clock_mono_ms() + o->timeout_ms };
	int rc = SP_ENOMEM;

	if (o->conf->replication_mode != CONF_MODE_STATIC)
		return sp_error_set(
		    err, SP_ECONF, "--role is for mode static: in mode raft the members elect their leader");
	r.driver = driver_seedpod_new(&(struct driver_seedpod_options){ .control_socket = socket }, err);
	r.client =
	    http_client_new(&(struct http_client_options){ .access = o->access, .stall_timeout_ms = CALL_MS }, err);
	r.own =
	    http_client_new(&(struct http_client_options){ .unix_socket = socket, .stall_timeout_ms = CALL_MS }, err);
	if (r.driver != NULL && r.client != NULL && r.own != NULL)
		rc = run(&r, told, size, err);
	http_client_free(r.client);
	http_client_free(r.own);
	if (r.driver != NULL)
		r.driver->ops->free(r.driver);
	return rc;
}
