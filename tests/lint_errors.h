/*
 * For clang-tidy alone (tests/lint includes it before each file): what the analyzer cannot see from the declarations,
 * that setting an error returns the code given, which is never 0. Without it, it follows paths where a function failed
 * and returned success.
 */
#ifndef TESTS_LINT_ERRORS_H_
#define TESTS_LINT_ERRORS_H_

#include "lib/base/error.h"
#include "server/store/store_internal.h"

#define sp_error_set(err, code, ...)	 ((void)(sp_error_set)((err), (code), __VA_ARGS__), (code))
#define sp_error_errno(err, errnum, ...) ((void)(sp_error_errno)((err), (errnum), __VA_ARGS__), SP_EIO)
#define sp_error_wrap(err, ...)		 ((void)(sp_error_wrap)((err), __VA_ARGS__), SP_EIO)
#define store_error(err, mdb_code, ...)	 ((void)(store_error)((err), (mdb_code), __VA_ARGS__), SP_EIO)

#endif
