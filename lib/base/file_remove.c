/* rm -r, apart from the rest of lib/base/file.h because walking a tree safely is a matter of its own. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"

/* Each level of a tree costs a descriptor while it is emptied; no tree of ours has more than three. */
#define DEPTH_MAX 64

static int empty_dir(int fd, dev_t device, const char *shown, unsigned depth, struct sp_error *err);

/* Remove the directory `name` in `parent` with all that it holds. O_NOFOLLOW, because another
 * process may put a link there between stat and open. */
static int
remove_dir(int parent, const char *name, dev_t device, unsigned depth, struct sp_error *err)
{
	int fd, rc;

	if (depth >= DEPTH_MAX)
		return sp_error_set(err, SP_EIO, "remove %s: more than %d directories deep", name, DEPTH_MAX);
	if ((fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return errno == ENOENT ? 0 : sp_error_errno(err, errno, "open directory %s", name);
	rc = empty_dir(fd, device, name, depth + 1, err);
	if (rc == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		rc = sp_error_errno(err, errno, "remove directory %s", name);
	return rc;
}

static int
remove_entry(int parent, const char *name, dev_t device, unsigned depth, struct sp_error *err)
{
	struct stat st;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : sp_error_errno(err, errno, "remove %s", name);
	if (S_ISDIR(st.st_mode) && st.st_dev != device)
		return sp_error_set(err, SP_EIO, "remove %s: another file system is mounted there", name);
	if (S_ISDIR(st.st_mode))
		return remove_dir(parent, name, device, depth, err);
	if (unlinkat(parent, name, 0) < 0 && errno != ENOENT)
		return sp_error_errno(err, errno, "remove %s", name);
	FAULT_POINT("file.removed");
	return 0;
}

/* Remove what the directory `fd` holds, and close it. */
static int
empty_dir(int fd, dev_t device, const char *shown, unsigned depth, struct sp_error *err)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;
	int rc = 0;

	if (dir == NULL) {
		rc = sp_error_errno(err, errno, "read directory %s", shown);
		close(fd);
		return rc;
	}
	while (rc == 0) {
		errno = 0;
		if ((entry = readdir(dir)) == NULL) {
			if (errno != 0)
				rc = sp_error_errno(err, errno, "read directory %s", shown);
			break;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			rc = remove_entry(dirfd(dir), entry->d_name, device, depth, err);
	}
	closedir(dir);
	return rc;
}

int
file_remove_tree(const char *path, struct sp_error *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : sp_error_errno(err, errno, "remove %s", path);
	if (remove_entry(AT_FDCWD, path, st.st_dev, 0, err) < 0)
		return sp_error_wrap(err, "remove %s", path);
	return 0;
}
