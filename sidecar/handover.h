/*
 * The successor's side of a planned hand-over in mode static (docs/architecture.md, "Moving the leader"):
 *
 *	prepare	 the leader holds its writes and tells its last position
 *	catch up until this pod's store stands there, with an equal digest
 *	commit	 the leader releases the lead, on its disk
 *	lead	 this pod begins the next epoch, on its disk
 *	led	 the old leader sends the held writes here
 *
 * A failure before commit leaves the old leader leading. After commit only this pod may lead, and does so whenever it
 * finds the release (lead_awaits()). The sidecar's sync runs it, and the process of --role. One thread.
 */
#ifndef SIDECAR_HANDOVER_H_
#define SIDECAR_HANDOVER_H_

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "lib/base/error.h"
#include "lib/net/http_client.h"
#include "lib/protocol/peer.h"
#include "lib/protocol/position.h"

#define HANDOVER_CALL_MS     3000 /* one step's answer */
#define HANDOVER_CATCH_UP_MS 1800 /* less than the leader holds its writes */
#define HANDOVER_LONGEST_MS  20000

/* One step at `url` (of POST /v1/handover or the control socket's /handover). `at`: NULL for cancel
 * and led. `out`, if not NULL, becomes the position that prepare and commit answer. SP_EPRECOND,
 * SP_EDIVERGED, SP_EAGAIN: refused, with the leader's reason; SP_ENOTFOUND: its version or mode has
 * no hand-overs; else as lib/net/http_client.h says. */
struct handover_step {
	const char *url;
	const char *step;
	unsigned to;
	bool by_hand;
	const struct position *at;
};
int handover_ask(struct http_client *c, const struct handover_step *step, struct position *out, struct sp_error *err);

struct handover {
	struct http_client *client;
	const char *leader_url; /* base URL */
	unsigned from, to;      /* ordinals of the leader and of this pod */
	bool by_hand;
	struct position own; /* where this pod stands; catch_up() moves it on */

	/* Bring the store to exactly this position until then, and h->own. */
	int (*catch_up)(struct handover *h, const struct position *to, int64_t until_ms, struct sp_error *err);
	/* Begin to lead from h->own. */
	int (*lead)(struct handover *h, int64_t pause_ms, struct sp_error *err);
	void *arg;

	int64_t pause_ms; /* out: from the leader's hold to the new epoch */
};

/* All of it. 0: this pod leads. Else the old leader leads on, or, if the outcome of commit is not
 * known (SP_EUNKNOWN), the release is to be looked for. */
int handover_run(struct handover *h, struct sp_error *err);

/* The old leader gave the lead to this pod already, and h->own is exactly there. */
int handover_take(struct handover *h, struct sp_error *err);

/* The other pods' answers: which pod leads. */
struct handover_search {
	bool found;         /* one leads: */
	unsigned ordinal;   /* which */
	struct position at; /* and where it stands */

	bool awaited; /* none leads, and this pod is the one that is to: */
	unsigned from;
	struct position released; /* by that one, and where */

	char why[256]; /* neither: what is known of it */
};

/*
 * Decide from the n pods' answers; answers[i] is of the pod ordinals[i], `own` is the ordinal of this pod. A release to
 * this pod is not awaited any more where a pod of `cluster` is in a later epoch. Pure, any thread.
 */
void handover_weigh(const struct peer_answer *answers, const unsigned *ordinals, size_t n, const char *cluster,
    unsigned own, struct handover_search *out);

/* Ask all pods that there may be, then as handover_weigh(). Fails only when out of memory or cancelled. */
int handover_find(struct http_client *c, const struct conf *conf, const char *cluster, struct handover_search *out,
    struct sp_error *err);

#endif
