#include "lib/net/http_client_internal.h"

#include <stdlib.h>
#include <strings.h>

#include <zstd.h>

#include "lib/base/clock.h"

/*
 * Streams are decompressed here and not by curl: a piece of zstd may unfold to thousands of times its size, and curl
 * keeps all of that in memory while the stream is paused. Here the next piece is unfolded when it is asked for.
 */
#define ZSTD_WINDOW_LOG_MAX 23 /* 8 MiB of memory at most for what a frame may refer back to */

struct http_decoder {
	ZSTD_DStream *zstd;
	ZSTD_inBuffer in;  /* within the client's `stream` */
	bool more_output;  /* the last piece filled the buffer: there may be more without any input */
	bool inside_frame; /* an end here would be a cut */
	size_t out_size;
	char out[];
};

static void
decoder_free(struct http_decoder *d)
{
	if (d == NULL)
		return;
	ZSTD_freeDStream(d->zstd);
	free(d);
}

static struct http_decoder *
decoder_new(void)
{
	size_t out_size = ZSTD_DStreamOutSize();
	struct http_decoder *d = calloc(1, sizeof(*d) + out_size);

	if (d == NULL || (d->zstd = ZSTD_createDStream()) == NULL ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX))) {
		decoder_free(d);
		return NULL;
	}
	d->out_size = out_size;
	return d;
}

/* The answer is a failure's: its text is taken as far as the reply has room. */
static int
read_refusal(struct http_client *c, struct sp_error *err)
{
	struct http_exchange *x = &c->exchange;
	int64_t wait_ms;
	int rc = 0;

	while (!x->finished) {
		wait_ms = http_client_round(c);
		if (!x->finished)
			http_wait(c->multi, wait_ms);
	}
	if (x->result < 0 && x->result != SP_ETOOBIG) {
		rc = x->result;
		if (err != NULL)
			*err = x->err;
	}
	http_client_end(c);
	return rc;
}

/* Whether the answer comes compressed in a way that we can undo. */
static int
choose_decoder(struct http_client *c, const struct http_reply *reply, struct sp_error *err)
{
	char encoding[32];

	if (!http_reply_header(reply, "Content-Encoding", encoding, sizeof(encoding)) ||
	    strcasecmp(encoding, "identity") == 0)
		return 0;
	if (strcasecmp(encoding, "zstd") != 0)
		return sp_error_set(
		    err, SP_EBADDATA, "%s: content encoding \"%s\" is not known", c->exchange.what, encoding);
	if ((c->decoder = decoder_new()) == NULL)
		return sp_error_set(err, SP_ENOMEM, "%s: make a zstd decoder: out of memory", c->exchange.what);
	return 0;
}

int
http_stream_open(
    struct http_client *c, const struct http_request_out *rq, struct http_reply *reply, struct sp_error *err)
{
	struct http_exchange *x = &c->exchange;
	int64_t wait_ms;
	int rc;

	if ((rc = http_client_begin(c, rq, reply, &c->stream, err)) < 0)
		return rc;
	for (;;) {
		wait_ms = http_client_round(c);
		if (x->finished || x->headers_done)
			break;
		http_wait(c->multi, wait_ms);
	}
	if (!x->headers_done || x->result == SP_ECANCELED) {
		rc = x->result;
		if (err != NULL)
			*err = x->err;
		http_client_end(c);
		return rc;
	}
	if (!x->streaming)
		return read_refusal(c, err);
	if ((rc = choose_decoder(c, reply, err)) < 0) {
		http_stream_close(c);
		return rc;
	}
	x->reply = NULL;
	return 0;
}

/* The next piece as it came over the wire: it replaces the one before in c->stream. 1, 0 at the end, or an error. */
static int
read_raw(struct http_client *c, struct sp_error *err)
{
	struct http_exchange *x = &c->exchange;
	int64_t wait_ms = 0;

	if (c->handed_out)
		buf_reset(&c->stream);
	c->handed_out = false;
	/* While the caller was busy elsewhere, the peer's silence was not heard. */
	x->heard_ms = x->left_ms != 0 ? x->heard_ms + (clock_mono_ms() - x->left_ms) : clock_mono_ms();
	if (x->paused && !x->finished) {
		x->paused = false;
		curl_easy_pause(x->easy, CURLPAUSE_CONT); /* may deliver at once */
	}
	if (atomic_load(&c->cancel))
		http_client_round(c);
	while (c->stream.len == 0 && !x->finished) {
		if (wait_ms > 0)
			http_wait(c->multi, wait_ms);
		wait_ms = http_client_round(c);
	}
	if (c->stream.len > 0 && x->result != SP_ECANCELED) {
		c->handed_out = true; /* what came before a failure is handed out first */
		x->left_ms = clock_mono_ms();
		return 1;
	}
	if (x->result < 0 && err != NULL)
		*err = x->err;
	return x->result;
}

/* Whether the next byte is the first one of a frame, or of one that is to be skipped. */
static bool
begins_frame(const struct http_decoder *d)
{
	unsigned char first = ((const unsigned char *)d->in.src)[d->in.pos];

	return first == (ZSTD_MAGICNUMBER & 0xff) || (first & 0xf0) == (ZSTD_MAGIC_SKIPPABLE_START & 0xf0);
}

static int
read_decoded(struct http_client *c, const void **data, size_t *len, struct sp_error *err)
{
	struct http_decoder *d = c->decoder;
	ZSTD_outBuffer out = { d->out, d->out_size, 0 };
	size_t before, hint;
	int rc;

	for (;;) {
		if (d->in.pos == d->in.size && !d->more_output) {
			if ((rc = read_raw(c, err)) < 0)
				return rc;
			if (rc == 0 && d->inside_frame)
				return sp_error_set(err, SP_ETRUNCATED, "%s: the compressed answer ends within a frame",
				    c->exchange.what);
			if (rc == 0)
				return 0;
			d->in = (ZSTD_inBuffer){ c->stream.data, c->stream.len, 0 };
		}
		/* The library also takes frames of its versions before 1.0, and tells of their ends by other rules. */
		if (!d->inside_frame && d->in.pos < d->in.size && !begins_frame(d))
			return sp_error_set(
			    err, SP_EBADDATA, "%s: the compressed answer is damaged: no zstd frame", c->exchange.what);
		before = d->in.pos;
		hint = ZSTD_decompressStream(d->zstd, &out, &d->in);
		if (ZSTD_isError(hint))
			return sp_error_set(err, SP_EBADDATA, "%s: the compressed answer is damaged: %s",
			    c->exchange.what, ZSTD_getErrorName(hint));
		if (d->in.pos > before || out.pos > 0)
			d->inside_frame = hint != 0; /* without progress the hint speaks of a next frame */
		d->more_output = out.pos == out.size;
		if (out.pos > 0) {
			*data = d->out;
			*len = out.pos;
			return 1;
		}
	}
}

int
http_stream_read(struct http_client *c, const void **data, size_t *len, struct sp_error *err)
{
	int rc;

	if (!c->busy)
		return 0;
	if (c->decoder != NULL)
		return read_decoded(c, data, len, err);
	if ((rc = read_raw(c, err)) == 1) {
		*data = c->stream.data;
		*len = c->stream.len;
	}
	return rc;
}

void
http_stream_close(struct http_client *c)
{
	http_client_end(c);
	decoder_free(c->decoder);
	c->decoder = NULL;
	c->handed_out = false;
	buf_reset(&c->stream);
}
