/*
 * Reports this pod to Kubernetes: the label seedpod.dev/role (leader, follower), and Events for what
 * happens to it (Seeded, Diverged, Promoted, Demoted, ConfigRejected). A thread of its own, because
 * the API server may be slow. It runs only if a service account's token is mounted. If the account
 * lacks the rights, it says so once and retries now and then. Nothing else depends on it.
 *
 *	struct announce *a = announce_new(&options, &err);
 *	announce_stop(a, 1500) ? announce_free(a) : …;
 */
#ifndef SIDECAR_ANNOUNCE_H_
#define SIDECAR_ANNOUNCE_H_

#include "conf/reload.h"
#include "lib/net/kube_client.h"
#include "sidecar/state.h"

struct announce_options {
	struct state *state;
	struct reload *reload;    /* NULL: no configuration is watched */
	struct kube_options kube; /* strings must outlive the thread */
	int64_t interval_ms;      /* 0: 500 ms */
};

struct announce;

/* Starts the thread. */
struct announce *announce_new(const struct announce_options *o, struct sp_error *err);

/* Stop and wait for the thread; false if it had not ended within the time: then it must not be freed. */
bool announce_stop(struct announce *a, int64_t timeout_ms);

/* After announce_stop() returned true. NULL does nothing. */
void announce_free(struct announce *a);

#endif
