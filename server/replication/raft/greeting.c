#include "server/replication/raft/greeting.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/le.h"

#define VERSION 1

bool
raft_greeting_same_cluster(const char *a, const char *b)
{
	size_t len = strcspn(a, "/");

	return strncmp(a, b, len) == 0 && strcspn(b, "/") == len &&
	       (a[len] == '\0' || b[len] == '\0' || strcmp(a + len, b + len) == 0);
}

size_t
raft_greeting_write(const struct raft_greeting *g, unsigned char out[RAFT_GREETING_MAX])
{
	char *text = (char *)out + RAFT_GREETING_HEAD;
	size_t len;
	int n;

	memset(out, 0, RAFT_GREETING_MAX);
	n = snprintf(text, RAFT_GREETING_MAX - RAFT_GREETING_HEAD, "%s%s%s", g->address,
	    g->cluster[0] != '\0' ? " " : "", g->cluster);
	len = ((size_t)n + 1 + 7) / 8 * 8;
	le_put(out, VERSION, 8);
	le_put(out + 8, g->id, 8);
	le_put(out + 16, len, 8);
	return RAFT_GREETING_HEAD + len;
}

size_t
raft_greeting_size(const unsigned char *head)
{
	uint64_t len = le_get(head + 16, 8);

	if (le_get(head, 8) != VERSION || len == 0 || len > RAFT_GREETING_MAX - RAFT_GREETING_HEAD)
		return 0;
	return RAFT_GREETING_HEAD + (size_t)len;
}

bool
raft_greeting_read(const unsigned char *bytes, size_t len, struct raft_greeting *out)
{
	const char *text = (const char *)bytes + RAFT_GREETING_HEAD;
	size_t address, cluster;

	if (memchr(text, '\0', len - RAFT_GREETING_HEAD) == NULL)
		return false;
	address = strcspn(text, " ");
	cluster = text[address] == ' ' ? strlen(text + address + 1) : 0;
	if (address == 0 || address >= sizeof(out->address) || cluster >= sizeof(out->cluster))
		return false;
	*out = (struct raft_greeting){ .id = le_get(bytes + 8, 8) };
	memcpy(out->address, text, address);
	if (cluster > 0)
		memcpy(out->cluster, text + address + 1, cluster);
	return true;
}
