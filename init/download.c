#include "init/download.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "init/stop.h"
#include "lib/base/log.h"
#include "lib/base/number.h"
#include "lib/protocol/position.h"
#include "lib/protocol/problem.h"

#define URL_MAX            1024
#define REFUSAL_BYTES_MAX  4096
#define RESUME_WAIT_MAX_MS 5000
#define SIBLING_TRIES      40
#define SIBLING_PAUSE_MS   50

int
download_init(struct download *d, const struct download_options *options, struct sp_error *err)
{
	memset(d, 0, sizeof(*d));
	d->options = *options;
	http_reply_init(&d->reply, REFUSAL_BYTES_MAX);
	backoff_init(&d->backoff, options->retry_delay_ms, RESUME_WAIT_MAX_MS);
	d->http = http_client_new(&(struct http_client_options){ .access = options->access,
				      .stall_timeout_ms = options->stall_timeout_ms,
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

/* The answer is of the snapshot and the place that was asked for. */
static int
check_answer(const struct download *d, const char *url, const char *wanted, uint64_t from, struct sp_error *err)
{
	char id[sizeof(d->id)] = "", offset[32] = "";
	uint64_t begins = 0;

	http_reply_header(&d->reply, "Seedpod-Snapshot-Id", id, sizeof(id));
	http_reply_header(&d->reply, "Seedpod-Offset", offset, sizeof(offset));
	if (strcmp(id, wanted) != 0 || (offset[0] != '\0' && !number_from_text(offset, UINT64_MAX, &begins)) ||
	    begins != from)
		return sp_error_set(err, SP_EAGAIN,
		    "GET %s: the answer is of snapshot \"%s\" from byte %s, not what was asked for", url, id,
		    offset[0] != '\0' ? offset : "0");
	return 0;
}

/* The reply's description of the archive that comes with it. */
static void
note_archive(struct download *d)
{
	char encoding[32], length[32];
	uint64_t bytes;

	if (!http_reply_header(&d->reply, "Seedpod-Snapshot-Id", d->id, sizeof(d->id)))
		d->id[0] = '\0';
	/* A compressed answer's length says nothing of the archive's. */
	if (d->reply.content_length > 0 &&
	    !http_reply_header(&d->reply, "Content-Encoding", encoding, sizeof(encoding)))
		d->total = (uint64_t)d->reply.content_length;
	if (d->id[0] != '\0' && http_reply_header(&d->reply, "Seedpod-Snapshot-Length", length, sizeof(length)) &&
	    number_from_text(length, UINT64_MAX, &bytes))
		relay_begin(d->options.relay, d->id, bytes);
}

/* Whether the refusal points to a sibling: its number, and the snapshot's id in d->id. */
static bool
is_pointed(struct download *d, unsigned *sibling)
{
	char number[16];
	uint64_t n;

	if (d->reply.status != 503 || !http_reply_header(&d->reply, "Seedpod-Sibling", number, sizeof(number)) ||
	    !http_reply_header(&d->reply, "Seedpod-Snapshot-Id", d->id, sizeof(d->id)))
		return false;
	if (!number_from_text(number, UINT_MAX, &n))
		return false;
	*sibling = (unsigned)n;
	return strspn(d->id, "0123456789abcdef-") == strlen(d->id);
}

/* Ask a sibling for the snapshot d->id from its beginning, and the ones that it points to. Returns 0 when *sibling
 * sends it. */
static int
ask_siblings(struct download *d, unsigned *sibling, struct sp_error *err)
{
	char base[POSITION_URL_MAX], url[URL_MAX], id[sizeof(d->id)];
	int rc = SP_EUNAVAIL;

	memcpy(id, d->id, sizeof(id));
	for (unsigned tries = 0; tries < SIBLING_TRIES; tries++) {
		if (!d->options.sibling_url(d->options.sibling_arg, *sibling, base, sizeof(base)) ||
		    snprintf(url, sizeof(url), "%s/v1/snapshot?id=%s&pod=%u", base, id, d->options.ordinal) >=
			(int)sizeof(url))
			return sp_error_set(err, SP_EUNAVAIL, "there is no pod %u to ask", *sibling);
		if ((rc = ask(d, url, err)) == 0)
			return check_answer(d, url, id, 0, err);
		if (d->reply.status != 503)
			return rc;
		/* It points further, or is about to get the snapshot itself. */
		if (!is_pointed(d, sibling) && stop_wait_ms(SIBLING_PAUSE_MS))
			return sp_error_set(err, SP_ECANCELED, "asked to stop");
	}
	return rc;
}

/* The donor points to a sibling, or it does not: then its refusal stands. */
static int
follow(struct download *d, int rc, struct sp_error *err)
{
	char url[URL_MAX], id[sizeof(d->id)];
	struct sp_error why = { 0 };
	unsigned sibling;

	if (d->options.relay == NULL || !is_pointed(d, &sibling))
		return rc;
	memcpy(id, d->id, sizeof(id));
	rc = ask_siblings(d, &sibling, &why);
	if (rc == 0) {
		d->passed_on = d->at_sibling = true;
		log_info("a sibling passes the snapshot on", LOG_U64("pod", sibling), LOG_STR("id", id));
		return 0;
	}
	if (rc == SP_ECANCELED) {
		*err = why;
		return rc;
	}
	log_warn("the sibling does not pass the snapshot on, the donor is asked for it", LOG_STR("error", why.text));
	snprintf(url, sizeof(url), "%s/v1/snapshot?id=%s", d->options.base_url, id);
	if ((rc = ask(d, url, err)) == 0)
		rc = check_answer(d, url, id, 0, err);
	return rc;
}

int
download_open(struct download *d, struct sp_error *err)
{
	char url[URL_MAX], passing[128] = "";
	int rc;

	if (d->options.relay != NULL)
		snprintf(passing, sizeof(passing), "?pod=%u&lag=%" PRIu64 "&min_seq=%" PRIu64, d->options.ordinal,
		    d->options.lag, d->options.min_seq);
	if (snprintf(url, sizeof(url), "%s/v1/snapshot%s", d->options.base_url, passing) >= (int)sizeof(url))
		return sp_error_set(err, SP_ETOOBIG, "%s: the URL is too long", d->options.base_url);
	if ((rc = ask(d, url, err)) < 0 && (rc = follow(d, rc, err)) < 0)
		return rc;
	note_archive(d);
	return 0;
}

static bool
may_go_on(int rc)
{
	return rc == SP_ETRUNCATED || rc == SP_ESTALLED || rc == SP_EUNAVAIL;
}

/* The donor has released the snapshot: the cause of the interruption stays the reason, and the
 * download cannot resume. */
static int
lost(struct download *d, const struct sp_error *why, struct sp_error *err)
{
	d->id[0] = '\0';
	return sp_error_set(err, why->code,
	    "%.700s; it could not go on, because the donor no longer holds the snapshot (status %ld)", why->text,
	    d->reply.status);
}

/* One more try to resume at d->bytes; `err` holds why the last one ended. */
static int
resume(struct download *d, struct sp_error *err)
{
	struct sp_error why = *err;
	char url[URL_MAX];
	int rc;

	log_warn("download interrupted", LOG_STR("error", why.text), LOG_U64("bytes", d->bytes),
	    LOG_U64("try", d->backoff.tries + 1));
	/* The donor has done nothing wrong where it was a sibling that failed. */
	if (!d->at_sibling && stop_wait_ms(backoff_next_ms(&d->backoff)))
		return sp_error_set(err, SP_ECANCELED, "asked to stop");
	d->at_sibling = false;
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
	if ((rc = check_answer(d, url, d->id, d->bytes, err)) < 0)
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
		relay_take(d->options.relay, *data, *len);
		backoff_reset(&d->backoff);
	}
	d->ended = rc == 0;
	return rc;
}
