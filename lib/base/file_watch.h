/*
 * Files that are read together and checked again and again: whether to read them, and the result.
 *
 *	file_watch_add(&w, path);		// each, once; file_watch_release() at the end
 *	if (!file_watch_due(&w)) return;	// now and then
 *	file_watch_begin(&w);
 *	… read and check them; what was read counts only if file_watch_moved(&w) < 0 …
 *	w.again = failed;
 *	if (file_watch_refused(&w, &status, why)) … log it …
 *
 * The caller guards the status; the watch itself belongs to the thread that looks.
 */
#ifndef LIB_BASE_FILE_WATCH_H_
#define LIB_BASE_FILE_WATCH_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"
#include "lib/base/file_stamp.h"

#define FILE_WATCH_MAX 4

/* All zeros: no files. */
struct file_watch {
	size_t count;
	char *paths[FILE_WATCH_MAX];
	struct file_stamp seen[FILE_WATCH_MAX];
	bool changed; /* the last look found other files than those seen before */
	bool again;   /* what was seen could not be taken, perhaps for now alone: it is tried at each look */
};

struct file_watch_status {
	bool success;                  /* the files' newest content is in use */
	uint64_t failures;             /* new content that was refused */
	char error[SP_ERROR_TEXT_MAX]; /* why it is not; "" if it is */
};

/* The path is copied; "" is a file that is never there. SP_ENOMEM. */
int file_watch_add(struct file_watch *w, const char *path, struct sp_error *err);
void file_watch_release(struct file_watch *w);

/* Look at the files: whether they are to be read. */
bool file_watch_due(struct file_watch *w);

/* Note what is there, before it is read. */
void file_watch_begin(struct file_watch *w);

/* The first file that is not what file_watch_begin() noted, by its number in the order of adding; -1: none. */
int file_watch_moved(const struct file_watch *w);

/* Note a refusal, and count it where the files are new or the reason is. Whether to report it: not
 * if the same was reported before. */
bool file_watch_refused(const struct file_watch *w, struct file_watch_status *status, const char *why);

/* Their newest content is in use. */
void file_watch_taken(struct file_watch_status *status);

#endif
