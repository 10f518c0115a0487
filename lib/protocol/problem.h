/*
 * Reading refusals: application/problem+json (RFC 9457) with the member "code" that seedpod's
 * servers add. Only the server writes them. Pure; any thread.
 */
#ifndef LIB_PROTOCOL_PROBLEM_H_
#define LIB_PROTOCOL_PROBLEM_H_

#include "lib/base/buf.h"

#define PROBLEM_TEXT_MAX 400

/* The text of a refusal's body, on one line: its "detail" or "title", else the beginning of the
 * text as it is, else "no reason given". */
void problem_text(const struct buf *body, char out[PROBLEM_TEXT_MAX]);

/* The SP_E… code that the body names in "code", or `otherwise`. */
int problem_code(const struct buf *body, int otherwise);

#endif
