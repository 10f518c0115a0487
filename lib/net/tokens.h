/*
 * Bearer tokens (RFC 6750) and what each allows, from a folder with a file for each role: `read`,
 * `write`, `peer`, `metrics`. A Secret mounted as a volume is such a folder. A file holds a token a
 * line, so that an old and a new one may both be good while they are changed; blank lines and lines
 * that begin with "#" are skipped. A role without a file is held by no client. A token that stands
 * in several files has all those roles.
 *
 *	struct tokens *t = tokens_new("/etc/seedpod/tokens", &err);
 *	unsigned roles = tokens_roles(t, request_header(rq, "Authorization"));
 *	tokens_look(t);		// now and then: takes new files, whole and checked, or keeps the old
 *	tokens_free(t);
 *
 * No token is ever part of a message. Any thread; tokens_look() on one at a time.
 */
#ifndef LIB_NET_TOKENS_H_
#define LIB_NET_TOKENS_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"
#include "lib/base/file_watch.h"

/* A set of roles is these added up. */
enum token_role { TOKEN_READ = 1, TOKEN_WRITE = 2, TOKEN_PEER = 4, TOKEN_METRICS = 8 };

#define TOKEN_LENGTH_MIN 16 /* bytes; shorter ones could be guessed */
#define TOKEN_LENGTH_MAX 512

struct tokens;

/* Read the folder. SP_ECONF with file and line if a token is too short or holds other characters than RFC 6750
 * allows, or where no file is there; else as file_read_all() says. The string is copied. */
struct tokens *tokens_new(const char *dir, struct sp_error *err);

/* NULL does nothing. */
void tokens_free(struct tokens *t);

/* Look at the files; if they changed, read and check them, and use them from now on. The result is
 * logged. */
void tokens_look(struct tokens *t);

/* The roles of a request with this Authorization header (NULL: it has none): 0 if it shows no token that is known.
 * Takes the same time whichever token it is compared with, and wherever they differ. */
unsigned tokens_roles(struct tokens *t, const char *authorization);

/* Whether any token gives the role. */
bool tokens_has(struct tokens *t, enum token_role role);

/* The first token of the role, into out[size]; false if there is none. */
bool tokens_first(struct tokens *t, enum token_role role, char *out, size_t size);

/* The result of the last look. */
void tokens_status(struct tokens *t, struct file_watch_status *out);

#endif
