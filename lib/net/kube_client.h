/*
 * The Kubernetes API, as far as a pod's own service account may use it. A call makes a connection of its own and reads
 * the token again, because Kubernetes renews the file about every hour.
 *
 *	struct http_reply reply;
 *	http_reply_init(&reply, 1 << 20);
 *	kube_call(&(struct kube_options){ 0 }, &(struct kube_request){ .path = "/api/v1/…" }, &reply, &err);
 *	http_reply_release(&reply);
 *
 * Any thread; http_setup() comes first.
 */
#ifndef LIB_NET_KUBE_CLIENT_H_
#define LIB_NET_KUBE_CLIENT_H_

#include <stdbool.h>

#include "lib/base/error.h"
#include "lib/net/http_client.h"

#define KUBE_CALL_MS 5000 /* no call takes longer */

struct kube_options {
	const char *api;     /* base URL; NULL: that of the pod's environment */
	const char *account; /* folder with `token` and `ca.crt`; NULL: where Kubernetes mounts a service account */
};

struct kube_request {
	const char *method;       /* NULL: GET */
	const char *path;         /* from /api or /apis on */
	const char *content_type; /* of the body */
	const char *body;         /* NULL: none */
};

/* Whether a token is mounted. */
bool kube_has_account(const struct kube_options *o);

/* 0 for a status of 2xx, with the answer in `reply`. SP_EPERM for 401 and 403, SP_EUNAVAIL for any other status and for
 * no answer, SP_ECONF outside of Kubernetes; otherwise as http_call() and file_read_all() say. */
int kube_call(
    const struct kube_options *o, const struct kube_request *rq, struct http_reply *reply, struct sp_error *err);

#endif
