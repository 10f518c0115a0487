#include "server/replication/member_address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/base/number.h"

int
member_address(const char *url, char *out, size_t size)
{
	const char *host = strncmp(url, "http://", 7) == 0    ? url + 7
			   : strncmp(url, "https://", 8) == 0 ? url + 8
							      : NULL;
	const char *colon = host != NULL ? strrchr(host, ':') : NULL;
	uint64_t port;
	int n;

	if (colon == NULL || colon == host || !number_from_text(colon + 1, 65535, &port) || port < 2)
		return SP_EUSAGE;
	n = snprintf(out, size, "%.*s:%u", (int)(colon - host), host, (unsigned)port - 1);
	return n > 0 && (size_t)n < size ? n : SP_EUSAGE;
}
