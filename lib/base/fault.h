/*
 * Named points at which a test kills the program: `make faults` builds programs that have them
 * (BUILD/faults); in all others the macro is empty.
 *
 *	FAULT_POINT("init.committed");
 *
 * In such a build the environment's FAULT_AT=NAME, or NAME:N for the N-th time that it is passed,
 * ends the process there with SIGKILL: no handler, no destructor, no buffer is written. FAULT_MARK
 * names a file that is made right before; if it exists already, nothing is killed, so that a
 * restarted program continues. FAULT_WHEN names a file without which no point counts: a test makes
 * it when the program has got as far as it should. The names are the steps themselves, in their
 * order; tests/fault/test_crash_matrix.py has a row for each. Any thread.
 */
#ifndef LIB_BASE_FAULT_H_
#define LIB_BASE_FAULT_H_

#ifdef SEEDPOD_FAULT_POINTS
void fault_point(const char *name);
#define FAULT_POINT(name) fault_point(name)
#else
#define FAULT_POINT(name) ((void)0)
#endif

#endif
