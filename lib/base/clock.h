/* Time: a monotonic clock for durations and deadlines, the wall clock only for showing. Any thread. */
#ifndef LIB_BASE_CLOCK_H_
#define LIB_BASE_CLOCK_H_

#include <stddef.h>
#include <stdint.h>

/* Milliseconds and nanoseconds of a clock that never jumps (CLOCK_MONOTONIC). */
int64_t clock_mono_ms(void);
int64_t clock_mono_ns(void);

/* Milliseconds since 1970 UTC. It may jump: never compute a timeout or a lag from it. */
int64_t clock_wall_ms(void);

/* A byte more than "2026-11-20T11:02:03.123Z". */
#define CLOCK_RFC3339_SIZE 25

/* Write `wall_ms` as RFC 3339 in UTC with milliseconds into out[size]; size >= CLOCK_RFC3339_SIZE. */
void clock_format(int64_t wall_ms, char *out, size_t size);

/* Sleep for `ms` milliseconds, or less when a signal arrives. */
void clock_sleep_ms(int64_t ms);

#endif
