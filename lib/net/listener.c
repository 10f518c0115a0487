#include "lib/net/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/net/listener_internal.h"
#include "lib/net/socket.h"

#define THREAD_STACK_BYTES (256u << 10)
#define DESCRIPTORS_WANTED 16384u

/* --- A connection's life --- */

/* Our data for a connection; NULL if memory ran out: then every request on it is refused. */
struct line {
	int fd;
	struct guarded *guarded;
	struct input *input;         /* NULL likewise */
	unsigned long requests;      /* that have begun */
	struct tls_session *secured; /* NULL without TLS */
};

static void
close_line(struct listener *l, struct line *line)
{
	if (line == NULL)
		return;
	guard_closed(l->guard, line->guarded);
	input_detach(line->fd);
	input_free(line->input);
	tls_session_end(line->secured);
	free(line);
}

static struct line *
open_line(struct listener *l, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info;
	struct line *line = calloc(1, sizeof(*line));
	int fd, one = 1;

	if (line == NULL)
		return NULL;
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	fd = info != NULL ? info->connect_fd : -1;
	line->fd = fd;
	line->guarded = guard_opened(l->guard, fd);
	line->input = input_new();
	if (line->input != NULL && !input_attach(line->input, fd, l->o.tls != NULL)) {
		input_free(line->input);
		line->input = NULL;
	}
	if (l->o.tls == NULL)
		return line;
	/* A handshake is several small pieces; each would wait until the client acknowledges the one before. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	if (info != NULL)
		line->secured = tls_session_begin(l->o.tls, info->tls_session, l->o.ask_client);
	return line;
}

static void
on_connection(void *arg, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode what)
{
	struct listener *l = arg;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		/* The library closes the descriptor after this call. */
		close_line(l, *context);
		*context = NULL;
	} else {
		*context = open_line(l, connection);
	}
}

static struct line *
line_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info != NULL ? info->socket_context : NULL;
}

/* --- A request's life --- */

static void *
on_target(void *arg, const char *target, struct MHD_Connection *connection)
{
	struct listener *l = arg;
	struct line *line = line_of(connection);
	struct request *rq;

	if (line == NULL || line->input == NULL)
		return NULL;
	/* The handshake ensures this already: a client without access is not heard. */
	if (l->o.tls != NULL && (line->secured == NULL || !tls_session_let_in(line->secured)))
		return NULL;
	rq = calloc(1, sizeof(*rq));
	if (rq == NULL)
		return NULL;
	rq->l = l;
	rq->connection = connection;
	rq->guarded = line->guarded;
	rq->input = line->input;
	rq->number = ++line->requests;
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
	request_give_back(rq);
	atomic_fetch_sub(&rq->l->requests, 1);
	guard_phase(rq->guarded, GUARD_HEAD);
	request_drop_headers(rq);
	free(rq->target);
	free(rq);
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
		request_begin(rq);
		guard_phase(rq->guarded, rq->has_body ? GUARD_BODY : GUARD_HANDLED);
		return rq->replied ? rq->queued : MHD_YES;
	}
	if (*upload_data_size > 0) {
		bool go_on = rq->phase != REQUEST_BODY || request_take_body(rq, upload_data, *upload_data_size);

		*upload_data_size = 0;
		return go_on ? MHD_YES : MHD_NO;
	}
	if (rq->replied)
		return rq->queued;
	if (rq->phase == REQUEST_BODY)
		request_end_body(rq);
	if (rq->refusal != 0) {
		request_refuse(rq);
		return rq->queued;
	}
	rq->phase = REQUEST_HANDLED;
	rq->queued = MHD_YES;
	if (rq->has_body)
		guard_phase(rq->guarded, GUARD_HANDLED);
	rq->l->o.handle(rq, rq->l->o.arg);
	/* A suspended request stays with this thread even when it was resumed already: it is still ours to look at. */
	return rq->replied ? rq->queued : MHD_YES;
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

/* Whether three quarters of either budget are taken. */
static bool
memory_is_short(void *arg)
{
	struct listener *l = arg;

	return atomic_load(&l->budget) > l->o.body_budget_bytes / 4 * 3 ||
	       atomic_load(&l->reply_budget) > l->o.reply_budget_bytes / 4 * 3;
}

/* Half of what the process may open, at most: files, peers and other listeners need some too. The soft limit is only
 * there for programs that use select(), which ours do not. */
static unsigned
connections_possible(unsigned wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return wanted;
	if (limit.rlim_cur < limit.rlim_max && limit.rlim_cur < DESCRIPTORS_WANTED) {
		limit.rlim_cur = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur / 2 < wanted ? (unsigned)(limit.rlim_cur / 2) : wanted;
}

static void
set_defaults(struct listener_options *o)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (o->threads == 0)
		o->threads = cores > 0 ? (unsigned)cores : 1;
	if (o->connection_limit == 0)
		o->connection_limit = 4096;
	o->connection_limit = connections_possible(o->connection_limit);
	/* The library wants at least one connection for each thread. */
	if (o->connection_limit < o->threads)
		o->connection_limit = o->threads;
	if (o->body_budget_bytes == 0)
		o->body_budget_bytes = 256u << 20;
	if (o->reply_budget_bytes == 0)
		o->reply_budget_bytes = 256u << 20;
	if (o->idle_timeout_s == 0)
		o->idle_timeout_s = 60;
}

/* A connection that arrives after listener_stop() is closed at once. MHD_quiesce_daemon() exists
 * for that, but in libmicrohttpd 0.9.75 it and a thread of the pool may both take the socket out of
 * epoll, and the second one ends the process. */
static enum MHD_Result
on_accept(void *arg, const struct sockaddr *address, socklen_t len)
{
	const struct listener *l = arg;

	(void)address;
	(void)len;
	return atomic_load(&l->stopping) ? MHD_NO : MHD_YES;
}

struct listener *
listener_new(const struct listener_options *o, struct sp_error *err)
{
	struct listener *l = calloc(1, sizeof(*l));
	struct MHD_OptionItem options[16];
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;
	size_t n = 0;

	if (l == NULL) {
		sp_error_set(err, SP_ENOMEM, "listen on %s", o->address);
		return NULL;
	}
	l->o = *o;
	l->fd = -1;
	set_defaults(&l->o);
	l->guard = guard_new(&(struct guard_options){ .connection_limit = l->o.connection_limit,
				 .head_ms = l->o.idle_timeout_s * 1000,
				 .short_of = memory_is_short,
				 .arg = l },
	    err);
	if (l->guard == NULL)
		goto fail;
	if (socket_listen(o->address, &l->fd, &l->port, err) < 0)
		goto fail;
	if (strncmp(o->address, SOCKET_UNIX_PREFIX, strlen(SOCKET_UNIX_PREFIX)) == 0)
		snprintf(l->unix_path, sizeof(l->unix_path), "%s", o->address + strlen(SOCKET_UNIX_PREFIX));

#define OPTION(name, number, pointer)                                                                                  \
	options[n++] = (struct MHD_OptionItem){ .option = (name), .value = (number), .ptr_value = (pointer) }
	OPTION(MHD_OPTION_LISTEN_SOCKET, l->fd, NULL);
	OPTION(MHD_OPTION_CONNECTION_LIMIT, (intptr_t)l->o.connection_limit, NULL);
	/* The library sees a head when it is whole. Until then the guard looks after the connection, and is to be
	 * first. */
	OPTION(MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)l->o.idle_timeout_s + 1, NULL);
	OPTION(MHD_OPTION_THREAD_STACK_SIZE, THREAD_STACK_BYTES, NULL);
	OPTION(MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, l);
	OPTION(MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, l);
	OPTION(MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, l);
	OPTION(MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, NULL);
	if (l->o.threads > 1)
		OPTION(MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)l->o.threads, NULL);
	if (l->o.tls != NULL) {
		flags |= MHD_USE_TLS;
		OPTION(MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, tls_no_certificate());
	}
	OPTION(MHD_OPTION_END, 0, NULL);
#undef OPTION
	l->daemon = MHD_start_daemon(flags, 0, on_accept, l, on_access, l, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
	if (l->daemon == NULL) {
		sp_error_set(err, SP_EIO, "listen on %s: the HTTP library did not start", o->address);
		goto fail;
	}
	return l;
fail:
	if (l->fd >= 0)
		close(l->fd);
	guard_free(l->guard);
	free(l);
	return NULL;
}

void
listener_stop(struct listener *l)
{
	if (atomic_exchange(&l->stopping, true))
		return;
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
	MHD_stop_daemon(l->daemon); /* and with it the socket */
	guard_free(l->guard);
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

uint64_t
listener_cut(const struct listener *l)
{
	return guard_cut(l->guard);
}
