/*
 * Writing the Prometheus text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/).
 *
 *	metrics_head(&buf, "seedpod_sync_errors_total", "counter", "Failed syncs.");
 *	metrics_value(&buf, "seedpod_sync_errors_total", "reason=\"timeout\"", 3);
 *
 * Pure text; the caller owns the numbers. Failures of the buffer (its limit) are the return value, 0 or negative.
 */
#ifndef LIB_PROTOCOL_METRICS_H_
#define LIB_PROTOCOL_METRICS_H_

#include "lib/base/buf.h"

/* "# HELP" and "# TYPE"; type is counter, gauge, histogram, summary or untyped. */
int metrics_head(struct buf *out, const char *name, const char *type, const char *help);

/* One sample. `labels` is the text between the braces, already escaped with metrics_label(), or NULL. Whole numbers are
 * written without an exponent. */
int metrics_value(struct buf *out, const char *name, const char *labels, double value);

/* metrics_head() and one metrics_value() without labels. */
int metrics_single(struct buf *out, const char *name, const char *type, const char *help, double value);

/* Append  name="value"  with backslash, quote and newline escaped, after a comma where `out` is not empty. */
int metrics_label(struct buf *out, const char *name, const char *value);

#endif
