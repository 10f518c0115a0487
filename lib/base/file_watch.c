#include "lib/base/file_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
file_watch_add(struct file_watch *w, const char *path, struct sp_error *err)
{
	if ((w->paths[w->count] = strdup(path)) == NULL)
		return sp_error_set(err, SP_ENOMEM, "watch %s: out of memory", path);
	w->count++;
	return 0;
}

void
file_watch_release(struct file_watch *w)
{
	while (w->count > 0)
		free(w->paths[--w->count]);
}

void
file_watch_begin(struct file_watch *w)
{
	for (size_t i = 0; i < w->count; i++)
		w->seen[i] = file_stamp_take(w->paths[i]);
}

int
file_watch_moved(const struct file_watch *w)
{
	struct file_stamp now;

	for (size_t i = 0; i < w->count; i++) {
		now = file_stamp_take(w->paths[i]);
		if (!file_stamp_equal(&now, &w->seen[i]))
			return (int)i;
	}
	return -1;
}

bool
file_watch_due(struct file_watch *w)
{
	w->changed = file_watch_moved(w) >= 0;
	return w->changed || w->again;
}

bool
file_watch_refused(const struct file_watch *w, struct file_watch_status *status, const char *why)
{
	bool told = !status->success && strcmp(status->error, why) == 0;

	status->success = false;
	status->failures += w->changed || !told;
	snprintf(status->error, sizeof(status->error), "%s", why);
	return !told;
}

void
file_watch_taken(struct file_watch_status *status)
{
	status->success = true;
	status->error[0] = '\0';
}
