/* A server that leads, for the target that asks its handlers through tests/fuzz/listener.h. */
#ifndef TESTS_FUZZ_SERVER_H_
#define TESTS_FUZZ_SERVER_H_

/* Once, before the first input. */
void fuzz_server_new(void);

/* Before each input: with nothing of those before. After it: its store is whole. */
void fuzz_server_begin(void);
void fuzz_server_end(void);

#endif
