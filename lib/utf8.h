/* UTF-8 (RFC 3629) in texts that end in NUL. Pure; any thread. */
#ifndef LIB_UTF8_H_
#define LIB_UTF8_H_

#include <stddef.h>

/* The bytes of the character at `text`, 1 at the end's NUL; 0 where there is none. */
size_t utf8_length(const char *text);

/* Put a «?» in place of each byte that belongs to no character. */
void utf8_repair(char *text);

#endif
