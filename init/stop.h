/*
 * Being asked to stop (SIGTERM, SIGINT): one flag for the process, waits that end early, and the
 * HTTP call under way canceled. A finished step stays; the next run cleans up a half-done one.
 *
 *	stop_setup(&err);		// before any other thread: the signals are blocked from here on
 *	while (!stop_wait_ms(1000)) …	// any thread
 *	stop_teardown();
 */
#ifndef INIT_STOP_H_
#define INIT_STOP_H_

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/error.h"
#include "lib/net/http_client.h"

int stop_setup(struct sp_error *err);
void stop_teardown(void);

/* As a signal does. */
void stop_request(void);

bool stop_requested(void);

/* Wait so long, or until asked to stop: whether that is so. */
bool stop_wait_ms(int64_t ms);

/* The client whose call is canceled on a request to stop; NULL: none any more. It must outlive its being watched. */
void stop_watch(struct http_client *c);

#endif
