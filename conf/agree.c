/* What keys say of one another: those of [tls] belong together. */
#include <stdio.h>
#include <string.h>

#include "conf/raw.h"

static const struct raw_value *
value_of(const struct raw *raw, const char *section, const char *name)
{
	return &raw->values[schema_index(schema_find(section, name))];
}

/* A mistake at the place where the key was given. */
static void
complain(const struct raw *raw, const char *section, const char *name, const char *what, struct mistakes *m)
{
	const struct raw_value *value = value_of(raw, section, name);
	char variable[96];

	if (value->origin == RAW_ENVIRONMENT) {
		schema_variable(schema_find(section, name), variable, sizeof(variable));
		mistakes_add_variable(m, variable, "[%s] %s: %s", section, name, what);
	} else {
		mistakes_add_line(m, value->line, "[%s] %s: %s", section, name, what);
	}
}

/* With a certificate of our own, peers have one too: what nobody has said follows, and what was said must fit. */
static void
agree_peer_url(const struct raw *raw, struct conf *c, struct mistakes *m)
{
	char url[CONF_TEXT_MAX] = { 0 };

	if (c->tls_cert[0] == '\0' || strncmp(c->pod_peer_url, "http://", 7) != 0)
		return;
	if (value_of(raw, "pod", "peer_url")->origin != RAW_DEFAULT) {
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
	if (c->sidecar_tls == CONF_ON && c->tls_cert[0] == '\0')
		complain(raw, "sidecar", "tls", "needs [tls] cert and key", m);
	agree_peer_url(raw, c, m);
}
