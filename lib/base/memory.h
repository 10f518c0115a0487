/*
 * How much memory this process may use, and what it gives to each purpose.
 *
 * In a container the kernel kills a process that uses more than the cgroup's limit. The limit is
 * read once, at start: cgroup v2 (memory.max) and v1 (memory.limit_in_bytes), the process's own
 * cgroup and those above it as far as they can be seen; the lowest counts. Any thread.
 */
#ifndef LIB_BASE_MEMORY_H_
#define LIB_BASE_MEMORY_H_

#include <stddef.h>
#include <stdint.h>

#define MEMORY_UNLIMITED UINT64_MAX

struct memory_limit {
	uint64_t bytes;   /* MEMORY_UNLIMITED if there is none */
	char source[512]; /* the file that says it, or "" */
};

/* `root` stands before /proc and before the mount points that it names: "" but in tests. A limit
 * that cannot be read does not count. */
void memory_limit_read(const char *root, struct memory_limit *out);

/* Bytes, each the default unless an eighth of the limit is less. */
struct memory_budgets {
	size_t bodies;   /* of requests, for each listener */
	size_t answers;  /* likewise */
	size_t largest;  /* one request's body or answer, if it is alone: SIZE_MAX without a limit */
	size_t memtable; /* changes that are not in LMDB yet */
	size_t flush;    /* pages that one transaction of LMDB may change */
	size_t raft_log; /* entries in memory */
};

void memory_budgets_of(uint64_t limit, struct memory_budgets *out);

/*
 * From now on give large blocks back to the system as soon as they are freed, and share few heaps. The C library keeps
 * them by default, which is faster and may double what a program holds. Call it before other threads begin.
 */
void memory_save_heap(void);

#endif
