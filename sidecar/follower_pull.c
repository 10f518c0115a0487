/* One feed: asked for, checked, applied, and what it proves. */
#include <inttypes.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/protocol/feed.h"
#include "lib/protocol/peer.h"
#include "sidecar/follower_private.h"

#define FEED_SLACK_BYTES    (64u << 10)  /* header, history, key and end of a feed, amply */
#define FEED_KEEP_BYTES     (256u << 10) /* a larger buffer is given back between two feeds */
#define SLOWEST_BYTES_PER_S (64u << 10)  /* a leader slower than this is as good as none */
#define APPLY_CALL_MS       35000        /* the local server's own timeout is 30 s */
#define WANTING_WAIT_MS     500          /* a long poll, while this pod is to take over the lead */
#define PULL_MS             300          /* that the server pulls by itself before it says what came of it */
#define EMPTY_PAUSE_MS      50           /* after an empty answer that did not wait as it was asked to */

static size_t
feed_limit(const struct conf *c)
{
	/* Not max_value: the store may hold larger ones from when it was set higher. */
	uint64_t limit = c->sync_batch_bytes + FEED_VALUE_MAX + FEED_SLACK_BYTES;

	return limit < FEED_BYTES_MAX ? (size_t)limit : FEED_BYTES_MAX;
}

/* Poll asks, and does not wait; stream has the leader wait for us, once all is well and nothing left to be proven. */
static int64_t
wait_for_change_ms(const struct follower *f)
{
	int64_t wait_ms = follower_planned_silence_ms(f);

	if (f->conf.sync_mode == CONF_SYNC_POLL || f->trouble.on || f->catching_up || !state_proven(f->o.state))
		return 0;
	/* A leader that does not hand over yet is asked again soon. */
	return follower_wants_lead(f) && wait_ms > WANTING_WAIT_MS ? WANTING_WAIT_MS : wait_ms;
}

static int
fetch(struct follower *f, struct sp_error *err)
{
	struct peer_changes_options o = {
		.since = f->own.seq,
		.cluster = f->own.cluster,
		.epoch = f->own.epoch,
		.anyone = f->frozen,
		.wait_ms = wait_for_change_ms(f),
		.batch_bytes = (size_t)f->conf.sync_batch_bytes,
	};
	int64_t longest_ms;
	int rc;

	f->feed.limit = feed_limit(&f->conf);
	longest_ms =
	    o.wait_ms + f->conf.sync_stall_timeout_ms + 10000 + (int64_t)(f->feed.limit / SLOWEST_BYTES_PER_S) * 1000;
	if (!follower_begin_call(f, longest_ms))
		return sp_error_set(err, SP_ECANCELED, "something changed");
	rc = peer_changes(f->client, f->leader_url, &o, &f->feed, err);
	follower_end_call(f, rc, err);
	return rc < 0 ? err->code : 0;
}

/* The call failed. Two answers are more than a failure: the leader says that it cannot lead us on from here. */
static int64_t
fetch_failed(struct follower *f, struct sp_error *err)
{
	int64_t wait_ms;

	if (err->code == SP_EDIVERGED) {
		sp_error_wrap(err, "sync from %s", f->leader_url);
		return follower_halt(f, REASON_DIVERGED, true, err);
	}
	wait_ms = follower_leader_failed(f, err);
	if (err->code == SP_EHORIZON)
		return follower_reseed(f, true, 0, err->text);
	/* The next answer may come from another leader, or the same one with another store. */
	if (err->code != SP_ECANCELED)
		f->related = false;
	return wait_ms;
}

/* Whether the leader stands exactly where we stand, and nothing of it is new to us. */
static bool
is_up_to_date(const struct follower *f, const struct feed_info *info)
{
	return info->cut && info->records == 0 && info->seq == f->own.seq && info->epoch == f->own.epoch &&
	       strcmp(info->cluster, f->own.cluster) == 0 && info->history_count == f->own.history_count &&
	       f->own.consistent;
}

void
follower_prove(struct follower *f)
{
	char digest[DIGEST_HEX_SIZE];

	/* The next feed may be a long poll: that all is well again is not to wait for it. */
	trouble_over(&f->trouble, f->o.state);
	if (!state_prove(f->o.state, f->life))
		return;
	backoff_reset(&f->reseed_backoff);
	digest_to_hex(f->own.digest, digest);
	log_info("content is the leader's", LOG_U64("seq", f->own.seq), LOG_STR("digest", digest));
}

/* Nothing new: no write, but the digests are compared all the same. */
static int64_t
confirm(struct follower *f, const struct feed_info *info)
{
	char theirs[DIGEST_HEX_SIZE], ours[DIGEST_HEX_SIZE];
	struct sp_error err = { 0 };

	if (digest_equal(info->digest, f->own.digest)) {
		follower_prove(f);
		return STEP_ON;
	}
	digest_to_hex(info->digest, theirs);
	digest_to_hex(f->own.digest, ours);
	sp_error_set(&err, SP_EDIGEST, "sync from %s: at seq %" PRIu64 " digest expected %s, found %s", f->leader_url,
	    info->seq, theirs, ours);
	return follower_digest_mismatch(f, &err);
}

static int64_t
apply_failed(struct follower *f, struct sp_error *err)
{
	sp_error_wrap(err, "apply changes after seq %" PRIu64 " from %s", f->own.seq, f->leader_url);
	if (err->code == SP_EDIGEST)
		return follower_digest_mismatch(f, err);
	if (err->code == SP_EDIVERGED)
		return follower_halt(f, REASON_DIVERGED, true, err);
	/* Where the store stands is read again: with a gap, that is all that it takes. */
	f->related = false;
	return follower_trouble(f, trouble_reason(TROUBLE_APPLY, err->code), err);
}

static int64_t
apply(struct follower *f, const struct feed_info *info)
{
	struct position after;
	struct sp_error err = { 0 };

	state_beat(f->o.state, HEART_SYNC, clock_mono_ms() + APPLY_CALL_MS);
	state_set_applying(f->o.state, true);
	if (f->o.driver->ops->apply(f->o.driver, f->feed.data, f->feed.len, &after, &err) < 0) {
		state_set_applying(f->o.state, false);
		return apply_failed(f, &err);
	}
	FAULT_POINT("sync.applied");
	f->own = after;
	state_applied(f->o.state, &after, info->records, f->feed.len, clock_mono_ms());
	log_debug("changes applied", LOG_U64("records", info->records), LOG_U64("bytes", f->feed.len),
	    LOG_U64("seq", after.seq), LOG_BOOL("cut", info->cut));
	/* The server compared the digest at the cut before it committed. */
	if (info->cut)
		follower_prove(f);
	f->busy = info->cut;
	return STEP_ON;
}

static int
check(struct follower *f, struct feed_info *info, struct sp_error *err)
{
	int rc = feed_check(f->feed.data, f->feed.len, info, err);

	if (rc < 0)
		return sp_error_wrap(err, "feed from %s", f->leader_url);
	if (info->since != f->own.seq)
		return sp_error_set(err, SP_EBADDATA, "feed from %s begins after seq %" PRIu64 ", asked was %" PRIu64,
		    f->leader_url, info->since, f->own.seq);
	return 0;
}

/* When to ask next, after a feed that went well. */
static int64_t
next_wait_ms(struct follower *f, const struct feed_info *info, int64_t took_ms)
{
	int64_t now_ms = clock_mono_ms();
	int64_t wait_ms;

	if (!info->cut)
		return 0;
	if (f->conf.sync_mode == CONF_SYNC_STREAM)
		return info->records == 0 && took_ms < EMPTY_PAUSE_MS ? EMPTY_PAUSE_MS : 0;
	/* Every interval, counted from when the last drain began; once more at once where it took longer. */
	f->draining = false;
	wait_ms = f->drain_began_ms + f->conf.sync_interval_ms - now_ms;
	return wait_ms > 0 ? wait_ms : 0;
}

/* --- By the server itself, while changes keep coming --- */

static bool
may_leave_it_to_server(const struct follower *f)
{
	return f->busy && f->o.driver->ops->pull != NULL && !f->frozen && !follower_wants_lead(f) &&
	       wait_for_change_ms(f) > 0;
}

/* The leader's position, as the last cut that was reached gives it. */
static struct feed_info
cut_of(const struct driver_pulled *pulled)
{
	const struct position *p = &pulled->after;
	struct feed_info info = { .cut = true,
		.epoch = p->epoch,
		.since = p->seq,
		.horizon = pulled->horizon,
		.history_count = p->history_count,
		.seq = p->seq,
		.last_seq = p->seq,
		.digest = p->digest,
		.keys = p->keys };

	memcpy(info.cluster, p->cluster, sizeof(info.cluster));
	memcpy(info.history, p->history, p->history_count * sizeof(p->history[0]));
	return info;
}

static int64_t
leave_it_to_server(struct follower *f)
{
	struct driver_pulled pulled;
	struct sp_error err = { 0 };
	struct feed_info info;

	state_beat(f->o.state, HEART_SYNC, clock_mono_ms() + APPLY_CALL_MS);
	state_set_applying(f->o.state, true);
	f->busy = false;
	if (f->o.driver->ops->pull(f->o.driver, f->leader_url, PULL_MS, &pulled, &err) < 0) {
		/* Whatever it is, the steps that follow come upon it, too, and say so. */
		state_set_applying(f->o.state, false);
		log_debug("the server did not pull", LOG_STR("error", err.text));
		f->related = false;
		return 0;
	}
	if (pulled.feeds == 0) {
		state_set_applying(f->o.state, false);
		return 0;
	}
	info = cut_of(&pulled);
	f->own = pulled.after;
	state_applied(f->o.state, &pulled.after, (uint32_t)pulled.records, (size_t)pulled.bytes, clock_mono_ms());
	state_leader_feed(f->o.state, &info, clock_mono_ms(), follower_planned_silence_ms(f));
	state_set_target(f->o.state, f->life, info.seq);
	follower_prove(f);
	f->busy = pulled.clean && pulled.records > 0;
	return 0;
}

int64_t
follower_pull(struct follower *f)
{
	struct sp_error err = { 0 };
	struct feed_info info;
	int64_t began_ms = clock_mono_ms();
	int64_t wait_ms;

	if (may_leave_it_to_server(f))
		return leave_it_to_server(f);
	if (!f->draining) {
		f->draining = true;
		f->drain_began_ms = began_ms;
	}
	if (fetch(f, &err) < 0)
		return fetch_failed(f, &err);
	FAULT_POINT("sync.fetched");
	if (check(f, &info, &err) < 0) {
		state_leader_spoke(f->o.state, clock_mono_ms(), follower_planned_silence_ms(f));
		return follower_trouble(f, trouble_reason(TROUBLE_FEED, err.code), &err);
	}
	state_leader_feed(f->o.state, &info, clock_mono_ms(), follower_planned_silence_ms(f));
	if (info.cut)
		state_set_target(f->o.state, f->life, info.seq);
	if (is_up_to_date(f, &info))
		wait_ms = confirm(f, &info);
	else
		wait_ms = apply(f, &info);
	if (f->feed.size > FEED_KEEP_BYTES)
		buf_release(&f->feed);
	if (wait_ms != STEP_ON)
		return wait_ms;
	trouble_over(&f->trouble, f->o.state);
	return next_wait_ms(f, &info, clock_mono_ms() - began_ms);
}
