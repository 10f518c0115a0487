#include "init/download.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "init/stop.h"
#include "lib/base/log.h"
#include "lib/protocol/problem.h"

#define URL_MAX            1024
#define REFUSAL_BYTES_MAX  4096
#define RESUME_WAIT_MAX_MS 5000

int
download_init(struct download *d, const struct download_options *options, struct sp_error *err)
{
	memset(d, 0, sizeof(*d));
	d->options = *options;
	http_reply_init(&d->reply, REFUSAL_BYTES_MAX);
	backoff_init(&d->backoff, options->retry_delay_ms, RESUME_WAIT_MAX_MS);
	d->http = http_client_new(&(struct http_client_options){ .stall_timeout_ms = options->stall_timeout_ms,
				      .rate_limit = options->rate_limit },
	    err);
	if (d->http == NULL)
		return SP_ENOMEM;
	stop_watch(d->http);
	return 0;
}

void
download_release(struct download *d)
{
	if (d->http != NULL)
		stop_watch(NULL);
	http_client_free(d->http);
	d->http = NULL;
	http_reply_release(&d->reply);
}

/* Where the donor does not give the snapshot: for now, or never? */
static int
refusal(const struct download *d, const char *url, struct sp_error *err)
{
	char text[PROBLEM_TEXT_MAX];
	int code = SP_EBADDATA;

	problem_text(&d->reply.body, text);
	if (d->reply.status == 503 || d->reply.status == 429 || d->reply.status == 410)
		code = SP_EAGAIN;
	else if (d->reply.status >= 500)
		code = SP_EUNAVAIL;
	else if (d->reply.status == 401 || d->reply.status == 403)
		code = SP_EPERM;
	return sp_error_set(err, code, "GET %s: status %ld: %s", url, d->reply.status, text);
}

static int
ask(struct download *d, const char *url, struct sp_error *err)
{
	int rc;

	rc = http_stream_open(
	    d->http, &(struct http_request_out){ .url = url, .accept_zstd = d->options.zstd }, &d->reply, err);
	if (rc == 0 && d->reply.status != 200)
		return refusal(d, url, err);
	return rc;
}

int
download_open(struct download *d, struct sp_error *err)
{
	char url[URL_MAX], encoding[32];
	int rc;

	if (snprintf(url, sizeof(url), "%s/v1/snapshot", d->options.base_url) >= (int)sizeof(url))
		return sp_error_set(err, SP_ETOOBIG, "%s: the URL is too long", d->options.base_url);
	if ((rc = ask(d, url, err)) < 0)
		return rc;
	if (!http_reply_header(&d->reply, "Seedpod-Snapshot-Id", d->id, sizeof(d->id)))
		d->id[0] = '\0';
	/* A compressed answer's length says nothing of the archive's. */
	if (d->reply.content_length > 0 &&
	    !http_reply_header(&d->reply, "Content-Encoding", encoding, sizeof(encoding)))
		d->total = (uint64_t)d->reply.content_length;
	return 0;
}

/* The donor goes on where it was asked to, with the snapshot that it was asked for. */
static int
check_resumed(const struct download *d, const char *url, struct sp_error *err)
{
	char id[sizeof(d->id)] = "", offset[32] = "";

	http_reply_header(&d->reply, "Seedpod-Snapshot-Id", id, sizeof(id));
	http_reply_header(&d->reply, "Seedpod-Offset", offset, sizeof(offset));
	if (strcmp(id, d->id) != 0 || strtoull(offset, NULL, 10) != d->bytes)
		return sp_error_set(err, SP_EAGAIN,
		    "GET %s: the answer is of snapshot «%s» from byte %s, not what was asked for", url, id,
		    offset[0] != '\0' ? offset : "0");
	return 0;
}

static bool
may_go_on(int rc)
{
	return rc == SP_ETRUNCATED || rc == SP_ESTALLED || rc == SP_EUNAVAIL;
}

/* The donor has let go of the snapshot: what interrupted the download stays the reason, and there is no going on. */
static int
lost(struct download *d, const struct sp_error *why, struct sp_error *err)
{
	d->id[0] = '\0';
	return sp_error_set(err, why->code,
	    "%.700s; it could not go on, because the donor no longer holds the snapshot (status %ld)", why->text,
	    d->reply.status);
}

/* One more try to go on at d->bytes; `err` holds why the last one ended. */
static int
resume(struct download *d, struct sp_error *err)
{
	struct sp_error why = *err;
	char url[URL_MAX];
	int rc;

	log_warn("download interrupted", LOG_STR("error", why.text), LOG_U64("bytes", d->bytes),
	    LOG_U64("try", d->backoff.tries + 1));
	if (stop_wait_ms(backoff_next_ms(&d->backoff)))
		return sp_error_set(err, SP_ECANCELED, "asked to stop");
	if (snprintf(url, sizeof(url), "%s/v1/snapshot?id=%s&offset=%" PRIu64, d->options.base_url, d->id, d->bytes) >=
	    (int)sizeof(url))
		return sp_error_set(err, SP_ETOOBIG, "%s: the URL is too long", d->options.base_url);
	/* A download may take longer than a certificate or a token lasts. */
	if (d->options.look != NULL)
		d->options.look(d->options.look_arg);
	if ((rc = ask(d, url, err)) < 0) {
		if (d->reply.status == 404 || d->reply.status == 410)
			return lost(d, &why, err);
		if (rc == SP_EAGAIN) /* it has no store at present: that may pass as a broken connection does */
			err->code = rc = SP_EUNAVAIL;
		return rc;
	}
	if ((rc = check_resumed(d, url, err)) < 0)
		return rc;
	log_info("download resumed", LOG_U64("bytes", d->bytes));
	return 0;
}

int
download_read(void *arg, const void **data, size_t *len, struct sp_error *err)
{
	struct download *d = arg;
	struct sp_error why = { 0 };
	int rc;

	if (stop_requested())
		return sp_error_set(err, SP_ECANCELED, "asked to stop");
	while ((rc = http_stream_read(d->http, data, len, &why)) < 0) {
		/* Each try may end in a next one; a byte that came sets the count back. */
		while (may_go_on(rc) && d->id[0] != '\0' && d->backoff.tries < DOWNLOAD_RESUME_TRIES)
			if ((rc = resume(d, &why)) == 0)
				break;
		if (rc < 0) {
			if (err != NULL)
				*err = why;
			return rc;
		}
	}
	if (rc == 1) {
		d->bytes += *len;
		backoff_reset(&d->backoff);
	}
	d->ended = rc == 0;
	return rc;
}
