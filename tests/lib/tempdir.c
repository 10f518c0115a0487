#include "tests/lib/tempdir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

#define PATHS_KEPT 8

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "tempdir: %s: %s\n", what, why);
	abort();
}

void
tempdir_make(char out[TEMPDIR_MAX])
{
	const char *base = getenv("TMPDIR");

	snprintf(out, TEMPDIR_MAX, "%s/seedpod-test.XXXXXX", base != NULL && base[0] != '\0' ? base : "/tmp");
	if (mkdtemp(out) == NULL)
		die(out, "cannot be made");
}

void
tempdir_remove(const char *dir)
{
	struct sp_error err = { 0 };

	if (file_remove_tree(dir, &err) < 0)
		die(dir, err.text);
}

const char *
tempdir_path(const char *dir, const char *name)
{
	static char paths[PATHS_KEPT][TEMPDIR_MAX];
	static unsigned next;
	char *path = paths[next++ % PATHS_KEPT];
	struct sp_error err = { 0 };

	if (file_join(path, TEMPDIR_MAX, dir, name, &err) < 0)
		die(name, err.text);
	return path;
}

void
tempdir_write(const char *dir, const char *name, const char *text)
{
	struct sp_error err = { 0 };

	if (file_write_atomic(tempdir_path(dir, name), text, strlen(text), 0600, &err) < 0)
		die(name, err.text);
}
