/* Which start of the machine this is: data that a process left to the kernel outlives the process,
 * but not the machine. */
#ifndef SERVER_STORE_BOOT_ID_H_
#define SERVER_STORE_BOOT_ID_H_

#include <stdbool.h>

#define BOOT_ID_SIZE 40 /* bytes, the zero at the end included */

/* The id that the kernel draws when it starts, or a word that is not an id if it cannot be read.
 * Any thread. */
void boot_id_get(char out[BOOT_ID_SIZE]);

/* Whether this was noted in the present life of the machine. False if that cannot be told. */
bool boot_id_is_present(const char *noted);

#endif
