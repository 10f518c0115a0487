/*
 * What the fuzz targets share. A target is fuzz_<name>.c with LLVMFuzzerTestOneInput(); it states what must hold
 * whatever comes in by FUZZ_REQUIRE(), and the sanitizers state the rest. `make fuzz` builds and runs them.
 */
#ifndef TESTS_FUZZ_SHARED_H_
#define TESTS_FUZZ_SHARED_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "server/store/store.h"
#include "tests/lib/tempdir.h"

/* libFuzzer's own interface (https://llvm.org/docs/LibFuzzer.html), for which it has no header in C. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

/* End the program, which libFuzzer reports with the input, where `condition` does not hold. */
#define FUZZ_REQUIRE(condition)                                                                                        \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			fuzz_fail(__FILE__, __LINE__, #condition);                                                     \
	} while (0)
void fuzz_fail(const char *file, int line, const char *condition) __attribute__((noreturn));

/* A failure as every one must be: `rc` is the error's code and negative, its text is there and is UTF-8. */
void fuzz_require_error(int rc, const struct sp_error *err);

/*
 * Bytes that come in pieces, as from a network: each piece is memory of its own that is gone with the next, so that
 * the sanitizer sees who reads beyond it or later. Its fuzz_pieces_next() is a tar_source.
 */
struct fuzz_pieces {
	const uint8_t *data;
	size_t size;
	size_t piece_bytes; /* at most; 1 or more */
	size_t at;
	void *piece;
};

int fuzz_pieces_next(void *arg, const void **data, size_t *len, struct sp_error *err);
void fuzz_pieces_release(struct fuzz_pieces *p);

/* Give each block of an archive that looks like a header the check sum that it must have. */
void fuzz_seal_tar(uint8_t *data, size_t size);

/* Write the end of what may be a feed, count and hash, anew over its last bytes. */
void fuzz_seal_feed(uint8_t *data, size_t size);

/* --- A folder and a store for the whole run --- */

/* A temporary folder; it is removed at exit. */
const char *fuzz_folder(void);

/* A store in the folder that follows at seq FUZZ_SEQ: the keys a and b, the deleted key c. */
struct store *fuzz_store_new(void);
#define FUZZ_SEQ 5

/* Make it what it was at the beginning, whatever was committed since. */
void fuzz_store_restore(struct store *s);

/* Apply a feed that passed feed_check(): its code, with the position as the transaction had it in *after. Where
 * `commit`, what succeeds stays. */
int fuzz_store_apply(
    struct store *s, const struct buf *feed, bool commit, struct position *after, struct sp_error *err);

/* After such a feed stayed: the store is whole, and what it tells of it brings a copy to the same place. It is
 * restored.
 */
void fuzz_store_require_applied(struct store *s, const struct feed_info *info);

#endif
