/*
 * Errors: one list of codes, and a message that the caller owns and each layer adds to.
 *
 * Calling sequence:
 *
 *	struct sp_error err = {0};
 *	if (file_read_all(path, &buf, &err) < 0)
 *		return sp_error_wrap(&err, "read the configuration");
 *
 * A function that fails returns a negative SP_E… code, leaves its outputs untouched and has filled the
 * `struct sp_error` that it was given. The text reads from the outside in: "seed from store-0: read
 * seedpod.sums: connection closed after 812 MiB of 1.2 GiB". It is logged once, where it is handled.
 */
#ifndef LIB_BASE_ERROR_H_
#define LIB_BASE_ERROR_H_

#include <stddef.h>

/*
 * name, value, sysexits code for a program that ends because of it, short text.
 * The sysexits codes are a contract (docs/operations.md).
 */
#define SP_ERRORS(X)                                                                                                   \
	X(SP_EUSAGE, -1, 64, "usage")                                                                                  \
	X(SP_EBADDATA, -2, 65, "bad data")                                                                             \
	X(SP_ETRUNCATED, -3, 65, "cut short")                                                                          \
	X(SP_EDIVERGED, -4, 65, "diverged history")                                                                    \
	X(SP_EUNAVAIL, -5, 69, "peer not reached")                                                                     \
	X(SP_ESTALLED, -6, 69, "peer stalled")                                                                         \
	X(SP_EINTERNAL, -7, 70, "internal error")                                                                      \
	X(SP_ENOMEM, -8, 71, "out of memory")                                                                          \
	X(SP_ENOSPACE, -9, 73, "no space left")                                                                        \
	X(SP_EVOLUME, -10, 73, "volume cannot be used")                                                                \
	X(SP_EIO, -11, 74, "input/output error")                                                                       \
	X(SP_EAGAIN, -12, 75, "try again")                                                                             \
	X(SP_ECANCELED, -13, 75, "canceled")                                                                           \
	X(SP_EPERM, -14, 77, "permission denied")                                                                      \
	X(SP_ECONF, -15, 78, "configuration")                                                                          \
	X(SP_ENOTFOUND, -16, 70, "not found")                                                                          \
	X(SP_ETOOBIG, -17, 65, "too large")                                                                            \
	X(SP_EHORIZON, -18, 65, "below the horizon")                                                                   \
	X(SP_EPRECOND, -19, 70, "precondition failed")                                                                 \
	X(SP_EDIGEST, -20, 65, "digest mismatch")                                                                      \
	X(SP_EGAP, -21, 65, "gap in the feed")                                                                         \
	X(SP_EMAPFULL, -22, 73, "store's map is full")                                                                 \
	X(SP_EUNKNOWN, -23, 75, "outcome unknown")

enum sp_code {
#define X(name, value, exit_code, text) name = (value),
	SP_ERRORS(X)
#undef X
};

#define SP_ERROR_TEXT_MAX 1024

struct sp_error {
	int code;                     /* 0, or the SP_E… code of the first failure */
	char text[SP_ERROR_TEXT_MAX]; /* the story so far, always terminated, and UTF-8: see sp_error_set() */
};

/*
 * Set `err` to `code` with a formatted text, whatever it held before. `err` may be NULL: then only
 * the code comes back. Returns `code`, so that `return sp_error_set(…)` reads well. Texts from a
 * peer or a file may hold any bytes, and a cut may fall within a character. Errors are also
 * reported as JSON, which allows only UTF-8, so each byte that is not part of valid UTF-8 becomes
 * "?".
 */
int sp_error_set(struct sp_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As sp_error_set(), followed by ": " and the text of `errnum`; picks the code from errnum (ENOSPC and
 * EDQUOT -> SP_ENOSPACE, EACCES/EPERM -> SP_EPERM, EROFS and ENOTDIR -> SP_EVOLUME, ENOENT -> SP_ENOTFOUND, ENOMEM ->
 * SP_ENOMEM, else SP_EIO). */
int sp_error_errno(struct sp_error *err, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put "<formatted>: " before the text that `err` holds and return its code. */
int sp_error_wrap(struct sp_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The code's name, "SP_EHORIZON", and its short text; "SP_OK"/"no error" for 0. Static strings. */
const char *sp_code_name(int code);
const char *sp_code_text(int code);

/* The sysexits code with which a program ends because of `code`; 0 for 0, 70 for an unknown one. */
int sp_code_exit(int code);

#endif
