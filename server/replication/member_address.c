#include "server/replication/member_address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"

int
member_address(const char *url, char *out, size_t size)
{
	const char *host = strncmp(url, "http://", 7) == 0    ? url + 7
			   : strncmp(url, "https://", 8) == 0 ? url + 8
							      : NULL;
	const char *colon = host != NULL ? strrchr(host, ':') : NULL;
	unsigned long port = 0;
	char *end = NULL;
	int n;

	if (colon != NULL && colon > host && colon[1] >= '0' && colon[1] <= '9')
		port = strtoul(colon + 1, &end, 10);
	if (port < 2 || port > 65535 || *end != '\0')
		return SP_EUSAGE;
	n = snprintf(out, size, "%.*s:%lu", (int)(colon - host), host, port - 1);
	return n > 0 && (size_t)n < size ? n : SP_EUSAGE;
}
