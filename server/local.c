#include "server/local.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/number.h"
#include "server/replication/raft/repl_raft.h"

#define MEMBERS_MAX 256
#define CONF_MAX    16384

static int
read_number(const char *name, const char *text, unsigned long most, unsigned *out, struct sp_error *err)
{
	uint64_t n = 0;

	if (!number_from_text(text, most, &n) || n < 1)
		return sp_error_set(err, SP_EUSAGE, "--%s takes a whole number from 1 to %lu", name, most);
	*out = (unsigned)n;
	return 0;
}

/* "URL,URL,…" as a list. */
static int
split_urls(const char *list, char ***out, size_t *count, struct sp_error *err)
{
	char **urls = calloc(MEMBERS_MAX + 1, sizeof(*urls));
	char raft[POSITION_URL_MAX];
	size_t n = 0, len;
	int rc = urls == NULL ? SP_ENOMEM : 0;

	for (const char *p = list; rc == 0 && *p != '\0'; p += len + (p[len] == ',')) {
		len = strcspn(p, ",");
		if (n == MEMBERS_MAX)
			rc = SP_EUSAGE; /* NOLINT(bugprone-branch-clone): the order counts */
		else if ((urls[n] = strndup(p, len)) == NULL)
			rc = SP_ENOMEM;
		else if (strncmp(urls[n++], "http://", 7) != 0 || member_address(urls[n - 1], raft, sizeof(raft)) < 0)
			rc = SP_EUSAGE;
	}
	if (rc == 0 && n > 0) {
		*out = urls;
		*count = n;
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		free(urls[i]);
	free(urls);
	return sp_error_set(err, rc == SP_ENOMEM ? rc : SP_EUSAGE,
	    "--cluster takes the members' URLs, http://host:port, with commas between them, at most %d", MEMBERS_MAX);
}

static unsigned
port_of(const char *url)
{
	uint64_t port = 0;

	number_from_text(strrchr(url, ':') + 1, 65535, &port);
	return (unsigned)port;
}

/* Where to bind what is reached at host:port: at that address where it is one, else at all. */
static void
bind_address(const char *host_port, char *out, size_t size)
{
	const char *colon = strrchr(host_port, ':');
	struct in_addr ignored;
	char host[64];

	snprintf(host, sizeof(host), "%.*s", (int)(colon - host_port), host_port);
	snprintf(
	    out, size, "%s%s", host[0] == '[' || inet_pton(AF_INET, host, &ignored) == 1 ? host : "0.0.0.0", colon);
}

static int
make_conf(struct local *l, unsigned id, unsigned port, const char *data_dir, struct sp_error *err)
{
	char here[2048] = "";
	struct buf text;
	int rc;

	if (data_dir == NULL || data_dir[0] != '/')
		if (getcwd(here, sizeof(here)) == NULL)
			return sp_error_set(err, SP_ECONF, "the present folder cannot be told; give --data-dir");
	buf_init(&text, CONF_MAX);
	rc = buf_printf(&text,
	    "[pod]\nname = node-%u\nnamespace = local\nservice = local\n"
	    "termination_log =\n[replication]\nmode = raft\n[server]\nlisten = 0.0.0.0:%u\n",
	    id, port);
	for (int i = 0; rc == 0 && i < 2; i++) {
		rc = buf_printf(
		    &text, "%s = %s%s", i == 0 ? "data_dir" : "control_socket", here, here[0] != '\0' ? "/" : "");
		if (rc == 0)
			rc = data_dir != NULL ? buf_adds(&text, data_dir) : buf_printf(&text, "seedpod-%u", id);
		if (rc == 0)
			rc = buf_adds(&text, i == 0 ? "\n" : "/control.sock\n");
	}
	if (rc == 0)
		rc = conf_parse("command line", text.data, text.len, (const char *const *)environ, &l->conf, err);
	buf_release(&text);
	return rc;
}

int
local_init(struct local *l, const struct local_options *o, struct sp_error *err)
{
	unsigned id = 0, port = 0;
	size_t count = 0;
	int rc;

	memset(l, 0, sizeof(*l));
	rc = read_number("id", o->id, MEMBER_NUMBER_MAX - 1, &id, err);
	if (rc == 0)
		rc = read_number("port", o->port, 65535, &port, err);
	if (rc == 0)
		rc = split_urls(o->cluster != NULL ? o->cluster : "", &l->urls, &count, err);
	if (rc < 0)
		return rc;
	if (id > count)
		rc = sp_error_set(err, SP_EUSAGE, "--cluster has %zu URLs, and none for member %u", count, id);
	/* Else it would be found out when the port is in use, and this member has joined. */
	else if (port_of(l->urls[id - 1]) == port || port_of(l->urls[id - 1]) == port + 1)
		rc = sp_error_set(err, SP_EUSAGE,
		    "--port %u is for clients, and must be another than that of %s and the raft port below it", port,
		    l->urls[id - 1]);
	if (rc == 0)
		rc = make_conf(l, id, port, o->data_dir, err);
	if (rc == 0 && l->conf.tls_cert[0] != '\0')
		rc = sp_error_set(err, SP_ECONF, "[tls] cert: the members of --cluster have http:// URLs and no TLS");
	if (rc < 0) {
		local_release(l);
		return rc;
	}
	member_address(l->urls[id - 1], l->raft, sizeof(l->raft));
	bind_address(l->raft, l->raft_listen, sizeof(l->raft_listen));
	bind_address(l->urls[id - 1] + strlen("http://"), l->listen, sizeof(l->listen));
	l->cluster = (struct server_cluster){ .number = id,
		.url = l->urls[id - 1],
		.peers = (const char *const *)l->urls,
		.wire_address = l->raft,
		.raft_listen = l->raft_listen,
		.listen = l->listen,
		.founds = id == 1 && !o->join };
	return 0;
}

void
local_release(struct local *l)
{
	for (size_t i = 0; l->urls != NULL && l->urls[i] != NULL; i++)
		free(l->urls[i]);
	free(l->urls);
	l->urls = NULL;
}
