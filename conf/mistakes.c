#include "conf/mistakes.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/utf8.h"

/* Room that the report keeps for its last line, "… and 4294967295 more". */
#define MORE_LINE_MAX 32

void
mistakes_init(struct mistakes *m, const char *file)
{
	memset(m, 0, sizeof(*m));
	m->file = file;
}

static void add(struct mistakes *m, unsigned order, const char *before, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));

static void
add(struct mistakes *m, unsigned order, const char *before, const char *fmt, va_list ap)
{
	struct mistake *mistake;
	size_t used;

	if (m->count++ >= MISTAKES_MAX)
		return;
	mistake = &m->list[m->count - 1];
	mistake->order = order;
	snprintf(mistake->text, sizeof(mistake->text), "%s: ", before);
	used = strlen(mistake->text);
	vsnprintf(mistake->text + used, sizeof(mistake->text) - used, fmt, ap);
	utf8_repair(mistake->text);
}

void
mistakes_add_line(struct mistakes *m, unsigned line, const char *fmt, ...)
{
	char before[200];
	va_list ap;

	if (line > 0)
		snprintf(before, sizeof(before), "%.180s:%u", m->file, line);
	else
		snprintf(before, sizeof(before), "%.180s", m->file);
	va_start(ap, fmt);
	add(m, line > 0 ? line : UINT_MAX - 1, before, fmt, ap);
	va_end(ap);
}

void
mistakes_add_variable(struct mistakes *m, const char *variable, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(m, UINT_MAX, variable, fmt, ap);
	va_end(ap);
}

/* Insertion keeps mistakes of one line in the order in which they were found. */
static void
sort_by_line(struct mistake *list, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct mistake moved = list[i];
		size_t j = i;

		for (; j > 0 && list[j - 1].order > moved.order; j--)
			list[j] = list[j - 1];
		list[j] = moved;
	}
}

int
mistakes_report(struct mistakes *m, struct sp_error *err)
{
	size_t kept = m->count < MISTAKES_MAX ? m->count : MISTAKES_MAX;
	size_t used = 0, told = 0;

	if (m->count == 0)
		return 0;
	if (err == NULL)
		return SP_ECONF;
	sort_by_line(m->list, kept);
	sp_error_set(err, SP_ECONF, "%s", "");
	for (; told < kept; told++) {
		size_t len = strlen(m->list[told].text) + 1;
		size_t reserve = told + 1 == m->count ? 0 : MORE_LINE_MAX;

		if (used + len + reserve >= sizeof(err->text))
			break;
		used += (size_t)snprintf(
		    err->text + used, sizeof(err->text) - used, "%s%s", told > 0 ? "\n" : "", m->list[told].text);
	}
	if (told < m->count)
		snprintf(err->text + used, sizeof(err->text) - used, "\n... and %zu more", m->count - told);
	return SP_ECONF;
}
