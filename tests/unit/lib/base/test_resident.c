#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/resident.h"
#include "lib/protocol/digest.h"
#include "tests/lib/suite.h"

/* Resident memory of this process that belongs to files, in KiB. */
static long
resident_of_files_kib(void)
{
	char line[256];
	long kib = -1;
	FILE *f = fopen("/proc/self/status", "r");

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "RssFile:", 8) == 0)
			kib = strtol(line + 8, NULL, 10);
	fclose(f);
	return kib;
}

/* Read a byte of each page of what is mapped from files and never written. */
static int
touch_segments(struct dl_phdr_info *info, size_t size, void *sum)
{
	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD && (p->p_flags & PF_W) == 0)
			for (size_t at = 0; at < p->p_memsz; at += 4096)
				*(volatile unsigned char *)sum ^=
				    *(const volatile unsigned char *)(info->dlpi_addr + p->p_vaddr + at);
	}
	return 0;
}

START_TEST(resident_trim__lets_go_of_pages_of_files)
{
	unsigned char sum = 0;
	long before;

	dl_iterate_phdr(touch_segments, &sum);
	before = resident_of_files_kib();
	resident_trim();
	ck_assert_int_lt(resident_of_files_kib(), before);
}
END_TEST

START_TEST(resident_trim__changes_nothing_that_the_program_sees)
{
	static const char constant[] = "in a read-only segment";
	static char variable[] = "in one that is written";
	struct digest before = digest_of(constant, sizeof(constant)), after;
	char *heap = malloc(1 << 20);
	size_t same = 0;

	ck_assert_ptr_nonnull(heap);
	memset(heap, 'h', 1 << 20);
	variable[0] = 'I';
	for (int i = 0; i < 3; i++)
		resident_trim();
	after = digest_of(constant, sizeof(constant));
	ck_assert(digest_equal(before, after));
	ck_assert_str_eq(variable, "In one that is written");
	while (same < 1 << 20 && heap[same] == 'h')
		same++;
	ck_assert_uint_eq(same, 1 << 20);
	free(heap);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { resident_trim__lets_go_of_pages_of_files,
		resident_trim__changes_nothing_that_the_program_sees };

	return suite_run("resident", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
