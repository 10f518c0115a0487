/* The address of a member's raft port: "host:port", "[IPv6]:port". Pure; any thread. */
#ifndef SERVER_REPLICATION_RAFT_ADDRESS_H_
#define SERVER_REPLICATION_RAFT_ADDRESS_H_

#include <stdbool.h>

#define WIRE_HOST_MAX 256 /* with NUL */
#define WIRE_PORT_MAX 6

struct wire_address {
	char host[WIRE_HOST_MAX]; /* without brackets */
	char port[WIRE_PORT_MAX]; /* 1 to 65535 */
};

/* False if it is invalid: such an address can never be connected to. */
bool wire_address_parse(const char *text, struct wire_address *out);

#endif
