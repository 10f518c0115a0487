#include "server/replication/raft/tunnel.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/replication/raft/stream.h"

#define ROUNDS       8     /* of a buffer in one turn of the loop: others have theirs */
#define BUFFER_BYTES 65536 /* no less than TLS_STREAM_RECORD */
#define SAME_MAX     8     /* connections from one member */
#define FOREIGN_MAX  64    /* connections from ids that are no member's */

struct tunnel {
	struct transport *transport;
	struct tunnel *next;
	struct tls_stream *tls; /* or NULL */
	bool outwards;
	raft_id id;
	struct member_stream stream; /* inwards: what has come */
	int net_fd, inside_fd;
	struct loop_poll *net, *inside;
	size_t len, done; /* of the buffer: what it holds, and what of that has gone on */
	char buffer[BUFFER_BYTES];
};

static void
release(struct tunnel *n)
{
	loop_poll_close(n->net);
	loop_poll_close(n->inside);
	tls_stream_free(n->tls);
	member_stream_release(&n->stream);
	close(n->net_fd);
	close(n->inside_fd);
	free(n);
}

static void
end(struct tunnel *n)
{
	struct tunnel **p = &n->transport->tunnels;

	while (*p != n)
		p = &(*p)->next;
	*p = n->next;
	release(n);
}

/* --- Reading and writing: 0 with *moved; SP_EAGAIN; another code where the tunnel is to end --- */

static int
read_fd(int fd, void *buf, size_t size, size_t *moved)
{
	ssize_t got = recv(fd, buf, size, 0);

	*moved = got > 0 ? (size_t)got : 0;
	return got >= 0 ? 0 : errno == EAGAIN || errno == EINTR ? SP_EAGAIN : SP_EIO;
}

static int
write_fd(int fd, const void *buf, size_t size, size_t *moved)
{
	ssize_t put = send(fd, buf, size, MSG_NOSIGNAL);

	*moved = put > 0 ? (size_t)put : 0;
	return put >= 0 ? 0 : errno == EAGAIN || errno == EINTR ? SP_EAGAIN : SP_EIO;
}

/* The peer that is asked may refuse us only now, when we think that all is well. */
static int
complained(struct tunnel *n, int rc, const struct sp_error *err)
{
	if (rc == SP_EPERM && n->outwards)
		transport_complain(n->transport, n->id, err->text);
	return rc;
}

static int
read_net(struct tunnel *n, void *buf, size_t size, size_t *moved)
{
	struct sp_error err;

	if (n->tls == NULL)
		return read_fd(n->net_fd, buf, size, moved);
	return complained(n, tls_stream_read(n->tls, buf, size, moved, &err), &err);
}

static int
write_net(struct tunnel *n, const void *buf, size_t size, size_t *moved)
{
	struct sp_error err;

	if (n->tls == NULL)
		return write_fd(n->net_fd, buf, size, moved);
	return complained(n, tls_stream_write(n->tls, buf, size, moved, &err), &err);
}

/* Received bytes pass to libraft only if a member may send them. */
static int
check(struct tunnel *n)
{
	struct member_stream_facts facts;
	struct sp_error err;
	int rc;

	transport_facts(n->transport, &facts);
	rc = member_stream_check(&n->stream, &facts, n->buffer, n->len, &err);
	if (rc == SP_EBADDATA)
		transport_refuse_message(n->transport, n->id, err.text);
	return rc;
}

static int
fill(struct tunnel *n)
{
	int rc;

	n->done = 0;
	rc = n->outwards ? read_fd(n->inside_fd, n->buffer, sizeof(n->buffer), &n->len)
			 : read_net(n, n->buffer, sizeof(n->buffer), &n->len);
	if (rc == 0 && n->len == 0) {
		if (n->tls != NULL)
			tls_stream_bye(n->tls);
		return SP_ECANCELED;
	}
	return rc == 0 && !n->outwards ? check(n) : rc;
}

static int
drain(struct tunnel *n)
{
	size_t moved = 0;
	int rc;

	rc = n->outwards ? write_net(n, n->buffer + n->done, n->len - n->done, &moved)
			 : write_fd(n->inside_fd, n->buffer + n->done, n->len - n->done, &moved);
	n->done += moved;
	if (n->done == n->len)
		n->len = n->done = 0;
	return rc;
}

/* The side that sends nothing: all there is to learn of it is its end. */
static int
listen_behind(struct tunnel *n)
{
	char byte;
	size_t got;
	int rc = n->outwards ? read_net(n, &byte, 1, &got) : read_fd(n->inside_fd, &byte, 1, &got);

	return rc == 0 ? SP_ECANCELED : rc;
}

static int
pump(struct tunnel *n)
{
	int rc = 0;

	for (int i = 0; i < ROUNDS && rc == 0; i++) {
		if (n->len == 0)
			rc = fill(n);
		if (rc == 0)
			rc = drain(n);
	}
	return rc == SP_EAGAIN ? 0 : rc;
}

/* --- Waiting --- */

static void turn(uv_poll_t *handle, int status, int events);

static int
look_at(struct loop_poll *p, int events)
{
	return events != 0 ? uv_poll_start(&p->handle, events, turn) : uv_poll_stop(&p->handle);
}

/* What is full is waited for on the other side. The end of the silent side is always of interest. Only what is left in
 * the buffer waits for writing: a socket that can be written is that nearly always, and would wake us without end. */
static int
wait(struct tunnel *n)
{
	bool full = n->len > 0;
	int to = full ? UV_WRITABLE : 0, from = full ? 0 : UV_READABLE;
	int net = n->outwards ? UV_READABLE | to : from;
	int inside = n->outwards ? from : UV_READABLE | to;

	return look_at(n->net, net) != 0 || look_at(n->inside, inside) != 0 ? SP_EIO : 0;
}

static void
turn(uv_poll_t *handle, int status, int events)
{
	struct loop_poll *p = (struct loop_poll *)handle;
	struct tunnel *n = p->owner;
	bool behind = p == (n->outwards ? n->net : n->inside) && (events & UV_READABLE) != 0;
	int rc = status < 0 ? SP_EIO : 0;

	if (rc == 0 && behind)
		rc = listen_behind(n);
	if (rc == 0 || rc == SP_EAGAIN)
		rc = pump(n);
	if (rc == 0)
		rc = wait(n);
	if (rc != 0)
		end(n);
}

/* --- From the beginning to the end --- */

void
tunnels_make_room(struct transport *t, raft_id id)
{
	struct tunnel *oldest = NULL, *oldest_foreign = NULL;
	unsigned same = 0, foreign = 0;

	for (struct tunnel *n = t->tunnels; n != NULL; n = n->next) {
		if (n->outwards)
			continue;
		if (n->id == id) {
			oldest = n;
			same++;
		} else if (!transport_knows(t, n->id)) {
			oldest_foreign = n;
			foreign++;
		}
	}
	if (same >= SAME_MAX)
		end(oldest);
	if (foreign >= FOREIGN_MAX)
		end(oldest_foreign);
}

uv_stream_t *
tunnel_new(struct transport *t, int fd, struct tls_stream *tls, bool outwards, raft_id id)
{
	struct tunnel *n = calloc(1, sizeof(*n));
	uv_stream_t *theirs;
	int ends[2];

	if (n == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
		tls_stream_free(tls);
		close(fd);
		free(n);
		return NULL;
	}
	*n = (struct tunnel){ .transport = t,
		.next = t->tunnels,
		.tls = tls,
		.outwards = outwards,
		.id = id,
		.net_fd = fd,
		.inside_fd = ends[0] };
	t->tunnels = n;
	member_stream_init(&n->stream, id);
	n->net = loop_poll_new(t, n->net_fd, n);
	n->inside = loop_poll_new(t, n->inside_fd, n);
	theirs = loop_pipe_new(t->loop, ends[1]);
	/* Bytes that came with the greeting are in memory already. */
	if (theirs != NULL && n->net != NULL && n->inside != NULL && pump(n) == 0 && wait(n) == 0)
		return theirs;
	if (theirs != NULL)
		uv_close((uv_handle_t *)theirs, loop_handle_free);
	end(n);
	return NULL;
}

void
tunnels_end(struct transport *t)
{
	struct tunnel *n;

	while ((n = t->tunnels) != NULL) {
		t->tunnels = n->next;
		if (n->outwards)
			pump(n);
		release(n);
	}
}
