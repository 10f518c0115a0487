#include "conf/conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/raw.h"
#include "conf/value.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/base/file_stamp.h"

/* Time stamps of files move in steps of up to 10 ms: a file that is younger may have been written again since, with the
 * same stamp. */
#define SETTLE_MS 20

/* The working memory of conf_parse(), too large for a stack. */
struct workspace {
	struct raw raw;
	struct mistakes mistakes;
	struct conf conf;
};

int
conf_parse(const char *name, const char *text, size_t len, const char *const *environment, struct conf *out,
    struct sp_error *err)
{
	struct workspace *w = calloc(1, sizeof(*w));
	int rc;

	if (w == NULL)
		return sp_error_set(err, SP_ENOMEM, "%s: out of memory", name);
	mistakes_init(&w->mistakes, name);
	rc = raw_read_file(&w->raw, text, len, &w->mistakes, err);
	if (rc == 0) {
		raw_read_environment(&w->raw, environment, &w->mistakes);
		raw_resolve(&w->raw, environment, &w->conf, &w->mistakes);
		rc = mistakes_report(&w->mistakes, err);
		memcpy(out->pod_termination_log, w->conf.pod_termination_log, sizeof(out->pod_termination_log));
	}
	if (rc == 0) {
		digest_to_hex(digest_of(text, len), w->conf.hash);
		*out = w->conf;
	}
	free(w);
	return rc;
}

static int
changed(const char *path, struct sp_error *err)
{
	return sp_error_set(err, SP_EAGAIN, "%s changed while it was read", path);
}

/* Read the file as it was at one moment, or say that there was no such moment. */
static int
read_stable(const char *path, struct buf *text, struct sp_error *err)
{
	struct file_stamp before = file_stamp_take(path), after;
	const struct stat *st = &before.stat;
	int64_t age_ms;
	int rc;

	if (!before.there)
		return sp_error_errno(err, errno, "%s", path);
	if (S_ISDIR(st->st_mode))
		return sp_error_set(err, SP_ECONF, "%s: is a directory; allowed is a file", path);
	if ((rc = file_read_all(path, text, err)) < 0)
		return rc;
	/* Something that is not a file, such as a pipe, can be read once and has no times that mean anything. */
	if (!S_ISREG(st->st_mode))
		return 0;
	age_ms = clock_wall_ms() - (st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000);
	/* An empty file may be one that has just been cut to be written: its size is gone a moment before its time
	 * moves. */
	if (st->st_size == 0 || (age_ms >= 0 && age_ms < SETTLE_MS))
		clock_sleep_ms(SETTLE_MS);
	after = file_stamp_take(path);
	if (!file_stamp_equal(&before, &after) || (off_t)text->len != st->st_size)
		return changed(path, err);
	return 0;
}

int
conf_load(const char *path, struct conf *out, struct sp_error *err)
{
	struct buf text;
	int rc;

	buf_init(&text, CONF_FILE_MAX);
	rc = read_stable(path, &text, err);
	if (rc == 0)
		rc = conf_parse(path, text.data, text.len, (const char *const *)environ, out, err);
	buf_release(&text);
	return rc;
}

int
conf_peer_url(const struct conf *c, unsigned ordinal, char *out, size_t size, struct sp_error *err)
{
	return pod_expand(c->pod_peer_url, &c->pod, ordinal, out, size, err);
}

int
conf_raft_peer(const struct conf *c, unsigned ordinal, char *out, size_t size, struct sp_error *err)
{
	return pod_expand(c->raft_peer, &c->pod, ordinal, out, size, err);
}

bool
conf_is_leader(const struct conf *c)
{
	return c->replication_mode == CONF_MODE_STATIC && c->pod.ordinal == c->replication_leader_ordinal;
}

bool
conf_is_founder(const struct conf *c)
{
	return c->pod.ordinal == c->replication_leader_ordinal;
}

int
conf_store_dir(const struct conf *c, char *out, size_t size, struct sp_error *err)
{
	return file_join(out, size, c->server_data_dir, "store", err);
}

static const char *
free_value(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->driver_key_count; i++)
		if (strcmp(c->driver_keys[i].name, name) == 0)
			return c->driver_keys[i].value;
	return NULL;
}

/* Free keys that are new, gone or changed: they wait for a restart. */
static int
list_free_changes(const struct conf *into, const struct conf *from, struct buf *restart)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < into->driver_key_count; i++) {
		const struct driver_exec_key *key = &into->driver_keys[i];
		const char *after = free_value(from, key->name);

		if (after == NULL || strcmp(after, key->value) != 0)
			rc = buf_printf(restart, "%s" SCHEMA_FREE_SECTION ".%s: %s -> %s", restart->len > 0 ? "\n" : "",
			    key->name, key->value, after != NULL ? after : "(removed)");
	}
	for (size_t i = 0; rc == 0 && i < from->driver_key_count; i++) {
		const struct driver_exec_key *key = &from->driver_keys[i];

		if (free_value(into, key->name) == NULL)
			rc = buf_printf(restart, "%s" SCHEMA_FREE_SECTION ".%s: (none) -> %s",
			    restart->len > 0 ? "\n" : "", key->name, key->value);
	}
	return rc;
}

int
conf_merge_live(struct conf *into, const struct conf *from, struct buf *changes, struct buf *restart)
{
	char before[VALUE_TEXT_MAX], after[VALUE_TEXT_MAX];
	int rc;

	for (size_t i = 0; i < schema_key_count; i++) {
		const struct schema_key *key = &schema_keys[i];
		struct buf *list = key->live ? changes : restart;

		if (value_equal(key, into, from))
			continue;
		rc = buf_printf(list, "%s%s.%s: %s -> %s", list->len > 0 ? "\n" : "", key->section, key->name,
		    value_format(key, into, before), value_format(key, from, after));
		if (rc < 0)
			return rc;
	}
	if ((rc = list_free_changes(into, from, restart)) < 0)
		return rc;
	for (size_t i = 0; i < schema_key_count; i++)
		if (schema_keys[i].live)
			value_copy(&schema_keys[i], into, from);
	memcpy(into->hash, from->hash, sizeof(into->hash));
	return 0;
}
