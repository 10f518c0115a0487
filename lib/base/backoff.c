#include "lib/base/backoff.h"

#include <unistd.h>

#include "lib/base/clock.h"

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): any seed will do, and jitter
 * needs no better. */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void
backoff_init(struct backoff *b, int64_t first_ms, int64_t most_ms)
{
	b->first_ms = first_ms;
	b->most_ms = most_ms;
	b->tries = 0;
	/* The process id is often 1 in a container, and the address of `b` differs with address space randomization
	 * there: together with the nanoseconds, pods that start at once do not draw the same numbers. */
	b->state = (uint64_t)clock_mono_ns() ^ ((uint64_t)getpid() << 40) ^ (uint64_t)(uintptr_t)b;
}

int64_t
backoff_next_ms(struct backoff *b)
{
	int64_t whole = b->first_ms, half;

	for (unsigned i = 0; i < b->tries && whole < b->most_ms; i++)
		whole = whole > b->most_ms / 2 ? b->most_ms : whole * 2;
	if (whole > b->most_ms)
		whole = b->most_ms;
	if (b->tries < UINT32_MAX)
		b->tries++;
	if (whole <= 0)
		return 0;
	half = whole - whole / 2;
	return half + (int64_t)(next_random(&b->state) % (uint64_t)(whole - half + 1));
}

void
backoff_reset(struct backoff *b)
{
	b->tries = 0;
}
