#include "server/store/sigbus.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/log.h"

#define PATH_BYTES 4096

static const int signals[] = { SIGBUS, SIGSEGV };
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

static struct sigaction former[SIGNALS];
static char mark_path[PATH_BYTES];

/* Only calls that may be made in a signal handler. */
static void
stumbled(int number)
{
	static const char why[] = "reading the store ended the server\n";
#define STORY                                                                                                          \
	"the store's memory cannot be read: its disk fails, its file is damaged, or this is a fault of the program; "  \
	"the next start verifies the store"
	/* Without a time: writing one is not allowed in a signal handler. */
	static const char logfmt[] = "level=error program=seedpod-server msg=\"" STORY "\"\n";
	static const char json[] = "{\"level\":\"error\",\"program\":\"seedpod-server\",\"msg\":\"" STORY "\"}\n";
#undef STORY
	bool is_json = log_format_in_force() == LOG_JSON;
	int fd = open(mark_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd >= 0) {
		(void)!write(fd, why, sizeof(why) - 1);
		(void)!fsync(fd);
		close(fd);
	}
	(void)!write(STDERR_FILENO, is_json ? json : logfmt, (is_json ? sizeof(json) : sizeof(logfmt)) - 1);
	/* The instruction is retried, and ends the process as if we had not been here. */
	for (size_t i = 0; i < SIGNALS; i++)
		if (signals[i] == number)
			sigaction(number, &former[i], NULL);
}

void
sigbus_watch(const char *mark)
{
	struct sigaction ours = { .sa_handler = stumbled }, now;

	snprintf(mark_path, sizeof(mark_path), "%s", mark);
	for (size_t i = 0; i < SIGNALS; i++) {
		sigaction(signals[i], NULL, &now);
		if (now.sa_handler == stumbled)
			continue;
		former[i] = now;
		sigaction(signals[i], &ours, NULL);
	}
}
