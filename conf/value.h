/* One key's value: from text into struct conf, and back. Pure. Internal to conf/. */
#ifndef CONF_VALUE_H_
#define CONF_VALUE_H_

#include "conf/conf.h"
#include "conf/schema.h"

/* Longest text that value_format() makes, with NUL. */
#define VALUE_TEXT_MAX CONF_TEXT_MAX

/*
 * Put `text` into the key's field of `c`; texts are filled in from c->pod, and pod.name fills c->pod itself. SP_ECONF
 * with what is wrong (not where, and not what is allowed: that is schema_allowed()); `c` is untouched then.
 */
int value_set(const struct schema_key *key, const char *text, struct conf *c, struct sp_error *err);

/* The key's value in `c` as a file says it, into out[VALUE_TEXT_MAX]. Returns out. value_set() reads the same from it.
 */
const char *value_format(const struct schema_key *key, const struct conf *c, char out[VALUE_TEXT_MAX]);

bool value_equal(const struct schema_key *key, const struct conf *a, const struct conf *b);
void value_copy(const struct schema_key *key, struct conf *into, const struct conf *from);

#endif
