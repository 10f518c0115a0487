/* Reading a snapshot from front to end, plain or compressed. */
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "server/snapshot/internal.h"

#define FRAME_BYTES (512u << 10) /* of tar in one frame */
#define ZSTD_LEVEL  1            /* faster than a network of 1 Gbit/s */
#define TAIL_MAX    (64u << 10)

struct snapshot_stream {
	struct snapshot *snapshot;
	uint64_t at; /* next byte of tar */
	bool begun;  /* a piece was asked for */
	bool placed; /* `pod` counts until this ends */
	unsigned pod;
	struct buf tail; /* filled once the image has been read */

	/* With zstd: a frame's input and output, and how much of the output went out. */
	ZSTD_CCtx *zstd;
	char *raw;
	char *frame;
	size_t frame_size, frame_len, frame_sent;
};

struct snapshot_stream *
snapshot_stream_new(struct snapshot *s, uint64_t offset, bool zstd, struct sp_error *err)
{
	struct snapshot_stream *t = calloc(1, sizeof(*t));
	uint64_t known;

	pthread_mutex_lock(&s->hash_lock);
	known = s->head.len + s->hashed;
	if (s->hashed == store_pin_size(s->pin))
		known = s->length;
	pthread_mutex_unlock(&s->hash_lock);
	if (t == NULL) {
		sp_error_set(err, SP_ENOMEM, "snapshot");
		snapshot_release(s);
		return NULL;
	}
	t->snapshot = s;
	t->at = offset;
	buf_init(&t->tail, TAIL_MAX);
	if (offset > known) {
		sp_error_set(err, SP_EUSAGE, "offset %llu lies beyond the %llu bytes that were sent of this snapshot",
		    (unsigned long long)offset, (unsigned long long)known);
		goto fail;
	}
	if (zstd) {
		t->frame_size = ZSTD_compressBound(FRAME_BYTES);
		t->zstd = ZSTD_createCCtx();
		t->raw = malloc(FRAME_BYTES);
		t->frame = malloc(t->frame_size);
		if (t->zstd == NULL || t->raw == NULL || t->frame == NULL) {
			sp_error_set(err, SP_ENOMEM, "snapshot");
			goto fail;
		}
	}
	return t;
fail:
	snapshot_stream_free(t);
	return NULL;
}

bool
snapshot_stream_place(struct snapshot_stream *t, unsigned pod, unsigned *sibling)
{
	struct snapshot *s = t->snapshot;

	if (s->length < FANOUT_LEAST_BYTES)
		return true;
	pthread_mutex_lock(&s->fanout_lock);
	t->placed = fanout_place(&s->fanout, pod, sibling);
	pthread_mutex_unlock(&s->fanout_lock);
	t->pod = pod;
	return t->placed;
}

static void
leave(struct snapshot_stream *t)
{
	if (!t->placed)
		return;
	pthread_mutex_lock(&t->snapshot->fanout_lock);
	fanout_leave(&t->snapshot->fanout, t->pod);
	pthread_mutex_unlock(&t->snapshot->fanout_lock);
}

void
snapshot_stream_free(struct snapshot_stream *t)
{
	if (t == NULL)
		return;
	leave(t);
	snapshot_release(t->snapshot);
	buf_release(&t->tail);
	ZSTD_freeCCtx(t->zstd);
	free(t->raw);
	free(t->frame);
	free(t);
}

/* Continue the shared hash if these bytes of the image reach beyond it. */
static void
hash_image(struct snapshot *s, uint64_t offset, const char *data, size_t len)
{
	pthread_mutex_lock(&s->hash_lock);
	if (s->hashed >= offset && s->hashed < offset + len) {
		size_t skip = (size_t)(s->hashed - offset);

		digest_stream_add(s->hash, data + skip, len - skip);
		s->hashed = offset + len;
	}
	pthread_mutex_unlock(&s->hash_lock);
}

static int
make_tail(struct snapshot_stream *t)
{
	struct snapshot *s = t->snapshot;
	struct digest image;

	/* All before the tail was read by this stream or sent by an earlier one: the hash is complete. */
	pthread_mutex_lock(&s->hash_lock);
	image = digest_stream_value(s->hash);
	pthread_mutex_unlock(&s->hash_lock);
	return snapshot_write_tail(s, image, &t->tail);
}

/* Up to max bytes of tar. */
static int64_t
read_tar(struct snapshot_stream *t, char *out, size_t max)
{
	struct snapshot *s = t->snapshot;
	uint64_t image_end = s->head.len + store_pin_size(s->pin);
	struct sp_error err = { 0 };
	const char *from;
	size_t n;

	if (atomic_load(&s->dropped))
		return -1;
	if (t->at == s->length)
		return 0;
	if (t->at >= s->head.len && t->at < image_end) {
		n = image_end - t->at < max ? (size_t)(image_end - t->at) : max;
		if (store_pin_read(s->pin, t->at - s->head.len, out, n, &err) < 0) {
			log_error("snapshot broken off", LOG_STR("id", s->id), LOG_STR("error", err.text));
			return -1;
		}
		hash_image(s, t->at - s->head.len, out, n);
		FAULT_POINT("snapshot.piece");
		t->at += n;
		return (int64_t)n;
	}
	if (t->at < s->head.len) {
		from = s->head.data + t->at;
		n = s->head.len - (size_t)t->at;
	} else {
		if (t->tail.len == 0 && make_tail(t) < 0)
			return -1;
		FAULT_POINT("snapshot.tail");
		from = t->tail.data + (t->at - image_end);
		n = t->tail.len - (size_t)(t->at - image_end);
	}
	n = n < max ? n : max;
	memcpy(out, from, n);
	t->at += n;
	return (int64_t)n;
}

/* Compress the next FRAME_BYTES of tar (less at the end). 1, 0 at the end, -1. */
static int
next_frame(struct snapshot_stream *t)
{
	size_t filled = 0;
	int64_t n = 0;

	while (filled < FRAME_BYTES && (n = read_tar(t, t->raw + filled, FRAME_BYTES - filled)) > 0)
		filled += (size_t)n;
	if (n < 0)
		return -1;
	if (filled == 0)
		return 0;
	atomic_fetch_add(&t->snapshot->counters->snapshot_bytes_sent, filled);
	t->frame_len = ZSTD_compressCCtx(t->zstd, t->frame, t->frame_size, t->raw, filled, ZSTD_LEVEL);
	t->frame_sent = 0;
	return ZSTD_isError(t->frame_len) ? -1 : 1;
}

int64_t
snapshot_stream_read(struct snapshot_stream *t, char *out, size_t max)
{
	int64_t n;
	int rc;

	if (!t->begun)
		atomic_fetch_add(&t->snapshot->counters->snapshots_started, 1);
	t->begun = true;
	if (t->zstd == NULL) {
		n = read_tar(t, out, max);
		if (n > 0)
			atomic_fetch_add(&t->snapshot->counters->snapshot_bytes_sent, (uint64_t)n);
		return n;
	}
	if (t->frame_sent == t->frame_len) {
		rc = next_frame(t);
		if (rc <= 0)
			return rc;
	}
	n = (int64_t)(t->frame_len - t->frame_sent < max ? t->frame_len - t->frame_sent : max);
	memcpy(out, t->frame + t->frame_sent, (size_t)n);
	t->frame_sent += (size_t)n;
	return n;
}
