/* Threads with small stacks, and waits that end, for all of the sidecar's loops. */
#ifndef SIDECAR_THREAD_H_
#define SIDECAR_THREAD_H_

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/error.h"

/* Start a thread with a stack of 256 KiB and the name (at most 15 bytes). */
int thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg, struct sp_error *err);

/* Wait until it has ended: true, or false after timeout_ms. */
bool thread_join(pthread_t thread, int64_t timeout_ms);

/* A bell: one thread waits, others ring. A ring without a waiter is kept for the next wait. */
struct bell {
	pthread_mutex_t mutex;
	pthread_cond_t cond; /* on the monotonic clock */
	bool rung;
};

int bell_init(struct bell *b, struct sp_error *err);
void bell_release(struct bell *b);
void bell_ring(struct bell *b);

/* Wait for a ring, or timeout_ms. */
void bell_wait(struct bell *b, int64_t timeout_ms);

#endif
