/* Shared by the parts of the decision: plan.c chooses among them. */
#ifndef INIT_PLAN_PRIVATE_H_
#define INIT_PLAN_PRIVATE_H_

#include "init/plan.h"

/* Set the action and the sentence that says why. */
void plan_decide(struct plan *out, enum plan_action action, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Whether `a` is ahead of `b`: a later epoch, or further on in the same; at the same place, a clean
 * cut first. */
bool plan_more_advanced(const struct position *a, const struct position *b);

/*
 * A peer that reports no position now and may hold data that an empty volume lost, or NULL: it is
 * there and does not say what it has, or reported its data earlier in this run. One that reported
 * no more than `most` does not count; NULL: no other peer reports data.
 */
const struct peer_fact *plan_silent_peer(const struct facts *f, const struct peer_fact *most);

/* How many peers gave no answer at all. The plan reports this number if no peer reported data. */
size_t plan_unreached(const struct facts *f);

/* Wait for such a peer. `pod` begins the sentence: what this pod is. */
void plan_wait_for_data(const struct facts *f, struct plan *out, const char *pod, const struct peer_fact *peer);

/* Mode static: whether this pod's server will lead. */
bool plan_leads(const struct facts *f);

/* Mode static: whether a peer takes writes of the cluster (NULL: any) in mode raft: two that lead lose one's writes, so
 * that this pod does not begin, and `out` says so. A peer that leads in mode static is followed. */
bool plan_majority_leads(const struct facts *f, const char *cluster, struct plan *out);

/* The rows of mode static, and those of mode raft. */
void plan_leader(const struct facts *f, struct plan *out);
void plan_follower(const struct facts *f, struct plan *out);
void plan_raft(const struct facts *f, struct plan *out);

#endif
