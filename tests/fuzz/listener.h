/* A listener without a network: it stands in for lib/net/listener.h, for the target that asks the server's handlers. */
#ifndef TESTS_FUZZ_LISTENER_H_
#define TESTS_FUZZ_LISTENER_H_

#include "lib/net/listener.h"
#include "tests/fuzz/shared.h"

struct fuzz_answer {
	unsigned status;
	const char *type; /* "" where there is none */
	struct buf body;  /* the caller's to release */
};

/* Ask the listener that was made first, or for a request that begins with "!" the second. `text` ends in NUL and is
 * written to. False where it is no request. */
bool fuzz_listener_ask(char *text, size_t len, struct fuzz_answer *out);

#endif
