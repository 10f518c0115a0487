#include "server/store/unsynced.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_MAX  128
#define PATH_BYTES   4096

static int
read_small(const char *path, struct buf *out, struct sp_error *err)
{
	buf_init(out, BOOT_ID_MAX);
	return file_read_all(path, out, err);
}

bool
unsynced_in_doubt(const char *data_dir)
{
	char path[PATH_BYTES];
	struct buf mark, boot;
	bool doubt = false;

	if (file_join(path, sizeof(path), data_dir, UNSYNCED_MARK, NULL) < 0 || !file_exists(path))
		return false;
	/* What cannot be read or compared is in doubt too. */
	doubt = read_small(path, &mark, NULL) < 0;
	doubt |= read_small(BOOT_ID_FILE, &boot, NULL) < 0;
	doubt = doubt || strcmp(mark.data, boot.data) != 0;
	buf_release(&mark);
	buf_release(&boot);
	return doubt;
}

int
unsynced_mark(const char *data_dir, struct sp_error *err)
{
	char path[PATH_BYTES];
	struct buf boot;
	int rc;

	rc = file_join(path, sizeof(path), data_dir, UNSYNCED_MARK, err);
	if (rc < 0)
		return rc;
	rc = read_small(BOOT_ID_FILE, &boot, err);
	if (rc == 0)
		rc = file_write_atomic(path, boot.data, boot.len, 0600, err);
	buf_release(&boot);
	return rc;
}

void
unsynced_mark_failed(const char *data_dir)
{
	static const char no_boot[] = "a sync failed\n";
	char path[PATH_BYTES];

	if (file_join(path, sizeof(path), data_dir, UNSYNCED_MARK, NULL) < 0)
		return;
	/* A mark that says nothing is one of no boot as well. */
	if (file_write_atomic(path, no_boot, strlen(no_boot), 0600, NULL) < 0)
		(void)!truncate(path, 0);
}

int
unsynced_clear(const char *data_dir, struct sp_error *err)
{
	char path[PATH_BYTES];
	int rc;

	rc = file_join(path, sizeof(path), data_dir, UNSYNCED_MARK, err);
	if (rc < 0)
		return rc;
	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : sp_error_errno(err, errno, "remove %s", path);
	return file_sync_dir(data_dir, err);
}
