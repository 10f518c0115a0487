#include "server/store/boot_id.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define UNKNOWN      "unknown"

void
boot_id_get(char out[BOOT_ID_SIZE])
{
	struct buf text;

	buf_init(&text, BOOT_ID_SIZE - 1);
	if (file_read_all(BOOT_ID_FILE, &text, NULL) < 0 || strcspn(text.data, "\n") == 0)
		snprintf(out, BOOT_ID_SIZE, UNKNOWN);
	else
		snprintf(out, BOOT_ID_SIZE, "%.*s", (int)strcspn(text.data, "\n"), text.data);
	buf_release(&text);
}

bool
boot_id_is_present(const char *noted)
{
	char present[BOOT_ID_SIZE];

	boot_id_get(present);
	return strcmp(present, UNKNOWN) != 0 && strcmp(present, noted) == 0;
}
