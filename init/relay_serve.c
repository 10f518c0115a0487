/* The readers of an archive that is passed on: their requests and the answers. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "init/relay_internal.h"
#include "lib/base/log.h"
#include "lib/base/number.h"

#define PROBLEM "application/problem+json"

/* --- Whether and what --- */

static bool
asks_for_snapshot(const struct request *rq)
{
	return strcmp(request_path(rq), "/v1/snapshot") == 0 && strcmp(request_method(rq), "GET") == 0;
}

unsigned
relay_admit(struct request *rq, const char **detail, void *arg)
{
	const struct relay *r = arg;
	unsigned roles;

	/* Clients know this address as the server's. Nothing was done, and the server is about to run. */
	if (strcmp(request_method(rq), "GET") != 0 && strcmp(request_method(rq), "HEAD") != 0) {
		*detail = "this pod is being seeded; its server does not run yet";
		return 503;
	}
	if (r->o.tokens == NULL)
		return 0;
	roles = tokens_roles(r->o.tokens, request_header(rq, "Authorization"));
	if (roles == 0) {
		*detail = "a bearer token that is known here is needed";
		return 401;
	}
	if (asks_for_snapshot(rq) && (roles & TOKEN_PEER) == 0) {
		*detail = "the token does not allow this";
		return 403;
	}
	return 0;
}

static void
refuse(struct request *rq, unsigned status, const char *code, const char *detail)
{
	char text[512];

	snprintf(text, sizeof(text), "{\"type\":\"about:blank\",\"status\":%u,\"detail\":\"%s\",\"code\":\"%s\"}",
	    status, detail, code);
	if (status == 503)
		request_add_header(rq, "Retry-After", "1");
	request_reply(rq, status, PROBLEM, text, strlen(text));
}

void
relay_refuse(struct request *rq, unsigned status, const char *detail, void *arg)
{
	(void)arg;
	refuse(rq, status, status == 503 ? "SP_EAGAIN" : "request", detail);
}

/* A whole number in the query: 1, 0 if it is absent, -1 if it is invalid. */
static int
query_number(const struct request *rq, const char *name, uint64_t *out)
{
	char text[32];
	int len = request_query(rq, name, text, sizeof(text));

	if (len == REQUEST_QUERY_ABSENT)
		return 0;
	return len > 0 && number_from_bytes(text, (size_t)len, UINT64_MAX, out) ? 1 : -1;
}

/* --- One reader --- */

static void
free_reader(void *arg)
{
	struct reader *reader = arg, **at;
	struct relay *r = reader->relay;

	pthread_mutex_lock(&r->lock);
	for (at = &r->readers; *at != NULL && *at != reader; at = &(*at)->next)
		continue;
	if (*at != NULL)
		*at = reader->next;
	if (reader->placed)
		fanout_leave(&r->fanout, reader->pod);
	relay_note_readers(r);
	pthread_cond_broadcast(&r->moved);
	pthread_mutex_unlock(&r->lock);
	free(reader);
}

/* Where the next bytes come from: how many were copied, or of the file's from *file_at on; 0: they have not come. With
 * the lock held. */
static size_t
find_bytes(struct relay *r, uint64_t at, char *out, size_t max, bool *on_disk, uint64_t *file_at)
{
	const struct buf *from = NULL;
	uint64_t begin = 0;
	size_t n;

	*on_disk = false;
	if (at < r->head.len) {
		from = &r->head;
	} else if (r->image_end == 0) {
		return 0;
	} else if (at >= r->image_end) {
		from = &r->tail;
		begin = r->image_end;
	}
	if (from != NULL) {
		n = from->len > at - begin ? from->len - (size_t)(at - begin) : 0;
		n = n < max ? n : max;
		memcpy(out, from->data + (at - begin), n);
		return n;
	}
	max = r->image_end - at < max ? (size_t)(r->image_end - at) : max;
	*file_at = at - r->image_at;
	if (r->writer != NULL)
		return writer_copy(r->writer, *file_at, out, max, on_disk);
	*on_disk = true;
	return max;
}

/* A request_source. Reading the file is done without the lock: what is written there stays as long as we do. */
static int64_t
read_archive(void *arg, uint64_t offset, char *out, size_t max)
{
	struct reader *reader = arg;
	struct relay *r = reader->relay;
	uint64_t file_at = 0;
	int64_t n = -1;
	bool on_disk;

	(void)offset;
	pthread_mutex_lock(&r->lock);
	if (r->ended)
		goto out;
	n = (int64_t)find_bytes(r, reader->at, out, max, &on_disk, &file_at);
	if (n == 0) {
		reader->waiting = true;
		request_suspend(reader->rq);
		n = REQUEST_SOURCE_LATER;
		goto out;
	}
	if (on_disk) {
		pthread_mutex_unlock(&r->lock);
		n = pread(r->fd, out, (size_t)n, (off_t)file_at);
		pthread_mutex_lock(&r->lock);
	}
	if (n <= 0) {
		n = -1;
		goto out;
	}
	reader->at += (uint64_t)n;
	relay_note_readers(r);
	pthread_cond_broadcast(&r->moved);
out:
	pthread_mutex_unlock(&r->lock);
	return n;
}

/* --- Requests --- */

static void
add_headers(struct request *rq, const struct relay *r, uint64_t offset)
{
	char number[32];

	request_add_header(rq, "Seedpod-Snapshot-Id", r->id);
	snprintf(number, sizeof(number), "%" PRIu64, offset);
	request_add_header(rq, "Seedpod-Offset", number);
	snprintf(number, sizeof(number), "%" PRIu64, r->length);
	request_add_header(rq, "Seedpod-Snapshot-Length", number);
}

/* Enough pods are being sent to. */
static void
point_to_sibling(struct request *rq, const struct relay *r, unsigned sibling)
{
	char number[16];

	request_add_header(rq, "Seedpod-Snapshot-Id", r->id);
	snprintf(number, sizeof(number), "%u", sibling);
	request_add_header(rq, "Seedpod-Sibling", number);
	refuse(rq, 503, "SP_EAGAIN", "other pods are being sent this snapshot; one of them passes it on");
}

static void
handle_snapshot(struct request *rq, struct relay *r)
{
	uint64_t offset = 0, pod = 0;
	unsigned sibling = 0;
	char id[sizeof(r->id)];
	int id_len = request_query(rq, "id", id, sizeof(id)), has_pod = query_number(rq, "pod", &pod);
	bool ready, known;
	struct reader *reader;

	if (query_number(rq, "offset", &offset) < 0 || has_pod < 0 || pod > UINT32_MAX) {
		refuse(rq, 400, "query", "pod and offset are whole numbers");
		return;
	}
	pthread_mutex_lock(&r->lock);
	ready = r->id[0] != '\0' && !r->ended;
	known = ready && id_len > 0 && strcmp(id, r->id) == 0 && offset < r->length;
	pthread_mutex_unlock(&r->lock);
	if (!known) {
		refuse(rq, ready && id_len > 0 ? 410 : 503, ready && id_len > 0 ? "SP_ENOTFOUND" : "SP_EAGAIN",
		    "this pod is being seeded and does not pass that snapshot on");
		return;
	}
	if ((reader = calloc(1, sizeof(*reader))) == NULL) {
		refuse(rq, 503, "no_memory", "out of memory");
		return;
	}
	*reader = (struct reader){ .relay = r, .rq = rq, .at = offset, .pod = (unsigned)pod };
	pthread_mutex_lock(&r->lock);
	reader->placed = has_pod > 0 && fanout_place(&r->fanout, (unsigned)pod, &sibling);
	if (has_pod > 0 && !reader->placed) {
		pthread_mutex_unlock(&r->lock);
		free(reader);
		point_to_sibling(rq, r, sibling);
		return;
	}
	reader->next = r->readers;
	r->readers = reader;
	relay_note_readers(r);
	pthread_mutex_unlock(&r->lock);
	add_headers(rq, r, offset);
	log_info("passing the snapshot on", LOG_U64("pod", pod), LOG_STR("id", id), LOG_U64("offset", offset));
	request_reply_stream(rq, 200, "application/x-tar", r->length - offset, read_archive, free_reader, reader);
}

void
relay_handle(struct request *rq, void *arg)
{
	struct relay *r = arg;

	if (asks_for_snapshot(rq))
		handle_snapshot(rq, r);
	else if (r->o.has_store)
		refuse(rq, 503, "SP_EAGAIN", "this pod is being seeded; the store that it has is about to be replaced");
	else
		refuse(rq, 503, "SP_ENOTFOUND", "this pod is being seeded and has no store yet");
}
