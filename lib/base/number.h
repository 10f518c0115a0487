/*
 * Whole numbers as text: decimal digits and nothing else. strtoul() and its kin also take blanks
 * and signs ("-1" is 2^64-1 there), stop at the first NUL, and do not report what follows. Pure;
 * any thread.
 */
#ifndef LIB_BASE_NUMBER_H_
#define LIB_BASE_NUMBER_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* text[len], all of it, is a number of at most `most`. False: *out is untouched. */
bool number_from_bytes(const char *text, size_t len, uint64_t most, uint64_t *out);

/* The same of a string; NULL is not a number. */
bool number_from_text(const char *text, uint64_t most, uint64_t *out);

/* The digits at the front of the string *text, which is moved to what follows them. False: there are none, or the
 * number is larger than `most`; nothing is touched. */
bool number_take(const char **text, uint64_t most, uint64_t *out);

#endif
