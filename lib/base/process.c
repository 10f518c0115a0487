#include "lib/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"

extern char **environ;

/* A child under way. */
struct child {
	const char *name;
	pid_t pid;
	int out_fd; /* its standard output's reading end; -1 when it is at its end */
	int err_fd;
	int64_t deadline_ms;
	int64_t timeout_ms;
};

static int
set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	if ((rc = posix_spawnattr_setsigmask(attributes, &none)) != 0 ||
	    (rc = posix_spawnattr_setsigdefault(attributes, &all)) != 0)
		return rc;
	return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

/* Streams that are to be the child's: /dev/null for its input, and these for the rest. */
static int
set_streams(posix_spawn_file_actions_t *actions, int out_fd, int err_fd)
{
	int rc;

	if ((rc = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)) != 0 ||
	    (rc = posix_spawn_file_actions_adddup2(actions, out_fd, STDOUT_FILENO)) != 0)
		return rc;
	return posix_spawn_file_actions_adddup2(actions, err_fd, STDERR_FILENO);
}

int
process_spawn(const char *const *argv, int out_fd, int err_fd, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int rc;

	if ((rc = posix_spawn_file_actions_init(&actions)) != 0)
		return rc;
	if ((rc = posix_spawnattr_init(&attributes)) != 0)
		goto out_actions;
	if ((rc = set_attributes(&attributes)) != 0 ||
	    (out_fd >= 0 && (rc = set_streams(&actions, out_fd, err_fd)) != 0) ||
	    (rc = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1)) != 0)
		goto out;
	/* posix_spawnp() takes char *const[] and changes nothing. */
	rc = posix_spawnp(pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv, environ);
out:
	posix_spawnattr_destroy(&attributes);
out_actions:
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

static int
start(struct child *child, const char *const *argv, struct sp_error *err)
{
	int out_pipe[2], err_pipe[2], rc;

	if (pipe2(out_pipe, O_CLOEXEC) < 0)
		return sp_error_errno(err, errno, "run %s: make a pipe", child->name);
	if (pipe2(err_pipe, O_CLOEXEC) < 0) {
		rc = sp_error_errno(err, errno, "run %s: make a pipe", child->name);
		close(out_pipe[0]);
		close(out_pipe[1]);
		return rc;
	}
	rc = process_spawn(argv, out_pipe[1], err_pipe[1], &child->pid);
	close(out_pipe[1]);
	close(err_pipe[1]);
	if (rc != 0) {
		close(out_pipe[0]);
		close(err_pipe[0]);
		return sp_error_errno(err, rc, "run %s", child->name);
	}
	child->out_fd = out_pipe[0];
	child->err_fd = err_pipe[0];
	return 0;
}

/* Keep the beginning of what the child complains of; the rest is read and dropped, so that the
 * program can continue. */
static void
keep_complaint(struct process_result *result, const char *data, size_t len)
{
	size_t used = strlen(result->said), room = sizeof(result->said) - 1 - used;

	if (len > room)
		len = room;
	memcpy(result->said + used, data, len);
	for (size_t i = used; i < used + len; i++)
		if ((unsigned char)result->said[i] < 0x20)
			result->said[i] = ' ';
	result->said[used + len] = '\0';
}

static void
close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int
read_end(struct child *child, int *fd, struct buf *out, struct process_result *result, struct sp_error *err)
{
	char data[4096];
	ssize_t n = read(*fd, data, sizeof(data));
	int rc;

	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0) {
		close_end(fd);
		return 0;
	}
	if (fd == &child->err_fd) {
		keep_complaint(result, data, (size_t)n);
		return 0;
	}
	if ((rc = buf_add(out, data, (size_t)n)) < 0)
		return sp_error_set(err, rc, "run %s: it says more than %zu bytes", child->name, out->limit);
	return 0;
}

static int
fail_late(const struct child *child, struct sp_error *err)
{
	return sp_error_set(
	    err, SP_ESTALLED, "run %s: not done after %lld ms", child->name, (long long)child->timeout_ms);
}

static int
read_both(struct child *child, struct buf *out, struct process_result *result, struct sp_error *err)
{
	int rc;

	while (child->out_fd >= 0 || child->err_fd >= 0) {
		struct pollfd fds[] = { { .fd = child->out_fd, .events = POLLIN },
			{ .fd = child->err_fd, .events = POLLIN } };
		int64_t left_ms = child->deadline_ms - clock_mono_ms();

		if (left_ms <= 0)
			return fail_late(child, err);
		if (poll(fds, 2, left_ms > 60000 ? 60000 : (int)left_ms) <= 0)
			continue;
		if (fds[0].revents != 0 && (rc = read_end(child, &child->out_fd, out, result, err)) < 0)
			return rc;
		if (fds[1].revents != 0 && (rc = read_end(child, &child->err_fd, out, result, err)) < 0)
			return rc;
	}
	return 0;
}

/* Wait for a child that has closed its output, which it does at its end unless it is odd. */
static int
reap(struct child *child, struct process_result *result, struct sp_error *err)
{
	int64_t pause_ms = 1;
	int status;
	pid_t pid;

	while ((pid = waitpid(child->pid, &status, WNOHANG)) == 0 || (pid < 0 && errno == EINTR)) {
		if (clock_mono_ms() >= child->deadline_ms)
			return fail_late(child, err);
		clock_sleep_ms(pause_ms);
		pause_ms = pause_ms < 50 ? pause_ms * 2 : 50;
	}
	if (pid < 0)
		return sp_error_errno(err, errno, "run %s: wait for it", child->name);
	child->pid = -1;
	result->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return 0;
}

int
process_run(
    const char *const *argv, int64_t timeout_ms, struct buf *out, struct process_result *result, struct sp_error *err)
{
	struct child child = { .name = argv[0], .pid = -1, .out_fd = -1, .err_fd = -1, .timeout_ms = timeout_ms };
	int rc;

	memset(result, 0, sizeof(*result));
	child.deadline_ms = clock_mono_ms() + timeout_ms;
	if ((rc = start(&child, argv, err)) < 0)
		return rc;
	if ((rc = read_both(&child, out, result, err)) == 0)
		rc = reap(&child, result, err);
	close_end(&child.out_fd);
	close_end(&child.err_fd);
	if (child.pid > 0) {
		kill(child.pid, SIGKILL);
		while (waitpid(child.pid, NULL, 0) < 0 && errno == EINTR)
			continue;
	}
	return rc;
}

void
process_find_beside(const char *name, char *out, size_t size)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n > 0) {
		self[n] = '\0';
		if ((slash = strrchr(self, '/')) != NULL) {
			slash[1] = '\0';
			if ((size_t)snprintf(out, size, "%s%s", self, name) < size && access(out, X_OK) == 0)
				return;
		}
	}
	snprintf(out, size, "%s", name);
}
