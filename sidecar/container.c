#include "sidecar/container.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf/access_control.h"
#include "lib/base/clock.h"
#include "lib/base/number.h"
#include "lib/net/http_client.h"

#define PROBE_MS          2000
#define PROBE_LIMIT_BYTES (64u << 10)
#define LINGER_MAX_S      600

static struct access_control access_control;

/* For a page behind TLS: the certificate, the authorities, the name. */
static int
open_access_control(const char *config_path, const struct http_access **access, struct sp_error *err)
{
	static struct conf conf;
	int rc;

	if ((rc = conf_load(config_path, &conf, err)) < 0 ||
	    (rc = access_control_open(&access_control, &conf, err)) < 0)
		return rc;
	*access = access_control_at_home(&access_control);
	return 0;
}

int
container_probe(const char *url, const char *config_path)
{
	struct http_client_options options = { .connect_timeout_ms = PROBE_MS };
	const struct http_request_out rq = { .url = url, .timeout_ms = PROBE_MS };
	struct http_client *client;
	struct http_reply reply;
	struct sp_error err = { 0 };
	int rc;

	rc = http_setup(&err);
	if (rc == 0 && strncasecmp(url, "https://", 8) == 0)
		rc = open_access_control(config_path, &options.access, &err);
	if (rc < 0) {
		printf("%s\n", err.text);
		return 1;
	}
	http_reply_init(&reply, PROBE_LIMIT_BYTES);
	client = http_client_new(&options, &err);
	rc = client != NULL ? http_call(client, &rq, &reply, &err) : err.code;
	if (rc < 0)
		printf("%s\n", err.text);
	else
		printf("%.*s\n", (int)strcspn(reply.body.data, "\n"), reply.body.data);
	rc = rc == 0 && reply.status == 200 ? 0 : 1;
	http_client_free(client);
	http_reply_release(&reply);
	http_teardown();
	access_control_close(&access_control);
	return rc;
}

int
container_linger(const char *seconds)
{
	uint64_t n;

	if (!number_from_text(seconds, LINGER_MAX_S, &n)) {
		fprintf(stderr, "seedpod-sidecar: --linger takes whole seconds, at most %d\n", LINGER_MAX_S);
		return sp_code_exit(SP_EUSAGE);
	}
	clock_sleep_ms((int64_t)n * 1000);
	return 0;
}
