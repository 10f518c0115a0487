/*
 * How a member of mode raft leaves when its pod is scaled away: seedpod-sidecar --leave, for a
 * preStop hook or by hand. A member that goes without leaving stays in the configuration and counts
 * against the majority. A pod that only restarts must not leave, and cannot tell the two apart by
 * itself: it reads the StatefulSet, if it has the right to.
 *
 * The whole of a short-lived process. One thread.
 */
#ifndef SIDECAR_LEAVE_H_
#define SIDECAR_LEAVE_H_

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "lib/base/error.h"

struct http_access;

#define LEAVE_TIMEOUT_MS 20000 /* within a pod's terminationGracePeriodSeconds of 30 */

struct leave_options {
	const struct conf *conf;
	bool always;                      /* leave whatever the StatefulSet says, and do not ask it */
	const struct http_access *access; /* the rules for peers; NULL: none */
	const char *api;                  /* base URL of the Kubernetes API; NULL: that of the pod's environment */
	const char *account; /* folder with `token` and `ca.crt`; NULL: where Kubernetes mounts a service account */
	int64_t timeout_ms;  /* for all of it */
};

enum leave_outcome {
	LEAVE_STAYS, /* the StatefulSet still counts this pod */
	LEAVE_LEFT,  /* this member is not in the configuration */
};

/*
 * One change of the configuration is made at a time, so this may take a few tries; any member is asked, and sends on to
 * the leader. 0 with *out; SP_EUNAVAIL or SP_EAGAIN if that could not be done in time, SP_EPERM if the
 * StatefulSet may not be read, SP_ECONF if there is no Kubernetes or the mode is not raft: nothing was changed then.
 */
int leave(const struct leave_options *o, enum leave_outcome *out, struct sp_error *err);

#endif
