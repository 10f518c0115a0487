#include "lib/net/tokens.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/file.h"
#include "lib/base/file_watch.h"
#include "lib/base/log.h"

#define FILE_MAX       (64u << 10)
#define COUNT_MAX      256 /* tokens of all roles together */
#define PATH_MAX_BYTES 4096
#define SCHEME         "Bearer"

/* RFC 6750, b64token; the equals signs may stand at the end alone. */
#define TOKEN_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"

enum { ROLE_COUNT = 4 };
static const struct {
	const char *file;
	unsigned role;
} role_files[ROLE_COUNT] = {
	{ "peer", TOKEN_PEER }, /* first, so that its first line is tokens_first(), whatever files that stands in too */
	{ "read", TOKEN_READ },
	{ "write", TOKEN_WRITE },
	{ "metrics", TOKEN_METRICS },
};

struct token {
	unsigned roles;
	size_t len;
	unsigned char bytes[TOKEN_LENGTH_MAX]; /* zeros after the end */
};

struct set {
	size_t count;
	struct token tokens[COUNT_MAX];
};

struct tokens {
	char *dir;
	struct file_watch files; /* of each role; the looking thread's own */

	pthread_rwlock_t lock; /* guards what follows */
	struct set *set;
	struct file_watch_status status;
};

static void
set_free(struct set *s)
{
	if (s == NULL)
		return;
	explicit_bzero(s, sizeof(*s));
	free(s);
}

/* --- Reading --- */

static bool
is_token(const char *text, size_t len)
{
	size_t plain = strspn(text, TOKEN_CHARACTERS);

	while (plain > 0 && plain < len && text[plain] == '=')
		plain++;
	return plain >= len;
}

/* Add one line of the role's file. */
static int
add_line(struct set *s, unsigned role, const char *text, size_t len, const char **what)
{
	struct token *t;

	if (len < TOKEN_LENGTH_MIN || len > TOKEN_LENGTH_MAX) {
		*what = "a token has 16 to 512 characters";
		return SP_ECONF;
	}
	if (!is_token(text, len)) {
		*what = "a token has letters, digits and -._~+/ alone, and = at its end";
		return SP_ECONF;
	}
	for (size_t i = 0; i < s->count; i++) {
		t = &s->tokens[i];
		if (t->len == len && memcmp(t->bytes, text, len) == 0) {
			t->roles |= role;
			return 0;
		}
	}
	if (s->count == COUNT_MAX) {
		*what = "there are more than 256 tokens";
		return SP_ECONF;
	}
	t = &s->tokens[s->count++];
	t->roles = role;
	t->len = len;
	memcpy(t->bytes, text, len);
	return 0;
}

static int
parse(struct set *s, unsigned role, const char *path, const struct buf *text, struct sp_error *err)
{
	const char *line = text->data, *end = text->data + text->len, *what;
	int number = 0;

	while (line < end) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		size_t whole = newline != NULL ? (size_t)(newline - line) : (size_t)(end - line), len = whole;

		number++;
		while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r'))
			len--;
		if (len > 0 && line[0] != '#' && add_line(s, role, line, len, &what) < 0)
			return sp_error_set(err, SP_ECONF, "[auth] tokens: %s:%d: %s", path, number, what);
		line += whole + 1;
	}
	return 0;
}

static int
load_role(struct set *s, int i, const char *path, struct sp_error *err)
{
	struct buf text;
	int rc;

	buf_init(&text, FILE_MAX);
	rc = file_read_all(path, &text, err);
	if (rc == 0)
		rc = parse(s, role_files[i].role, path, &text, err);
	else
		sp_error_wrap(err, "[auth] tokens");
	if (text.size > 0)
		explicit_bzero(text.data, text.size);
	buf_release(&text);
	return rc;
}

/* Read what the files hold now. SP_EAGAIN if they changed meanwhile. */
static int
load(struct tokens *t, struct set **out, struct sp_error *err)
{
	struct set *s = calloc(1, sizeof(*s));
	int rc = 0, moved;

	if (s == NULL)
		return sp_error_set(err, SP_ENOMEM, "read the tokens: out of memory");
	file_watch_begin(&t->files);
	for (int i = 0; i < ROLE_COUNT && rc == 0; i++)
		if (t->files.seen[i].there)
			rc = load_role(s, i, t->files.paths[i], err);
	if (rc == 0 && (moved = file_watch_moved(&t->files)) >= 0)
		rc = sp_error_set(err, SP_EAGAIN, "[auth] tokens: %s changed while it was read", t->files.paths[moved]);
	if (rc == 0 && s->count == 0)
		rc = sp_error_set(err, SP_ECONF,
		    "[auth] tokens: %s holds no token in any of the files read, write, peer and metrics", t->dir);
	if (rc < 0) {
		set_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

/* --- The whole --- */

struct tokens *
tokens_new(const char *dir, struct sp_error *err)
{
	struct tokens *t = calloc(1, sizeof(*t));
	char path[PATH_MAX_BYTES];
	int rc = SP_EAGAIN;

	if (t == NULL) {
		sp_error_set(err, SP_ENOMEM, "read the tokens: out of memory");
		return NULL;
	}
	pthread_rwlock_init(&t->lock, NULL);
	if ((t->dir = strdup(dir)) == NULL) {
		sp_error_set(err, SP_ENOMEM, "read the tokens: out of memory");
		goto fail;
	}
	for (int i = 0; i < ROLE_COUNT; i++)
		if (file_join(path, sizeof(path), dir, role_files[i].file, err) < 0 ||
		    file_watch_add(&t->files, path, err) < 0)
			goto fail;
	for (int tries = 0; tries < 5 && rc == SP_EAGAIN; tries++)
		rc = load(t, &t->set, err);
	if (rc < 0)
		goto fail;
	t->status.success = true;
	return t;
fail:
	tokens_free(t);
	return NULL;
}

void
tokens_free(struct tokens *t)
{
	if (t == NULL)
		return;
	set_free(t->set);
	pthread_rwlock_destroy(&t->lock);
	file_watch_release(&t->files);
	free(t->dir);
	free(t);
}

static void
refuse(struct tokens *t, const struct sp_error *why)
{
	bool is_news;

	pthread_rwlock_wrlock(&t->lock);
	is_news = file_watch_refused(&t->files, &t->status, why->text);
	pthread_rwlock_unlock(&t->lock);
	if (is_news)
		log_warn("token files refused, the tokens before stay in use", LOG_STR("error", why->text));
}

void
tokens_look(struct tokens *t)
{
	struct set *fresh = NULL, *before;
	struct sp_error err = { 0 };
	size_t count;
	int rc;

	if (!file_watch_due(&t->files))
		return;
	rc = load(t, &fresh, &err);
	t->files.again = rc < 0;
	if (rc < 0 && rc != SP_EAGAIN)
		refuse(t, &err);
	if (rc < 0)
		return;
	count = fresh->count;
	pthread_rwlock_wrlock(&t->lock);
	before = t->set;
	t->set = fresh;
	file_watch_taken(&t->status);
	pthread_rwlock_unlock(&t->lock);
	set_free(before);
	log_info("tokens renewed", LOG_STR("dir", t->dir), LOG_U64("tokens", count));
}

/* --- Asking --- */

/* Whether two byte strings, padded with zeros to the same size, are equal: looks at all of them in any case. */
static bool
equal_in_constant_time(const unsigned char *a, const unsigned char *b, size_t size)
{
	volatile unsigned char difference = 0;

	for (size_t i = 0; i < size; i++)
		difference = (unsigned char)(difference | (a[i] ^ b[i]));
	return difference == 0;
}

/* The token of "Bearer TOKEN", padded with zeros; false if the header holds none. */
static bool
read_header(const char *authorization, unsigned char out[TOKEN_LENGTH_MAX])
{
	const char *p = authorization;
	size_t len;

	if (p == NULL || strncasecmp(p, SCHEME, strlen(SCHEME)) != 0 || p[strlen(SCHEME)] != ' ')
		return false;
	p += strlen(SCHEME);
	p += strspn(p, " ");
	len = strcspn(p, " \t");
	if (len < TOKEN_LENGTH_MIN || len > TOKEN_LENGTH_MAX || p[len + strspn(p + len, " \t")] != '\0')
		return false;
	memset(out, 0, TOKEN_LENGTH_MAX);
	memcpy(out, p, len);
	return true;
}

unsigned
tokens_roles(struct tokens *t, const char *authorization)
{
	unsigned char shown[TOKEN_LENGTH_MAX];
	unsigned roles = 0;

	if (!read_header(authorization, shown))
		return 0;
	pthread_rwlock_rdlock(&t->lock);
	for (size_t i = 0; i < t->set->count; i++) {
		const struct token *known = &t->set->tokens[i];

		if (equal_in_constant_time(shown, known->bytes, TOKEN_LENGTH_MAX))
			roles |= known->roles;
	}
	pthread_rwlock_unlock(&t->lock);
	explicit_bzero(shown, sizeof(shown));
	return roles;
}

bool
tokens_has(struct tokens *t, enum token_role role)
{
	bool has = false;

	pthread_rwlock_rdlock(&t->lock);
	for (size_t i = 0; i < t->set->count; i++)
		has |= (t->set->tokens[i].roles & role) != 0;
	pthread_rwlock_unlock(&t->lock);
	return has;
}

bool
tokens_first(struct tokens *t, enum token_role role, char *out, size_t size)
{
	bool found = false;

	pthread_rwlock_rdlock(&t->lock);
	for (size_t i = 0; i < t->set->count && !found; i++) {
		const struct token *known = &t->set->tokens[i];

		if ((known->roles & role) == 0 || known->len >= size)
			continue;
		memcpy(out, known->bytes, known->len);
		out[known->len] = '\0';
		found = true;
	}
	pthread_rwlock_unlock(&t->lock);
	return found;
}

void
tokens_status(struct tokens *t, struct file_watch_status *out)
{
	pthread_rwlock_rdlock(&t->lock);
	*out = t->status;
	pthread_rwlock_unlock(&t->lock);
}
