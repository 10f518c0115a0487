#include "sidecar/announce_decide.h"

#include <stdio.h>
#include <string.h>

const char *
announce_label(const struct announce_facts *now)
{
	if (!now->role_known)
		return NULL;
	/* In mode static no pod takes over while the leader's server is down. */
	return now->leads && (now->server_ok || !now->raft) ? "leader" : "follower";
}

static void
add(struct announce_event *out, unsigned *count, const char *reason, bool warning, const char *text)
{
	struct announce_event *event = &out[(*count)++];

	event->reason = reason;
	event->warning = warning;
	snprintf(event->text, sizeof(event->text), "%s", text);
}

/* A role that a pod starts with is no news: what changes while it runs is. */
static void
look_at_role(struct announced *told, const struct announce_facts *now, struct announce_event *out, unsigned *count)
{
	if (!now->role_known)
		return;
	if (told->role_known && told->leads != now->leads)
		add(out, count, now->leads ? "Promoted" : "Demoted", false,
		    now->leads ? "this pod leads now" : "this pod does not lead any more");
	told->role_known = true;
	told->leads = now->leads;
}

unsigned
announce_events(
    struct announced *told, const struct announce_facts *now, struct announce_event out[ANNOUNCE_EVENTS_MAX])
{
	unsigned count = 0;

	/* Both times are in UTC and compare as text, up to the second: Kubernetes tells no more. */
	if (now->seeded[0] != '\0' && strcmp(told->seeded, now->seeded) != 0) {
		if (strncmp(now->seeded, now->created, sizeof("2026-11-20T11:02:03") - 1) >= 0)
			add(out, &count, "Seeded", false, now->seed);
		snprintf(told->seeded, sizeof(told->seeded), "%s", now->seeded);
	}
	look_at_role(told, now, out, &count);
	if (now->diverged[0] != '\0' && !told->diverged)
		add(out, &count, "Diverged", true, now->diverged);
	told->diverged = now->diverged[0] != '\0';
	if (now->rejected[0] != '\0' && strncmp(told->rejected, now->rejected, sizeof(told->rejected) - 1) != 0)
		add(out, &count, "ConfigRejected", true, now->rejected);
	snprintf(told->rejected, sizeof(told->rejected), "%s", now->rejected);
	return count;
}
