#include "lib/protocol/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Doubles of at most this size that are whole numbers are shown in full. */
#define WHOLE_MAX 1e18

/* Cut `out` back to what it was, so that a failure leaves no half a line. */
static int
undo(struct buf *out, size_t len, int rc)
{
	if (out->len > len) {
		out->len = len;
		out->data[len] = '\0';
	}
	return rc;
}

/* Append `text` with backslash and newline escaped, and quotes where it stands between quotes. */
static int
add_escaped(struct buf *out, const char *text, const char *special)
{
	int rc = 0;

	while (rc == 0 && *text != '\0') {
		size_t plain = strcspn(text, special);

		rc = buf_add(out, text, plain);
		text += plain;
		if (rc == 0 && *text != '\0') {
			rc = *text == '\n' ? buf_adds(out, "\\n") : buf_printf(out, "\\%c", *text);
			text++;
		}
	}
	return rc;
}

int
metrics_head(struct buf *out, const char *name, const char *type, const char *help)
{
	size_t before = out->len;
	int rc;

	if ((rc = buf_printf(out, "# HELP %s ", name)) < 0 || (rc = add_escaped(out, help, "\\\n")) < 0 ||
	    (rc = buf_printf(out, "\n# TYPE %s %s\n", name, type)) < 0)
		return undo(out, before, rc);
	return 0;
}

/* The shortest text that reads back as the same number. */
static void
format_value(double value, char *out, size_t size)
{
	if (isnan(value))
		snprintf(out, size, "NaN");
	else if (isinf(value))
		snprintf(out, size, value > 0 ? "+Inf" : "-Inf");
	else if (value == floor(value) && fabs(value) <= WHOLE_MAX)
		snprintf(out, size, "%.0f", value);
	else
		for (int digits = 6; digits <= 17; digits++) {
			snprintf(out, size, "%.*g", digits, value);
			if (strtod(out, NULL) == value)
				break;
		}
}

int
metrics_value(struct buf *out, const char *name, const char *labels, double value)
{
	char number[40];

	format_value(value, number, sizeof(number));
	if (labels == NULL || labels[0] == '\0')
		return buf_printf(out, "%s %s\n", name, number);
	return buf_printf(out, "%s{%s} %s\n", name, labels, number);
}

int
metrics_single(struct buf *out, const char *name, const char *type, const char *help, double value)
{
	size_t before = out->len;
	int rc;

	if ((rc = metrics_head(out, name, type, help)) < 0)
		return rc;
	if ((rc = metrics_value(out, name, NULL, value)) < 0)
		return undo(out, before, rc);
	return 0;
}

int
metrics_label(struct buf *out, const char *name, const char *value)
{
	size_t before = out->len;
	int rc;

	if ((rc = buf_printf(out, "%s%s=\"", before > 0 ? "," : "", name)) < 0 ||
	    (rc = add_escaped(out, value, "\\\"\n")) < 0 || (rc = buf_adds(out, "\"")) < 0)
		return undo(out, before, rc);
	return 0;
}
