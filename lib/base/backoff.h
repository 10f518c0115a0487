/* Waiting between tries: exponential, with full jitter, so that many followers never come back at once.
 * One thread at a time. */
#ifndef LIB_BASE_BACKOFF_H_
#define LIB_BASE_BACKOFF_H_

#include <stdint.h>

struct backoff {
	int64_t first_ms; /* the longest first wait */
	int64_t most_ms;  /* the longest wait of all */
	unsigned tries;   /* failures since the last success */
	uint64_t state;   /* of the pseudo-random numbers */
};

/* Seeds the jitter from the clock and the process id. */
void backoff_init(struct backoff *b, int64_t first_ms, int64_t most_ms);

/* Count a failure and say how long to wait: uniform in [half, whole] of first_ms * 2^(tries-1), at most most_ms. */
int64_t backoff_next_ms(struct backoff *b);

/* A success: the next failure starts again at first_ms. */
void backoff_reset(struct backoff *b);

#endif
