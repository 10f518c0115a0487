/*
 * A connection between members until it has greeted: looked up, connected, within TLS if there is a
 * certificate, and the greeting written or read. Each step has its time; then it is libraft's.
 *
 * On the loop's thread.
 */
#ifndef SERVER_REPLICATION_RAFT_WIRE_H_
#define SERVER_REPLICATION_RAFT_WIRE_H_

#include "server/replication/raft/transport.h"

/* Connect to a member; `cb` is called later, and once, where this returns 0. Otherwise libraft's code. */
int wire_dial(
    struct transport *t, struct raft_uv_connect *request, raft_id id, const char *address, raft_uv_connect_cb cb);

/* A peer has connected. The descriptor is taken over. If too many have not greeted yet, the oldest
 * is closed. */
void wire_answer(struct transport *t, int fd);

/* Give up those whose time is over. */
void wires_turn(struct transport *t);

/* Close all of them: the callbacks get RAFT_CANCELED, in time. */
void wires_cancel(struct transport *t);

#endif
