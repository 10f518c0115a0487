#include "sidecar/trouble.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"

void
trouble_init(struct trouble *t)
{
	*t = (struct trouble){ 0 };
	backoff_init(&t->backoff, TROUBLE_FIRST_MS, TROUBLE_MOST_MS);
}

static enum sync_reason
leader_reason(int code)
{
	switch (code) {
	case SP_ESTALLED:
		return REASON_STALLED;
	case SP_EPERM:
		return REASON_REFUSED;
	case SP_ETRUNCATED:
		return REASON_TRUNCATED;
	case SP_EHORIZON:
		return REASON_HORIZON;
	case SP_EDIVERGED:
		return REASON_DIVERGED;
	case SP_EBADDATA:
	case SP_ETOOBIG:
		return REASON_BAD_FEED;
	default:
		return REASON_UNREACHABLE;
	}
}

static enum sync_reason
apply_reason(int code)
{
	switch (code) {
	case SP_EDIGEST:
		return REASON_DIGEST;
	case SP_EDIVERGED:
		return REASON_DIVERGED;
	case SP_EGAP:
		return REASON_GAP;
	case SP_ENOSPACE:
		return REASON_NO_SPACE;
	case SP_EUNAVAIL:
	case SP_ESTALLED:
	case SP_ETRUNCATED:
	case SP_EAGAIN:
	case SP_ENOTFOUND:
		return REASON_LOCAL_SERVER;
	default:
		return REASON_APPLY;
	}
}

enum sync_reason
trouble_reason(enum trouble_place place, int code)
{
	switch (place) {
	case TROUBLE_LEADER:
		return leader_reason(code);
	case TROUBLE_FEED:
		return code == SP_ETRUNCATED ? REASON_TRUNCATED : REASON_BAD_FEED;
	case TROUBLE_APPLY:
		return apply_reason(code);
	case TROUBLE_LOCAL:
		break;
	}
	return REASON_LOCAL_SERVER;
}

int64_t
trouble_note(struct trouble *t, struct state *state, enum sync_reason reason, const struct sp_error *err)
{
	int64_t now_ms = clock_mono_ms();

	state_count_error(state, reason, err);
	if (!t->on || t->reason != reason)
		log_warn("sync fails", LOG_STR("reason", sync_reason_label(reason)),
		    LOG_STR("code", sp_code_name(err->code)), LOG_STR("error", err->text));
	else
		log_debug(
		    "sync still fails", LOG_STR("reason", sync_reason_label(reason)), LOG_STR("error", err->text));
	if (!t->on) {
		t->on = true;
		t->since_ms = now_ms;
		t->tries = 0;
	}
	t->reason = reason;
	t->tries++;
	return backoff_next_ms(&t->backoff);
}

void
trouble_over(struct trouble *t, struct state *state)
{
	if (!t->on)
		return;
	log_info("sync works again", LOG_STR("reason", sync_reason_label(t->reason)),
	    LOG_F64("failed_seconds", (double)(clock_mono_ms() - t->since_ms) / 1000), LOG_U64("tries", t->tries));
	t->on = false;
	backoff_reset(&t->backoff);
	state_sync_well(state);
}
