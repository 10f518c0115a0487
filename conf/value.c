#include "conf/value.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/form.h"
#include "lib/base/number.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first, so that a value is shown in the largest unit that says it exactly; days are read, not written, because
 * "24h" is what the documentation says. */
static const struct unit duration_units[] = {
	{ "h", 3600000 },
	{ "m", 60000 },
	{ "s", 1000 },
	{ "ms", 1 },
	{ "d", 86400000 },
	{ NULL, 0 },
};

static const struct unit size_units[] = {
	{ "TiB", 1ull << 40 },
	{ "GiB", 1ull << 30 },
	{ "MiB", 1ull << 20 },
	{ "KiB", 1ull << 10 },
	{ "B", 1 },
	{ NULL, 0 },
};

#define UNITS_HINT_DURATION "units are ms, s, m, h and d"
#define UNITS_HINT_SIZE     "units are B, KiB, MiB, GiB and TiB"

static int
wrong(struct sp_error *err, const char *text, const char *what)
{
	char quoted[FORM_QUOTE_SIZE];

	return sp_error_set(err, SP_ECONF, "%s %s", form_quote(text, quoted, sizeof(quoted)), what);
}

/* Reject a text. It is not shown if a folder of tokens is expected: it may be a token. */
static int
wrong_text(const struct schema_key *key, const char *text, const char *what, struct sp_error *err)
{
	if (key->form == FORM_FOLDER)
		return sp_error_set(err, SP_ECONF, "what is given (not shown, it may be a secret) %s", what);
	return wrong(err, text, what);
}

/* The digits at the start of `text` into *out and what follows them into *rest. */
static int
parse_digits(const char *text, uint64_t *out, const char **rest, struct sp_error *err)
{
	if (!isdigit((unsigned char)text[0]))
		return wrong(err, text, "is not a number without sign");
	*rest = text;
	return number_take(rest, UINT64_MAX, out) ? 0 : wrong(err, text, "is too large");
}

static int
parse_whole(const char *text, uint64_t *out, struct sp_error *err)
{
	const char *rest;
	int rc = parse_digits(text, out, &rest, err);

	if (rc < 0)
		return rc;
	return *rest != '\0' ? wrong(err, text, "is not a whole number") : 0;
}

/* A whole number and its unit. Without one only zero is clear, and a size, where bytes are meant. */
static int
parse_with_unit(
    const char *text, const struct unit *units, const char *hint, bool bare, uint64_t *out, struct sp_error *err)
{
	const char *rest;
	char what[80];
	uint64_t number;
	int rc = parse_digits(text, &number, &rest, err);

	if (rc < 0)
		return rc;
	if (*rest == '\0' && (bare || number == 0)) {
		*out = number;
		return 0;
	}
	for (; units->name != NULL; units++) {
		if (strcmp(rest, units->name) != 0)
			continue;
		if (number > UINT64_MAX / units->factor)
			return wrong(err, text, "is too large");
		*out = number * units->factor;
		return 0;
	}
	snprintf(what, sizeof(what), "%s: %s", *rest == '\0' ? "has no unit" : "has an unknown unit", hint);
	return wrong(err, text, what);
}

static int
parse_double(const char *text, double *out, struct sp_error *err)
{
	char *end;

	/* strtod() takes more than numbers: hexadecimal, "inf", "nan", blanks. */
	if (!isdigit((unsigned char)text[0]) || text[strspn(text, "0123456789.eE+-")] != '\0')
		return wrong(err, text, "is not a number");
	*out = strtod(text, &end);
	return *end != '\0' || !isfinite(*out) ? wrong(err, text, "is not a number") : 0;
}

static int
parse_word(const struct schema_key *key, const char *text, unsigned *out, struct sp_error *err)
{
	for (unsigned i = 0; key->words[i] != NULL; i++)
		if (strcmp(key->words[i], text) == 0) {
			*out = i;
			return 0;
		}
	return wrong(err, text, "is not one of the words");
}

/* Whole numbers of all kinds, within their bounds. */
static int
parse_number(const struct schema_key *key, const char *text, uint64_t *out, struct sp_error *err)
{
	uint64_t number;
	int rc;

	if (key->type == KEY_SIZE)
		rc = parse_with_unit(text, size_units, UNITS_HINT_SIZE, true, &number, err);
	else if (key->type == KEY_DURATION)
		rc = parse_with_unit(text, duration_units, UNITS_HINT_DURATION, false, &number, err);
	else
		rc = parse_whole(text, &number, err);
	if (rc < 0)
		return rc;
	if (number < key->min)
		return wrong(err, text, "is too small");
	if (number > key->max)
		return wrong(err, text, "is too large");
	*out = number;
	return 0;
}

/* The value must fit its field, and its line when it is printed. */
static int
check_length(const struct schema_key *key, const char *text, struct sp_error *err)
{
	size_t most = FORM_LINE_MAX - strlen(key->name) - strlen(" = ");
	char what[60];

	if (most > key->size - 1)
		most = key->size - 1;
	if (strlen(text) <= most)
		return 0;
	snprintf(what, sizeof(what), "is longer than %zu bytes", most);
	return wrong_text(key, text, what, err);
}

static int
set_text(const struct schema_key *key, const char *text, struct conf *c, struct sp_error *err)
{
	char filled[CONF_TEXT_MAX] = { 0 };
	char *field = (char *)c + key->offset;
	const char *what;
	int rc;

	if ((rc = check_length(key, text, err)) < 0)
		return rc;
	if (pod_expand(text, &c->pod, c->pod.ordinal, filled, sizeof(filled), err) < 0)
		return SP_ECONF;
	if ((what = form_check(key->form, filled)) != NULL)
		return wrong_text(key, filled, what, err);
	if (key->type == KEY_TEMPLATE) {
		/* It must fit for any pod that may be asked. */
		if (pod_expand(text, &c->pod, 9999, filled, sizeof(filled), err) < 0)
			return SP_ECONF;
		memset(filled, 0, sizeof(filled));
		memcpy(filled, text, strlen(text));
	}
	if ((rc = check_length(key, filled, err)) < 0)
		return rc;
	if (key->form == FORM_POD_NAME)
		return pod_parse_name(filled, &c->pod, err);
	memcpy(field, filled, key->size < sizeof(filled) ? key->size : sizeof(filled));
	return 0;
}

int
value_set(const struct schema_key *key, const char *text, struct conf *c, struct sp_error *err)
{
	char *field = (char *)c + key->offset;
	uint64_t number = 0;
	unsigned small = 0;
	double real = 0;
	int rc;

	switch (key->type) {
	case KEY_TEXT:
	case KEY_TEMPLATE:
		return set_text(key, text, c, err);
	case KEY_U32:
		if ((rc = parse_number(key, text, &number, err)) == 0) {
			small = (unsigned)number;
			memcpy(field, &small, sizeof(small));
		}
		return rc;
	case KEY_U64:
	case KEY_SIZE:
	case KEY_DURATION:
		if ((rc = parse_number(key, text, &number, err)) == 0)
			memcpy(field, &number, sizeof(number));
		return rc;
	case KEY_DOUBLE:
		if ((rc = parse_double(text, &real, err)) < 0)
			return rc;
		if (real < (double)key->min || real > (double)key->max)
			return wrong(err, text, "is out of bounds");
		memcpy(field, &real, sizeof(real));
		return 0;
	case KEY_ENUM:
		if ((rc = parse_word(key, text, &small, err)) == 0)
			memcpy(field, &small, sizeof(small));
		return rc;
	}
	return SP_EINTERNAL;
}

/* In the largest unit that leaves a whole number. */
static void
format_with_unit(uint64_t number, const struct unit *units, const char *zero, char out[VALUE_TEXT_MAX])
{
	if (number == 0) {
		snprintf(out, VALUE_TEXT_MAX, "%s", zero);
		return;
	}
	while (units->factor != 1 && number % units->factor != 0)
		units++;
	snprintf(out, VALUE_TEXT_MAX, "%llu%s", (unsigned long long)(number / units->factor), units->name);
}

static void
format_double(double value, char out[VALUE_TEXT_MAX])
{
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(out, VALUE_TEXT_MAX, "%.*g", digits, value);
		if (strtod(out, NULL) == value)
			return;
	}
}

const char *
value_format(const struct schema_key *key, const struct conf *c, char out[VALUE_TEXT_MAX])
{
	const char *field = (const char *)c + key->offset;
	uint64_t number = 0;
	unsigned small = 0;
	double real = 0;

	switch (key->type) {
	case KEY_TEXT:
	case KEY_TEMPLATE:
		snprintf(out, VALUE_TEXT_MAX, "%s", field);
		break;
	case KEY_U32:
		memcpy(&small, field, sizeof(small));
		snprintf(out, VALUE_TEXT_MAX, "%u", small);
		break;
	case KEY_U64:
		memcpy(&number, field, sizeof(number));
		snprintf(out, VALUE_TEXT_MAX, "%llu", (unsigned long long)number);
		break;
	case KEY_SIZE:
		memcpy(&number, field, sizeof(number));
		format_with_unit(number, size_units, "0", out);
		break;
	case KEY_DURATION:
		memcpy(&number, field, sizeof(number));
		format_with_unit(number, duration_units, "0s", out);
		break;
	case KEY_DOUBLE:
		memcpy(&real, field, sizeof(real));
		format_double(real, out);
		break;
	case KEY_ENUM:
		memcpy(&small, field, sizeof(small));
		snprintf(out, VALUE_TEXT_MAX, "%s", key->words[small]);
		break;
	}
	return out;
}

bool
value_equal(const struct schema_key *key, const struct conf *a, const struct conf *b)
{
	const char *a_field = (const char *)a + key->offset, *b_field = (const char *)b + key->offset;

	if (key->type == KEY_TEXT || key->type == KEY_TEMPLATE)
		return strcmp(a_field, b_field) == 0;
	return memcmp(a_field, b_field, key->size) == 0;
}

void
value_copy(const struct schema_key *key, struct conf *into, const struct conf *from)
{
	memcpy((char *)into + key->offset, (const char *)from + key->offset, key->size);
}
