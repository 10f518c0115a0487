/*
 * Run a command and say what it took.
 *
 *	measure DESCRIPTOR COMMAND [ARGUMENT…]
 *
 * Prints a line of JSON on that descriptor: wall, user and system seconds, peak memory in KiB, exit code. A program of
 * its own because a process started from a large one (Python) inherits that one's peak.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double
seconds_since(const struct timespec *began)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

static double
seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

int
main(int argc, char **argv)
{
	struct timespec began;
	struct rusage use;
	int status;
	pid_t child;

	if (argc < 3)
		return 64;
	clock_gettime(CLOCK_MONOTONIC, &began);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[2], argv + 2);
		fprintf(stderr, "measure: %s: %s\n", argv[2], strerror(errno));
		_exit(127);
	}
	if (child < 0 || wait4(child, &status, 0, &use) < 0) {
		perror("measure");
		return 71;
	}
	dprintf((int)strtol(argv[1], NULL, 10),
	    "{\"wall\":%.6f,\"user\":%.3f,\"system\":%.3f,\"peak_kib\":%ld,\"exit\":%d}\n", seconds_since(&began),
	    seconds(&use.ru_utime), seconds(&use.ru_stime), use.ru_maxrss,
	    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return 0;
}
