#include "lib/net/tls.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/file_watch.h"
#include "lib/base/log.h"

#define CHAIN_MAX 16 /* certificates in one file */

/* Forward secrecy and authenticated encryption alone; every client of the last ten years has these. */
#define PRIORITY_COMMON                                                                                                \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3%s:-RSA:-DHE-RSA:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"      \
	"-MAC-ALL:+AEAD:%%SERVER_PRECEDENCE"

enum { FILE_CERT, FILE_KEY, FILE_CA, FILE_COUNT };
static const char *const file_names[FILE_COUNT] = { "[tls] cert", "[tls] key", "[tls] ca" };

struct tls_set {
	struct tls_identity identity; /* first: what tls_identity_get() gives out */
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priority;
	int64_t expires_wall_s;
	atomic_uint holders;
};

struct tls {
	enum tls_client_auth client_auth;
	enum tls_version min_version;
	atomic_uint_fast64_t refused;

	struct file_watch files; /* the looking thread's own, but for the paths */

	pthread_mutex_t lock; /* guards what follows */
	struct tls_set *newest;
	struct tls_status status;
};

/* --- An identity --- */

static void
set_put(struct tls_set *h)
{
	if (h == NULL || atomic_fetch_sub(&h->holders, 1) != 1)
		return;
	if (h->credentials != NULL)
		gnutls_certificate_free_credentials(h->credentials);
	if (h->priority != NULL)
		gnutls_priority_deinit(h->priority);
	if (h->identity.key.size > 0)
		explicit_bzero(h->identity.key.data, h->identity.key.size);
	buf_release(&h->identity.cert);
	buf_release(&h->identity.key);
	buf_release(&h->identity.ca);
	free(h);
}

static struct tls_set *
set_get(struct tls *t)
{
	struct tls_set *h;

	pthread_mutex_lock(&t->lock);
	h = t->newest;
	atomic_fetch_add(&h->holders, 1);
	pthread_mutex_unlock(&t->lock);
	return h;
}

static gnutls_datum_t
datum(const struct buf *b)
{
	return (gnutls_datum_t){ .data = (unsigned char *)b->data, .size = (unsigned)b->len };
}

/* "[tls] key /etc/tls/tls.key: what" */
static int
wrong(const struct tls *t, int file, const char *what, struct sp_error *err)
{
	return sp_error_set(err, SP_ECONF, "%s %s: %s", file_names[file], t->files.paths[file], what);
}

/* Read one file; "" is none. */
static int
read_file(const struct tls *t, int file, struct buf *out, struct sp_error *err)
{
	int rc;

	buf_init(out, TLS_FILE_MAX);
	if (t->files.paths[file][0] == '\0')
		return 0;
	if ((rc = file_read_all(t->files.paths[file], out, err)) < 0) {
		sp_error_wrap(err, "%s", file_names[file]);
		return rc;
	}
	return 0;
}

/* The certificate is one, and now is within its time. */
static int
check_certificate(const struct tls *t, struct tls_set *h, struct sp_error *err)
{
	gnutls_x509_crt_t chain[CHAIN_MAX];
	unsigned count = CHAIN_MAX;
	gnutls_datum_t pem = datum(&h->identity.cert);
	char when[CLOCK_RFC3339_SIZE], what[96];
	time_t from, until, now = time(NULL);
	int rc;

	rc = gnutls_x509_crt_list_import(
	    chain, &count, &pem, GNUTLS_X509_FMT_PEM, GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
	if (rc < 0)
		return wrong(t, FILE_CERT, "holds no certificate in PEM form", err);
	from = gnutls_x509_crt_get_activation_time(chain[0]);
	until = gnutls_x509_crt_get_expiration_time(chain[0]);
	for (unsigned i = 0; i < count; i++)
		gnutls_x509_crt_deinit(chain[i]);
	h->expires_wall_s = until;
	if (now >= from && now <= until)
		return 0;
	clock_format((now < from ? from : until) * 1000LL, when, sizeof(when));
	snprintf(what, sizeof(what),
	    now < from ? "the certificate is not valid before %s" : "the certificate expired at %s", when);
	return wrong(t, FILE_CERT, what, err);
}

/* The key is one and belongs to the certificate. */
static int
take_key(const struct tls *t, struct tls_set *h, struct sp_error *err)
{
	gnutls_datum_t cert = datum(&h->identity.cert), key = datum(&h->identity.key);
	gnutls_x509_privkey_t parsed;
	char what[160];
	int rc;

	if (gnutls_x509_privkey_init(&parsed) < 0)
		return sp_error_set(err, SP_ENOMEM, "%s: out of memory", file_names[FILE_KEY]);
	rc = gnutls_x509_privkey_import2(parsed, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
	gnutls_x509_privkey_deinit(parsed);
	if (rc == GNUTLS_E_DECRYPTION_FAILED)
		return wrong(t, FILE_KEY, "is encrypted; a key without a password is needed", err);
	if (rc < 0)
		return wrong(t, FILE_KEY, "holds no private key in PEM form", err);
	rc = gnutls_certificate_set_x509_key_mem2(h->credentials, &cert, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (rc == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
		snprintf(what, sizeof(what), "does not belong to the certificate in %.120s", t->files.paths[FILE_CERT]);
	else if (rc < 0)
		snprintf(what, sizeof(what), "cannot be used with its certificate: %.100s", gnutls_strerror(rc));
	return rc < 0 ? wrong(t, FILE_KEY, what, err) : 0;
}

static int
take_authorities(const struct tls *t, struct tls_set *h, struct sp_error *err)
{
	gnutls_datum_t pem = datum(&h->identity.ca);

	if (t->files.paths[FILE_CA][0] == '\0')
		return 0;
	if (gnutls_certificate_set_x509_trust_mem(h->credentials, &pem, GNUTLS_X509_FMT_PEM) <= 0)
		return wrong(t, FILE_CA, "holds no certificate in PEM form", err);
	return 0;
}

static int
prepare(const struct tls *t, struct tls_set *h, struct sp_error *err)
{
	char priority[256];
	int rc;

	snprintf(priority, sizeof(priority), PRIORITY_COMMON, t->min_version == TLS_VERSION_1_2 ? ":+VERS-TLS1.2" : "");
	if (gnutls_certificate_allocate_credentials(&h->credentials) < 0 ||
	    gnutls_priority_init(&h->priority, priority, NULL) < 0)
		return sp_error_set(err, SP_EINTERNAL, "set up TLS");
	if (t->files.paths[FILE_CERT][0] != '\0' &&
	    ((rc = check_certificate(t, h, err)) < 0 || (rc = take_key(t, h, err)) < 0))
		return rc;
	return take_authorities(t, h, err);
}

/* Read and check what the files hold now. SP_EAGAIN if they changed meanwhile. */
static int
load(struct tls *t, struct tls_set **out, struct sp_error *err)
{
	struct tls_set *h = calloc(1, sizeof(*h));
	int rc, moved;

	if (h == NULL)
		return sp_error_set(err, SP_ENOMEM, "read the certificates: out of memory");
	atomic_init(&h->holders, 1);
	h->identity.min_version = t->min_version;
	buf_init(&h->identity.key, TLS_FILE_MAX);
	buf_init(&h->identity.ca, TLS_FILE_MAX);
	file_watch_begin(&t->files);
	if ((rc = read_file(t, FILE_CERT, &h->identity.cert, err)) == 0 &&
	    (rc = read_file(t, FILE_KEY, &h->identity.key, err)) == 0 &&
	    (rc = read_file(t, FILE_CA, &h->identity.ca, err)) == 0)
		rc = prepare(t, h, err);
	if ((moved = file_watch_moved(&t->files)) >= 0)
		rc = sp_error_set(
		    err, SP_EAGAIN, "%s %s changed while it was read", file_names[moved], t->files.paths[moved]);
	if (rc < 0) {
		set_put(h);
		return rc;
	}
	*out = h;
	return 0;
}

/* --- The whole --- */

struct tls *
tls_new(const struct tls_options *o, struct sp_error *err)
{
	const char *const paths[FILE_COUNT] = { o->cert, o->key, o->ca };
	struct tls *t = calloc(1, sizeof(*t));
	int rc = SP_EAGAIN;

	if (t == NULL) {
		sp_error_set(err, SP_ENOMEM, "set up TLS: out of memory");
		return NULL;
	}
	pthread_mutex_init(&t->lock, NULL);
	t->client_auth = o->client_auth;
	t->min_version = o->min_version;
	for (int i = 0; i < FILE_COUNT; i++)
		if (file_watch_add(&t->files, paths[i] != NULL ? paths[i] : "", err) < 0)
			goto fail;
	for (int tries = 0; tries < 5 && rc == SP_EAGAIN; tries++)
		rc = load(t, &t->newest, err);
	if (rc < 0)
		goto fail;
	t->status.files.success = true;
	t->status.expires_wall_s = t->newest->expires_wall_s;
	return t;
fail:
	tls_free(t);
	return NULL;
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	set_put(t->newest);
	file_watch_release(&t->files);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static void
refuse(struct tls *t, const struct sp_error *why)
{
	bool is_news;

	pthread_mutex_lock(&t->lock);
	is_news = file_watch_refused(&t->files, &t->status.files, why->text);
	pthread_mutex_unlock(&t->lock);
	if (is_news)
		log_warn("certificate files refused, the ones before stay in use", LOG_STR("error", why->text));
}

static void
accept(struct tls *t, struct tls_set *fresh)
{
	char expires[CLOCK_RFC3339_SIZE] = "";
	struct tls_set *before;

	pthread_mutex_lock(&t->lock);
	before = t->newest;
	t->newest = fresh;
	file_watch_taken(&t->status.files);
	t->status.renewals++;
	t->status.expires_wall_s = fresh->expires_wall_s;
	pthread_mutex_unlock(&t->lock);
	set_put(before);
	if (fresh->expires_wall_s > 0)
		clock_format(fresh->expires_wall_s * 1000, expires, sizeof(expires));
	log_info("certificate files renewed", LOG_STR("cert", t->files.paths[FILE_CERT]), LOG_STR("expires", expires));
}

void
tls_look(struct tls *t)
{
	struct tls_set *fresh;
	struct sp_error err = { 0 };
	int rc;

	if (!file_watch_due(&t->files))
		return;
	rc = load(t, &fresh, &err);
	t->files.again = rc < 0;
	FAULT_POINT("tls.read");
	if (rc == 0)
		accept(t, fresh);
	else if (rc != SP_EAGAIN)
		refuse(t, &err);
	FAULT_POINT("tls.taken");
}

void
tls_status(struct tls *t, struct tls_status *out)
{
	pthread_mutex_lock(&t->lock);
	*out = t->status;
	pthread_mutex_unlock(&t->lock);
	out->refused = atomic_load(&t->refused);
}

const struct tls_identity *
tls_identity_get(struct tls *t)
{
	return &set_get(t)->identity;
}

void
tls_identity_put(const struct tls_identity *identity)
{
	/* It is the first member of what was handed out. */
	set_put((struct tls_set *)(uintptr_t)identity);
}

/* --- The answering side --- */

struct tls_session {
	struct tls *tls;
	struct tls_set *set; /* that it began with */
	bool let_in;         /* the client was looked at, or need not be */
};

/* In the handshake: the client has shown its certificate, or could have. 0, or the handshake ends here. */
static int
verify_client(gnutls_session_t session)
{
	gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT };
	struct tls_session *s = gnutls_db_get_ptr(session);
	gnutls_alert_description_t why = GNUTLS_A_UNKNOWN_CA;
	unsigned status = 0, count = 0;
	bool good;

	if (gnutls_certificate_get_peers(session, &count) != NULL && count > 0) {
		good = gnutls_certificate_verify_peers(session, &purpose, 1, &status) == 0 && status == 0;
	} else {
		good = s->tls->client_auth != TLS_CLIENT_REQUIRE;
		why = gnutls_protocol_get_version(session) == GNUTLS_TLS1_3 ? GNUTLS_A_CERTIFICATE_REQUIRED
									    : GNUTLS_A_HANDSHAKE_FAILURE;
	}
	if (good) {
		s->let_in = true;
		return 0;
	}
	atomic_fetch_add(&s->tls->refused, 1);
	gnutls_alert_send(session, GNUTLS_AL_FATAL, why); /* the HTTP library would close without a word */
	return GNUTLS_E_CERTIFICATE_ERROR;
}

struct tls_session *
tls_session_begin(struct tls *t, void *session, bool ask_client)
{
	struct tls_session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->tls = t;
	s->set = set_get(t);
	if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, s->set->credentials) < 0 ||
	    gnutls_priority_set(session, s->set->priority) < 0) {
		tls_session_end(s);
		return NULL;
	}
	s->let_in = !ask_client || t->client_auth == TLS_CLIENT_NONE;
	gnutls_certificate_server_set_request(session, s->let_in ? GNUTLS_CERT_IGNORE : GNUTLS_CERT_REQUEST);
	if (s->let_in)
		return s;
	gnutls_db_set_ptr(session, s); /* sessions are not kept for later, so the pointer is free */
	gnutls_session_set_verify_function(session, verify_client);
	return s;
}

bool
tls_session_let_in(const struct tls_session *s)
{
	return s->let_in;
}

static int
no_certificate(gnutls_session_t session, const struct gnutls_cert_retr_st *info, gnutls_pcert_st **certs,
    unsigned *count, gnutls_ocsp_data_st **ocsp, unsigned *ocsp_count, gnutls_privkey_t *key, unsigned *flags)
{
	(void)session;
	(void)info;
	(void)certs;
	(void)count;
	(void)ocsp;
	(void)ocsp_count;
	(void)key;
	(void)flags;
	return -1;
}

void *
tls_no_certificate(void)
{
	gnutls_certificate_retrieve_function3 *function = no_certificate;
	void *out;

	memcpy(&out, &function, sizeof(out)); /* C has no conversion from a function's address */
	return out;
}

void
tls_session_end(struct tls_session *s)
{
	if (s == NULL)
		return;
	set_put(s->set);
	free(s);
}
