#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/memory.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

static char dir[TEMPDIR_MAX];

/* A file below the folder, with its folders. */
static void
put(const char *path, const char *text)
{
	char folder[TEMPDIR_MAX];
	struct sp_error err;

	snprintf(folder, sizeof(folder), "%s", tempdir_path(dir, path));
	*strrchr(folder, '/') = '\0';
	ck_assert_msg(file_make_dirs(folder, &err) == 0, "%s", err.text);
	tempdir_write(dir, path, text);
}

static void
expect(uint64_t bytes, const char *source)
{
	struct memory_limit limit;

	memory_limit_read(dir, &limit);
	ck_assert_msg(limit.bytes == bytes, "%llu of %s", (unsigned long long)limit.bytes, limit.source);
	ck_assert_str_eq(limit.source, source);
}

#define V2_MOUNT "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT                                                                                                       \
	"34 31 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"                                                  \
	"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"

START_TEST(memory_limit_read__v2_takes_the_least_of_itself_and_what_is_above)
{
	put("proc/self/mountinfo", "23 28 0:21 / /proc rw - proc proc rw\n" V2_MOUNT);
	put("proc/self/cgroup", "0::/kubepods/pod1/server\n");
	put("sys/fs/cgroup/kubepods/memory.max", "1000000\n");
	put("sys/fs/cgroup/kubepods/pod1/memory.max", "33554432\n");
	put("sys/fs/cgroup/kubepods/pod1/server/memory.max", "max\n");
	put("sys/fs/cgroup/kubepods/pod1/other/memory.max", "1\n");
	expect(1000000, "/sys/fs/cgroup/kubepods/memory.max");
	put("sys/fs/cgroup/kubepods/memory.max", "max\n");
	expect(33554432, "/sys/fs/cgroup/kubepods/pod1/memory.max");
	put("sys/fs/cgroup/kubepods/pod1/server/memory.max", "16777216\n");
	expect(16777216, "/sys/fs/cgroup/kubepods/pod1/server/memory.max");
}
END_TEST

/* A cgroup namespace, as Kubernetes gives to containers: the mount point is the container's own. */
START_TEST(memory_limit_read__v2_in_a_namespace)
{
	put("proc/self/mountinfo", V2_MOUNT);
	put("proc/self/cgroup", "0::/\n");
	put("sys/fs/cgroup/memory.max", "134217728\n");
	expect(134217728, "/sys/fs/cgroup/memory.max");
	/* The path of a process that was moved out of the namespace's root cannot be seen. */
	put("proc/self/cgroup", "0::/../other\n");
	expect(134217728, "/sys/fs/cgroup/memory.max");
}
END_TEST

START_TEST(memory_limit_read__v1_takes_the_least_of_itself_and_what_is_above)
{
	put("proc/self/mountinfo", V1_MOUNT);
	put("proc/self/cgroup", "5:cpu:/x\n4:hugetlb,memory:/pods/a\n0::/\n");
	put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("sys/fs/cgroup/memory/pods/memory.limit_in_bytes", "67108864\n");
	put("sys/fs/cgroup/memory/pods/a/memory.limit_in_bytes", "9223372036854771712\n");
	expect(67108864, "/sys/fs/cgroup/memory/pods/memory.limit_in_bytes");
	put("sys/fs/cgroup/memory/pods/a/memory.limit_in_bytes", "33554432\n");
	expect(33554432, "/sys/fs/cgroup/memory/pods/a/memory.limit_in_bytes");
}
END_TEST

/* Without a namespace a container sees the host's path, and its own cgroup at the mount point. */
START_TEST(memory_limit_read__v1_mounted_from_its_own_cgroup)
{
	put("proc/self/mountinfo", "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
	put("proc/self/cgroup", "4:memory:/docker/abc\n");
	put("sys/fs/cgroup/memory/memory.limit_in_bytes", "33554432\n");
	expect(33554432, "/sys/fs/cgroup/memory/memory.limit_in_bytes");
	put("proc/self/cgroup", "4:memory:/docker/abcdef\n");
	expect(33554432, "/sys/fs/cgroup/memory/memory.limit_in_bytes");
	put("proc/self/cgroup", "4:memory:/docker/abc/inner\n");
	put("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "1048576\n");
	expect(1048576, "/sys/fs/cgroup/memory/inner/memory.limit_in_bytes");
}
END_TEST

/* Both are mounted, and v1 has the memory. */
START_TEST(memory_limit_read__hybrid)
{
	put("proc/self/mountinfo", V1_MOUNT "44 31 0:41 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
	put("proc/self/cgroup", "4:memory:/a\n0::/b\n");
	put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "33554432\n");
	expect(33554432, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes");
}
END_TEST

START_TEST(memory_limit_read__none)
{
	expect(MEMORY_UNLIMITED, "");
	put("proc/self/mountinfo", "nonsense\n - \n" V2_MOUNT);
	put("proc/self/cgroup", "nonsense\n:::\n");
	expect(MEMORY_UNLIMITED, "");
	put("proc/self/cgroup", "0::/a\n");
	expect(MEMORY_UNLIMITED, "");
	put("sys/fs/cgroup/a/memory.max", "max\n");
	expect(MEMORY_UNLIMITED, "");
	put("sys/fs/cgroup/a/memory.max", "-1\n");
	expect(MEMORY_UNLIMITED, "");
}
END_TEST

START_TEST(memory_budgets_of__never_above_the_defaults_and_together_below_the_limit)
{
	struct memory_budgets b;

	memory_budgets_of(MEMORY_UNLIMITED, &b);
	ck_assert_uint_eq(b.bodies, 256u << 20);
	ck_assert_uint_eq(b.answers, 256u << 20);
	ck_assert_uint_eq(b.memtable, 32u << 20);
	ck_assert_uint_eq(b.flush, 64u << 20);
	ck_assert_uint_eq(b.raft_log, 64u << 20);
	ck_assert(b.largest == SIZE_MAX);
	for (uint64_t limit = 16u << 20; limit <= (uint64_t)64 << 30; limit *= 2) {
		memory_budgets_of(limit, &b);
		/* Of each listener's, one is full at a time; what is left is for the program itself. */
		ck_assert_uint_le(b.bodies + b.answers + b.memtable + b.flush + b.raft_log, limit / 8 * 5);
		ck_assert_uint_le(b.bodies, 256u << 20);
		ck_assert_uint_le(b.memtable, 32u << 20);
		ck_assert_uint_ge(b.largest, b.bodies);
	}
	memory_budgets_of(32u << 20, &b);
	ck_assert_uint_eq(b.bodies, 4u << 20);
	ck_assert_uint_eq(b.largest, 12u << 20);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		memory_limit_read__v2_takes_the_least_of_itself_and_what_is_above,
		memory_limit_read__v2_in_a_namespace,
		memory_limit_read__v1_takes_the_least_of_itself_and_what_is_above,
		memory_limit_read__v1_mounted_from_its_own_cgroup,
		memory_limit_read__hybrid,
		memory_limit_read__none,
		memory_budgets_of__never_above_the_defaults_and_together_below_the_limit,
	};

	return suite_run_in_folder("memory", tests, sizeof(tests) / sizeof(tests[0]), 30, dir);
}
