/* Tar archives: the reader lets plain files with plain names through, of exactly the size that it said, in pieces of
 * whatever size they come. The first byte is that size. The mutator corrects the headers' check sums. */
#include <string.h>

#include "lib/protocol/tar.h"
#include "tests/fuzz/shared.h"

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	if (size > 0 && seed % 8 != 0)
		fuzz_seal_tar(data + 1, size - 1);
	return size;
}

static void
check_name(const char *name)
{
	size_t len = strnlen(name, TAR_NAME_MAX);

	FUZZ_REQUIRE(len > 0 && len < TAR_NAME_MAX && name[0] != '/');
	FUZZ_REQUIRE(strcmp(name, "..") != 0 && strncmp(name, "../", 3) != 0 && strstr(name, "/../") == NULL);
	FUZZ_REQUIRE(len < 3 || strcmp(name + len - 3, "/..") != 0);
}

/* One member's data: its code, as tar_reader_data() has it. */
static int
read_member(struct tar_reader *r, const struct tar_member *member, struct sp_error *err)
{
	static volatile unsigned char last;
	const void *data;
	uint64_t read = 0;
	size_t len;
	int rc;

	check_name(member->name);
	while ((rc = tar_reader_data(r, &data, &len, err)) == 1) {
		read += len;
		if (len > 0)
			last = ((const unsigned char *)data)[len - 1];
	}
	(void)last;
	FUZZ_REQUIRE(rc < 0 || read == member->size);
	return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_pieces p = { .data = data + 1, .size = size - 1, .piece_bytes = 1 };
	struct sp_error err = { 0 };
	struct tar_member member;
	struct tar_reader *r;
	int rc;

	if (size == 0)
		return 0;
	p.piece_bytes = data[0] > 0 ? (size_t)data[0] * 16 : 1;
	r = tar_reader_new(fuzz_pieces_next, &p, &err);
	FUZZ_REQUIRE(r != NULL);
	while ((rc = tar_reader_next(r, &member, &err)) == 1 && (rc = read_member(r, &member, &err)) == 0)
		continue;
	if (rc < 0)
		fuzz_require_error(rc, &err);
	else
		FUZZ_REQUIRE(tar_reader_next(r, &member, &err) == 0 && p.at == p.size);
	tar_reader_free(r);
	fuzz_pieces_release(&p);
	return 0;
}
