/* The forms that texts of the configuration must have. Pure. Internal to conf/. */
#ifndef CONF_FORM_H_
#define CONF_FORM_H_

#include <stddef.h>

#include "conf/schema.h"

/* The longest line that inih reads whole: its buffer is INI_MAX_LINE with CR, LF and NUL. Values are kept below it too,
 * so that what --print writes can be read again. */
#define FORM_LINE_MAX 197

/* NULL if `text` is UTF-8 without control characters (tab apart), else what is wrong: a static string. */
const char *form_check_bytes(const char *text, size_t len);

/* NULL if `text` has that form, else what is wrong: a static string, to go after the quoted value. */
const char *form_check(enum key_form form, const char *text);

/* Copy `text` for a message into out[size]: quoted, at most 60 bytes, what is not printable ASCII shown as "?". Returns
 * out. */
const char *form_quote(const char *text, char *out, size_t size);
#define FORM_QUOTE_SIZE 72

#endif
