#include "init/run.h"

#include <string.h>

#include "init/stop.h"
#include "lib/base/backoff.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/protocol/follow_mark.h"
#include "lib/protocol/store_mark.h"

#define ASK_LEADER_MS   3000 /* what a position may take, where it decides */
#define ASK_BRIEFLY_MS  1000 /* where it is only good to know, or asked again soon */
#define GRACE_PAUSE_MS  200  /* between two rounds of questions of an empty leader */
#define RETRY_MOST_MS   30000
#define OPENED_MS       3000 /* so long a volume may take to be opened to this pod's user */
#define OPENED_PAUSE_MS 100

/* One run. */
struct run {
	const struct run_options *o;
	struct volume volume;
	struct facts facts;
	struct plan plan;
	struct backoff backoff;
	unsigned failures; /* attempts used up */
	bool direct;       /* a snapshot that siblings passed on did not arrive: the donor is to send it itself */
	int64_t begun_ms;
};

static int64_t
smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Ask whom the decision needs, then decide: other donors than the leader are asked only if one is
 * needed; members decide among themselves which one leads, so all are asked. */
static int
decide(struct facts *f, struct plan *plan, int64_t patience_ms, struct sp_error *err)
{
	int rc;

	bool holds = f->store == STORE_PRESENT && f->own.lead.kind == LEAD_HELD && f->own.lead.pod == f->ordinal;

	if (f->leader || holds || f->mode == CONF_MODE_RAFT)
		rc = facts_ask(f, FACTS_ALL, smaller(patience_ms, ASK_BRIEFLY_MS), err);
	else
		rc = facts_ask(f, FACTS_LEADER, patience_ms, err);
	/* The lead may have moved from the pod that is configured, or not yet to it. */
	if (rc == 0 && !f->all_asked && facts_present_leader(f) == NULL)
		rc = facts_ask(f, FACTS_ALL, smaller(patience_ms, ASK_BRIEFLY_MS), err);
	if (rc < 0)
		return rc;
	plan_make(f, plan);
	if (plan->action == PLAN_SEED && f->donor_auto && !f->all_asked) {
		if ((rc = facts_ask(f, FACTS_ALL, patience_ms, err)) < 0)
			return rc;
		plan_make(f, plan);
	}
	return 0;
}

static int
prepare_facts(const struct run_options *o, const struct volume *v, struct facts *f, struct sp_error *err)
{
	int rc;

	if ((rc = facts_init(f, o->conf, err)) < 0)
		return rc;
	f->access = o->access;
	f->reseed_diverged |= o->reseed;
	f->replace = o->reseed;
	f->needs = o->min_applied;
	if ((rc = facts_read_store(f, v, o->driver, err)) < 0)
		facts_release(f);
	return rc;
}

/* Asked to stop while asking or waiting. */
static int
stopped(struct sp_error *err)
{
	return sp_error_set(err, SP_ECANCELED, "asked to stop");
}

/* An attempt has failed for the reason in *err: wait for the next one, or that was the last. */
static int
next_attempt(struct run *r, struct sp_error *err)
{
	unsigned limit = r->o->conf->bootstrap_attempts;
	int64_t wait_ms;

	r->failures++;
	if (limit > 0 && r->failures >= limit) {
		sp_error_wrap(err, "after %u attempt%s", r->failures, r->failures == 1 ? "" : "s");
		return err->code;
	}
	wait_ms = backoff_next_ms(&r->backoff);
	log_warn("waiting for the next attempt", LOG_STR("error", err->text), LOG_U64("attempt", r->failures),
	    LOG_I64("wait_ms", wait_ms));
	return stop_wait_ms(wait_ms) ? stopped(err) : 0;
}

/* Whether `rc` means that the snapshot itself is no good, so that asking the same donor again is no use. */
static bool
is_bad_data(int rc)
{
	return rc == SP_EBADDATA || rc == SP_EDIVERGED || rc == SP_EDIGEST || rc == SP_ETOOBIG;
}

static bool
is_passing(int rc)
{
	return rc == SP_ETRUNCATED || rc == SP_ESTALLED || rc == SP_EUNAVAIL || rc == SP_EAGAIN;
}

/* Is there one more to ask after a donor's snapshot was bad? Then its badness is remembered in the facts. */
static bool
has_other_donor(struct run *r)
{
	struct plan next;
	bool already = false;

	for (size_t i = 0; i < r->facts.peer_count; i++) {
		already |= r->facts.peers[i].gave_bad_data;
		if (&r->facts.peers[i] == r->plan.donor)
			r->facts.peers[i].gave_bad_data = true;
	}
	plan_make(&r->facts, &next);
	return !already && next.donor != NULL;
}

static void
log_success(const struct seed_report *report)
{
	char digest[DIGEST_HEX_SIZE];

	digest_to_hex(report->digest, digest);
	log_info("seeded", LOG_STR("donor", report->donor), LOG_F64("seconds", report->seconds),
	    LOG_U64("bytes", report->bytes), LOG_U64("seq", report->seq), LOG_STR("digest", digest));
}

/* Where another pod passes a snapshot on; `arg` is the configuration. */
static bool
sibling_url(void *arg, unsigned ordinal, char *out, size_t size)
{
	const struct conf *conf = arg;

	return ordinal < conf->bootstrap_max_peers && ordinal != conf->pod.ordinal &&
	       conf_peer_url(conf, ordinal, out, size, NULL) == 0;
}

/*
 * The relay that passes on the snapshot that this pod is about to get, or NULL. In a running pod
 * the server has the port. A compressed snapshot is not passed on: it would have to be compressed
 * again.
 */
static struct relay *
make_relay(const struct run *r)
{
	const struct conf *conf = r->o->conf;
	struct sp_error err = { 0 };
	struct relay *relay;

	if (r->plan.action != PLAN_SEED || r->o->reseed || r->direct || conf->bootstrap_fan_out == 0 ||
	    conf->bootstrap_compression != CONF_COMPRESSION_NONE)
		return NULL;
	relay = relay_new(&(struct relay_options){ .address = conf->server_listen,
			      .tls = r->o->tls,
			      .tokens = r->o->tokens,
			      .fan_out = conf->bootstrap_fan_out,
			      .has_store = r->facts.store != STORE_EMPTY },
	    &err);
	if (relay == NULL)
		log_warn("the snapshot is not passed on to other pods", LOG_STR("error", err.text));
	return relay;
}

/* Run the seeding, and pass on what arrives. */
static int
seed_and_pass_on(const struct run *r, struct seed_options *options, struct seed_report *report, struct sp_error *err)
{
	struct relay *relay = make_relay(r);
	int rc;

	options->download.relay = relay;
	options->download.ordinal = r->facts.ordinal;
	options->download.lag = r->facts.mode == CONF_MODE_RAFT ? 0 : PLAN_DONOR_LAG_MAX;
	options->download.min_seq = r->plan.floor != NULL ? r->plan.floor->seq : 0;
	options->download.sibling_url = sibling_url;
	options->download.sibling_arg = (void *)(uintptr_t)r->o->conf;
	rc = seed_run(options, report, err);
	if (rc == 0)
		relay_linger(relay);
	relay_free(relay);
	return rc;
}

/* 1 when seeded, 0 to go round again, or an error to end with. */
static int
act_seed(struct run *r, struct seed_report *report, struct sp_error *err)
{
	const struct conf *conf = r->o->conf;
	struct seed_options options = {
		.volume = &r->volume,
		.download = { .base_url = r->plan.donor->url,
		    .access = r->o->access,
		    .stall_timeout_ms = conf->bootstrap_stall_timeout_ms,
		    .retry_delay_ms = conf->bootstrap_retry_delay_ms,
		    .rate_limit = conf->bootstrap_rate_limit,
		    .zstd = conf->bootstrap_compression == CONF_COMPRESSION_ZSTD,
		    .look = r->o->look,
		    .look_arg = r->o->look_arg },
		.donor = r->plan.donor->name,
		.cluster = r->plan.donor->answer.position.cluster,
		.own_history = r->plan.action == PLAN_RESTORE,
		.floor = r->plan.floor,
		.min_applied = r->facts.needs,
		.check = r->o->check,
		.check_arg = r->o->check_arg,
	};
	int rc = seed_and_pass_on(r, &options, report, err);

	if (rc == 0) {
		log_success(report);
		return 1;
	}
	if (report->passed_on && rc != SP_ECANCELED)
		r->direct = true;
	if (is_bad_data(rc) && report->passed_on) {
		log_error(
		    "a snapshot that was passed on was bad, its donor is asked for it", LOG_STR("error", err->text));
		return 0;
	}
	if (is_bad_data(rc) && has_other_donor(r)) {
		log_error("the snapshot was bad, another donor is asked", LOG_STR("error", err->text));
		return 0;
	}
	return is_passing(rc) ? next_attempt(r, err) : rc;
}

/* The server makes the store. It does not if this volume has held one, unless init, which has asked
 * the peers, says so. */
static int
act_create(struct run *r, struct sp_error *err)
{
	char cluster[STORE_MARK_SIZE];
	int rc;

	if (!store_mark_read(r->volume.data_dir, cluster))
		return 1;
	log_warn("this volume has held a store, which is gone, and no peer has its data: an empty one is made",
	    LOG_STR("cluster", cluster));
	rc = store_mark_clear(r->volume.data_dir, err);
	return rc < 0 ? rc : 1;
}

/* A store that is refused for what it holds was compared with the leader's. */
static void
say_difference(const struct facts *f, struct seed_report *report)
{
	const struct peer_fact *leader = facts_leader(f);
	const struct position *theirs;

	if (f->store != STORE_PRESENT || leader == NULL || !leader->answer.has_store)
		return;
	theirs = &leader->answer.position;
	if (strcmp(theirs->cluster, f->own.cluster) != 0) {
		snprintf(report->expected, sizeof(report->expected), "%s", theirs->cluster);
		snprintf(report->found, sizeof(report->found), "%s", f->own.cluster);
	} else {
		seed_show_position(theirs, report->expected, sizeof(report->expected));
		seed_show_position(&f->own, report->found, sizeof(report->found));
	}
}

/* 1 when done, 0 to go round again, or an error to end with. */
static int
act(struct run *r, struct seed_report *report, struct sp_error *err)
{
	switch (r->plan.action) {
	case PLAN_START:
		return 1;
	case PLAN_CREATE:
		return act_create(r, err);
	case PLAN_SEED:
	case PLAN_RESTORE:
		return act_seed(r, report, err);
	case PLAN_WAIT:
		if (r->plan.grace)
			return stop_wait_ms(GRACE_PAUSE_MS) ? stopped(err) : 0;
		sp_error_set(err, r->plan.code, "%s", r->plan.why);
		return next_attempt(r, err);
	case PLAN_REFUSE:
		say_difference(&r->facts, report);
		break;
	}
	return sp_error_set(err, r->plan.code, "%s", r->plan.why);
}

static void
log_plan(const struct plan *plan)
{
	if (plan->action == PLAN_WAIT || plan->action == PLAN_REFUSE)
		return; /* told as the error that it is */
	log_write(plan->warn ? LOG_WARN : LOG_INFO, "plan", LOG_STR("action", plan_action_name(plan->action)),
	    LOG_STR("donor", plan->donor != NULL ? plan->donor->name : ""), LOG_STR("why", plan->why), LOG_END);
}

/* A file tells the server, since it asks no peer. One that runs already (reseed) knows its role. */
static int
leave_follow_mark(const struct run *r, struct sp_error *err)
{
	char path[VOLUME_PATH_MAX];
	int rc;

	if (r->o->reseed)
		return 0;
	if ((rc = file_join(path, sizeof(path), r->volume.data_dir, FOLLOW_MARK_NAME, err)) < 0)
		return rc;
	if (r->plan.follow)
		return file_write_atomic(path, "", 0, 0600, err);
	return file_exists(path) ? file_remove_tree(path, err) : 0;
}

static int
loop(struct run *r, struct seed_report *report, struct sp_error *err)
{
	int64_t grace_ms = r->o->conf->bootstrap_peer_grace_ms, now_ms, ask_ms;
	int rc;

	do {
		if (stop_requested())
			return stopped(err);
		if (r->o->look != NULL)
			r->o->look(r->o->look_arg);
		memset(report, 0, sizeof(*report));
		report->phase = "facts";
		now_ms = clock_mono_ms();
		r->facts.grace_over = now_ms - r->begun_ms >= grace_ms;
		ask_ms = r->facts.leader && r->facts.store != STORE_EMPTY ? ASK_BRIEFLY_MS : ASK_LEADER_MS;
		if ((rc = decide(&r->facts, &r->plan, ask_ms, err)) < 0)
			return rc == SP_ECANCELED ? stopped(err) : rc;
		log_plan(&r->plan);
		FAULT_POINT("init.planned");
		rc = act(r, report, err);
	} while (rc == 0);
	return rc < 0 ? rc : leave_follow_mark(r, err);
}

/*
 * Between the commit and the swap of an earlier run a server may have been given its store back (a reseed in a running
 * pod, whose init was killed) and have gone on with it. What was ready then is older now: it is a download like any
 * other that was not finished.
 */
static int
drop_overtaken(const struct run_options *o, const struct volume *v, struct sp_error *err)
{
	struct position here, ready;
	struct volume_state state;
	int rc;

	volume_look(v, &state);
	if (!state.ready || !state.store || o->check(o->check_arg, v->store, &here, NULL) < 0 ||
	    o->check(o->check_arg, v->ready, &ready, NULL) < 0 || position_course(&here, &ready) != COURSE_BACK)
		return 0;
	log_warn("a store that was ready is older than the one that is here by now: it is dropped",
	    LOG_U64("epoch", here.epoch), LOG_U64("seq", here.seq), LOG_U64("ready_epoch", ready.epoch),
	    LOG_U64("ready_seq", ready.seq));
	rc = file_remove_tree(v->incoming, err);
	return rc == 0 ? file_rename_sync(v->ready, v->incoming, err) : rc;
}

/* Some provisioners open a new volume to the pod's user only a moment after it was mounted. */
static int
lock_volume(struct run *r, struct sp_error *err)
{
	struct sp_error refused = { 0 };
	int rc;

	while ((rc = volume_lock(&r->volume, &refused)) == SP_EPERM && clock_mono_ms() - r->begun_ms < OPENED_MS &&
	       !stop_wait_ms(OPENED_PAUSE_MS))
		;
	if (rc < 0 && err != NULL)
		*err = refused;
	return rc;
}

int
run_init(const struct run_options *o, struct seed_report *report, struct sp_error *err)
{
	struct run r = { .o = o, .begun_ms = clock_mono_ms() };
	char did[sizeof(r.facts.recovered)];
	int rc;

	memset(report, 0, sizeof(*report));
	report->phase = "facts";
	if ((rc = volume_init(&r.volume, o->conf->server_data_dir, err)) < 0 || (rc = lock_volume(&r, err)) < 0)
		return rc;
	FAULT_POINT("init.locked");
	if ((rc = drop_overtaken(o, &r.volume, err)) < 0 ||
	    (rc = volume_recover(&r.volume, did, sizeof(did), err)) < 0 ||
	    (rc = prepare_facts(o, &r.volume, &r.facts, err)) < 0)
		goto out;
	FAULT_POINT("init.facts");
	memcpy(r.facts.recovered, did, sizeof(did));
	if (did[0] != '\0')
		log_warn("recovered from an earlier run", LOG_STR("did", did));
	backoff_init(&r.backoff, o->conf->bootstrap_retry_delay_ms, RETRY_MOST_MS);
	rc = loop(&r, report, err);
	facts_release(&r.facts);
out:
	volume_release(&r.volume);
	return rc;
}

int
run_plan(const struct run_options *o, struct facts *facts, struct plan *plan, struct sp_error *err)
{
	struct volume volume;
	int rc;

	if ((rc = volume_init(&volume, o->conf->server_data_dir, err)) < 0 ||
	    (rc = prepare_facts(o, &volume, facts, err)) < 0)
		return rc;
	facts->grace_over = true; /* the outcome if no other peer turned up */
	if ((rc = decide(facts, plan, ASK_LEADER_MS, err)) < 0)
		facts_release(facts);
	return rc;
}
