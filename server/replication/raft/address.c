#include "server/replication/raft/address.h"
#include "lib/base/number.h"

#include <stdlib.h>
#include <string.h>

bool
wire_address_parse(const char *text, struct wire_address *out)
{
	const char *colon = strrchr(text, ':');
	const char *host = text, *end = colon;
	uint64_t port = 0;
	size_t digits;

	if (colon == NULL)
		return false;
	digits = strspn(colon + 1, "0123456789");
	if (digits == 0 || digits >= WIRE_PORT_MAX || colon[1 + digits] != '\0')
		return false;
	number_from_text(colon + 1, 65535, &port);
	if (*host == '[' && end > host + 1 && end[-1] == ']') {
		host++;
		end--;
	} else if (memchr(host, ':', (size_t)(end - host)) != NULL) {
		return false;
	}
	if (port == 0 || end == host || (size_t)(end - host) >= WIRE_HOST_MAX)
		return false;
	memcpy(out->host, host, (size_t)(end - host));
	out->host[end - host] = '\0';
	memcpy(out->port, colon + 1, digits + 1);
	return true;
}
