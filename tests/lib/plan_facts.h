/* A set of pods as init sees it before it decides, for the tests of its plan: one set of facts, made anew by each test.
 */
#ifndef TESTS_LIB_PLAN_FACTS_H_
#define TESTS_LIB_PLAN_FACTS_H_

#include "init/plan.h"

#define PEERS 4

extern struct facts facts;
extern struct plan plan;
extern struct peer_fact peers[PEERS]; /* facts.peers */

/* Five pods: this one is `ordinal`, pod 0 leads or founds, its volume is empty, and none of the other four answers. */
void pods(unsigned ordinal);

/* The peer of that ordinal; the test fails where there is none. */
struct peer_fact *peer(unsigned ordinal);

/* It is there, and leaves open what it has: `code` is what came of asking it. */
void is_unclear(unsigned ordinal, int code, const char *text);

/* It answers, with a store at `p`. */
void answers(unsigned ordinal, struct position p);

/* Decide, and fail unless it is this action: with a reason, with a donor where there is something to fetch and without
 * one elsewhere, with a code where init does not go on; ... */
void expect(enum plan_action action);
void expect_donor(enum plan_action action, unsigned ordinal); /* ... from that pod; */
void expect_end(enum plan_action action, int exit_code);      /* ... with that exit code. */

#endif
