#include "tests/fuzz/listener.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"

#define HEADERS_MAX  16
#define STREAM_BYTES 1000
#define PATIENCE_S   10

struct listener {
	struct listener_options o;
};

struct request {
	char *method, *path, *query; /* decoded but for the query, which may be NULL */
	char *names[HEADERS_MAX], *values[HEADERS_MAX];
	size_t header_count;
	const char *body;
	size_t body_len;
	void *state;
	struct fuzz_answer *answer;
	bool laid_aside; /* the handler has suspended it */

	/* Under lock. */
	bool suspended;
};

static struct listener listeners[2];
static size_t listener_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t resumed = PTHREAD_COND_INITIALIZER;

struct listener *
listener_new(const struct listener_options *o, struct sp_error *err)
{
	(void)err;
	FUZZ_REQUIRE(listener_count < 2);
	listeners[listener_count].o = *o;
	return &listeners[listener_count++];
}

/* Cut a line off the front; NULL where there is none. */
static char *
take_line(char **at)
{
	char *line = *at, *end = strchr(line, '\n');

	if (end == NULL)
		return NULL;
	*end = '\0';
	*at = end + 1;
	return line;
}

/* As the library does it: the path is decoded once, and a NUL in it ends it. */
static bool
parse(char *text, size_t len, struct request *rq)
{
	char *at = text, *line = take_line(&at), *colon;

	if (line == NULL || (rq->path = strchr(line, ' ')) == NULL)
		return false;
	rq->method = line;
	*rq->path++ = '\0';
	if ((rq->query = strchr(rq->path, '?')) != NULL)
		*rq->query++ = '\0';
	while ((line = take_line(&at)) != NULL && line[0] != '\0') {
		if ((colon = strchr(line, ':')) == NULL || rq->header_count == HEADERS_MAX)
			continue;
		*colon = '\0';
		rq->names[rq->header_count] = line;
		rq->values[rq->header_count++] = colon + 1 + (colon[1] == ' ');
	}
	rq->body = at;
	rq->body_len = len - (size_t)(at - text);
	return rq->path[0] == '/';
}

static void
wait_until_resumed(struct request *rq)
{
	int64_t deadline_ms = clock_wall_ms() + PATIENCE_S * 1000;
	struct timespec ts = { .tv_sec = (time_t)(deadline_ms / 1000) };

	pthread_mutex_lock(&lock);
	while (rq->suspended)
		FUZZ_REQUIRE(pthread_cond_timedwait(&resumed, &lock, &ts) == 0);
	pthread_mutex_unlock(&lock);
}

bool
fuzz_listener_ask(char *text, size_t len, struct fuzz_answer *out)
{
	bool control = text[0] == '!';
	struct listener *l = &listeners[control];
	struct request rq = { .answer = out };

	memset(out, 0, sizeof(*out));
	buf_init(&out->body, 1u << 20);
	if (!parse(text + control, len - control, &rq))
		return false;
	if (rq.body_len > l->o.body_limit(&rq, l->o.arg)) {
		l->o.refuse(&rq, 413, "too much", l->o.arg);
	} else {
		l->o.handle(&rq, l->o.arg);
		/* Not answered: it was laid aside, and comes again. */
		while (out->status == 0) {
			FUZZ_REQUIRE(rq.laid_aside);
			rq.laid_aside = false;
			wait_until_resumed(&rq);
			l->o.handle(&rq, l->o.arg);
		}
	}
	l->o.done(&rq, l->o.arg);
	FUZZ_REQUIRE(!rq.suspended);
	return true;
}

/* --- What handlers see --- */

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
	return rq->path;
}

const char *
request_header(const struct request *rq, const char *name)
{
	for (size_t i = 0; i < rq->header_count; i++)
		if (strcasecmp(rq->names[i], name) == 0)
			return rq->values[i];
	return NULL;
}

int
request_query(const struct request *rq, const char *name, char *out, size_t size)
{
	size_t name_len = strlen(name), len;
	int64_t n;

	for (const char *at = rq->query; at != NULL && *at != '\0'; at += len + (at[len] == '&')) {
		len = strcspn(at, "&");
		if (strncmp(at, name, name_len) != 0 || (at[name_len] != '=' && name_len != len))
			continue;
		if (name_len == len)
			return 0;
		n = percent_decode(at + name_len + 1, len - name_len - 1, out, size);
		return n < 0 ? REQUEST_QUERY_BAD : (int)n;
	}
	return REQUEST_QUERY_ABSENT;
}

const void *
request_body(const struct request *rq, size_t *len)
{
	*len = rq->body_len;
	return rq->body;
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
	pthread_mutex_lock(&lock);
	FUZZ_REQUIRE(!rq->suspended && rq->answer->status == 0);
	rq->suspended = rq->laid_aside = true;
	pthread_mutex_unlock(&lock);
}

void
request_resume(struct request *rq)
{
	pthread_mutex_lock(&lock);
	FUZZ_REQUIRE(rq->suspended);
	rq->suspended = false;
	pthread_cond_broadcast(&resumed);
	pthread_mutex_unlock(&lock);
}

/* Now and then there is no room: for what a request asks by a query of odd length. */
bool
request_charge(struct request *rq, size_t bytes)
{
	(void)bytes;
	return rq->query == NULL || strlen(rq->query) % 2 == 0;
}

bool
request_pressed(const struct request *rq)
{
	return !request_charge((struct request *)(uintptr_t)rq, 0);
}

/* --- What they answer --- */

static void
begin_answer(struct request *rq, unsigned status, const char *type)
{
	FUZZ_REQUIRE(rq->answer->status == 0 && status != 0);
	rq->answer->status = status;
	rq->answer->type = type != NULL ? type : "";
}

void
request_add_header(struct request *rq, const char *name, const char *value)
{
	FUZZ_REQUIRE(rq->answer->status == 0 && name[0] != '\0' && strpbrk(value, "\r\n") == NULL);
}

void
request_reply(struct request *rq, unsigned status, const char *type, const void *body, size_t len)
{
	begin_answer(rq, status, type);
	FUZZ_REQUIRE(buf_add(&rq->answer->body, body, len) == 0);
}

void
request_reply_buf(struct request *rq, unsigned status, const char *type, struct buf *body)
{
	request_reply(rq, status, type, body->data, body->len);
	buf_release(body);
}

void
request_reply_stream(struct request *rq, unsigned status, const char *type, uint64_t len, request_source source,
    void (*free_arg)(void *arg), void *arg)
{
	char piece[STREAM_BYTES];
	uint64_t offset = 0;
	int64_t n = 0;

	begin_answer(rq, status, type);
	while (offset < len && (n = source(arg, offset, piece, sizeof(piece))) > 0) {
		FUZZ_REQUIRE((uint64_t)n <= sizeof(piece));
		FUZZ_REQUIRE(buf_add(&rq->answer->body, piece, (size_t)n) == 0);
		offset += (uint64_t)n;
	}
	FUZZ_REQUIRE(n >= 0 && (len == REQUEST_LENGTH_UNKNOWN || offset == len));
	free_arg(arg);
}
