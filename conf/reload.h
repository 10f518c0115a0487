/*
 * Live configuration: watch the file, and hand over each good new version.
 *
 * A ConfigMap volume swaps its `..data` symbolic link; an editor replaces the file; both are seen, because the file is
 * looked at by path (device, inode, size, times, every 500 ms) and read again when these differ. A text is parsed
 * and validated whole before anything changes; a bad one is reported and the last good one stays.
 *
 *	struct reload *r = reload_new(path, &conf, on_change, arg, &err);	// its own thread from here on
 *	reload_free(r);
 */
#ifndef CONF_RELOAD_H_
#define CONF_RELOAD_H_

#include "conf/conf.h"

struct reload;

/* The result of the last look, for status pages and metrics. */
struct reload_status {
	bool success;                    /* the newest text is in force */
	int64_t applied_wall_ms;         /* when the one in force came into force */
	char hash[DIGEST_HEX_SIZE];      /* of the text in force */
	char error[SP_ERROR_TEXT_MAX];   /* why the newest text is not in force; "" if it is */
	char restart[SP_ERROR_TEXT_MAX]; /* keys whose new values wait for a restart, one a line; "" for none */
};

/*
 * Called on the watcher's thread with the new effective configuration: what ran before, with the live keys of the new
 * file. Must put it in force before it returns. The log's level and format have been changed already.
 */
typedef void (*reload_change)(const struct conf *now, void *arg);

struct reload *reload_new(
    const char *path, const struct conf *running, reload_change change, void *arg, struct sp_error *err);
void reload_free(struct reload *r);

/* Any thread. */
void reload_status(struct reload *r, struct reload_status *out);

#endif
