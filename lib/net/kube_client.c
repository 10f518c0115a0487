#include "lib/net/kube_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

#define ACCOUNT_DIR        "/var/run/secrets/kubernetes.io/serviceaccount"
#define URL_SIZE           1024
#define PATH_SIZE          1024
#define TOKEN_BYTES_MAX    (64u << 10)
#define AUTHORIZATION_NAME "Authorization: Bearer "

static const char *
account_dir(const struct kube_options *o)
{
	return o->account != NULL ? o->account : ACCOUNT_DIR;
}

static int
make_url(const struct kube_options *o, const char *path, char out[URL_SIZE], struct sp_error *err)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
	int len;

	if (o->api != NULL)
		len = snprintf(out, URL_SIZE, "%s%s", o->api, path);
	else if (host == NULL || port == NULL)
		return sp_error_set(err, SP_ECONF, "this is no pod of Kubernetes: KUBERNETES_SERVICE_HOST is not set");
	else /* an IPv6 address stands in brackets */
		len = snprintf(out, URL_SIZE, strchr(host, ':') != NULL ? "https://[%s]:%s%s" : "https://%s:%s%s", host,
		    port, path);
	return len < URL_SIZE ? 0 : sp_error_set(err, SP_ETOOBIG, "the URL of %.200s is too long", path);
}

static int
read_token(const struct kube_options *o, struct buf *out, struct sp_error *err)
{
	char path[PATH_SIZE];
	struct buf token;
	int rc;

	buf_init(&token, TOKEN_BYTES_MAX);
	if ((rc = file_join(path, sizeof(path), account_dir(o), "token", err)) == 0 &&
	    (rc = file_read_all(path, &token, err)) == 0)
		rc = buf_printf(out, AUTHORIZATION_NAME "%.*s", (int)strcspn(token.data, "\r\n"), token.data);
	buf_release(&token);
	return rc;
}

bool
kube_has_account(const struct kube_options *o)
{
	char path[PATH_SIZE];

	return file_join(path, sizeof(path), account_dir(o), "token", NULL) == 0 && file_exists(path);
}

static int
judge(const char *method, const char *url, const struct http_reply *reply, struct sp_error *err)
{
	if (reply->status >= 200 && reply->status < 300)
		return 0;
	if (reply->status == 401 || reply->status == 403)
		return sp_error_set(err, SP_EPERM, "%s %s: status %ld: the pod's service account may not do that",
		    method, url, reply->status);
	return sp_error_set(err, SP_EUNAVAIL, "%s %s: status %ld", method, url, reply->status);
}

int
kube_call(const struct kube_options *o, const struct kube_request *rq, struct http_reply *reply, struct sp_error *err)
{
	const char *method = rq->method != NULL ? rq->method : "GET";
	char url[URL_SIZE], ca[PATH_SIZE], type[128];
	const char *headers[] = { NULL, "Accept: application/json", NULL, NULL };
	struct http_client *client = NULL;
	struct buf token;
	int rc;

	buf_init(&token, TOKEN_BYTES_MAX + sizeof(AUTHORIZATION_NAME));
	if ((rc = make_url(o, rq->path, url, err)) < 0 || (rc = read_token(o, &token, err)) < 0 ||
	    (rc = file_join(ca, sizeof(ca), account_dir(o), "ca.crt", err)) < 0)
		goto out;
	client = http_client_new(
	    &(struct http_client_options){
		.connect_timeout_ms = KUBE_CALL_MS, .stall_timeout_ms = KUBE_CALL_MS, .ca_file = ca },
	    err);
	if (client == NULL) {
		rc = SP_ENOMEM;
		goto out;
	}
	headers[0] = token.data;
	if (rq->content_type != NULL) {
		snprintf(type, sizeof(type), "Content-Type: %s", rq->content_type);
		headers[2] = type;
	}
	rc = http_call(client,
	    &(struct http_request_out){ .method = method,
		.url = url,
		.headers = headers,
		.body = rq->body,
		.body_len = rq->body != NULL ? strlen(rq->body) : 0,
		.timeout_ms = KUBE_CALL_MS },
	    reply, err);
	if (rc == 0)
		rc = judge(method, url, reply, err);
	http_client_free(client);
out:
	buf_release(&token);
	return rc;
}
