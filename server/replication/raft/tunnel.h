/*
 * A connection between members that has greeted: libraft reads from or writes to one end of a
 * socket pair, and the tunnel stands between the other end and the network. It speaks TLS if there
 * is a certificate, checks incoming bytes before libraft sees them (stream.h), and closes libraft's
 * end when the other side has gone: libraft does not read from a connection that it writes to, and
 * would not notice. On the loop's thread.
 */
#ifndef SERVER_REPLICATION_RAFT_TUNNEL_H_
#define SERVER_REPLICATION_RAFT_TUNNEL_H_

#include "server/replication/raft/tls_stream.h"
#include "server/replication/raft/transport.h"

/* End the oldest connection from `id` if there are eight, and, of those from ids that are no member's, the oldest if
 * there are 64: a member needs one, and one more while the former is not known to be gone. Before tunnel_new(). */
void tunnels_make_room(struct transport *t, raft_id id);

/* Descriptor and stream (NULL: no TLS) are taken, in any case. `outwards`: libraft writes, to the member `id`; else it
 * reads, from that member. Returns libraft's end, or NULL if there is no memory or no descriptor. */
uv_stream_t *tunnel_new(struct transport *t, int fd, struct tls_stream *tls, bool outwards, raft_id id);

/* End all of them; what libraft has written goes out, as far as the network takes it at once. */
void tunnels_end(struct transport *t);

#endif
