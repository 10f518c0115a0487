/*
 * What to report to Kubernetes about a pod: which label it carries, and which events are new. Pure;
 * sidecar/announce.c supplies the facts and sends the report.
 */
#ifndef SIDECAR_ANNOUNCE_DECIDE_H_
#define SIDECAR_ANNOUNCE_DECIDE_H_

#include <stdbool.h>

#include "lib/base/clock.h"

#define ANNOUNCE_TEXT_MAX   768 /* bytes of an event's message, with NUL; Kubernetes takes 1024 */
#define ANNOUNCE_EVENTS_MAX 4

/* How the pod is at one moment. Strings are never NULL. */
struct announce_facts {
	bool role_known;      /* the server has reported its role */
	bool leads;           /* and leads */
	bool server_ok;       /* it answers */
	bool raft;            /* mode raft, in which another pod leads when this one does not answer */
	const char *seeded;   /* when this volume was last seeded, as RFC 3339; "" for never */
	const char *seed;     /* what that cost, as a sentence */
	const char *created;  /* when the pod was made, as RFC 3339 */
	const char *diverged; /* why it has diverged; "" if it has not */
	const char *rejected; /* why the newest configuration is not in force; "" if it is */
};

/* Reported so far; begins as zeros. */
struct announced {
	bool role_known;
	bool leads;
	bool diverged;
	char seeded[CLOCK_RFC3339_SIZE];
	char rejected[ANNOUNCE_TEXT_MAX];
};

struct announce_event {
	const char *reason; /* Seeded, Diverged, Promoted, Demoted or ConfigRejected */
	bool warning;
	char text[ANNOUNCE_TEXT_MAX];
};

/* "leader" or "follower"; NULL while that is not known. */
const char *announce_label(const struct announce_facts *now);

/* The events that are due, into out; their number. `told` is brought up to date. */
unsigned announce_events(
    struct announced *told, const struct announce_facts *now, struct announce_event out[ANNOUNCE_EVENTS_MAX]);

#endif
