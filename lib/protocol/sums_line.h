/* The parts of the lines of seedpod.sums, which ends each kind of snapshot (docs/api.md). Pure; any thread. */
#ifndef LIB_PROTOCOL_SUMS_LINE_H_
#define LIB_PROTOCOL_SUMS_LINE_H_

#include <stdbool.h>

#include "lib/base/error.h"
#include "lib/protocol/digest.h"

/* Take `word`, or 32 hexadecimal digits, off the front of the text from *at to `end`, which need not end with NUL.
 * False: it does not begin so, and *at stays. */
bool sums_line_word(const char **at, const char *end, const char *word);
bool sums_line_hash(const char **at, const char *end, struct digest *out);

/* 0, or SP_EBADDATA with a text that says what differs, and both hashes. */
int sums_line_compare(const char *what, struct digest expected, struct digest found, struct sp_error *err);

#endif
