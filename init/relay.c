#include "init/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "init/relay_internal.h"
#include "init/stop.h"
#include "lib/base/clock.h"
#include "lib/base/cond.h"
#include "lib/base/log.h"

#define HEAD_BYTES_MAX ((size_t)128 << 10) /* more than all that may come before the image */
#define TAIL_BYTES_MAX ((size_t)256 << 10)
#define CONNECTIONS    64
#define NEAR_BYTES     ((uint64_t)256 << 20) /* a pod that lacks more is not waited for */
#define LINGER_MS      2000

struct relay *
relay_new(const struct relay_options *o, struct sp_error *err)
{
	struct relay *r = calloc(1, sizeof(*r));
	struct listener_options listener = { .address = o->address,
		.threads = 1,
		.connection_limit = CONNECTIONS,
		.tls = o->tls,
		.ask_client = true,
		.admit = relay_admit,
		.handle = relay_handle,
		.refuse = relay_refuse,
		.arg = r };

	if (r == NULL) {
		sp_error_set(err, SP_ENOMEM, "pass a snapshot on: out of memory");
		return NULL;
	}
	r->o = *o;
	r->fd = -1;
	r->fanout.limit = o->fan_out;
	buf_init(&r->head, HEAD_BYTES_MAX);
	buf_init(&r->tail, TAIL_BYTES_MAX);
	pthread_mutex_init(&r->lock, NULL);
	cond_init(&r->moved);
	r->listener = listener_new(&listener, err);
	if (r->listener == NULL) {
		relay_free(r);
		return NULL;
	}
	return r;
}

/* Ask those again that wait for more. With the lock held. */
static void
wake_readers(struct relay *r)
{
	for (struct reader *reader = r->readers; reader != NULL; reader = reader->next) {
		if (!reader->waiting)
			continue;
		reader->waiting = false;
		request_resume(reader->rq);
	}
}

void
relay_free(struct relay *r)
{
	if (r == NULL)
		return;
	pthread_mutex_lock(&r->lock);
	r->ended = true;
	wake_readers(r);
	pthread_mutex_unlock(&r->lock);
	listener_free(r->listener, 0);
	if (r->fd >= 0)
		close(r->fd);
	buf_release(&r->head);
	buf_release(&r->tail);
	pthread_cond_destroy(&r->moved);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void
relay_begin(struct relay *r, const char *id, uint64_t length)
{
	if (r == NULL || length < FANOUT_LEAST_BYTES)
		return;
	pthread_mutex_lock(&r->lock);
	snprintf(r->id, sizeof(r->id), "%s", id);
	r->length = length;
	pthread_mutex_unlock(&r->lock);
}

/* Memory ran out, or the archive is not as it should be: it is passed on no further. With the lock held. */
static void
end(struct relay *r)
{
	r->ended = true;
	if (r->writer != NULL)
		writer_keep(r->writer, UINT64_MAX);
}

/* The part of data, which begins at byte `at` of the archive, that lies between `from` and `to`. With the lock held. */
static void
keep_part(struct relay *r, struct buf *out, const char *data, size_t len, uint64_t from, uint64_t to)
{
	uint64_t at = r->arrived, begin = at > from ? at : from, stop = at + len < to ? at + len : to;

	if (begin < stop && buf_add(out, data + (begin - at), (size_t)(stop - begin)) < 0)
		end(r);
}

void
relay_take(struct relay *r, const void *data, size_t len)
{
	if (r == NULL)
		return;
	pthread_mutex_lock(&r->lock);
	if (r->id[0] != '\0' && !r->ended) {
		keep_part(r, &r->head, data, len, 0, HEAD_BYTES_MAX);
		if (r->image_end > 0)
			keep_part(r, &r->tail, data, len, r->image_end, r->length);
	}
	r->arrived += len;
	wake_readers(r);
	pthread_mutex_unlock(&r->lock);
}

void
relay_image(struct relay *r, uint64_t offset, uint64_t size, const char *path, struct writer *w)
{
	if (r == NULL)
		return;
	pthread_mutex_lock(&r->lock);
	if (r->id[0] != '\0' && !r->ended) {
		r->fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (r->fd < 0 || offset > r->head.len || size > r->length - offset || r->arrived > offset + size)
			end(r);
		r->image_at = offset;
		r->image_end = offset + size;
		r->writer = w;
		relay_note_readers(r);
	}
	pthread_mutex_unlock(&r->lock);
}

void
relay_image_written(struct relay *r)
{
	if (r == NULL)
		return;
	pthread_mutex_lock(&r->lock);
	r->writer = NULL;
	wake_readers(r);
	pthread_mutex_unlock(&r->lock);
}

void
relay_note_readers(struct relay *r)
{
	uint64_t least = UINT64_MAX;

	if (r->writer == NULL)
		return;
	for (struct reader *reader = r->readers; reader != NULL; reader = reader->next) {
		uint64_t wants = reader->at > r->image_at ? reader->at - r->image_at : 0;

		if (r->arrived - reader->at <= NEAR_BYTES && wants < least)
			least = wants;
	}
	writer_keep(r->writer, least);
}

/* How many lack little. With the lock held. */
static unsigned
count_near(const struct relay *r)
{
	unsigned n = 0;

	for (const struct reader *reader = r->readers; reader != NULL; reader = reader->next)
		n += r->length - reader->at <= NEAR_BYTES;
	return n;
}

void
relay_linger(struct relay *r)
{
	int64_t until_ms = clock_mono_ms() + LINGER_MS;

	if (r == NULL)
		return;
	pthread_mutex_lock(&r->lock);
	while (!r->ended && count_near(r) > 0 && !stop_requested())
		if (cond_wait_until(&r->moved, &r->lock, until_ms) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&r->lock);
}
