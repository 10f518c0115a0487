/*
 * TLS for both sides: a certificate, its key and the authorities to trust, read from files that may be replaced while
 * the program runs (owner of gnutls.h; the asking side hands what is read here to libcurl).
 *
 *	struct tls *t = tls_new(&options, &err);	// read and checked
 *	tls_look(t);					// now and then: new files, whole and checked, or none
 *	tls_free(t);
 *
 * Files that were read together are one identity. A connection keeps the one that it began with;
 * the next one begins with the newest. Files that do not fit together, cannot be read, or hold a
 * certificate outside of its time are refused, and the identity before stays; each look retries
 * them, since time may cure the fault.
 *
 * Any thread; tls_look() on one at a time.
 */
#ifndef LIB_NET_TLS_H_
#define LIB_NET_TLS_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file_watch.h"

#define TLS_FILE_MAX (1u << 20) /* bytes of a certificate, key or authorities file */

/* Whether clients must show a certificate that the authorities have signed. */
enum tls_client_auth { TLS_CLIENT_NONE, TLS_CLIENT_OPTIONAL, TLS_CLIENT_REQUIRE };
enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };

struct tls_options {
	const char *cert; /* paths of PEM files; the certificate first, then what leads to its authority. "": none */
	const char *key;  /* "" just where cert is */
	const char *ca;   /* the authorities to trust; "": the system's, on the asking side */
	enum tls_client_auth client_auth;
	enum tls_version min_version;
};

struct tls;

/* Read and check. SP_ECONF, SP_NOTFOUND and so on with the file's name and what is wrong with it. Strings are copied.
 */
struct tls *tls_new(const struct tls_options *o, struct sp_error *err);

/* Every session must have ended. NULL does nothing. */
void tls_free(struct tls *t);

/* Look at the files; if they changed, read and check them, and use them from the next connection
 * on. The result is logged, once, and stands in the status. */
void tls_look(struct tls *t);

struct tls_status {
	struct file_watch_status files;
	uint64_t renewals;      /* new content that was taken */
	int64_t expires_wall_s; /* the end of the certificate in use, seconds since 1970; 0 without a certificate */
	uint64_t refused;       /* sessions in which a client's certificate was refused, or missing */
};

void tls_status(struct tls *t, struct tls_status *out);

/* --- The asking side --- */

/* Files that were read together, as PEM; each is empty if there is none. */
struct tls_identity {
	struct buf cert;
	struct buf key;
	struct buf ca;
	enum tls_version min_version;
};

/* The newest, until tls_identity_put(). Its bytes do not change. */
const struct tls_identity *tls_identity_get(struct tls *t);
void tls_identity_put(const struct tls_identity *identity);

/* --- The answering side, for lib/listener alone --- */

struct tls_session;

/*
 * Give a session that has not shaken hands yet (a gnutls_session_t) the newest identity, and the rules for its client's
 * certificate where `ask_client`. NULL if that fails: such a session has no certificate, and its handshake fails.
 */
struct tls_session *tls_session_begin(struct tls *t, void *session, bool ask_client);

/* A gnutls_certificate_retrieve_function3 that has no certificate: for a library that wants one before the first
 * session is there. */
void *tls_no_certificate(void);

/* The session is over. NULL does nothing. */
void tls_session_end(struct tls_session *s);

/* Whether the rules for its client's certificate were kept: false until the handshake has come so far. */
bool tls_session_let_in(const struct tls_session *s);

#endif
