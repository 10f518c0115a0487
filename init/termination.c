#include "init/termination.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/base/file.h"
#include "lib/base/json_text.h"
#include "lib/base/log.h"

char *
termination_line(const struct seed_report *report, const struct sp_error *err, int exit_code)
{
	json_t *json = json_pack("{ss+ ss sI ss ss ss si}", "phase", report->phase != NULL ? report->phase : "facts",
	    "", "donor", report->donor, "bytes", (json_int_t)report->bytes, "expected", report->expected, "found",
	    report->found, "error", err->text, "exit_code", exit_code);
	char *line = text_of_json(json, JSON_COMPACT | JSON_ENSURE_ASCII);

	json_decref(json);
	return line;
}

static bool
has_folder(const char *path)
{
	char folder[VOLUME_PATH_MAX];
	char *slash;

	if ((size_t)snprintf(folder, sizeof(folder), "%s", path) >= sizeof(folder))
		return false;
	if ((slash = strrchr(folder, '/')) == NULL)
		return true;
	slash[slash == folder] = '\0';
	return file_exists(folder);
}

void
termination_write(const char *path, const char *line)
{
	struct sp_error failure = { 0 };
	int fd;

	if (path[0] == '\0' || !has_folder(path))
		return;
	if ((fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644)) < 0) {
		log_warn("no termination message", LOG_STR("path", path), LOG_STR("error", strerror(errno)));
	} else {
		if (file_write_full(fd, line, strlen(line), &failure) < 0 || file_write_full(fd, "\n", 1, &failure) < 0)
			log_warn("no termination message", LOG_STR("path", path), LOG_STR("error", failure.text));
		close(fd);
	}
}
