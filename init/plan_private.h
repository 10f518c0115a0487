/* What the two halves of the decision share: plan.c (a leader and its followers) and plan_raft.c (members). */
#ifndef INIT_PLAN_PRIVATE_H_
#define INIT_PLAN_PRIVATE_H_

#include "init/plan.h"

/* Set the action and the sentence that says why. */
void plan_decide(struct plan *out, enum plan_action action, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The rows of mode raft. */
void plan_raft(const struct facts *f, struct plan *out);

#endif
