#include "lib/base/json_text.h"

#include <stdlib.h>

char *
text_of_json(const json_t *root, size_t flags)
{
	size_t len = root != NULL ? json_dumpb(root, NULL, 0, flags) : 0;
	char *text = len > 0 ? malloc(len + 1) : NULL;

	/* Walking the tree takes memory too, for which it may return less. */
	if (text != NULL && json_dumpb(root, text, len, flags) != len) {
		free(text);
		return NULL;
	}
	if (text != NULL)
		text[len] = '\0';
	return text;
}
