#include "server/replication/raft/greeting.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/le.h"

#define VERSION        1
#define VERSION_PROVES 2

bool
greeting_same_cluster(const char *a, const char *b)
{
	size_t len = strcspn(a, "/");

	return strncmp(a, b, len) == 0 && strcspn(b, "/") == len &&
	       (a[len] == '\0' || b[len] == '\0' || strcmp(a + len, b + len) == 0);
}

size_t
greeting_write(const struct greeting *g, unsigned char out[GREETING_MAX])
{
	char *text = (char *)out + GREETING_HEAD;
	size_t len;
	int n;

	memset(out, 0, GREETING_MAX);
	n = snprintf(text, GREETING_TEXT, "%s%s%s", g->address, g->cluster[0] != '\0' ? " " : "", g->cluster);
	len = ((size_t)n + 1 + 7) / 8 * 8;
	le_put(out, g->proves ? VERSION_PROVES : VERSION, 8);
	le_put(out + 8, g->id, 8);
	le_put(out + 16, len, 8);
	len += GREETING_HEAD;
	if (!g->proves)
		return len;
	memcpy(out + len, g->nonce, sizeof(g->nonce));
	return len + sizeof(g->nonce);
}

size_t
greeting_size(const unsigned char *head)
{
	uint64_t version = le_get(head, 8), len = le_get(head + 16, 8);

	if ((version != VERSION && version != VERSION_PROVES) || len == 0 || len > GREETING_TEXT)
		return 0;
	return GREETING_HEAD + (size_t)len + (version == VERSION_PROVES ? SECRET_NONCE_BYTES : 0);
}

bool
greeting_read(const unsigned char *bytes, size_t len, struct greeting *out)
{
	const char *text = (const char *)bytes + GREETING_HEAD;
	bool proves = le_get(bytes, 8) == VERSION_PROVES;
	size_t text_len = len - GREETING_HEAD - (proves ? SECRET_NONCE_BYTES : 0), address, cluster;

	if (memchr(text, '\0', text_len) == NULL || le_get(bytes + 8, 8) == 0)
		return false;
	address = strcspn(text, " ");
	cluster = text[address] == ' ' ? strlen(text + address + 1) : 0;
	if (address == 0 || address >= sizeof(out->address) || cluster >= sizeof(out->cluster))
		return false;
	*out = (struct greeting){ .id = le_get(bytes + 8, 8), .proves = proves };
	memcpy(out->address, text, address);
	if (cluster > 0)
		memcpy(out->cluster, text + address + 1, cluster);
	if (proves)
		memcpy(out->nonce, text + text_len, sizeof(out->nonce));
	return true;
}
