/*
 * The access control of the configuration: TLS ([tls]) and tokens ([auth]), made from the files of
 * a Secret, and how this program authenticates to its peers (lib/net/http_client.h, struct
 * http_access).
 *
 *	access_control_open(&d, &conf, &err);	// reads and checks the files
 *	access_control_for_peers(&d);		// for the program's HTTP clients
 *	access_control_look(&d);			// about once a second: takes files that changed
 *	access_control_close(&d);
 */
#ifndef CONF_ACCESS_CONTROL_H_
#define CONF_ACCESS_CONTROL_H_

#include <stdatomic.h>

#include "conf/conf.h"
#include "lib/net/http_client.h"
#include "lib/net/secret.h"
#include "lib/net/tls.h"
#include "lib/net/tokens.h"

struct access_control {
	struct tls *tls;       /* NULL: neither certificate nor authorities are configured */
	struct tls *serving;   /* the same, or NULL without a certificate: HTTP */
	struct tokens *tokens; /* NULL: no authorization */
	struct secret *secret; /* of mode raft's port; NULL: none */

	/* What names peers. */
	struct pod pod;
	char peer_url[CONF_TEXT_MAX];
	char peer_name[CONF_TEXT_MAX];
	unsigned peers; /* ordinals below this, and the leader's, are peers */
	atomic_uint leader_ordinal;
	struct http_access access_rules;
};

/* SP_ECONF with the file and what is wrong with it. Strings are copied. */
int access_control_open(struct access_control *d, const struct conf *c, struct sp_error *err);

/* The rules for HTTP clients that ask peers: our certificate, the names that theirs must bear, the
 * token. They are `d`'s, and last until access_control_close(). */
const struct http_access *access_control_for_peers(struct access_control *d);

/* The same for a program that asks its own pod alone, at an address that no certificate bears: the name to be verified
 * is the one that peers know this pod by. No token is shown. One of the two for a `d`. */
const struct http_access *access_control_at_home(struct access_control *d);

/* The configuration names this leader now. Any thread. */
void access_control_name_leader(struct access_control *d, unsigned ordinal);

/* Take files that have changed. One thread at a time. */
void access_control_look(struct access_control *d);

/* After the last listener and request. Safe on a struct of zeros. */
void access_control_close(struct access_control *d);

/* Read and check the files without using them, for --check. */
int access_control_check(const struct conf *c, struct sp_error *err);

/* What stands open, as log lines at the program's start: once, and clearly. */
void access_control_warn(const struct access_control *d);

/* Samples for Prometheus, their names beginning with `prefix`. Any thread. */
int access_control_metrics(struct access_control *d, const char *prefix, struct buf *out);

#endif
