/* The JSON that executables of the driver contract write. Pure. Internal to lib/driver. */
#ifndef LIB_DRIVER_EXEC_REPORT_H_
#define LIB_DRIVER_EXEC_REPORT_H_

#include "lib/driver/driver.h"

/* The answer of `describe`. SP_EBADDATA names what is missing or wrong; SP_ECONF: the contract's version is another. */
int exec_report_traits(const char *json, size_t len, struct driver_traits *out, struct sp_error *err);

/*
 * A position: cluster, epoch, seq, history ([[epoch, first seq], …]), role; digest, following and detail are optional.
 * Strict: types, ranges, a history that leads to (epoch, seq). SP_EBADDATA. Numbers above 2^63 - 1 are rejected: our
 * own positions cannot carry them.
 */
int exec_report_position(const char *json, size_t len, struct driver_report *out, struct sp_error *err);

/* The word of the contract for a verb. */
const char *exec_report_verb(enum driver_verb verb);

#endif
