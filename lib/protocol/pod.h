/* A pod's identity: StatefulSet names `<set>-<ordinal>` and the templates that contain them. Pure;
 * any thread. */
#ifndef LIB_PROTOCOL_POD_H_
#define LIB_PROTOCOL_POD_H_

#include <stddef.h>

#include "lib/base/error.h"

#define POD_NAME_MAX 254 /* bytes, with NUL: the longest DNS name */

struct pod {
	char name[POD_NAME_MAX];
	char set[POD_NAME_MAX];
	char service[POD_NAME_MAX];
	char name_space[POD_NAME_MAX]; /* "namespace" is a word of C++ */
	unsigned ordinal;
};

/* Split "mystore-0" at its last dash. SP_ECONF if there is no ordinal, or one above 9999. Fills name, set and
 * ordinal; leaves the rest. */
int pod_parse_name(const char *name, struct pod *out, struct sp_error *err);

/*
 * Fill {set} {ordinal} {name} {service} {namespace} in `tmpl`, as they are for the pod of the same set with number
 * `ordinal`. An unknown {word}, one that is still empty in `pod` (set and service, say, while they are themselves being
 * worked out) or an unclosed brace is SP_ECONF and is named; a result that does not fit is SP_ETOOBIG.
 */
int pod_expand(const char *tmpl, const struct pod *pod, unsigned ordinal, char *out, size_t size, struct sp_error *err);

#endif
