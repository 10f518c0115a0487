/* Keys that must agree with one another: those of [tls] belong together, and those of [store]. */
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

/* Where `path` continues below `folder`, both absolute and without "." and ".."; NULL: it is not below or equal. */
static const char *
below(const char *path, const char *folder)
{
	for (;;) {
		size_t part;

		path += strspn(path, "/");
		folder += strspn(folder, "/");
		if (*folder == '\0')
			return path;
		part = strcspn(folder, "/");
		if (strcspn(path, "/") != part || memcmp(path, folder, part) != 0)
			return NULL;
		path += part;
		folder += part;
	}
}

static bool
has_dots(const char *path)
{
	while (*path != '\0') {
		size_t part;

		path += strspn(path, "/");
		part = strcspn(path, "/");
		if ((part == 1 && path[0] == '.') || (part == 2 && path[0] == '.' && path[1] == '.'))
			return true;
		path += part;
	}
	return false;
}

/* A restore replaces the path by rename, so nothing of seedpod's may be in it, and it may not be a mount. */
static const char *
path_fault(const struct conf *c)
{
	if (has_dots(c->store_path))
		return "has \".\" or \"..\" in it";
	if (below("/", c->store_path) != NULL)
		return "is the root directory";
	if (below(c->store_path, c->server_data_dir) != NULL)
		return below(c->server_data_dir, c->store_path) != NULL ? "is [server] data_dir itself"
									: "is inside [server] data_dir";
	return below(c->server_data_dir, c->store_path) != NULL ? "contains [server] data_dir" : NULL;
}

static void
agree_store(const struct raw *raw, const struct conf *c, struct mistakes *m)
{
	const char *fault = c->store_path[0] != '\0' ? path_fault(c) : NULL;

	if (fault != NULL)
		complain(raw, "store", "path", fault, m);
	if (c->store_driver == CONF_DRIVER_SEEDPOD)
		return;
	/* NEEDSWORK: goes when the directory driver is there; the word is known so that the schema need not change. */
	if (c->store_driver == CONF_DRIVER_DIRECTORY)
		complain(raw, "store", "driver", "directory is not available in this version", m);
	if (c->store_driver == CONF_DRIVER_EXEC && c->store_command[0] == '\0')
		complain(raw, "store", "driver", "exec needs [store] command", m);
	if (c->store_path[0] == '\0')
		complain(raw, "store", "driver", "needs [store] path", m);
	if (c->replication_mode != CONF_MODE_STATIC)
		complain(raw, "store", "driver", "needs [replication] mode = static, unless it is seedpod", m);
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
	agree_store(raw, c, m);
}
