/*
 * Moving the lead of mode static by hand: seedpod-sidecar --role leader, in the pod that is to
 * lead, or --role follower in the one that leads. The move holds, whatever [replication]
 * leader_ordinal says, until the value of that key changes.
 *
 * The whole of a short-lived process. One thread.
 */
#ifndef SIDECAR_ROLE_H_
#define SIDECAR_ROLE_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "lib/base/error.h"

struct http_access;

#define ROLE_TIMEOUT_MS 30000

struct role_options {
	const struct conf *conf;
	bool leader; /* this pod is to lead; else it is to hand the lead to the follower that is furthest on */
	bool force;  /* leader: also if the pod that held the lead cannot be asked: what only that one has is lost */
	int64_t timeout_ms;
	const struct http_access *access; /* the rules for peers; NULL: none */
};

/* 0 with a sentence in told[size]. SP_EUNAVAIL: no pod that leads, and none that gave the lead to this one, answers.
 * SP_EAGAIN: not in time; the old leader leads on. SP_EUNKNOWN: as handover_run(). SP_ECONF: not mode static. */
int role_set(const struct role_options *o, char *told, size_t size, struct sp_error *err);

#endif
