/* A greeting at the raft port: what is taken is within its bytes, and is written again as one that is taken as the
 * same. */
#include <stdlib.h>
#include <string.h>

#include "server/replication/raft/greeting.h"
#include "tests/fuzz/shared.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char again[GREETING_MAX];
	struct greeting g, back;
	size_t len, wanted;
	uint8_t *copy;

	if (size < GREETING_HEAD)
		return 0;
	wanted = greeting_size(data);
	FUZZ_REQUIRE(wanted <= GREETING_MAX && (wanted == 0 || wanted > GREETING_HEAD));
	if (wanted == 0 || size < wanted)
		return 0;
	/* Memory of its own, so that the byte behind it is nobody's. */
	copy = malloc(wanted);
	FUZZ_REQUIRE(copy != NULL);
	memcpy(copy, data, wanted);
	if (greeting_read(copy, wanted, &g)) {
		len = greeting_write(&g, again);
		FUZZ_REQUIRE(len <= GREETING_MAX && greeting_size(again) == len);
		FUZZ_REQUIRE(greeting_read(again, len, &back));
		FUZZ_REQUIRE(g.id == back.id && strcmp(g.address, back.address) == 0);
		FUZZ_REQUIRE(strcmp(g.cluster, back.cluster) == 0);
	}
	free(copy);
	return 0;
}
