/* seedpod.sums: exactly one text passes for two hashes, but for the case of its digits. The mutator corrects the total,
 * so that the lines before it are tried as well. */
#include <string.h>
#include <strings.h>

#include "init/sums.h"
#include "tests/fuzz/shared.h"

static const struct digest manifest = { 0x0123456789abcdef, 0xfedcba9876543210 };
static const struct digest data_mdb = { 0, 0xffffffffffffffff };

/* Write the total of what is before it, where the text has a third line. */
static void
seal(uint8_t *data, size_t size)
{
	static const char mark[] = "\n# total ";
	uint8_t *total = memmem(data, size, mark, strlen(mark));
	char hex[DIGEST_HEX_SIZE];

	if (total == NULL || (size_t)(data + size - total) < strlen(mark) + 32)
		return;
	digest_to_hex(digest_of(data, (size_t)(total + 1 - data)), hex);
	memcpy(total + strlen(mark), hex, 32);
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	if (seed % 8 != 0)
		seal(data, size);
	return size;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char expected[] = "0123456789abcdeffedcba9876543210  seedpod.json\n"
				       "0000000000000000ffffffffffffffff  store/data.mdb\n";
	struct sp_error err = { 0 };
	struct sums_fault fault;
	int rc = sums_check((const char *)data, size, manifest, data_mdb, &fault, &err);

	if (rc < 0) {
		fuzz_require_error(rc, &err);
		FUZZ_REQUIRE((fault.expected[0] == '\0') == (fault.found[0] == '\0'));
		return 0;
	}
	FUZZ_REQUIRE(size == strlen(expected) + strlen("# total ") + 32 + 1);
	FUZZ_REQUIRE(strncasecmp((const char *)data, expected, strlen(expected)) == 0);
	return 0;
}
