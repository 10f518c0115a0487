#include "init/failure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "init/volume.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/json_text.h"

#define NAME "init-failure.json"

static bool
record_path(const char *data_dir, char path[VOLUME_PATH_MAX])
{
	return file_exists(data_dir) && file_join(path, VOLUME_PATH_MAX, data_dir, NAME, NULL) == 0;
}

/* What the file holds, as an object; NULL if there is none, or it cannot be read. */
static json_t *
read_record(const char *path)
{
	struct buf text;
	json_t *record = NULL;

	buf_init(&text, FAILURE_BYTES_MAX);
	if (file_exists(path) && file_read_all(path, &text, NULL) == 0)
		record = json_loadb(text.data, text.len, 0, NULL);
	buf_release(&text);
	if (!json_is_object(record)) {
		json_decref(record);
		return NULL;
	}
	return record;
}

static json_t *
new_record(const char *line)
{
	json_t *first = json_loads(line, 0, NULL);
	char now[CLOCK_RFC3339_SIZE];

	clock_format(clock_wall_ms(), now, sizeof(now));
	json_object_set_new(first, "time", json_string(now));
	return json_pack("{so}", "first", first);
}

void
failure_note(const char *data_dir, const char *line)
{
	char path[VOLUME_PATH_MAX];
	json_t *record;
	char *text;

	if (!record_path(data_dir, path))
		return;
	if ((record = read_record(path)) == NULL)
		record = new_record(line);
	json_object_set_new(
	    record, "failures", json_integer(json_integer_value(json_object_get(record, "failures")) + 1));
	if ((text = text_of_json(record, JSON_COMPACT | JSON_ENSURE_ASCII)) != NULL)
		file_write_atomic(path, text, strlen(text), 0600, NULL);
	free(text);
	json_decref(record);
}

void
failure_take(const char *data_dir, struct buf *out)
{
	char path[VOLUME_PATH_MAX];
	json_t *record;
	char *text;

	if (!record_path(data_dir, path) || !file_exists(path))
		return;
	if ((record = read_record(path)) != NULL &&
	    (text = text_of_json(record, JSON_COMPACT | JSON_ENSURE_ASCII)) != NULL) {
		buf_add(out, text, strlen(text));
		free(text);
	}
	json_decref(record);
	unlink(path);
}
