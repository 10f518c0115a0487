/*
 * A folder for one test's files.
 *
 *	char dir[TEMPDIR_MAX];
 *	tempdir_make(dir);			// under $TMPDIR, else /tmp
 *	tempdir_write(dir, "a.ini", "text");	// dir/a.ini
 *	tempdir_remove(dir);			// with all that is in it
 *
 * A failure here ends the program: there is no test without its files.
 */
#ifndef TESTS_LIB_TEMPDIR_H_
#define TESTS_LIB_TEMPDIR_H_

#define TEMPDIR_MAX 4096

void tempdir_make(char out[TEMPDIR_MAX]);
void tempdir_remove(const char *dir);

/* dir/name; the text is the caller's until the next call but seven. */
const char *tempdir_path(const char *dir, const char *name);

void tempdir_write(const char *dir, const char *name, const char *text);

#endif
