/*
 * What the sidecar tells on its port (DESIGN section 7): /livez, /readyz, /metrics, /status. Every page is made of a
 * copy of the state; none asks a server or a peer.
 */
#ifndef SIDECAR_PAGES_H_
#define SIDECAR_PAGES_H_

#include "conf/reload.h"
#include "lib/listener.h"
#include "sidecar/state.h"

struct pages {
	struct state *state;
	struct reload *reload; /* NULL: the configuration is the state's and never changes (tests) */
};

/* A listener_options.handle; `arg` is a struct pages. */
void pages_handle(struct request *rq, void *arg);

#endif
