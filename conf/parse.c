/*
 * Reading the INI text. inih does the parsing. Each line is checked for mistakes that it would
 * miss, before it is handed over: it cuts lines at its buffer's size, ends at a NUL, takes an
 * indented line for a continuation, ignores what follows a section's bracket, and reports one
 * mistake only. A line with a mistake is handed over empty.
 */
#include <ctype.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "conf/form.h"
#include "conf/raw.h"

_Static_assert(DRIVER_EXEC_TEXT_SIZE > FORM_LINE_MAX, "a free value fits whole");
_Static_assert(FORM_LINE_MAX == INI_MAX_LINE - 3, "inih needs room for CR, LF and NUL");

struct parser {
	const char *text; /* what is left of the file */
	size_t len;
	unsigned line; /* number of the line that inih has at present */
	bool pending;  /* that line is neither blank nor a section, and inih has not made a pair of it yet */
	bool skip;     /* in a section that is not known: its keys are not looked at */
	struct raw *raw;
	struct mistakes *m;
};

/* If the line before came to nothing, say so. */
static void
finish_line(struct parser *p)
{
	if (p->pending)
		mistakes_add_line(p->m, p->line,
		    "not understood; a line is \"key = value\", \"[section]\" or a comment after "
		    "\";\" or \"#\"");
	p->pending = false;
}

/* The next line without its end. */
static const char *
next_line(struct parser *p, size_t *len)
{
	const char *line = p->text, *end = memchr(line, '\n', p->len);
	size_t taken = end == NULL ? p->len : (size_t)(end - line) + 1;

	*len = end == NULL ? p->len : (size_t)(end - line);
	if (*len > 0 && line[*len - 1] == '\r')
		--*len;
	p->text += taken;
	p->len -= taken;
	p->line++;
	return line;
}

static void
unknown_section(struct parser *p, const char *name)
{
	const char *nearest = schema_nearest_section(name);
	char quoted[FORM_QUOTE_SIZE], known[160] = "";
	size_t used = 0;

	form_quote(name, quoted, sizeof(quoted));
	if (nearest != NULL) {
		mistakes_add_line(p->m, p->line, "unknown section %s; did you mean [%s]?", quoted, nearest);
		return;
	}
	for (size_t i = 0; i < schema_key_count && used < sizeof(known); i++)
		if (i == 0 || strcmp(schema_keys[i].section, schema_keys[i - 1].section) != 0)
			used += (size_t)snprintf(known + used, sizeof(known) - used, " %s", schema_keys[i].section);
	mistakes_add_line(p->m, p->line, "unknown section %s; known:%s", quoted, known);
}

/* Look at "[section]", on which inih is lax. Whether inih may see it. */
static bool
check_section(struct parser *p, const char *line, size_t len)
{
	const char *close = memchr(line, ']', len), *rest;
	char name[FORM_LINE_MAX + 1];

	p->skip = true;
	if (close == NULL) {
		mistakes_add_line(p->m, p->line, "section without its \"]\"; allowed is \"[section]\" alone on a line");
		return false;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(close - line - 1), line + 1);
	for (rest = close + 1; rest < line + len && isspace((unsigned char)*rest);)
		rest++;
	if (rest < line + len && *rest != ';') {
		mistakes_add_line(
		    p->m, p->line, "[%s]: something follows the \"]\"; allowed is \"[section]\" alone on a line", name);
		return false;
	}
	if (!schema_has_section(name)) {
		unknown_section(p, name);
		return false;
	}
	p->skip = false;
	return true;
}

/* Whether inih may see this line. */
static bool
check_line(struct parser *p, const char **line, size_t *len)
{
	const char *wrong = form_check_bytes(*line, *len);
	bool too_long = *len > FORM_LINE_MAX;

	while (*len > 0 && isspace((unsigned char)**line)) {
		++*line;
		--*len;
	}
	if (too_long)
		mistakes_add_line(
		    p->m, p->line, "line longer than %d bytes; put comments on lines of their own", FORM_LINE_MAX);
	else if (wrong != NULL)
		mistakes_add_line(p->m, p->line, "the line %s; allowed is text in UTF-8", wrong);
	if (too_long || wrong != NULL) {
		/* Keys that follow a section that could not be read would seem to be in the one before. */
		p->skip = p->skip || (*len > 0 && **line == '[');
		return false;
	}
	if (*len == 0 || **line == ';' || **line == '#')
		return false;
	if (**line == '[')
		return check_section(p, *line, *len);
	p->pending = true;
	return true;
}

/* inih's fgets(). */
static char *
read_line(char *out, int size, void *stream)
{
	struct parser *p = stream;
	const char *line;
	size_t len;

	finish_line(p);
	if (p->len == 0)
		return NULL;
	line = next_line(p, &len);
	if (!check_line(p, &line, &len))
		len = 0;
	if (len + 2 > (size_t)size)
		return NULL;
	memcpy(out, line, len);
	memcpy(out + len, "\n", 2);
	return out;
}

static void
unknown_key(struct parser *p, const char *section, const char *name)
{
	const struct schema_key *nearest = schema_nearest_key(section, name);
	char known[160] = "";
	size_t used = 0;

	if (nearest != NULL && strcmp(nearest->section, section) == 0) {
		mistakes_add_line(
		    p->m, p->line, "[%s] %s: unknown key; did you mean \"%s\"?", section, name, nearest->name);
		return;
	}
	if (nearest != NULL) {
		mistakes_add_line(p->m, p->line, "[%s] %s: unknown key; did you mean \"%s\" in [%s]?", section, name,
		    nearest->name, nearest->section);
		return;
	}
	for (size_t i = 0; i < schema_key_count; i++)
		if (strcmp(schema_keys[i].section, section) == 0 && used < sizeof(known))
			used += (size_t)snprintf(known + used, sizeof(known) - used, " %s", schema_keys[i].name);
	mistakes_add_line(p->m, p->line, "[%s] %.60s: unknown key; known:%s", section, name, known);
}

/* What is wrong with the name of a free key, or NULL. */
static const char *
free_name_fault(const char *name)
{
	if (strlen(name) >= DRIVER_EXEC_NAME_SIZE)
		return "name longer than 32 bytes";
	if (name[0] < 'a' || name[0] > 'z' || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] != '\0')
		return "name is not a small letter, then small letters, digits and \"_\"";
	return NULL;
}

/* Whether a mistake stands in the way of this value; it is reported then. */
static bool
comment_in_value(struct parser *p, const char *section, const char *name, const char *value)
{
	if (strstr(value, " #") == NULL && strstr(value, "\t#") == NULL)
		return false;
	mistakes_add_line(p->m, p->line,
	    "[%s] %s: \"#\" begins no comment here; comments after a value begin with \" ;\"", section, name);
	return true;
}

/* A key of [driver]: any name, within bounds. */
static void
take_free(struct parser *p, const char *name, const char *value)
{
	const char *fault = free_name_fault(name);
	struct raw *raw = p->raw;
	struct driver_exec_key *key;

	if (fault == NULL)
		fault = form_check(FORM_ANY, value);
	if (fault != NULL) {
		mistakes_add_line(p->m, p->line, "[%s] %.60s: %s", SCHEMA_FREE_SECTION, name, fault);
		return;
	}
	for (size_t i = 0; i < raw->free_count; i++)
		if (strcmp(raw->free_keys[i].name, name) == 0) {
			mistakes_add_line(p->m, p->line, "[%s] %s: given twice; it is in line %u already",
			    SCHEMA_FREE_SECTION, name, raw->free_lines[i]);
			return;
		}
	if (comment_in_value(p, SCHEMA_FREE_SECTION, name, value))
		return;
	if (raw->free_count == DRIVER_EXEC_KEYS_MAX) {
		mistakes_add_line(
		    p->m, p->line, "[%s] %s: more than %d keys", SCHEMA_FREE_SECTION, name, DRIVER_EXEC_KEYS_MAX);
		return;
	}
	raw->free_lines[raw->free_count] = p->line;
	key = &raw->free_keys[raw->free_count++];
	snprintf(key->name, sizeof(key->name), "%s", name);
	snprintf(key->value, sizeof(key->value), "%s", value);
}

/* inih has a pair. Always answers 1: mistakes are kept by us, with more to say than inih has. */
static int
take_pair(void *user, const char *section, const char *name, const char *value)
{
	struct parser *p = user;
	const struct schema_key *key;
	struct raw_value *slot;

	/* "= value" is no better than no "=" at all: it stays pending, and finish_line() tells. */
	if (name[0] == '\0')
		return 1;
	p->pending = false;
	if (p->skip)
		return 1;
	if (section[0] == '\0') {
		mistakes_add_line(p->m, p->line, "%.60s: key before any section; a [section] comes first", name);
		return 1;
	}
	if (strcmp(section, SCHEMA_FREE_SECTION) == 0) {
		take_free(p, name, value);
		return 1;
	}
	if ((key = schema_find(section, name)) == NULL) {
		unknown_key(p, section, name);
		return 1;
	}
	slot = &p->raw->values[schema_index(key)];
	if (slot->origin != RAW_DEFAULT)
		mistakes_add_line(
		    p->m, p->line, "[%s] %s: given twice; it is in line %u already", section, name, slot->line);
	if (comment_in_value(p, section, name, value))
		return 1;
	slot->origin = RAW_FILE;
	slot->line = p->line;
	snprintf(slot->text, sizeof(slot->text), "%s", value);
	return 1;
}

int
raw_read_file(struct raw *raw, const char *text, size_t len, struct mistakes *m, struct sp_error *err)
{
	struct parser p = { .text = text, .len = len, .raw = raw, .m = m };
	int rc;

	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		p.text += 3;
		p.len -= 3;
	}
	rc = ini_parse_stream(read_line, &p, take_pair, &p);
	finish_line(&p);
	/* Whatever inih finds has been found before; should it know better, it is believed. */
	if (rc < 0 || p.len > 0)
		return sp_error_set(err, SP_EINTERNAL, "%s: the INI parser gave up in line %u", m->file, p.line);
	if (rc > 0 && m->count == 0)
		mistakes_add_line(m, (unsigned)rc, "not understood");
	return 0;
}
