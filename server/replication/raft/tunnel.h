/*
 * A connection between members that speaks TLS: libraft reads from or writes to one end of a socket pair, and between
 * the other end and the network stands this. On the loop's thread.
 */
#ifndef SERVER_REPLICATION_RAFT_TUNNEL_H_
#define SERVER_REPLICATION_RAFT_TUNNEL_H_

#include "server/replication/raft/tls_stream.h"
#include "server/replication/raft/transport.h"

/* Descriptor and stream are taken, in any case. `outwards`: libraft writes, to the member `id`; else it reads. Returns
 * libraft's end, or NULL where there is no memory or no descriptor. */
uv_stream_t *raft_tunnel_new(struct raft_transport *t, int fd, struct tls_stream *tls, bool outwards, raft_id id);

/* End all of them; what libraft has written goes out, as far as the network takes it at once. */
void raft_tunnels_end(struct raft_transport *t);

#endif
