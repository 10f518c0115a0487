#include "server/offline.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "server/store/store.h"

#define PATH_BYTES 4096

/*
 * A process that has an LMDB environment open holds locks on its lock.mdb, in whatever container it
 * runs; the reader here holds none. Beside a writer, pages and journal would change during the
 * read, and a sound store would look damaged.
 */
static int
refuse_what_is_open(const char *dir, struct sp_error *err)
{
	struct flock held = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[PATH_BYTES];
	int fd, rc;

	if ((rc = file_join(path, sizeof(path), dir, "lock.mdb", err)) < 0)
		return rc;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return 0; /* never opened, or the next process to open it reports what it is */
	if (fcntl(fd, F_GETLK, &held) == 0 && held.l_type != F_UNLCK)
		rc = sp_error_set(err, SP_EAGAIN,
		    "%s: a server has this store open; ask it (GET /v1/position, or GET /digest on its control "
		    "socket), "
		    "or stop it first",
		    dir);
	close(fd);
	return rc;
}

static struct store *
open_readonly(const char *dir, struct sp_error *err)
{
	struct store *s = NULL;

	if (refuse_what_is_open(dir, err) == 0)
		s = store_new(&(struct store_options){ .dir = dir }, err);
	if (s != NULL && store_attach(s, STORE_READONLY, err) < 0) {
		store_free(s);
		return NULL;
	}
	return s;
}

static int
complain(const struct sp_error *err)
{
	fprintf(stderr, "seedpod-server: %s\n", err->text);
	/* A missing store counts as a damaged one. */
	return err->code == SP_ENOTFOUND ? sp_code_exit(SP_EBADDATA) : sp_code_exit(err->code);
}

int
offline_position(const char *dir)
{
	struct sp_error err = { 0 };
	struct store *s = open_readonly(dir, &err);
	struct position p;
	char *text;

	if (s == NULL)
		return complain(&err);
	if (store_position(s, &p, &err) < 0 || store_lead(s, &p.lead, &err) < 0) {
		store_free(s);
		return complain(&err);
	}
	p.tail_lost |= p.writer && store_tail_lost(s);
	store_free(s);
	text = position_to_json(&p);
	if (text == NULL) {
		sp_error_set(&err, SP_ENOMEM, "%s: describe its position: out of memory", dir);
		return complain(&err);
	}
	puts(text);
	free(text);
	return fflush(stdout) == 0 ? 0 : sp_code_exit(SP_EIO);
}

int
offline_verify(const char *dir)
{
	struct sp_error err = { 0 };
	char hex[DIGEST_HEX_SIZE];
	struct digest found;
	struct position p;
	struct store *s;
	int rc;

	/* First, because LMDB trusts the pages. */
	if (refuse_what_is_open(dir, &err) < 0 || store_check_structure(dir, true, &err) < 0)
		return complain(&err);
	s = open_readonly(dir, &err);
	if (s == NULL)
		return complain(&err);
	rc = store_position(s, &p, &err);
	if (rc == 0)
		rc = store_verify(s, &found, &err);
	store_free(s);
	if (rc < 0)
		return complain(&err);
	/* The journal's part was summed up from its records when it was read. */
	digest_to_hex(p.digest, hex);
	printf("%s: ok: %llu keys at epoch %llu seq %llu, digest %s\n", dir, (unsigned long long)p.keys,
	    (unsigned long long)p.epoch, (unsigned long long)p.seq, hex);
	return 0;
}
