#include "lib/protocol/store_mark.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"

#define PATH_BYTES     4096
#define MARK_BYTES_MAX 128

bool
store_mark_read(const char *data_dir, char out[STORE_MARK_SIZE])
{
	char path[PATH_BYTES];
	struct buf text;

	out[0] = '\0';
	if (file_join(path, sizeof(path), data_dir, STORE_MARK_NAME, NULL) < 0 || !file_exists(path))
		return false;
	buf_init(&text, MARK_BYTES_MAX);
	if (file_read_all(path, &text, NULL) == 0)
		snprintf(out, STORE_MARK_SIZE, "%.*s", (int)strcspn(text.data, "\n"), text.data);
	buf_release(&text);
	return true;
}

int
store_mark_write(const char *data_dir, const char *cluster, struct sp_error *err)
{
	char path[PATH_BYTES], line[STORE_MARK_SIZE + 1], there[STORE_MARK_SIZE];
	int rc, len;

	if (store_mark_read(data_dir, there) && strcmp(there, cluster) == 0)
		return 0;
	if ((rc = file_join(path, sizeof(path), data_dir, STORE_MARK_NAME, err)) < 0)
		return rc;
	len = snprintf(line, sizeof(line), "%s\n", cluster);
	return file_write_atomic(path, line, (size_t)len, 0600, err);
}

int
store_mark_clear(const char *data_dir, struct sp_error *err)
{
	char path[PATH_BYTES];
	int rc;

	if ((rc = file_join(path, sizeof(path), data_dir, STORE_MARK_NAME, err)) < 0)
		return rc;
	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : sp_error_errno(err, errno, "remove %s", path);
	return file_sync_dir(data_dir, err);
}
