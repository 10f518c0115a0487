/*
 * The two listeners and their routes: the network (mehdb API and /v1) and the control socket. Each request is matched,
 * its key decoded, and handed to its handler in api.h.
 */
#ifndef SERVER_HTTP_ROUTER_H_
#define SERVER_HTTP_ROUTER_H_

#include "lib/base/error.h"
#include "lib/net/listener.h"
#include "server/http/api.h"

/* Serve the network at `address` ("0.0.0.0:9876"). `api` outlives the listener. */
struct listener *http_serve(struct api *api, const char *address, unsigned threads, struct sp_error *err);

/* Serve the control socket at `path`. */
struct listener *http_serve_control(struct api *api, const char *path, struct sp_error *err);

#endif
