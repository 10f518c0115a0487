#include "server/replication/raft/tls_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

struct tls_stream {
	gnutls_session_t session;
	struct tls_session *identity; /* that it began with */
	char *name;                   /* or NULL */
	char refused[128];            /* why the other's certificate was; "" */
};

/* Whether the other's certificate is a server's, signed by our authorities, and bears `name` (NULL: any). */
static bool
is_good(struct tls_stream *s, const char *name, unsigned *status)
{
	gnutls_typed_vdata_st wanted[] = {
		{ .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_SERVER },
		{ .type = GNUTLS_DT_DNS_HOSTNAME, .data = (unsigned char *)(uintptr_t)name },
	};

	*status = 0;
	return gnutls_certificate_verify_peers(s->session, wanted, name != NULL ? 2 : 1, status) == 0 && *status == 0;
}

/* In the handshake, when the other has shown its certificate. */
static int
verify(gnutls_session_t session)
{
	struct tls_stream *s = gnutls_session_get_ptr(session);
	gnutls_datum_t text = { 0 };
	unsigned status;

	if (is_good(s, s->name, &status))
		return 0;
	if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) == 0)
		snprintf(s->refused, sizeof(s->refused), "%s", text.data);
	else
		snprintf(s->refused, sizeof(s->refused), "it cannot be verified");
	gnutls_free(text.data);
	return GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
}

int
tls_stream_new(
    struct tls *tls, int fd, enum tls_end end, const char *name, struct tls_stream **out, struct sp_error *err)
{
	unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS;
	struct tls_stream *s = calloc(1, sizeof(*s));

	if (s == NULL || (name != NULL && (s->name = strdup(name)) == NULL) ||
	    gnutls_init(&s->session, flags | (end == TLS_ASKS ? GNUTLS_CLIENT : GNUTLS_SERVER)) < 0 ||
	    (s->identity = tls_session_begin(tls, s->session, false)) == NULL) {
		tls_stream_free(s);
		return sp_error_set(err, SP_ENOMEM, "set up TLS");
	}
	gnutls_session_set_ptr(s->session, s);
	gnutls_session_set_verify_function(s->session, verify);
	gnutls_transport_set_int(s->session, fd);
	if (end == TLS_ANSWERS) {
		gnutls_certificate_server_set_request(s->session, GNUTLS_CERT_REQUIRE);
		/* The asking side has one certificate, and need not choose. */
		gnutls_certificate_send_x509_rdn_sequence(s->session, 1);
	}
	*out = s;
	return 0;
}

void
tls_stream_free(struct tls_stream *s)
{
	if (s == NULL)
		return;
	if (s->session != NULL)
		gnutls_deinit(s->session);
	tls_session_end(s->identity);
	free(s->name);
	free(s);
}

/* GnuTLS' code as one of ours. */
static int
failed(struct tls_stream *s, int rc, const char *what, struct sp_error *err)
{
	if (rc == GNUTLS_E_AGAIN || gnutls_error_is_fatal(rc) == 0)
		return SP_EAGAIN;
	if (s->refused[0] != '\0')
		return sp_error_set(err, SP_EPERM, "%s: its certificate is refused: %s", what, s->refused);
	if (rc == GNUTLS_E_NO_CERTIFICATE_FOUND || rc == GNUTLS_E_CERTIFICATE_REQUIRED)
		return sp_error_set(err, SP_EPERM, "%s: it shows no certificate", what);
	if (rc == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return sp_error_set(err, SP_EPERM, "%s: the other side refuses us: %s", what,
		    gnutls_alert_get_name(gnutls_alert_get(s->session)));
	if (rc == GNUTLS_E_PULL_ERROR || rc == GNUTLS_E_PUSH_ERROR || rc == GNUTLS_E_PREMATURE_TERMINATION)
		return sp_error_set(err, SP_EIO, "%s: the other side has closed the connection", what);
	return sp_error_set(err, SP_EIO, "%s: %s", what, gnutls_strerror(rc));
}

int
tls_stream_shake(struct tls_stream *s, struct sp_error *err)
{
	int rc = gnutls_handshake(s->session);

	if (rc == 0)
		return 0;
	if (rc != GNUTLS_E_AGAIN && gnutls_error_is_fatal(rc) != 0 && rc != GNUTLS_E_FATAL_ALERT_RECEIVED)
		gnutls_alert_send_appropriate(s->session, rc);
	return failed(s, rc, "TLS handshake", err);
}

bool
tls_stream_wants_write(const struct tls_stream *s)
{
	return gnutls_record_get_direction(s->session) == 1;
}

bool
tls_stream_bears(struct tls_stream *s, const char *name)
{
	unsigned status;

	return is_good(s, name, &status);
}

int
tls_stream_read(struct tls_stream *s, void *buf, size_t size, size_t *got, struct sp_error *err)
{
	ssize_t n = gnutls_record_recv(s->session, buf, size);

	*got = 0;
	if (n == GNUTLS_E_PREMATURE_TERMINATION)
		return 0;
	if (n < 0)
		return failed(s, (int)n, "TLS", err);
	*got = (size_t)n;
	return 0;
}

int
tls_stream_write(struct tls_stream *s, const void *buf, size_t size, size_t *put, struct sp_error *err)
{
	ssize_t n = gnutls_record_send(s->session, buf, size);

	*put = 0;
	if (n < 0)
		return failed(s, (int)n, "TLS", err);
	*put = (size_t)n;
	return 0;
}

void
tls_stream_bye(struct tls_stream *s)
{
	gnutls_bye(s->session, GNUTLS_SHUT_WR);
}
