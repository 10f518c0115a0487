/* seedpod.json: what is taken is something that a store can be. */
#include <string.h>

#include "init/manifest.h"
#include "tests/fuzz/shared.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sp_error err = { 0 };
	struct manifest m;
	int rc = manifest_parse((const char *)data, size, &m, &err);

	if (rc < 0) {
		FUZZ_REQUIRE(strncmp(err.text, "seedpod.json: ", 14) == 0);
		fuzz_require_error(rc, &err);
		return 0;
	}
	FUZZ_REQUIRE(m.bytes > 0 && m.bytes <= INT64_MAX && m.bytes % 256 == 0);
	FUZZ_REQUIRE(strnlen(m.donor, sizeof(m.donor)) < sizeof(m.donor));
	FUZZ_REQUIRE(m.position.cluster[0] != '\0' && m.position.history_count >= 1);
	return 0;
}
