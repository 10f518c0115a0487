/* The walk of store_verify() with a say in its steps, for its tests. */
#ifndef SERVER_STORE_VERIFY_H_
#define SERVER_STORE_VERIFY_H_

#include "server/store.h"

/* store_verify_at() with a say in its steps: after `records` of them, with nothing locked, `between` is called. */
struct verify_steps {
	unsigned records;
	void (*between)(void *arg);
	void *arg;
};
int store_verify_in_steps(
    struct store *s, const struct verify_steps *steps, struct digest *found, struct position *at, struct sp_error *err);

#endif
