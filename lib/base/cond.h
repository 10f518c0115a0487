/* Conditions that are waited for until a time of clock_mono_ms(). They are destroyed as any other. Any thread. */
#ifndef LIB_BASE_COND_H_
#define LIB_BASE_COND_H_

#include <pthread.h>
#include <stdint.h>

/* 0, or an errno. */
int cond_init(pthread_cond_t *c);

/* As pthread_cond_wait(), to until_ms at most: 0, or ETIMEDOUT. */
int cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, int64_t until_ms);

#endif
