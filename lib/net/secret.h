/*
 * A secret that several programs share, from a file that may be replaced while they run, and proofs
 * of knowing it: HMAC-SHA256 (RFC 2104) over bytes that both sides know, among them a nonce of
 * each.
 *
 * The file holds a secret a line: proofs are made with the first and accepted with any, so that a
 * new one can be introduced without a pause. Blank lines and lines that begin with `#` are skipped.
 * A Secret mounted as a volume is such a file.
 *
 *	struct secret *s = secret_new("/etc/seedpod/raft/secret", &err);
 *	secret_prove(s, "asks", bytes, len, proof);
 *	secret_look(s);		// now and then: takes a new file, whole and checked, or keeps the old
 *	secret_free(s);
 *
 * No secret is ever part of a message. Any thread; secret_look() on one at a time.
 */
#ifndef LIB_NET_SECRET_H_
#define LIB_NET_SECRET_H_

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/error.h"
#include "lib/base/file_watch.h"

#define SECRET_LENGTH_MIN  16 /* bytes */
#define SECRET_LENGTH_MAX  512
#define SECRET_COUNT_MAX   16
#define SECRET_NONCE_BYTES 32
#define SECRET_PROOF_BYTES 32

struct secret;

/* Read the file. SP_ECONF with file and line if a secret is too short, too long or holds other than visible ASCII
 * characters, or if there is none; else as file_read_all() says. The string is copied. */
struct secret *secret_new(const char *path, struct sp_error *err);

/* NULL does nothing. */
void secret_free(struct secret *s);

/* Look at the file; if it changed, read and check it, and use it from now on. The result is
 * logged. */
void secret_look(struct secret *s);

/* The result of the last look. */
void secret_status(struct secret *s, struct file_watch_status *out);

/* Unpredictable bytes. 0 or SP_EIO. */
int secret_nonce(unsigned char out[SECRET_NONCE_BYTES]);

/* Prove with the first secret. `label` says what is proved, so that a proof of one thing does not
 * prove another. 0 or SP_EIO. */
int secret_prove(
    struct secret *s, const char *label, const void *data, size_t len, unsigned char out[SECRET_PROOF_BYTES]);

/* Whether this is the proof by one of the secrets. If `answer` is not NULL, *answer is the proof of `answer_label` by
 * the same one. Compares in constant time. */
bool secret_verify(struct secret *s, const char *label, const void *data, size_t len,
    const unsigned char proof[SECRET_PROOF_BYTES], const char *answer_label, unsigned char answer[SECRET_PROOF_BYTES]);

#endif
