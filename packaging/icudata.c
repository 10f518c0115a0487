/*
 * An empty libicudata for the image, in place of Debian's with 31 MB of tables (12 MB compressed, half of the image).
 * Nothing here reads them: libarchive links libxml2 for a format that seedpod never opens, libxml2 links ICU for
 *encodings of XML, and ICU links its data. ICU knows data without entries: this is what its own "stubdata" library
 *holds (https://unicode-org.github.io/icu/userguide/icu_data/, "ToCP": a table of pointers).
 *
 *	cc -shared -fPIC -DENTRY=icudt72_dat -Wl,-soname,libicudata.so.72 -o libicudata.so.72 packaging/icudata.c
 */
#include <stdint.h>

struct icu_data {
	uint16_t header_bytes;
	uint8_t magic[2];
	struct {
		uint16_t bytes;
		uint16_t reserved;
		uint8_t is_big_endian;
		uint8_t charset_family; /* ASCII */
		uint8_t uchar_bytes;
		uint8_t reserved_byte;
		uint8_t data_format[4];
		uint8_t format_version[4];
		uint8_t data_version[4];
	} info;
	uint8_t padding[8];
	uint32_t count; /* of entries */
	uint32_t reserved;
};

extern const struct icu_data ENTRY;

_Alignas(16) const struct icu_data ENTRY = {
	.header_bytes = 32,
	.magic = { 0xda, 0x27 },
	.info = { .bytes = 20,
	    .is_big_endian = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__,
	    .uchar_bytes = 2,
	    .data_format = { 'T', 'o', 'C', 'P' },
	    .format_version = { 1 } },
};
