/* Members of mode raft as the HTTP API and the command line write them: their numbers and addresses. Pure; any thread.
 */
#ifndef SERVER_REPLICATION_MEMBER_ADDRESS_H_
#define SERVER_REPLICATION_MEMBER_ADDRESS_H_

#include <stddef.h>

#define MEMBER_NUMBER_MAX  10000 /* the highest number of a member: ordinal 9999 */
#define MEMBER_ADDRESS_MAX 280   /* bytes of "host:port", with NUL */

/*
 * The raft port that goes with a server's URL if nothing else is configured: the one below the URL's. For
 * "http://127.0.0.1:9876" it writes "127.0.0.1:9875" to `out` of `size` bytes. Returns the bytes written, or SP_EUSAGE
 * if the URL is invalid, has no port, or the result does not fit.
 */
int member_address(const char *url, char *out, size_t size);

#endif
