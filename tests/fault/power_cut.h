/*
 * Power cuts, simulated: what this process writes below a directory is recorded, with each sync, and an image is made
 *of what the disk may hold if the machine goes down at some moment. All that a sync had covered by then is in it; of
 *the rest any sectors are, as chance has it.
 *
 *	power_record(dir);		// all there is on disk
 *	… write …			// power_moment() in between
 *	power_stop();
 *	power_image(moment, seed, to);	// `to` becomes such a directory
 *
 * In place of the C library's write(), writev(), pwrite(), fsync() and fdatasync(), also for LMDB. Files may be made
 *and written; one that is renamed or removed meanwhile ends the test.
 */
#ifndef TESTS_FAULT_POWER_CUT_H_
#define TESTS_FAULT_POWER_CUT_H_

#include <stddef.h>
#include <stdint.h>

void power_record(const char *dir);
void power_stop(void);
void power_release(void);

/* The present moment: it grows with each write and sync. Any thread. */
size_t power_moment(void);

void power_image(size_t moment, uint64_t seed, const char *to);

/* The moment at which the last sync of this file (of a path below the directory) began that was done before `moment`:
 * all that was written by then is on disk. 0: there was none. */
size_t power_synced(const char *name, size_t moment);

#endif
