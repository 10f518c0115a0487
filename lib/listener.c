#include "lib/listener.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <microhttpd.h>

#include "lib/clock.h"
#include "lib/socket.h"

#define REPLY_HEADERS_MAX  8
#define DRAIN_MAX          (64u << 20) /* a refused body of up to this is read to its end, so that the answer arrives */
#define STREAM_BLOCK_BYTES (256u << 10)
#define THREAD_STACK_BYTES (256u << 10)

struct listener {
	struct listener_options o;
	struct MHD_Daemon *daemon;
	int fd; /* listening; -1 once it was closed */
	unsigned port;
	char unix_path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "" for TCP */
	atomic_bool stopping;
	atomic_uint requests; /* begun and not over */
	atomic_size_t budget; /* body bytes held by all requests */
};

struct request {
	struct listener *l;
	struct MHD_Connection *connection;
	const char *method;
	const char *path;
	char *target;
	struct buf body;
	size_t budgeted; /* this request's share of the listener's budget, bytes */
	enum { REQUEST_NEW, REQUEST_BODY, REQUEST_HANDLED } phase;
	unsigned refusal; /* the status to refuse with once the body is drained, or 0 */
	const char *refusal_detail;
	uint64_t drained; /* bytes of a refused body that were thrown away */
	bool replied;
	enum MHD_Result queued; /* what the library said of the reply */
	void *state;
	size_t header_count;
	struct {
		char *name;
		char *value;
	} headers[REPLY_HEADERS_MAX];
};

/* --- A request's life --- */

static void *
on_target(void *arg, const char *target, struct MHD_Connection *connection)
{
	struct request *rq = calloc(1, sizeof(*rq));

	if (rq == NULL)
		return NULL;
	rq->l = arg;
	rq->connection = connection;
	rq->target = strdup(target);
	buf_init(&rq->body, 0);
	atomic_fetch_add(&rq->l->requests, 1);
	return rq;
}

static void
on_completed(void *arg, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode code)
{
	struct request *rq = *context;

	(void)arg;
	(void)connection;
	(void)code;
	if (rq == NULL)
		return;
	*context = NULL;
	if (rq->l->o.done != NULL)
		rq->l->o.done(rq, rq->l->o.arg);
	atomic_fetch_sub(&rq->l->budget, rq->budgeted);
	atomic_fetch_sub(&rq->l->requests, 1);
	for (size_t i = 0; i < rq->header_count; i++) {
		free(rq->headers[i].name);
		free(rq->headers[i].value);
	}
	buf_release(&rq->body);
	free(rq->target);
	free(rq);
}

static void
refuse_now(struct request *rq)
{
	if (rq->refusal == 503)
		request_add_header(rq, "Retry-After", "1");
	if (rq->l->o.refuse != NULL)
		rq->l->o.refuse(rq, rq->refusal, rq->refusal_detail, rq->l->o.arg);
	if (!rq->replied)
		request_reply(rq, rq->refusal, "text/plain", rq->refusal_detail, strlen(rq->refusal_detail));
	rq->phase = REQUEST_HANDLED;
}

static void
refuse_later(struct request *rq, unsigned status, const char *detail)
{
	rq->refusal = status;
	rq->refusal_detail = detail;
	buf_release(&rq->body);
}

/* Take `more` bytes of body memory out of the budget that all requests share. */
static bool
take_budget(struct request *rq, size_t more)
{
	struct listener *l = rq->l;

	if (atomic_fetch_add(&l->budget, more) + more > l->o.body_budget_bytes) {
		atomic_fetch_sub(&l->budget, more);
		return false;
	}
	rq->budgeted += more;
	return true;
}

/* The headers are in: decide whether the body may come. */
static void
begin(struct request *rq)
{
	const char *length = request_header(rq, "Content-Length");
	uint64_t announced = length != NULL ? strtoull(length, NULL, 10) : 0;
	bool has_body = announced > 0 || request_header(rq, "Transfer-Encoding") != NULL;

	rq->phase = REQUEST_BODY;
	if (!has_body)
		return;
	rq->body.limit = rq->l->o.body_limit != NULL ? rq->l->o.body_limit(rq, rq->l->o.arg) : 0;
	if (announced > rq->body.limit)
		refuse_later(rq, 413, "the body is larger than is allowed here");
	else if (!take_budget(rq, (size_t)announced))
		refuse_later(rq, 503, "too many large requests at once");
	else if (announced > 0 && buf_reserve(&rq->body, (size_t)announced) < 0)
		refuse_later(rq, 503, "out of memory");
	/* Whoever waits for 100 Continue has sent nothing yet; whoever sends too much is not listened to. */
	if (rq->refusal != 0 && (request_header(rq, "Expect") != NULL || announced > DRAIN_MAX))
		refuse_now(rq);
}

/* A piece of the body. False: give the connection up. */
static bool
take_body(struct request *rq, const char *data, size_t len)
{
	if (rq->refusal == 0 && rq->body.len + len > rq->body.limit)
		refuse_later(rq, 413, "the body is larger than is allowed here");
	if (rq->refusal == 0 && rq->body.len + len > rq->budgeted && !take_budget(rq, len))
		refuse_later(rq, 503, "too many large requests at once");
	if (rq->refusal == 0 && buf_add(&rq->body, data, len) < 0)
		refuse_later(rq, 503, "out of memory");
	if (rq->refusal != 0)
		rq->drained += len;
	return rq->drained <= DRAIN_MAX;
}

static enum MHD_Result
on_access(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
    const char *upload_data, size_t *upload_data_size, void **context)
{
	struct request *rq = *context;

	(void)arg;
	(void)connection;
	(void)version;
	if (rq == NULL || rq->target == NULL)
		return MHD_NO;
	if (rq->phase == REQUEST_NEW) {
		rq->method = method;
		rq->path = url;
		begin(rq);
		return rq->replied ? rq->queued : MHD_YES;
	}
	if (*upload_data_size > 0) {
		bool go_on = rq->phase != REQUEST_BODY || take_body(rq, upload_data, *upload_data_size);

		*upload_data_size = 0;
		return go_on ? MHD_YES : MHD_NO;
	}
	if (rq->replied)
		return rq->queued;
	if (rq->refusal != 0) {
		refuse_now(rq);
		return rq->queued;
	}
	rq->phase = REQUEST_HANDLED;
	rq->queued = MHD_YES;
	rq->l->o.handle(rq, rq->l->o.arg);
	/* A suspended request stays with this thread even when it was resumed already: it is still ours to look at. */
	return rq->replied ? rq->queued : MHD_YES;
}

/* --- Replies --- */

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
	rq->queued = MHD_queue_response(rq->connection, status, response);
	MHD_destroy_response(response);
}

void
request_add_header(struct request *rq, const char *name, const char *value)
{
	for (const char *c = value; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return;
	if (rq->header_count == REPLY_HEADERS_MAX)
		return;
	rq->headers[rq->header_count].name = strdup(name);
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
	/* The library copies at once; its signature merely lacks the const. */
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);

	set_type(response, type);
	queue(rq, status, response);
}

void
request_reply_buf(struct request *rq, unsigned status, const char *type, struct buf *body)
{
	size_t len = body->len;
	char *data = buf_detach(body);
	struct MHD_Response *response = NULL;

	if (data != NULL)
		response = MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
	if (response == NULL)
		free(data);
	set_type(response, type);
	queue(rq, status, response);
}

struct stream {
	request_source source;
	void (*free_arg)(void *);
	void *arg;
};

static ssize_t
stream_read(void *arg, uint64_t offset, char *out, size_t max)
{
	struct stream *s = arg;
	int64_t n = s->source(s->arg, offset, out, max);

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
request_reply_stream(struct request *rq, unsigned status, const char *type, uint64_t len, request_source source,
    void (*free_arg)(void *arg), void *arg)
{
	struct stream *s = malloc(sizeof(*s));
	struct MHD_Response *response;

	if (s == NULL) {
		if (free_arg != NULL)
			free_arg(arg);
		queue(rq, status, NULL);
		return;
	}
	*s = (struct stream){ .source = source, .free_arg = free_arg, .arg = arg };
	response = MHD_create_response_from_callback(
	    len == REQUEST_LENGTH_UNKNOWN ? MHD_SIZE_UNKNOWN : len, STREAM_BLOCK_BYTES, stream_read, s, stream_free);
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

int64_t
percent_decode(const char *src, size_t len, char *out, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = src[i];

		if (n + 1 >= size)
			return -1;
		if (c == '%') {
			const char *high, *low;

			if (len - i < 3 || src[i + 1] == '\0' || src[i + 2] == '\0')
				return -1;
			high = strchr(digits, src[i + 1] | 0x20);
			low = strchr(digits, src[i + 2] | 0x20);
			/* «|0x20» also maps some control characters onto digits: those are no hexadecimal digits. */
			if (high == NULL || low == NULL || (unsigned char)src[i + 1] < '0' ||
			    (unsigned char)src[i + 2] < '0')
				return -1;
			c = (char)((high - digits) << 4 | (low - digits));
			i += 2;
		}
		out[n++] = c;
	}
	if (size == 0)
		return -1;
	out[n] = '\0';
	return (int64_t)n;
}

int
request_query(const struct request *rq, const char *name, char *out, size_t size)
{
	const char *raw = MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, name);
	int64_t len;

	if (raw == NULL)
		return REQUEST_QUERY_ABSENT;
	len = percent_decode(raw, strlen(raw), out, size);
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

/* --- The listener --- */

/* Leave percent-encoding alone: keys may hold %00 and %2F. */
static size_t
keep_escapes(void *arg, struct MHD_Connection *connection, char *text)
{
	(void)arg;
	(void)connection;
	return strlen(text);
}

static void
set_defaults(struct listener_options *o)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (o->threads == 0)
		o->threads = cores > 0 ? (unsigned)cores : 1;
	if (o->connection_limit == 0)
		o->connection_limit = 4096;
	/* The library wants at least one connection for each thread. */
	if (o->connection_limit < o->threads)
		o->connection_limit = o->threads;
	if (o->body_budget_bytes == 0)
		o->body_budget_bytes = 256u << 20;
	if (o->idle_timeout_s == 0)
		o->idle_timeout_s = 60;
}

struct listener *
listener_new(const struct listener_options *o, struct sp_error *err)
{
	struct listener *l = calloc(1, sizeof(*l));
	struct MHD_OptionItem options[12];
	size_t n = 0;

	if (l == NULL) {
		sp_error_set(err, SP_ENOMEM, "listen on %s", o->address);
		return NULL;
	}
	l->o = *o;
	l->fd = -1;
	set_defaults(&l->o);
	if (socket_listen(o->address, &l->fd, &l->port, err) < 0)
		goto fail;
	if (strncmp(o->address, SOCKET_UNIX_PREFIX, strlen(SOCKET_UNIX_PREFIX)) == 0)
		snprintf(l->unix_path, sizeof(l->unix_path), "%s", o->address + strlen(SOCKET_UNIX_PREFIX));

#define OPTION(name, number, pointer)                                                                                  \
	options[n++] = (struct MHD_OptionItem){ .option = (name), .value = (number), .ptr_value = (pointer) }
	OPTION(MHD_OPTION_LISTEN_SOCKET, l->fd, NULL);
	OPTION(MHD_OPTION_CONNECTION_LIMIT, (intptr_t)l->o.connection_limit, NULL);
	OPTION(MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)l->o.idle_timeout_s, NULL);
	OPTION(MHD_OPTION_THREAD_STACK_SIZE, THREAD_STACK_BYTES, NULL);
	OPTION(MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, l);
	OPTION(MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, l);
	OPTION(MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, NULL);
	if (l->o.threads > 1)
		OPTION(MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)l->o.threads, NULL);
	OPTION(MHD_OPTION_END, 0, NULL);
#undef OPTION
	l->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_access,
	    l, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
	if (l->daemon == NULL) {
		sp_error_set(err, SP_EIO, "listen on %s: the HTTP library did not start", o->address);
		goto fail;
	}
	return l;
fail:
	if (l->fd >= 0)
		close(l->fd);
	free(l);
	return NULL;
}

void
listener_stop(struct listener *l)
{
	if (atomic_exchange(&l->stopping, true))
		return;
	MHD_quiesce_daemon(l->daemon);
	close(l->fd);
	l->fd = -1;
	if (l->unix_path[0] != '\0')
		unlink(l->unix_path);
}

void
listener_free(struct listener *l, int64_t grace_ms)
{
	int64_t deadline;

	if (l == NULL)
		return;
	listener_stop(l);
	deadline = clock_mono_ms() + grace_ms;
	while (atomic_load(&l->requests) > 0 && clock_mono_ms() < deadline)
		clock_sleep_ms(5);
	MHD_stop_daemon(l->daemon);
	free(l);
}

unsigned
listener_port(const struct listener *l)
{
	return l->port;
}

unsigned
listener_requests(const struct listener *l)
{
	return atomic_load(&l->requests);
}

unsigned
listener_connections(const struct listener *l)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	return info != NULL ? info->num_connections : 0;
}
