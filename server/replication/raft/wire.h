/*
 * A connection between members until it has greeted: looked up, connected, within TLS where there is a certificate, and
 * the greeting written or read. Each step has its time; then it is libraft's.
 *
 * On the loop's thread.
 */
#ifndef SERVER_REPLICATION_RAFT_WIRE_H_
#define SERVER_REPLICATION_RAFT_WIRE_H_

#include "server/replication/raft/transport.h"

/* Connect to a member; `cb` is called later, and once, where this returns 0. Otherwise libraft's code. */
int wire_dial(
    struct transport *t, struct raft_uv_connect *request, raft_id id, const char *address, raft_uv_connect_cb cb);

/* Somebody has connected. The descriptor is taken. Where too many have and not greeted, the oldest is given up. */
void wire_answer(struct transport *t, int fd);

/* Give up those whose time is over. */
void wires_turn(struct transport *t);

/* Give up all of them: the callbacks are told RAFT_CANCELED, in time. */
void wires_cancel(struct transport *t);

#endif
