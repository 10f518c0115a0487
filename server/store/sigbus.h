/*
 * When reading the store ends the process: LMDB reads its file through memory, so a page that the
 * disk cannot give back is SIGBUS, and a damaged one may send it outside of the map, which is
 * SIGSEGV. Neither can be recovered from. The handler says so, and leaves a mark in the data
 * directory: the next start then verifies the store before it serves, and reports the damage by
 * name instead of ending here again.
 */
#ifndef SERVER_STORE_SIGBUS_H_
#define SERVER_STORE_SIGBUS_H_

#define STUMBLE_MARK "in_doubt" /* its name */

/* From now on these two signals leave the file `mark` and a line in the log; then they end the process as they would
 * have. The path is copied. Call again for another path; any thread. */
void sigbus_watch(const char *mark);

#endif
