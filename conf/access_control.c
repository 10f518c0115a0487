#include "conf/access_control.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/protocol/metrics.h"

/* --- Open and close --- */

static int
read_files(struct access_control *d, const struct conf *c, struct sp_error *err)
{
	const struct tls_options o = { .cert = c->tls_cert,
		.key = c->tls_key,
		.ca = c->tls_ca,
		.client_auth = c->tls_client_auth,
		.min_version = c->tls_min_version };

	if (c->tls_cert[0] != '\0' || c->tls_ca[0] != '\0') {
		if ((d->tls = tls_new(&o, err)) == NULL)
			return SP_ECONF;
		d->serving = c->tls_cert[0] != '\0' ? d->tls : NULL;
	}
	if (c->auth_tokens[0] != '\0' && (d->tokens = tokens_new(c->auth_tokens, err)) == NULL)
		return SP_ECONF;
	if (c->raft_secret_file[0] != '\0' && (d->secret = secret_new(c->raft_secret_file, err)) == NULL)
		return SP_ECONF;
	return 0;
}

void
access_control_name_leader(struct access_control *d, unsigned ordinal)
{
	atomic_store(&d->leader_ordinal, ordinal);
}

int
access_control_open(struct access_control *d, const struct conf *c, struct sp_error *err)
{
	memset(d, 0, sizeof(*d));
	d->pod = c->pod;
	snprintf(d->peer_url, sizeof(d->peer_url), "%s", c->pod_peer_url);
	snprintf(d->peer_name, sizeof(d->peer_name), "%s", c->tls_peer_name);
	d->peers = c->bootstrap_max_peers;
	access_control_name_leader(d, c->replication_leader_ordinal);
	if (read_files(d, c, err) < 0) {
		access_control_close(d);
		err->code = SP_ECONF;
		return SP_ECONF;
	}
	return 0;
}

void
access_control_look(struct access_control *d)
{
	if (d->tls != NULL)
		tls_look(d->tls);
	if (d->tokens != NULL)
		tokens_look(d->tokens);
	if (d->secret != NULL)
		secret_look(d->secret);
}

void
access_control_close(struct access_control *d)
{
	tls_free(d->tls);
	tokens_free(d->tokens);
	secret_free(d->secret);
	d->tls = d->serving = NULL;
	d->tokens = NULL;
	d->secret = NULL;
}

int
access_control_check(const struct conf *c, struct sp_error *err)
{
	struct access_control d = { 0 };
	int rc = read_files(&d, c, err);

	tls_free(d.tls);
	tokens_free(d.tokens);
	secret_free(d.secret);
	return rc;
}

void
access_control_warn(const struct access_control *d)
{
	bool certified = d->serving != NULL;

	if (d->tokens == NULL)
		log_warn("no authorization: anyone who reaches this port may read and write all data ([auth] tokens)",
		    LOG_BOOL("tls", certified));
	else if (!certified)
		log_warn("tokens and data pass the network in clear text ([tls] cert)");
}

/* --- Metrics --- */

static int
single(struct buf *out, const char *prefix, const char *name, const char *type, const char *help, double value)
{
	char whole[128];

	snprintf(whole, sizeof(whole), "%s%s", prefix, name);
	return metrics_single(out, whole, type, help, value);
}

int
access_control_metrics(struct access_control *d, const char *prefix, struct buf *out)
{
	struct tls_status tls = { .files.success = true };
	struct file_watch_status tokens = { .success = true }, secret = { .success = true };
	int rc;

	if (d->tls != NULL)
		tls_status(d->tls, &tls);
	if (d->tokens != NULL)
		tokens_status(d->tokens, &tokens);
	if (d->secret != NULL)
		secret_status(d->secret, &secret);
	rc = single(out, prefix, "tls_enabled", "gauge", "Whether this program has a TLS certificate.",
	    d->serving != NULL ? 1 : 0);
	if (rc == 0)
		rc = single(out, prefix, "tls_certificate_expiry_timestamp_seconds", "gauge",
		    "When the certificate in use ends; 0 without one.", (double)tls.expires_wall_s);
	if (rc == 0)
		rc = single(out, prefix, "tls_renewals_total", "counter",
		    "Times that new certificate files were taken.", (double)tls.renewals);
	if (rc == 0)
		rc = single(out, prefix, "tls_client_certificates_refused_total", "counter",
		    "Handshakes that ended because of the client's certificate.", (double)tls.refused);
	if (rc == 0)
		rc = single(
		    out, prefix, "auth_enabled", "gauge", "Whether tokens are asked for.", d->tokens != NULL ? 1 : 0);
	if (rc == 0)
		rc = single(out, prefix, "secrets_reload_success", "gauge",
		    "Whether the newest certificate, token and secret files are in use.",
		    tls.files.success && tokens.success && secret.success ? 1 : 0);
	if (rc == 0)
		rc = single(out, prefix, "secrets_reload_failures_total", "counter",
		    "Certificate, token and secret files that were refused.",
		    (double)(tls.files.failures + tokens.failures + secret.failures));
	return rc;
}
