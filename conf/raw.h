/*
 * The configuration between reading and checking: the text of each key that is set, and where.
 * Internal to conf/.
 *
 *	raw_read_file(…)	what the INI file says
 *	raw_read_environment(…)	what variables override
 *	raw_resolve(…)		defaults, templates, types and bounds: a struct conf
 *
 * All three continue after a mistake, so that all mistakes are reported at once.
 */
#ifndef CONF_RAW_H_
#define CONF_RAW_H_

#include "conf/conf.h"
#include "conf/mistakes.h"
#include "conf/schema.h"

enum raw_origin { RAW_DEFAULT, RAW_FILE, RAW_ENVIRONMENT };

struct raw_value {
	enum raw_origin origin;
	unsigned line; /* of the file */
	char text[CONF_TEXT_MAX];
};

struct raw {
	struct raw_value values[SCHEMA_KEYS_MAX]; /* in the order of schema_keys */
	size_t free_count;                        /* keys of [driver], checked */
	unsigned free_lines[DRIVER_EXEC_KEYS_MAX];
	struct driver_exec_key free_keys[DRIVER_EXEC_KEYS_MAX];
};

/* Parse an INI text with inih (its owner). SP_EINTERNAL if inih itself fails; mistakes of the user go to `m`. */
int raw_read_file(struct raw *raw, const char *text, size_t len, struct mistakes *m, struct sp_error *err);

/*
 * Take SEEDPOD_<SECTION>_<KEY> from `environment`. Kubernetes puts variables for each Service of the namespace into
 * every pod, and those of a Service called seedpod-server look like keys of ours; they are known by their shape and
 * left out.
 */
void raw_read_environment(struct raw *raw, const char *const *environment, struct mistakes *m);

/* The value of a variable, or NULL. */
const char *raw_environment_value(const char *const *environment, const char *name);

/* Make `out` of it all (not its hash). The result is valid only if `m` stays empty. */
void raw_resolve(const struct raw *raw, const char *const *environment, struct conf *out, struct mistakes *m);

/* A mistake at the place where the key got its value: what is wrong and what is allowed, NULL if that says itself.
 */
void raw_complain(
    const struct raw *raw, const struct schema_key *key, const char *what, const char *allowed, struct mistakes *m);

/* The demands of keys on one another, once each has its value (agree.c); part of raw_resolve(). */
void raw_agree(const struct raw *raw, struct conf *c, struct mistakes *m);

#endif
