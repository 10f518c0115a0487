/*
 * TLS between two peers, over a connected socket that does not block: each shows its certificate,
 * and accepts the other's only if the authorities of `struct tls` have signed it as a server's. (A
 * peer that answers cannot have a certificate for clients alone.)
 *
 *	tls_stream_new(tls, fd, TLS_ASKS, "store-1.store.svc", &s, &err);
 *	while ((rc = tls_stream_shake(s, &err)) == SP_EAGAIN)
 *		…wait until fd can be read, or written where tls_stream_wants_write(s)…
 *	tls_stream_write(s, …)
 *	tls_stream_free(s);	// the socket stays the caller's
 *
 * A call that returns SP_EAGAIN leaves *err alone: nothing went wrong. One thread.
 */
#ifndef SERVER_REPLICATION_RAFT_TLS_STREAM_H_
#define SERVER_REPLICATION_RAFT_TLS_STREAM_H_

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/error.h"
#include "lib/net/tls.h"

enum tls_end { TLS_ASKS, TLS_ANSWERS };

struct tls_stream;

/* `name` that the other's certificate must bear, a host or an address, verified before anything is sent to it; NULL:
 * that is asked afterwards by tls_stream_bears(). Copied. `tls` has a certificate and authorities. 0 or SP_ENOMEM. */
int tls_stream_new(
    struct tls *tls, int fd, enum tls_end end, const char *name, struct tls_stream **out, struct sp_error *err);
void tls_stream_free(struct tls_stream *s); /* NULL does nothing */

/* 0: done. SP_EAGAIN. SP_EPERM: the certificates; SP_EIO: what is spoken there is no TLS, or the connection ended. */
int tls_stream_shake(struct tls_stream *s, struct sp_error *err);

/* After SP_EAGAIN of tls_stream_shake() alone: whether to wait for writing rather than for reading. */
bool tls_stream_wants_write(const struct tls_stream *s);

/* Whether the other's certificate bears this name; after the handshake. */
bool tls_stream_bears(struct tls_stream *s, const char *name);

/* *got bytes, 0 of them at the end; SP_EAGAIN; SP_EPERM if the other side refused our certificate; SP_EIO. A size of
 * TLS_STREAM_RECORD or more leaves nothing behind in memory: what is to come is to be waited for at the socket. */
#define TLS_STREAM_RECORD 16384
int tls_stream_read(struct tls_stream *s, void *buf, size_t size, size_t *got, struct sp_error *err);

/* *put bytes at most `size` of them; SP_EAGAIN: to be called again with the same; SP_EPERM, SP_EIO as above. */
int tls_stream_write(struct tls_stream *s, const void *buf, size_t size, size_t *put, struct sp_error *err);

/* Say that nothing more will be sent, if the socket takes that now. */
void tls_stream_bye(struct tls_stream *s);

#endif
