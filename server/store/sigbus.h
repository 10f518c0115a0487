/*
 * When reading the store ends the process: LMDB reads its file through memory, so a page that the disk cannot give back
 * is SIGBUS, and a damaged one may send it outside of the map, which is SIGSEGV. Neither can be answered for. What can
 * be done is to say so, and to leave a mark in the data directory by which the next start verifies the store
 * before it serves, so that damage ends there with a name instead of here again.
 */
#ifndef SERVER_STORE_SIGBUS_H_
#define SERVER_STORE_SIGBUS_H_

#define STUMBLE_MARK "in_doubt" /* its name */

/* From now on these two signals leave the file `mark` and a line in the log; then they end the process as they would
 * have. The path is copied. Call again for another path; any thread. */
void sigbus_watch(const char *mark);

#endif
