/*
 * The mistakes of one configuration, gathered so that a user learns all of them at once. Internal to conf/.
 */
#ifndef CONF_MISTAKES_H_
#define CONF_MISTAKES_H_

#include <stddef.h>

#include "lib/base/error.h"

#define MISTAKES_MAX 32 /* kept; those after them are counted */

struct mistake {
	unsigned order; /* for sorting: the line; those without one come last */
	char text[400];
};

struct mistakes {
	const char *file; /* for messages */
	size_t count;     /* of all, also those that were not kept */
	struct mistake list[MISTAKES_MAX];
};

void mistakes_init(struct mistakes *m, const char *file);

/* Add "file:line: …", or "file: …" where line is 0. */
void mistakes_add_line(struct mistakes *m, unsigned line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Add "variable: …". */
void mistakes_add_variable(struct mistakes *m, const char *variable, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* 0 if there were none; else SP_ECONF with one mistake a line, in the order of the file, as many as fit, and how
 * many more there are. */
int mistakes_report(struct mistakes *m, struct sp_error *err);

#endif
