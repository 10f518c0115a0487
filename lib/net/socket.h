/* Listening sockets, by the addresses of the configuration. Any thread. */
#ifndef LIB_NET_SOCKET_H_
#define LIB_NET_SOCKET_H_

#include "lib/base/error.h"

#define SOCKET_UNIX_PREFIX "unix:"

/*
 * Bind and listen on "0.0.0.0:9876", "[::]:9876", "name:port", or "unix:/path" (mode 0600; a socket
 * that is already there is taken for a dead process's and replaced: the caller holds the lock that
 * says so). 0 with *fd and, for TCP, the bound *port; SP_ECONF if the address is invalid, not one
 * of this machine or in use, SP_EPERM, SP_EIO otherwise.
 */
int socket_listen(const char *address, int *fd, unsigned *port, struct sp_error *err);

#endif
