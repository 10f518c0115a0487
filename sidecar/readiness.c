#include "sidecar/readiness.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void check(struct readiness *r, const char *name, enum readiness_verdict verdict, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void
check(struct readiness *r, const char *name, enum readiness_verdict verdict, const char *fmt, ...)
{
	struct readiness_check *c;
	va_list ap;

	if (r->count == READINESS_CHECKS_MAX)
		return;
	c = &r->checks[r->count++];
	c->name = name;
	c->ok = verdict < READINESS_POOR;
	va_start(ap, fmt);
	vsnprintf(c->text, sizeof(c->text), fmt, ap);
	va_end(ap);
	/* One check is one line of /readyz?verbose. */
	for (char *p = c->text; *p != '\0'; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	if (verdict > r->verdict)
		r->verdict = verdict;
}

void
readiness_format_limit(int64_t ms, char *out, size_t size)
{
	if (ms < 1000)
		snprintf(out, size, "%" PRId64 "ms", ms);
	else if (ms % 1000 == 0)
		snprintf(out, size, "%" PRId64 "s", ms / 1000);
	else
		snprintf(out, size, "%.1fs", (double)ms / 1000);
}

static double
seconds(int64_t ms)
{
	return (double)ms / 1000;
}

static void
check_proof(const struct readiness_facts *f, struct readiness *r)
{
	const char *because = f->last_error[0] != '\0' ? f->last_error : "it has not answered yet";

	if (f->proven)
		check(r, "proof", READINESS_GOOD, "proof ok: content is the leader's at seq %" PRIu64,
		    f->local_store_seq);
	else if (!f->target_known)
		check(r, "proof", READINESS_BAD, "proof missing: the leader's position is not known: %s", because);
	else
		check(r, "proof", READINESS_BAD,
		    "proof missing: at seq %" PRIu64 ", to be shown equal to the leader at seq %" PRIu64,
		    f->local_store_seq, f->target);
}

static void
check_leader(const struct readiness_facts *f, struct readiness *r)
{
	double age = seconds(f->contact_age_ms);

	if (!f->leader_lost)
		check(r, "leader", READINESS_GOOD, "leader heard %.1fs ago", age);
	else if (f->leader_loss == CONF_LOSS_SERVE)
		check(r, "leader", READINESS_GOOD, "leader unreachable for %.1fs, serving stale (leader_loss = serve)",
		    age);
	else
		check(r, "leader", READINESS_POOR, "leader unreachable for %.1fs (leader_loss = unready)", age);
}

static void
check_lag_seconds(const struct readiness_facts *f, struct readiness *r)
{
	char limit[32];

	readiness_format_limit(f->max_lag_ms, limit, sizeof(limit));
	/* Said in words if it is not looked at: the leader's silence is the leader check's business then. */
	if (f->leader_lost && f->leader_loss == CONF_LOSS_SERVE)
		check(r, "lag", READINESS_GOOD, "lag %.1fs, no limit while the leader is unreachable",
		    seconds(f->lag_ms));
	else if (f->lag_ms > f->max_lag_ms)
		check(r, "lag", READINESS_POOR, "lag %.1fs > %s", seconds(f->lag_ms), limit);
	else
		check(r, "lag", f->lag_ms > f->max_lag_ms / 2 ? READINESS_MARGINAL : READINESS_GOOD, "lag %.1fs <= %s",
		    seconds(f->lag_ms), limit);
}

static void
check_lag_changes(const struct readiness_facts *f, struct readiness *r)
{
	const char *s = f->lag_changes == 1 ? "" : "s";

	if (f->max_lag_changes == 0)
		return;
	if (f->leader_lost && f->leader_loss == CONF_LOSS_SERVE)
		return;
	if (f->lag_changes > f->max_lag_changes)
		check(r, "lag_changes", READINESS_POOR, "lag %" PRIu64 " change%s > %" PRIu64, f->lag_changes, s,
		    f->max_lag_changes);
	else
		check(r, "lag_changes", f->lag_changes > f->max_lag_changes / 2 ? READINESS_MARGINAL : READINESS_GOOD,
		    "lag %" PRIu64 " change%s <= %" PRIu64, f->lag_changes, s, f->max_lag_changes);
}

static void
check_writes(const struct readiness_facts *f, struct readiness *r)
{
	if (f->writable)
		check(r, "writes", READINESS_GOOD, "writes accepted (leader)");
	else
		check(r, "writes", READINESS_BAD,
		    "writes not accepted (leader): the volume or the map is full, the store was removed from it, or "
		    "the "
		    "server stops");
}

static void
check_follower(const struct readiness_facts *f, struct readiness *r)
{
	if (f->diverged)
		check(r, "history", READINESS_BAD, "history diverged: %s", f->diverged_text);
	else
		check(r, "history", READINESS_GOOD, "history ok");
	check_proof(f, r);
	check_leader(f, r);
	check_lag_seconds(f, r);
	check_lag_changes(f, r);
	/* A follower meanwhile, and as ready as one. */
	if (f->wants_lead)
		check(r, "handover", READINESS_GOOD, "handover: this pod is to lead, and waits for the lead: %s",
		    f->handover_text[0] != '\0' ? f->handover_text : "it was not asked for yet");
}

static bool
is_member(const struct readiness_facts *f)
{
	return f->member != NULL && f->member->role != MEMBER_ROLE_NONE;
}

/* Whether it is in the configuration at all, and raft runs on its store. */
static bool
check_membership(const struct readiness_facts *f, struct readiness *r)
{
	const struct position_raft *m = f->member;
	bool voter =
	    m->role == MEMBER_ROLE_FOLLOWER || m->role == MEMBER_ROLE_CANDIDATE || m->role == MEMBER_ROLE_LEADER;

	switch (m->role) {
	case MEMBER_ROLE_NEEDS_SNAPSHOT:
		check(r, "member", READINESS_BAD,
		    "member needs a snapshot at index %" PRIu64 " of the log or after, its store is at %" PRIu64,
		    m->needs, m->applied);
		return false;
	case MEMBER_ROLE_NO_ROOM:
		check(r, "member", READINESS_BAD, "member takes no part: its volume has no room for the log");
		return false;
	case MEMBER_ROLE_JOINING:
		if (m->applied == 0)
			check(r, "member", READINESS_BAD, "member is joining: it waits for a leader to take it in");
		else
			check(r, "member", READINESS_BAD,
			    "member is joining: its store is at index %" PRIu64
			    " of a log, and it waits for a leader of that; if it lasts, its server's log says what to "
			    "do",
			    m->applied);
		return false;
	case MEMBER_ROLE_REMOVED:
		check(r, "member", READINESS_BAD, "member was removed from the configuration");
		return false;
	default:
		check(r, "member", READINESS_GOOD, "member %u of %u, %s (%s), term %" PRIu64, m->number, m->members,
		    member_role_name(m->role), voter ? "votes" : "does not vote", m->term);
		return true;
	}
}

static void
check_log(const struct readiness_facts *f, struct readiness *r)
{
	if (f->proven)
		check(r, "log", READINESS_GOOD, "log ok: applied to index %" PRIu64, f->member->applied);
	else if (!f->target_known)
		check(r, "log", READINESS_BAD, "log: the leader has not told where it is: %s",
		    f->last_error[0] != '\0' ? f->last_error : "it was not asked yet");
	else
		check(r, "log", READINESS_BAD,
		    "log: applied to index %" PRIu64 ", the leader was at %" PRIu64 " at the start", f->member->applied,
		    f->target);
}

static void
check_member(const struct readiness_facts *f, struct readiness *r)
{
	if (!check_membership(f, r))
		return;
	if (f->diverged)
		check(r, "history", READINESS_BAD, "history diverged: %s", f->diverged_text);
	if (f->member->leader_known)
		check(r, "leader", READINESS_GOOD, f->role == ROLE_LEADER ? "leader: this pod" : "leader known");
	else if (f->member->unresolved[0] != '\0')
		check(r, "leader", READINESS_POOR, "no leader is known: the name %s cannot be resolved",
		    f->member->unresolved);
	else
		check(r, "leader", READINESS_POOR, "no leader is known: there is no majority, or an election is on");
	check_log(f, r);
	if (f->role == ROLE_LEADER) {
		check_writes(f, r);
		return;
	}
	if (f->member->leader_known) {
		check_lag_seconds(f, r);
		check_lag_changes(f, r);
	}
}

void
readiness_check(const struct readiness_facts *f, struct readiness *out)
{
	out->verdict = READINESS_GOOD;
	out->ready = false;
	out->count = 0;
	if (f->seeding)
		check(out, "seed", READINESS_BAD, "seed under way: %s",
		    f->last_error[0] != '\0' ? f->last_error : "the store is being replaced");
	if (f->server_ok)
		check(out, "server", READINESS_GOOD, "server ok");
	else
		check(out, "server", READINESS_BAD, "server %s", f->server_text);
	if (!f->server_ok)
		return;
	if (is_member(f))
		check_member(f, out);
	else if (f->role == ROLE_FOLLOWER)
		check_follower(f, out);
	else
		check_writes(f, out);
}

/* Let the checks agree with the answer: a [-] stands under "ready" as little as all [+] under "not ready". */
static void
explain(const struct readiness_hysteresis *h, int64_t now_ms, struct readiness *r)
{
	size_t used;

	if (r->ready && r->verdict == READINESS_POOR) {
		for (size_t i = 0; i < r->count; i++) {
			if (r->checks[i].ok)
				continue;
			r->checks[i].ok = true;
			used = strlen(r->checks[i].text);
			snprintf(r->checks[i].text + used, sizeof(r->checks[i].text) - used,
			    " for %.1fs, unready after %.1fs", seconds(now_ms - h->poor_since_ms),
			    seconds(READINESS_PATIENCE_MS));
		}
	} else if (!r->ready && r->verdict == READINESS_MARGINAL) {
		check(r, "hysteresis", READINESS_POOR, "hysteresis: ready again when the lag is half its limit");
	}
}

void
readiness_settle(struct readiness_hysteresis *h, int64_t now_ms, struct readiness *r)
{
	bool was_poor = h->poor;

	h->poor = r->verdict == READINESS_POOR;
	if (h->poor && !was_poor)
		h->poor_since_ms = now_ms;
	switch (r->verdict) {
	case READINESS_GOOD:
		h->ready = true;
		break;
	case READINESS_MARGINAL:
		break;
	case READINESS_POOR:
		if (now_ms - h->poor_since_ms >= READINESS_PATIENCE_MS)
			h->ready = false;
		break;
	case READINESS_BAD:
		h->ready = false;
		break;
	}
	r->ready = h->ready;
	explain(h, now_ms, r);
}
