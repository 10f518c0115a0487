/* Access to peers: which URLs are peers, by what name a peer is verified, the token that it is
 * sent. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "conf/access_control.h"

/* Whether `url` begins with what stands before the path of that pod's URL. */
static bool
is_pod(const struct access_control *d, unsigned ordinal, const char *url)
{
	char base[CONF_TEXT_MAX];
	size_t len;

	if (pod_expand(d->peer_url, &d->pod, ordinal, base, sizeof(base), NULL) < 0)
		return false;
	len = strlen(base);
	return strncasecmp(url, base, len) == 0 && (url[len] == '\0' || url[len] == '/' || url[len] == '?');
}

static bool
find_peer(const struct access_control *d, const char *url, unsigned *ordinal)
{
	*ordinal = atomic_load(&d->leader_ordinal);
	if (is_pod(d, *ordinal, url))
		return true;
	for (*ordinal = 0; *ordinal < d->peers; (*ordinal)++)
		if (is_pod(d, *ordinal, url))
			return true;
	return false;
}

static bool
is_peer(void *arg, const char *url, char *name, size_t size)
{
	const struct access_control *d = arg;
	unsigned ordinal;

	if (!find_peer(d, url, &ordinal))
		return false;
	if (d->peer_name[0] != '\0' && pod_expand(d->peer_name, &d->pod, ordinal, name, size, NULL) < 0)
		return false;
	return true;
}

static bool
peer_token(void *arg, char *out, size_t size)
{
	const struct access_control *d = arg;

	return d->tokens != NULL && tokens_first(d->tokens, TOKEN_PEER, out, size);
}

/* The host of a pod's URL; an IPv6 address without its brackets is no name, and is left out. */
static void
host_of(const char *url, char *out, size_t size)
{
	const char *host = strstr(url, "://");

	host = host != NULL ? host + 3 : url;
	snprintf(out, size, "%.*s", host[0] == '[' ? 0 : (int)strcspn(host, ":/"), host);
}

static bool
is_home(void *arg, const char *url, char *name, size_t size)
{
	const struct access_control *d = arg;
	char own[CONF_TEXT_MAX];

	(void)url;
	if (d->peer_name[0] != '\0')
		return pod_expand(d->peer_name, &d->pod, d->pod.ordinal, name, size, NULL) == 0;
	if (pod_expand(d->peer_url, &d->pod, d->pod.ordinal, own, sizeof(own), NULL) < 0)
		return false;
	host_of(own, name, size);
	return true;
}

const struct http_access *
access_control_at_home(struct access_control *d)
{
	d->access_rules = (struct http_access){ .tls = d->tls, .is_peer = is_home, .arg = d };
	return &d->access_rules;
}

const struct http_access *
access_control_for_peers(struct access_control *d)
{
	d->access_rules = (struct http_access){ .tls = d->tls, .is_peer = is_peer, .token = peer_token, .arg = d };
	return &d->access_rules;
}
