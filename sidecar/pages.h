/*
 * The pages on the sidecar's port: /livez, /readyz, /metrics, /status. Every page is made of a copy
 * of the state; none asks a server or a peer.
 */
#ifndef SIDECAR_PAGES_H_
#define SIDECAR_PAGES_H_

#include "conf/access_control.h"
#include "conf/reload.h"
#include "lib/net/listener.h"
#include "sidecar/state.h"

struct pages {
	struct state *state;
	struct reload *reload;                 /* NULL: the configuration is the state's and never changes (tests) */
	struct access_control *access_control; /* NULL: anyone may see all pages */
};

/* A listener_options.handle; `arg` is a struct pages. */
void pages_handle(struct request *rq, void *arg);

/* A listener_options.admit and .refuse: /metrics and /status are for tokens of the role metrics, if there are any.
 */
unsigned pages_admit(struct request *rq, const char **detail, void *arg);
void pages_refuse(struct request *rq, unsigned status, const char *detail, void *arg);

#endif
