#include "lib/base/memory.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/number.h"

#define PROC_BYTES_MAX (1u << 20)
#define PATH_BYTES     4096
#define NO_LIMIT       ((uint64_t)1 << 60) /* what v1 says instead of "max" is above it */

/* Where a hierarchy is mounted, and which of its cgroups stands there. */
struct mount {
	char root[PATH_BYTES], point[PATH_BYTES];
};

/* The whole file, or "". */
static void
read_text(const char *root, const char *path, struct buf *out)
{
	char full[PATH_BYTES];

	if (snprintf(full, sizeof(full), "%s%s", root, path) < (int)sizeof(full))
		file_read_all(full, out, NULL);
}

/* Cut the next line, or the next word of a line, off the front. */
static char *
next(char **at, const char *separator)
{
	char *piece = strsep(at, separator);

	return piece != NULL ? piece : "";
}

/* Whether a line of mountinfo (proc(5)) is the hierarchy that limits memory. */
static bool
parse_mount(char *line, bool v2, struct mount *out)
{
	char *type = strstr(line, " - "), *root, *point;

	if (type == NULL)
		return false;
	*type = '\0';
	type += 3;
	for (int i = 0; i < 3; i++)
		next(&line, " ");
	root = next(&line, " ");
	point = next(&line, " ");
	snprintf(out->root, sizeof(out->root), "%s", strcmp(root, "/") == 0 ? "" : root);
	snprintf(out->point, sizeof(out->point), "%s", point);
	if (v2)
		return strncmp(type, "cgroup2 ", 8) == 0;
	if (strncmp(type, "cgroup ", 7) != 0)
		return false;
	next(&type, " ");
	next(&type, " "); /* the source: what is left are the options */
	for (char *option = next(&type, ","); option[0] != '\0'; option = next(&type, ","))
		if (strcmp(option, "memory") == 0)
			return true;
	return false;
}

static bool
find_mount(char *mounts, bool v2, struct mount *out)
{
	char *line;

	while ((line = strsep(&mounts, "\n")) != NULL)
		if (parse_mount(line, v2, out))
			return true;
	return false;
}

/* The process's path in that hierarchy, of lines "ID:CONTROLLERS:PATH". */
static bool
find_own(char *cgroups, bool v2, char *out, size_t size)
{
	char *line, *controllers, *controller;

	while ((line = strsep(&cgroups, "\n")) != NULL) {
		bool is_v2 = strncmp(line, "0::", 3) == 0, is_memory = false;

		next(&line, ":");
		controllers = next(&line, ":");
		while (!v2 && (controller = strsep(&controllers, ",")) != NULL)
			is_memory = is_memory || strcmp(controller, "memory") == 0;
		if (line != NULL && (v2 ? is_v2 : is_memory))
			return snprintf(out, size, "%s", strcmp(line, "/") == 0 ? "" : line) < (int)size;
	}
	return false;
}

static void
read_limit(const char *root, const char *folder, bool v2, struct memory_limit *least)
{
	char path[PATH_BYTES];
	struct buf text;
	uint64_t bytes;

	if (snprintf(path, sizeof(path), "%s/%s", folder, v2 ? "memory.max" : "memory.limit_in_bytes") >=
	    (int)sizeof(path))
		return;
	buf_init(&text, 64);
	read_text(root, path, &text);
	if (text.len > 0 && number_from_bytes(text.data, strcspn(text.data, "\n"), NO_LIMIT, &bytes) &&
	    bytes < least->bytes) {
		least->bytes = bytes;
		snprintf(least->source, sizeof(least->source), "%.511s", path);
	}
	buf_release(&text);
}

/* The process's own cgroup and each above it, up to the one at the mount point. */
static void
read_hierarchy(const char *root, bool v2, struct memory_limit *least)
{
	char own[PATH_BYTES], folder[2 * PATH_BYTES], *below;
	struct buf mounts, cgroups;
	struct mount m;
	size_t len;

	buf_init(&mounts, PROC_BYTES_MAX);
	buf_init(&cgroups, PROC_BYTES_MAX);
	read_text(root, "/proc/self/mountinfo", &mounts);
	read_text(root, "/proc/self/cgroup", &cgroups);
	if (mounts.len == 0 || !find_mount(mounts.data, v2, &m))
		goto out;
	len = strlen(m.root);
	/* In a container the path may be the host's, which cannot be seen: the mount point is then its own cgroup. */
	if (cgroups.len == 0 || !find_own(cgroups.data, v2, own, sizeof(own)) || strncmp(own, m.root, len) != 0 ||
	    (own[len] != '/' && own[len] != '\0') || strstr(own, "/..") != NULL)
		snprintf(own, sizeof(own), "%s", m.root);
	snprintf(folder, sizeof(folder), "%s%s", m.point, own + len);
	below = folder + strlen(m.point);
	for (;;) {
		char *slash = strrchr(below, '/');

		read_limit(root, folder, v2, least);
		if (slash == NULL)
			break;
		*slash = '\0';
	}
out:
	buf_release(&mounts);
	buf_release(&cgroups);
}

void
memory_limit_read(const char *root, struct memory_limit *out)
{
	*out = (struct memory_limit){ .bytes = MEMORY_UNLIMITED };
	read_hierarchy(root, true, out);
	read_hierarchy(root, false, out);
}

static size_t
least(uint64_t a, uint64_t b)
{
	return (size_t)(a < b ? a : b);
}

void
memory_budgets_of(uint64_t limit, struct memory_budgets *out)
{
	uint64_t share = limit / 8;

	*out = (struct memory_budgets){
		.bodies = least(share, 256u << 20),
		.answers = least(share, 256u << 20),
		.largest = limit == MEMORY_UNLIMITED ? SIZE_MAX : (size_t)(share * 3),
		.memtable = least(share, 32u << 20),
		.flush = least(share, 64u << 20),
		.raft_log = least(share, 64u << 20),
	};
}

void
memory_save_heap(void)
{
	/* A fixed threshold: otherwise it grows with the first large block that is freed. */
	mallopt(M_MMAP_THRESHOLD, 256 << 10);
	mallopt(M_TRIM_THRESHOLD, 256 << 10);
	mallopt(M_ARENA_MAX, 2);
}
