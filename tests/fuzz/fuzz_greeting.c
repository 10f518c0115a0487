/* A greeting at the raft port: what is taken is within its bytes, and is written again as one that is taken as the
 * same. */
#include <stdlib.h>
#include <string.h>

#include "server/replication/raft/greeting.h"
#include "tests/fuzz/shared.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char again[RAFT_GREETING_MAX];
	struct raft_greeting g, back;
	size_t len, wanted;
	uint8_t *copy;

	if (size < RAFT_GREETING_HEAD)
		return 0;
	wanted = raft_greeting_size(data);
	FUZZ_REQUIRE(wanted <= RAFT_GREETING_MAX && (wanted == 0 || wanted > RAFT_GREETING_HEAD));
	if (wanted == 0 || size < wanted)
		return 0;
	/* Memory of its own, so that the byte behind it is nobody's. */
	copy = malloc(wanted);
	FUZZ_REQUIRE(copy != NULL);
	memcpy(copy, data, wanted);
	if (raft_greeting_read(copy, wanted, &g)) {
		len = raft_greeting_write(&g, again);
		FUZZ_REQUIRE(len <= RAFT_GREETING_MAX && raft_greeting_size(again) == len);
		FUZZ_REQUIRE(raft_greeting_read(again, len, &back));
		FUZZ_REQUIRE(g.id == back.id && strcmp(g.address, back.address) == 0);
		FUZZ_REQUIRE(strcmp(g.cluster, back.cluster) == 0);
	}
	free(copy);
	return 0;
}
