/* Reading a request, and answering it. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/percent.h"
#include "lib/net/listener_internal.h"

#define STREAM_BLOCK_BYTES (256u << 10)
#define STREAM_BYTES       (512u << 10) /* what a streamed answer is counted as: the block, and what feeds it */
#define SMALL_BLOCK_BYTES  (32u << 10)  /* the block, if what feeds it was said */

/* --- Replies --- */

void
request_drop_headers(struct request *rq)
{
	for (size_t i = 0; i < rq->header_count; i++)
		free(rq->headers[i].value);
	rq->header_count = 0;
}

/*
 * Count an answer of so many bytes against what all answers may hold. False: there is no room, and the request has been
 * refused.
 */
static bool
take_room(struct request *rq, size_t bytes, enum guard_phase phase)
{
	static const char detail[] = "too many large answers at once";
	struct listener *l = rq->l;

	if (bytes <= SMALL_REPLY_BYTES)
		return true;
	if (listener_has_room(l, &l->reply_budget, l->o.reply_budget_bytes, rq->reply_budgeted, bytes)) {
		rq->reply_budgeted += bytes;
		guard_phase(rq->guarded, phase);
		if (phase == GUARD_WHOLE)
			guard_moved(rq->guarded, bytes);
		return true;
	}
	request_drop_headers(rq);
	request_add_header(rq, "Retry-After", "1");
	if (l->o.refuse != NULL)
		l->o.refuse(rq, 503, detail, l->o.arg);
	if (!rq->replied)
		request_reply(rq, 503, "text/plain", detail, sizeof(detail) - 1);
	return false;
}

static void
queue(struct request *rq, unsigned status, struct MHD_Response *response)
{
	if (response == NULL) {
		rq->queued = MHD_NO;
		rq->replied = true;
		return;
	}
	for (size_t i = 0; i < rq->header_count; i++)
		MHD_add_response_header(response, rq->headers[i].name, rq->headers[i].value);
	if (atomic_load(&rq->l->stopping))
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	rq->replied = true;
	/* Nothing of the body is needed any more. A client that has its answer may send as much again at once. */
	request_drop_body(rq);
	rq->queued = MHD_queue_response(rq->connection, status, response);
	MHD_destroy_response(response);
}

void
request_add_header(struct request *rq, const char *name, const char *value)
{
	for (const char *c = value; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return;
	for (size_t i = 0; i < rq->header_count; i++)
		if (strcasecmp(rq->headers[i].name, name) == 0)
			return;
	if (rq->header_count == REPLY_HEADERS_MAX)
		return;
	rq->headers[rq->header_count].name = name;
	rq->headers[rq->header_count].value = strdup(value);
	rq->header_count++;
}

static void
set_type(struct MHD_Response *response, const char *type)
{
	if (response != NULL && type != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
}

void
request_reply(struct request *rq, unsigned status, const char *type, const void *body, size_t len)
{
	struct MHD_Response *response;

	if (!take_room(rq, len, GUARD_WHOLE))
		return;
	/* The library copies at once; its signature merely lacks the const. */
	response = MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
	set_type(response, type);
	queue(rq, status, response);
}

void
request_reply_buf(struct request *rq, unsigned status, const char *type, struct buf *body)
{
	size_t len = body->len;
	struct MHD_Response *response = NULL;
	char *data;

	if (!take_room(rq, len, GUARD_WHOLE)) {
		buf_release(body);
		return;
	}
	data = buf_detach(body);
	if (data != NULL)
		response = MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
	if (response == NULL)
		free(data);
	set_type(response, type);
	queue(rq, status, response);
}

struct stream {
	struct guarded *guarded;
	request_source source;
	void (*free_arg)(void *);
	void *arg;
};

static ssize_t
stream_read(void *arg, uint64_t offset, char *out, size_t max)
{
	struct stream *s = arg;
	int64_t n = s->source(s->arg, offset, out, max);

	if (n > 0)
		guard_moved(s->guarded, (uint64_t)n);
	if (n == REQUEST_SOURCE_LATER)
		return 0;
	if (n < 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	return n == 0 ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)n;
}

static void
stream_free(void *arg)
{
	struct stream *s = arg;

	if (s->free_arg != NULL)
		s->free_arg(s->arg);
	free(s);
}

void
request_set_source_bytes(struct request *rq, size_t bytes)
{
	rq->source_bytes = bytes;
}

void
request_reply_stream(struct request *rq, unsigned status, const char *type, uint64_t len, request_source source,
    void (*free_arg)(void *arg), void *arg)
{
	bool small = rq->source_bytes > 0;
	size_t block = small ? SMALL_BLOCK_BYTES : STREAM_BLOCK_BYTES;
	struct stream *s = NULL;
	struct MHD_Response *response;

	if (!take_room(rq, small ? block + rq->source_bytes : STREAM_BYTES, GUARD_REPLY)) {
		if (free_arg != NULL)
			free_arg(arg);
		return;
	}
	s = malloc(sizeof(*s));
	if (s == NULL) {
		if (free_arg != NULL)
			free_arg(arg);
		queue(rq, status, NULL);
		return;
	}
	*s = (struct stream){ .guarded = rq->guarded, .source = source, .free_arg = free_arg, .arg = arg };
	response = MHD_create_response_from_callback(
	    len == REQUEST_LENGTH_UNKNOWN ? MHD_SIZE_UNKNOWN : len, block, stream_read, s, stream_free);
	if (response == NULL)
		stream_free(s);
	set_type(response, type);
	queue(rq, status, response);
}

/* --- What a request says --- */

const char *
request_method(const struct request *rq)
{
	return rq->method;
}

const char *
request_path(const struct request *rq)
{
	return rq->path;
}

const char *
request_target(const struct request *rq)
{
	return rq->target;
}

const char *
request_header(const struct request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->connection, MHD_HEADER_KIND, name);
}

int
request_query(const struct request *rq, const char *name, char *out, size_t size)
{
	const char *raw = NULL;
	size_t raw_len = 0;
	int64_t len;

	if (MHD_lookup_connection_value_n(rq->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &raw, &raw_len) !=
	    MHD_YES)
		return REQUEST_QUERY_ABSENT;
	len = percent_decode(raw != NULL ? raw : "", raw_len, out, size);
	return len < 0 ? REQUEST_QUERY_BAD : (int)len;
}

const void *
request_body(const struct request *rq, size_t *len)
{
	*len = rq->body.len;
	return rq->body.data;
}

void *
request_state(const struct request *rq)
{
	return rq->state;
}

void
request_set_state(struct request *rq, void *state)
{
	rq->state = state;
}

void
request_suspend(struct request *rq)
{
	MHD_suspend_connection(rq->connection);
}

void
request_resume(struct request *rq)
{
	MHD_resume_connection(rq->connection);
}

bool
request_pressed(const struct request *rq)
{
	return guard_pressed(rq->l->guard);
}
