/* Looking at a store that no server has open: `seedpod-server --position` and `--verify`. If one
 * has, they end with 75 (try again) and say so. */
#ifndef SERVER_OFFLINE_H_
#define SERVER_OFFLINE_H_

/* Print the position of the store in `dir` as JSON. The exit code: 0, 65 if it is not a store or a
 * damaged one, or what sp_code_exit() says. */
int offline_position(const char *dir);

/* Read every record of the store in `dir`, check it against its hash, the indexes and the digest; print the outcome. */
int offline_verify(const char *dir);

#endif
