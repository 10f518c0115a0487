#include "lib/base/resident.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

/* Only segments that nothing writes to: there, the file holds all that memory does. Whole pages of them. */
static int
drop_segments(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)arg;
	if (info->dlpi_addr == getauxval(AT_SYSINFO_EHDR))
		return 0; /* the kernel's own code, which is no file */
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + p->p_vaddr, to = from + p->p_memsz;

		if (p->p_type != PT_LOAD || (p->p_flags & PF_W) != 0)
			continue;
		from = (from + page - 1) / page * page;
		to = to / page * page;
		if (to > from)
			(void)madvise((void *)from, to - from, MADV_DONTNEED); /* a hint: nothing depends on it */
	}
	return 0;
}

void
resident_save(void)
{
	/* A fixed threshold: otherwise it grows with the first large block that is freed. */
	mallopt(M_MMAP_THRESHOLD, 256 << 10);
	mallopt(M_TRIM_THRESHOLD, 256 << 10);
	mallopt(M_ARENA_MAX, 2);
}

void
resident_trim(void)
{
	malloc_trim(0);
	dl_iterate_phdr(drop_segments, NULL);
}
