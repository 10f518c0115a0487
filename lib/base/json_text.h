/* JSON as text: jansson's json_dumps() with nothing left out if memory runs out. */
#ifndef LIB_BASE_JSON_TEXT_H_
#define LIB_BASE_JSON_TEXT_H_

#include <stddef.h>

#include <jansson.h>

/*
 * `root` as text with jansson's `flags`; the caller frees it. NULL if root is NULL or memory does
 * not suffice. jansson's own grows its buffer as it writes and continues if an object's key did not
 * fit, so that the key is missing; here the buffer is as large as it must be before anything is
 * written.
 */
char *text_of_json(const json_t *root, size_t flags);

#endif
