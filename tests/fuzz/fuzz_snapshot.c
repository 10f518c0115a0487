/* Snapshots: whatever the archive, what is unpacked is data.mdb and nothing beside it, of the size that seedpod.json
 * says and with the hashes that seedpod.sums says. The first byte is the size of the pieces in which it comes; the
 * mutator corrects the headers' check sums. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init/unpack.h"
#include "tests/fuzz/shared.h"

static const char *folder;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	folder = fuzz_folder();
	return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	if (size > 0 && seed % 8 != 0)
		fuzz_seal_tar(data + 1, size - 1);
	return size;
}

/* Remove data.mdb where it is there; its size, or -1. There must be nothing else. */
static int64_t
take_data(void)
{
	DIR *dir = opendir(folder);
	int64_t size = -1;
	struct dirent *e;
	struct stat st;

	FUZZ_REQUIRE(dir != NULL);
	while ((e = readdir(dir)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		FUZZ_REQUIRE(strcmp(e->d_name, "data.mdb") == 0);
		FUZZ_REQUIRE(fstatat(dirfd(dir), "data.mdb", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode));
		FUZZ_REQUIRE(unlinkat(dirfd(dir), "data.mdb", 0) == 0);
		size = st.st_size;
	}
	closedir(dir);
	return size;
}

static int
unpack(struct unpack *u, struct fuzz_pieces *p, struct sp_error *err)
{
	struct tar_reader *r = tar_reader_new(fuzz_pieces_next, p, err);
	struct sums_fault fault;
	int rc;

	FUZZ_REQUIRE(r != NULL);
	rc = unpack_run(u, r, err);
	tar_reader_free(r);
	if (rc == 0)
		rc = sums_check(u->sums.data, u->sums.len, u->manifest_hash, u->data_hash, &fault, err);
	return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_pieces p = { .data = data + 1, .size = size - 1 };
	struct sp_error err = { 0 };
	struct unpack u;
	int64_t unpacked;
	int rc;

	if (size == 0)
		return 0;
	p.piece_bytes = data[0] > 0 ? (size_t)data[0] * 16 : 1;
	unpack_init(&u, folder);
	rc = unpack(&u, &p, &err);
	unpacked = take_data();
	if (rc < 0) {
		fuzz_require_error(rc, &err);
		FUZZ_REQUIRE(rc == SP_EBADDATA || rc == SP_ETRUNCATED || (rc == SP_ENOSPACE && unpacked < 0));
	} else {
		FUZZ_REQUIRE(unpacked == (int64_t)u.manifest.bytes && p.at == p.size);
	}
	FUZZ_REQUIRE(unpacked <= (int64_t)size);
	unpack_release(&u);
	fuzz_pieces_release(&p);
	return 0;
}
