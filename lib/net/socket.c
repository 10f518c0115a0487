#include "lib/net/socket.h"
#include "lib/base/number.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int
listen_unix(const char *path, int *fd, struct sp_error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t old;
	int rc = 0;

	if (path[0] == '\0')
		return sp_error_set(err, SP_ECONF, "listen on a Unix socket without a path");
	if (strlen(path) >= sizeof(sa.sun_path))
		return sp_error_set(
		    err, SP_ECONF, "listen on %s: the path is longer than %zu bytes", path, sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		return sp_error_errno(err, errno, "listen on %s", path);
	/* Only the holder of the data directory lock serves, so a socket that is still there is a
	 * dead process's. Any other file is kept. */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	old = umask(0177);
	if (bind(*fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(*fd, 128) < 0)
		rc = errno == EADDRINUSE
			 ? sp_error_set(err, SP_ECONF, "listen on %s: there is something that is no socket", path)
			 : sp_error_errno(err, errno, "listen on %s", path);
	umask(old);
	return rc;
}

/* Split "host:port" or "[v6]:port". */
static int
split_address(const char *address, char *host, size_t host_size, const char **port)
{
	const char *colon = strrchr(address, ':');
	uint64_t number;
	size_t len;

	/* The resolver takes numbers that are no ports, and names of services that depend on the machine. */
	if (colon == NULL || !number_from_text(colon + 1, 65535, &number))
		return -1;
	len = (size_t)(colon - address);
	if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
		address++;
		len -= 2;
	}
	if (len >= host_size)
		return -1;
	memcpy(host, address, len);
	host[len] = '\0';
	*port = colon + 1;
	return 0;
}

static int
listen_tcp(const char *address, int *fd, unsigned *bound_port, struct sp_error *err)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *found = NULL;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} bound = { 0 };
	socklen_t bound_len = sizeof(bound);
	char host[256];
	const char *port;
	int rc, one = 1;

	if (split_address(address, host, sizeof(host), &port) < 0)
		return sp_error_set(err, SP_ECONF, "listen on \"%s\": not an address with a port", address);
	rc = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
	if (rc != 0)
		return sp_error_set(err, SP_ECONF, "listen on \"%s\": %s", address, gai_strerror(rc));
	*fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	rc = *fd < 0 ? -1 : 0;
	if (rc == 0)
		rc = setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (rc == 0)
		rc = bind(*fd, found->ai_addr, found->ai_addrlen);
	if (rc == 0)
		rc = listen(*fd, 1024);
	if (rc == 0)
		rc = getsockname(*fd, &bound.any, &bound_len);
	freeaddrinfo(found);
	/* A port that another process has is a mistake of the configuration, not of a disk. */
	if (rc < 0 && (errno == EADDRINUSE || errno == EADDRNOTAVAIL))
		return sp_error_set(err, SP_ECONF, "listen on %s: %s", address, strerror(errno));
	if (rc < 0)
		return sp_error_errno(err, errno, "listen on %s", address);
	*bound_port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
	return 0;
}

int
socket_listen(const char *address, int *fd, unsigned *port, struct sp_error *err)
{
	size_t prefix = strlen(SOCKET_UNIX_PREFIX);
	int rc;

	*fd = -1;
	*port = 0;
	if (strncmp(address, SOCKET_UNIX_PREFIX, prefix) == 0)
		rc = listen_unix(address + prefix, fd, err);
	else
		rc = listen_tcp(address, fd, port, err);
	if (rc < 0 && *fd >= 0) {
		close(*fd);
		*fd = -1;
	}
	return rc;
}
