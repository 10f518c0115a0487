#include "tests/lib/tar_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char zeros[1024];

static void
add(struct buf *out, const void *data, size_t len)
{
	if (buf_add(out, data, len) < 0)
		abort();
}

void
tar_maker_header(struct buf *out, char type, const char *name, const char *link, size_t size)
{
	char block[512] = { 0 };
	unsigned sum = 0;

	memcpy(block, name, strnlen(name, 100));
	snprintf(block + 100, 8, "%07o", 0600u);
	snprintf(block + 108, 8, "%07o", 0u);
	snprintf(block + 116, 8, "%07o", 0u);
	snprintf(block + 124, 12, "%011zo", size);
	snprintf(block + 136, 12, "%011o", 0u);
	memset(block + 148, ' ', 8);
	block[156] = type;
	memcpy(block + 157, link, strnlen(link, 100));
	memcpy(block + 257,
	    "ustar\0"
	    "00",
	    8);
	for (size_t i = 0; i < sizeof(block); i++)
		sum += (unsigned char)block[i];
	snprintf(block + 148, 8, "%06o", sum);
	add(out, block, sizeof(block));
}

void
tar_maker_add(struct buf *out, char type, const char *name, const char *link, const void *data, size_t len)
{
	tar_maker_header(out, type, name, link, len);
	add(out, data, len);
	add(out, zeros, (512 - len % 512) % 512);
}

void
tar_maker_end(struct buf *out)
{
	add(out, zeros, sizeof(zeros));
}
