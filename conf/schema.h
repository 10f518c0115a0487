/*
 * The schema: every key of the configuration with its type, default, bounds and help, in the order in which they are
 * shown. Parsing, validation, --print, the sample and the documentation go through this one table. Internal to conf/.
 */
#ifndef CONF_SCHEMA_H_
#define CONF_SCHEMA_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_type {
	KEY_TEXT,     /* char[size]; templates in it are filled in for this pod */
	KEY_TEMPLATE, /* char[size]; kept as a template, for the pods of all ordinals */
	KEY_U32,      /* unsigned */
	KEY_U64,
	KEY_SIZE,     /* uint64_t bytes; 64KiB, 8MiB, 1GiB */
	KEY_DURATION, /* int64_t milliseconds; 500ms, 10s, 2m, 24h, 7d */
	KEY_DOUBLE,
	KEY_ENUM, /* an enum, the index of the word in `words` */
};

/* The form that a text must have. */
enum key_form {
	FORM_ANY,
	FORM_POD_NAME,    /* <set>-<ordinal>; "" stands for the environment's or the host's name */
	FORM_DNS,         /* letters, digits, "-", "." */
	FORM_DNS_DEFAULT, /* the same; "" stands for the environment's */
	FORM_LISTEN,      /* host:port, [IPv6]:port */
	FORM_SOCKET,      /* an absolute path that fits sun_path */
	FORM_DIR,         /* an absolute path */
	FORM_FILE,        /* an absolute path, or "" for none */
	FORM_FOLDER,      /* an absolute path of a folder, or "" for none */
	FORM_CERT_NAME,   /* a DNS name or an address, or "" */
	FORM_URL,         /* http://host:port, no path */
};

struct schema_key {
	const char *section;
	const char *name;
	enum key_type type;
	enum key_form form;       /* of texts */
	size_t offset;            /* in struct conf */
	size_t size;              /* of the field */
	const char *default_text; /* as a file would say it */
	uint64_t min, max;        /* of numbers; in milliseconds and bytes */
	const char *min_text;     /* the same as a file would say them */
	const char *max_text;
	const char *const *words; /* of an enum, ended by NULL */
	bool live;                /* changes in a running pod */
	const char *help;         /* sentences; for the sample and the documentation */
};

#define SCHEMA_KEYS_MAX 96

extern const struct schema_key schema_keys[];
extern const size_t schema_key_count;

/* The key, or NULL. Its place in schema_keys is schema_index(). */
const struct schema_key *schema_find(const char *section, const char *name);
size_t schema_index(const struct schema_key *key);

/* Its keys are free: they are not in the schema, and struct conf keeps them by name. */
#define SCHEMA_FREE_SECTION "driver"

/* Also true for the section of free keys. */
bool schema_has_section(const char *section);

/* The section whose name comes next to `section` by edit distance, or NULL if none is near enough to suggest. */
const char *schema_nearest_section(const char *section);

/* The key that was probably meant: the nearest of that section, or one of exactly that name elsewhere; or NULL. */
const struct schema_key *schema_nearest_key(const char *section, const char *name);

/* The values that the key accepts, "a duration from 100ms to 24h", into out[size]. Returns out. */
const char *schema_allowed(const struct schema_key *key, char *out, size_t size);

/* "SEEDPOD_SYNC_INTERVAL" into out[size]. */
void schema_variable(const struct schema_key *key, char *out, size_t size);

#endif
