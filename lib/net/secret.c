#include "lib/net/secret.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "lib/base/file.h"
#include "lib/base/log.h"

#define FILE_MAX (64u << 10)
#define NAME     "[raft] secret_file"

struct one {
	size_t len;
	unsigned char bytes[SECRET_LENGTH_MAX];
};

struct set {
	size_t count;
	struct one secrets[SECRET_COUNT_MAX];
};

struct secret {
	struct file_watch file; /* the looking thread's own */

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

static int
add_line(struct set *s, const char *text, size_t len, const char **what)
{
	struct one *one;

	if (len < SECRET_LENGTH_MIN || len > SECRET_LENGTH_MAX) {
		*what = "a secret has 16 to 512 characters";
		return SP_ECONF;
	}
	for (size_t i = 0; i < len; i++) {
		if (text[i] <= ' ' || text[i] > '~') {
			*what = "a secret has visible ASCII characters alone";
			return SP_ECONF;
		}
	}
	if (s->count == SECRET_COUNT_MAX) {
		*what = "there are more than 16 secrets";
		return SP_ECONF;
	}
	one = &s->secrets[s->count++];
	one->len = len;
	memcpy(one->bytes, text, len);
	return 0;
}

static int
parse(struct set *s, const char *path, const struct buf *text, struct sp_error *err)
{
	const char *line = text->data, *end = text->data + text->len, *what;
	int number = 0;

	while (line < end) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		size_t whole = newline != NULL ? (size_t)(newline - line) : (size_t)(end - line), len = whole;

		number++;
		while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r'))
			len--;
		if (len > 0 && line[0] != '#' && add_line(s, line, len, &what) < 0)
			return sp_error_set(err, SP_ECONF, NAME ": %s:%d: %s", path, number, what);
		line += whole + 1;
	}
	return s->count > 0 ? 0 : sp_error_set(err, SP_ECONF, NAME ": %s holds no secret", path);
}

/* Read what the file holds now. SP_EAGAIN if it changed meanwhile. */
static int
load(struct secret *s, struct set **out, struct sp_error *err)
{
	const char *path = s->file.paths[0];
	struct set *fresh = calloc(1, sizeof(*fresh));
	struct buf text;
	int rc;

	if (fresh == NULL) {
		sp_error_set(err, SP_ENOMEM, NAME ": out of memory");
		return SP_ENOMEM;
	}
	buf_init(&text, FILE_MAX);
	file_watch_begin(&s->file);
	rc = file_read_all(path, &text, err);
	if (rc == 0)
		rc = parse(fresh, path, &text, err);
	else
		sp_error_wrap(err, NAME);
	if (rc == 0 && file_watch_moved(&s->file) >= 0)
		rc = sp_error_set(err, SP_EAGAIN, NAME ": %s changed while it was read", path);
	if (text.size > 0)
		explicit_bzero(text.data, text.size);
	buf_release(&text);
	if (rc < 0) {
		set_free(fresh);
		return rc;
	}
	*out = fresh;
	return 0;
}

struct secret *
secret_new(const char *path, struct sp_error *err)
{
	struct secret *s = calloc(1, sizeof(*s));
	int rc = SP_EAGAIN;

	if (s == NULL) {
		sp_error_set(err, SP_ENOMEM, NAME ": out of memory");
		return NULL;
	}
	pthread_rwlock_init(&s->lock, NULL);
	if (file_watch_add(&s->file, path, err) < 0)
		goto fail;
	for (int tries = 0; tries < 5 && rc == SP_EAGAIN; tries++)
		rc = load(s, &s->set, err);
	if (rc < 0)
		goto fail;
	s->status.success = true;
	return s;
fail:
	secret_free(s);
	return NULL;
}

void
secret_free(struct secret *s)
{
	if (s == NULL)
		return;
	set_free(s->set);
	pthread_rwlock_destroy(&s->lock);
	file_watch_release(&s->file);
	free(s);
}

static void
refuse(struct secret *s, const struct sp_error *why)
{
	bool is_news;

	pthread_rwlock_wrlock(&s->lock);
	is_news = file_watch_refused(&s->file, &s->status, why->text);
	pthread_rwlock_unlock(&s->lock);
	if (is_news)
		log_warn("secret file refused; the secret before stays in use", LOG_STR("error", why->text));
}

void
secret_look(struct secret *s)
{
	struct set *fresh = NULL, *before;
	struct sp_error err = { 0 };
	int rc;

	if (!file_watch_due(&s->file))
		return;
	rc = load(s, &fresh, &err);
	s->file.again = rc < 0;
	if (rc < 0 && rc != SP_EAGAIN)
		refuse(s, &err);
	if (rc < 0)
		return;
	pthread_rwlock_wrlock(&s->lock);
	before = s->set;
	s->set = fresh;
	file_watch_taken(&s->status);
	pthread_rwlock_unlock(&s->lock);
	log_info("secret renewed", LOG_STR("file", s->file.paths[0]), LOG_U64("secrets", fresh->count));
	set_free(before);
}

void
secret_status(struct secret *s, struct file_watch_status *out)
{
	pthread_rwlock_rdlock(&s->lock);
	*out = s->status;
	pthread_rwlock_unlock(&s->lock);
}

/* --- Proofs --- */

int
secret_nonce(unsigned char out[SECRET_NONCE_BYTES])
{
	return gnutls_rnd(GNUTLS_RND_NONCE, out, SECRET_NONCE_BYTES) == 0 ? 0 : SP_EIO;
}

/* Under the lock. The label goes in with its NUL, so that none begins another. */
static int
prove_with(const struct one *one, const char *label, const void *data, size_t len, unsigned char *out)
{
	gnutls_hmac_hd_t hmac;
	int rc;

	if (gnutls_hmac_init(&hmac, GNUTLS_MAC_SHA256, one->bytes, one->len) != 0)
		return SP_EIO;
	rc = gnutls_hmac(hmac, label, strlen(label) + 1);
	if (rc == 0)
		rc = gnutls_hmac(hmac, data, len);
	gnutls_hmac_deinit(hmac, rc == 0 ? out : NULL);
	return rc == 0 ? 0 : SP_EIO;
}

int
secret_prove(struct secret *s, const char *label, const void *data, size_t len, unsigned char out[SECRET_PROOF_BYTES])
{
	int rc;

	pthread_rwlock_rdlock(&s->lock);
	rc = prove_with(&s->set->secrets[0], label, data, len, out);
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

bool
secret_verify(struct secret *s, const char *label, const void *data, size_t len,
    const unsigned char proof[SECRET_PROOF_BYTES], const char *answer_label, unsigned char answer[SECRET_PROOF_BYTES])
{
	unsigned char right[SECRET_PROOF_BYTES];
	const struct one *by = NULL;
	bool good;

	pthread_rwlock_rdlock(&s->lock);
	for (size_t i = 0; i < s->set->count; i++)
		if (prove_with(&s->set->secrets[i], label, data, len, right) == 0 &&
		    gnutls_memcmp(right, proof, sizeof(right)) == 0)
			by = &s->set->secrets[i];
	good = by != NULL && (answer == NULL || prove_with(by, answer_label, data, len, answer) == 0);
	pthread_rwlock_unlock(&s->lock);
	explicit_bzero(right, sizeof(right));
	return good;
}
