/*
 * Compressed answers: however the bytes are cut into pieces, the same comes out, never more at once than the decoder's
 * buffer. The first byte says how large the pieces are. The HTTP client's
 * exchange with curl is replaced here by one that has the input for its body.
 */
#include <string.h>

#include <zstd.h>

#include "lib/net/http_client_internal.h"
#include "lib/protocol/digest.h"
#include "tests/fuzz/shared.h"

#define OUTPUT_MAX (1u << 20) /* further on, nothing new is to be learnt */

static char what[] = "GET http://store-0:9876/v1/snapshot";
static struct fuzz_pieces pieces;

int
http_client_begin(struct http_client *c, const struct http_request_out *rq, struct http_reply *reply,
    struct buf *stream, struct sp_error *err)
{
	(void)rq;
	(void)err;
	memset(&c->exchange, 0, sizeof(c->exchange));
	c->exchange.what = what;
	c->exchange.reply = reply;
	c->exchange.stream = stream;
	c->exchange.streaming = c->exchange.headers_done = c->busy = true;
	return buf_printf(&reply->headers, "content-encoding: zstd\n");
}

int64_t
http_client_round(struct http_client *c)
{
	const void *data;
	size_t len;

	if (fuzz_pieces_next(&pieces, &data, &len, NULL) == 1)
		FUZZ_REQUIRE(buf_add(&c->stream, data, len) == 0);
	else
		c->exchange.finished = true;
	return 0;
}

void
http_client_end(struct http_client *c)
{
	c->busy = false;
}

void
http_wait(CURLM *multi, int64_t wait_ms)
{
	(void)multi;
	(void)wait_ms;
}

struct outcome {
	int rc;
	uint64_t bytes;
	struct digest digest;
};

static struct outcome
decode(const uint8_t *data, size_t size, size_t piece_bytes)
{
	struct http_client c = { .busy = false };
	struct digest_stream *hash = digest_stream_new();
	struct sp_error err = { 0 };
	struct outcome o = { .bytes = 0 };
	struct http_reply reply;
	const void *piece;
	size_t len;

	pieces = (struct fuzz_pieces){ .data = data, .size = size, .piece_bytes = piece_bytes };
	buf_init(&c.stream, HTTP_STREAM_BUFFER);
	http_reply_init(&reply, 4096);
	FUZZ_REQUIRE(http_stream_open(&c, &(struct http_request_out){ .url = "" }, &reply, &err) == 0);
	while (o.bytes < OUTPUT_MAX && (o.rc = http_stream_read(&c, &piece, &len, &err)) == 1) {
		FUZZ_REQUIRE(len > 0 && len <= ZSTD_DStreamOutSize());
		digest_stream_add(hash, piece, len);
		o.bytes += len;
	}
	if (o.rc < 0)
		fuzz_require_error(o.rc, &err);
	o.digest = digest_stream_value(hash);
	http_stream_close(&c);
	buf_release(&c.stream);
	http_reply_release(&reply);
	fuzz_pieces_release(&pieces);
	digest_stream_free(hash);
	return o;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, cut;

	if (size == 0)
		return 0;
	whole = decode(data + 1, size - 1, size);
	cut = decode(data + 1, size - 1, data[0] > 0 ? data[0] : 1);
	/* Before a failure one may have handed out more than the other, and so be stopped earlier. */
	if (whole.bytes >= OUTPUT_MAX || cut.bytes >= OUTPUT_MAX)
		return 0;
	FUZZ_REQUIRE((whole.rc < 0) == (cut.rc < 0));
	FUZZ_REQUIRE(whole.rc < 0 || (whole.bytes == cut.bytes && digest_equal(whole.digest, cut.digest)));
	return 0;
}
