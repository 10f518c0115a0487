/* UTF-8 (RFC 3629), in texts that end in NUL unless said otherwise. Pure; any thread. */
#ifndef LIB_BASE_UTF8_H_
#define LIB_BASE_UTF8_H_

#include <stdbool.h>
#include <stddef.h>

/* The bytes of the character at `text`, 1 at the end's NUL; 0 if there is none. */
size_t utf8_length(const char *text);

/* Whether so many bytes, NULs among them, are characters and nothing else. */
bool utf8_is_text(const void *data, size_t len);

/* Put a "?" in place of each byte that belongs to no character. */
void utf8_repair(char *text);

#endif
