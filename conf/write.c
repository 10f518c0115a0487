/* The configuration and its schema as text: --print, the sample, and the generated parts of the
 * documentation. */
#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/schema.h"
#include "conf/value.h"

/* Whether key `i` is the first of its section. */
static bool
begins_section(size_t i)
{
	return i == 0 || strcmp(schema_keys[i - 1].section, schema_keys[i].section) != 0;
}

int
conf_print(const struct conf *c, struct buf *out)
{
	char value[VALUE_TEXT_MAX];
	int rc;

	for (size_t i = 0; i < schema_key_count; i++) {
		const struct schema_key *key = &schema_keys[i];

		if (begins_section(i) && (rc = buf_printf(out, "%s[%s]\n", i > 0 ? "\n" : "", key->section)) < 0)
			return rc;
		value_format(key, c, value);
		if ((rc = buf_printf(out, "%s =%s%s\n", key->name, value[0] != '\0' ? " " : "", value)) < 0)
			return rc;
	}
	if (c->driver_key_count > 0 && (rc = buf_adds(out, "\n[" SCHEMA_FREE_SECTION "]\n")) < 0)
		return rc;
	for (size_t i = 0; i < c->driver_key_count; i++) {
		const struct driver_exec_key *key = &c->driver_keys[i];

		if ((rc = buf_printf(out, "%s =%s%s\n", key->name, key->value[0] != '\0' ? " " : "", key->value)) < 0)
			return rc;
	}
	return 0;
}

/* The section whose keys are not in the schema. */
#define FREE_HELP                                                                                                      \
	"Free keys for driver exec, at most 64, of [a-z0-9_]: each becomes the variable SEEDPOD_DRIVER_<KEY> "         \
	"of its verbs. The environment does not override them. Secrets go into [store] secrets_dir."

static const char *const sample_head =
    "# seedpod: one configuration for seedpod-init, seedpod-server and seedpod-sidecar.\n"
    "# Every key is here with its default; a file needs only those that differ. See seedpod.ini(5).\n"
    "# Keys marked \"live\" change in a running pod, the others when it restarts.\n"
    "# {set} {ordinal} {name} {service} {namespace} are filled in for each pod.\n"
    "# This file is made from the schema by `make docs`.\n";

int
conf_write_sample(struct buf *out)
{
	char allowed[160];
	int rc;

	if ((rc = buf_adds(out, sample_head)) < 0)
		return rc;
	for (size_t i = 0; i < schema_key_count; i++) {
		const struct schema_key *key = &schema_keys[i];
		const char *blank = key->default_text[0] != '\0' ? " " : "";

		if (begins_section(i) && (rc = buf_printf(out, "\n[%s]\n", key->section)) < 0)
			return rc;
		schema_allowed(key, allowed, sizeof(allowed));
		rc = buf_printf(out, "%s# %s\n# Allowed: %s.\n%s =%s%s%s\n", begins_section(i) ? "" : "\n", key->help,
		    allowed, key->name, blank, key->default_text, key->live ? " ; live" : "");
		if (rc < 0)
			return rc;
	}
	return buf_adds(out, "\n[" SCHEMA_FREE_SECTION "]\n# " FREE_HELP "\n");
}

/* A cell of a Markdown table: "|" would end it and "<" would begin a tag. */
static int
markdown_cell(struct buf *out, const char *text)
{
	int rc = 0;

	for (; rc == 0 && *text != '\0'; text++)
		rc = *text == '<' ? buf_adds(out, "&lt;") : *text == '|' ? buf_adds(out, "\\|") : buf_add(out, text, 1);
	return rc;
}

int
conf_write_markdown(struct buf *out)
{
	char allowed[160], value[VALUE_TEXT_MAX];
	int rc;

	for (size_t i = 0; i < schema_key_count; i++) {
		const struct schema_key *key = &schema_keys[i];

		if (begins_section(i) &&
		    (rc = buf_printf(out,
			 "%s### [%s]\n\n| key | default | allowed | live | meaning |\n|---|---|---|---|---|\n",
			 i > 0 ? "\n" : "", key->section)) < 0)
			return rc;
		schema_allowed(key, allowed, sizeof(allowed));
		snprintf(value, sizeof(value), key->default_text[0] != '\0' ? "`%s`" : "%s", key->default_text);
		if ((rc = buf_printf(out, "| `%s` | %s | ", key->name, value)) < 0 ||
		    (rc = markdown_cell(out, allowed)) < 0 ||
		    (rc = buf_printf(out, " | %s | ", key->live ? "yes" : "")) < 0 ||
		    (rc = markdown_cell(out, key->help)) < 0 || (rc = buf_adds(out, " |\n")) < 0)
			return rc;
	}
	if ((rc = buf_adds(out, "\n### [" SCHEMA_FREE_SECTION "]\n\n")) < 0 || (rc = markdown_cell(out, FREE_HELP)) < 0)
		return rc;
	return buf_adds(out, "\n");
}

/* Columns of a line of the manual's source, in which a sentence begins a line. */
#define MDOC_WIDTH 72

/* The column that `out` has reached. */
static size_t
column(const struct buf *out)
{
	size_t at = out->len;

	while (at > 0 && out->data[at - 1] != '\n')
		at--;
	return out->len - at;
}

/* Text for mdoc: a sentence a line, lines not too long, and no character that roff would take for its own. */
static int
mdoc_text(struct buf *out, const char *text)
{
	int rc = 0;

	for (; rc == 0 && *text != '\0'; text++) {
		if (*text == '\\')
			rc = buf_adds(out, "\\e");
		else if (*text == '"')
			rc = buf_adds(out, "\\(dq");
		else if ((*text == '.' || *text == '\'') && column(out) == 0)
			rc = buf_printf(out, "\\&%c", *text);
		else if (*text == ' ' &&
			 (out->data[out->len - 1] == '.' || column(out) > MDOC_WIDTH - strcspn(text + 1, " ")))
			rc = buf_adds(out, "\n");
		else
			rc = buf_add(out, text, 1);
	}
	return rc;
}

static int
mdoc_key(struct buf *out, const struct schema_key *key)
{
	char allowed[160];
	int rc;

	schema_allowed(key, allowed, sizeof(allowed));
	if ((rc = buf_printf(out, ".It Ic %s No = Ar value\n", key->name)) < 0 ||
	    (rc = mdoc_text(out, key->help)) < 0 || (rc = buf_adds(out, "\nAllowed: ")) < 0 ||
	    (rc = mdoc_text(out, allowed)) < 0 || (rc = buf_adds(out, ".\n")) < 0)
		return rc;
	if (key->default_text[0] != '\0' && (rc = buf_printf(out, "Default:\n.Ql %s .\n", key->default_text)) < 0)
		return rc;
	return key->live ? buf_adds(out, "Live.\n") : 0;
}

int
conf_write_mdoc(struct buf *out)
{
	int rc;

	for (size_t i = 0; i < schema_key_count; i++) {
		const struct schema_key *key = &schema_keys[i];
		bool last = i + 1 == schema_key_count || begins_section(i + 1);

		if (begins_section(i) &&
		    (rc = buf_printf(out, ".Ss Section %s\n.Bl -tag -width Ds\n", key->section)) < 0)
			return rc;
		if ((rc = mdoc_key(out, key)) < 0 || (last && (rc = buf_adds(out, ".El\n")) < 0))
			return rc;
	}
	if ((rc = buf_adds(out, ".Ss Section " SCHEMA_FREE_SECTION "\n")) < 0 || (rc = mdoc_text(out, FREE_HELP)) < 0)
		return rc;
	return buf_adds(out, "\n");
}
