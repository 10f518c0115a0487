/* The access rules for peers (struct http_access): TLS, the name that is verified, the token. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/net/http_client_internal.h"
#include "lib/net/tls.h"

#define NAME_MAX_BYTES 256

/* As OpenSSL names them: forward secrecy and authenticated encryption. TLS 1.3 has no others. */
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"

static int
set_blob(CURL *easy, CURLoption option, const struct buf *pem)
{
	struct curl_blob blob = { .data = pem->data, .len = pem->len, .flags = CURL_BLOB_COPY };

	if (pem->len == 0)
		return 0;
	return curl_easy_setopt(easy, option, &blob) == CURLE_OK ? 0 : SP_ENOMEM;
}

/* Our certificate, and the authorities to trust. Files that were read together are set together. */
static int
set_identity(CURL *easy, struct tls *tls)
{
	const struct tls_identity *identity = tls_identity_get(tls);
	long least = identity->min_version == TLS_VERSION_1_3 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2;
	int rc;

	curl_easy_setopt(easy, CURLOPT_SSLVERSION, least);
	if ((rc = set_blob(easy, CURLOPT_SSLCERT_BLOB, &identity->cert)) == 0 &&
	    (rc = set_blob(easy, CURLOPT_SSLKEY_BLOB, &identity->key)) == 0)
		rc = set_blob(easy, CURLOPT_CAINFO_BLOB, &identity->ca);
	if (identity->ca.len > 0)
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* else the system's are trusted, too */
	tls_identity_put(identity);
	return rc;
}

/* Ask by the name that is to be verified, and connect to where the URL points. */
static int
set_name(struct http_exchange *x, const char *url, const char *name)
{
	char *host = NULL, *port = NULL, *asked = NULL;
	char to[2 * NAME_MAX_BYTES];
	CURLU *parts = curl_url();
	int rc = SP_ENOMEM;

	if (parts == NULL || curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK ||
	    curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
	    curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
	    snprintf(to, sizeof(to), "::%s:%s", host, port) >= (int)sizeof(to) ||
	    curl_url_set(parts, CURLUPART_HOST, name, 0) != CURLUE_OK ||
	    curl_url_get(parts, CURLUPART_URL, &asked, 0) != CURLUE_OK ||
	    (x->connect_to = curl_slist_append(NULL, to)) == NULL)
		goto out;
	curl_easy_setopt(x->easy, CURLOPT_CONNECT_TO, x->connect_to);
	rc = curl_easy_setopt(x->easy, CURLOPT_URL, asked) == CURLE_OK ? 0 : SP_ENOMEM;
out:
	curl_free(asked);
	curl_free(port);
	curl_free(host);
	curl_url_cleanup(parts);
	return rc;
}

static int
add_token(struct http_exchange *x, const struct http_access *access)
{
	char token[HTTP_TOKEN_MAX], header[HTTP_TOKEN_MAX + 32];
	struct curl_slist *longer;

	if (access->token == NULL || !access->token(access->arg, token, sizeof(token)))
		return 0;
	snprintf(header, sizeof(header), "Authorization: Bearer %s", token);
	longer = curl_slist_append(x->headers, header);
	explicit_bzero(token, sizeof(token));
	explicit_bzero(header, sizeof(header));
	if (longer == NULL)
		return SP_ENOMEM;
	x->headers = longer;
	return 0;
}

int
http_access_prepare(struct http_exchange *x, const struct http_access *access, const char *url)
{
	char name[NAME_MAX_BYTES] = "";
	bool peer, secret = strncasecmp(url, "https://", 8) == 0;
	int rc = 0;

	/* New authorities count from the next connection on: nothing of an older handshake is used again. */
	curl_easy_setopt(x->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(x->easy, CURLOPT_SSL_CIPHER_LIST, CIPHERS_1_2);
	curl_easy_setopt(x->easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	curl_easy_setopt(x->easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	if (access == NULL)
		return 0;
	peer = access->is_peer != NULL && access->is_peer(access->arg, url, name, sizeof(name));
	if (secret && peer && access->tls != NULL)
		rc = set_identity(x->easy, access->tls);
	if (rc == 0 && secret && name[0] != '\0')
		rc = set_name(x, url, name);
	if (rc == 0 && peer)
		rc = add_token(x, access);
	return rc;
}
