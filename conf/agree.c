/* Keys that must agree with one another: those of [tls] belong together. */
#include <stdio.h>
#include <string.h>

#include "conf/raw.h"

static void
complain(const struct raw *raw, const char *section, const char *name, const char *what, struct mistakes *m)
{
	raw_complain(raw, schema_find(section, name), what, NULL, m);
}

/* With a certificate of our own, peers have one too: an unset key follows, and one that is set must
 * fit. */
static void
agree_peer_url(const struct raw *raw, struct conf *c, struct mistakes *m)
{
	char url[CONF_TEXT_MAX] = { 0 };

	if (c->tls_cert[0] == '\0' || strncmp(c->pod_peer_url, "http://", 7) != 0)
		return;
	if (raw->values[schema_index(schema_find("pod", "peer_url"))].origin != RAW_DEFAULT) {
		complain(raw, "pod", "peer_url",
		    "begins with http://, but with [tls] cert the peers speak https:// alone", m);
		return;
	}
	snprintf(url, sizeof(url), "https://%.*s", CONF_TEXT_MAX - 9, c->pod_peer_url + 7);
	memcpy(c->pod_peer_url, url, sizeof(url));
}

void
raw_agree(const struct raw *raw, struct conf *c, struct mistakes *m)
{
	if (c->tls_cert[0] != '\0' && c->tls_key[0] == '\0')
		complain(raw, "tls", "cert", "is given without [tls] key", m);
	if (c->tls_key[0] != '\0' && c->tls_cert[0] == '\0')
		complain(raw, "tls", "key", "is given without [tls] cert", m);
	if (c->tls_client_auth != TLS_CLIENT_NONE && (c->tls_cert[0] == '\0' || c->tls_ca[0] == '\0'))
		complain(raw, "tls", "client_auth", "needs [tls] cert, key and ca", m);
	if (c->replication_mode == CONF_MODE_RAFT && c->tls_cert[0] != '\0' && c->tls_ca[0] == '\0')
		complain(
		    raw, "tls", "ca", "is needed in mode raft with [tls] cert: members show one another theirs", m);
	if (c->sidecar_tls == CONF_ON && c->tls_cert[0] == '\0')
		complain(raw, "sidecar", "tls", "needs [tls] cert and key", m);
	agree_peer_url(raw, c, m);
}
