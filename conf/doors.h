/*
 * The doors that the configuration asks for: TLS ([tls]) and tokens ([auth]), made from files that a Secret brings,
 * and the way in which peers are asked through theirs (lib/net/http_client.h, struct http_door).
 *
 *	doors_open(&d, &conf, &err);	// reads and checks the files
 *	doors_use(&d);			// by all HTTP clients of this program
 *	doors_look(&d);			// about once a second: takes files that changed
 *	doors_close(&d);
 */
#ifndef CONF_DOORS_H_
#define CONF_DOORS_H_

#include <stdatomic.h>

#include "conf/conf.h"
#include "lib/net/http_client.h"
#include "lib/net/secret.h"
#include "lib/net/tls.h"
#include "lib/net/tokens.h"

struct doors {
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
	struct http_door door;
};

/* SP_ECONF with the file and what is wrong with it. Strings are copied. */
int doors_open(struct doors *d, const struct conf *c, struct sp_error *err);

/* From now on this program's HTTP clients ask peers through their doors: our certificate, the names that theirs must
 * bear, the token. `d` must stay where it is until doors_close(). */
void doors_use(struct doors *d);

/* The same for a program that asks its own pod alone, at an address that no certificate bears: the name to be verified
 * is the one that peers know this pod by. No token is shown. */
void doors_use_at_home(struct doors *d);

/* The configuration names this leader now. Any thread. */
void doors_name_leader(struct doors *d, unsigned ordinal);

/* Take files that have changed. One thread at a time. */
void doors_look(struct doors *d);

/* After the last listener and request. Safe on a struct of zeros. */
void doors_close(struct doors *d);

/* Read and check the files without using them, for --check. */
int doors_check(const struct conf *c, struct sp_error *err);

/* What stands open, as log lines at the program's start: once, and clearly. */
void doors_warn(const struct doors *d);

/* Samples for Prometheus, their names beginning with `prefix`. Any thread. */
int doors_metrics(struct doors *d, const char *prefix, struct buf *out);

#endif
