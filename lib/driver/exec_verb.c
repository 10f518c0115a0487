#include "lib/driver/exec_verb.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"

#define CHUNK        65536
#define LINE_MAX_LEN 400  /* of standard error; the rest of a longer line is dropped */
#define LINES_MAX    100  /* logged for each run */
#define DRAIN_MS     1000 /* for streams that are still open after the end: something outside the group has them */
#define TRAILER_FD   3

enum { IN, OUT, ERR, TRAILER, STREAMS };

struct run {
	struct exec_verb *v;
	pid_t pid;
	int pid_fd;
	int fd[STREAMS];           /* our ends; -1: closed */
	int64_t start_ms, last_ms; /* last_ms: the last byte of a stream */
	bool ended;                /* the executable itself */
	int64_t ended_ms;
	const char *pending; /* of the source, not yet written */
	size_t pending_len;
	bool unread; /* it closed its input before the end */
	char line[LINE_MAX_LEN + 1];
	size_t line_len;
	char said[LINE_MAX_LEN + 1]; /* the last line */
	unsigned lines;
};

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* --- Start --- */

/* A pipe whose ends are above the numbers that the child's streams get. */
static int
high_pipe(int out[2])
{
	int low[2], saved;

	if (pipe2(low, O_CLOEXEC) < 0)
		return -1;
	out[0] = fcntl(low[0], F_DUPFD_CLOEXEC, TRAILER_FD + 1);
	out[1] = fcntl(low[1], F_DUPFD_CLOEXEC, TRAILER_FD + 1);
	saved = errno;
	close(low[0]);
	close(low[1]);
	if (out[0] >= 0 && out[1] >= 0)
		return 0;
	close_fd(&out[0]);
	close_fd(&out[1]);
	errno = saved;
	return -1;
}

static int
set_up(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, const int child[STREAMS])
{
	sigset_t none, all;
	int rc = 0;

	sigemptyset(&none);
	sigfillset(&all);
	if ((rc = posix_spawnattr_setsigmask(attributes, &none)) != 0 ||
	    (rc = posix_spawnattr_setsigdefault(attributes, &all)) != 0 ||
	    (rc = posix_spawnattr_setpgroup(attributes, 0)) != 0 ||
	    (rc = posix_spawnattr_setflags(
		 attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP)) != 0)
		return rc;
	if (child[IN] < 0)
		rc = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	for (int i = IN; i < STREAMS && rc == 0; i++)
		if (child[i] >= 0)
			rc = posix_spawn_file_actions_adddup2(actions, child[i], i);
	return rc != 0 ? rc
		       : posix_spawn_file_actions_addclosefrom_np(
			     actions, child[TRAILER] >= 0 ? TRAILER_FD + 1 : TRAILER_FD);
}

static int
spawn(struct run *r, const int child[STREAMS])
{
	const char *argv[] = { r->v->command, r->v->verb, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int rc;

	if ((rc = posix_spawn_file_actions_init(&actions)) != 0)
		return rc;
	if ((rc = posix_spawnattr_init(&attributes)) != 0)
		goto out;
	/* posix_spawn() takes char *const[] and changes nothing. */
	if ((rc = set_up(&actions, &attributes, child)) == 0)
		rc = posix_spawn(&r->pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv,
		    (char *const *)(uintptr_t)r->v->env);
	posix_spawnattr_destroy(&attributes);
out:
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

static int
start(struct run *r, struct sp_error *err)
{
	const bool wanted[STREAMS] = { r->v->source != NULL, true, true, r->v->trailer != NULL };
	int child[STREAMS] = { -1, -1, -1, -1 }, ends[2], rc = 0;

	for (int i = IN; i < STREAMS && rc == 0; i++) {
		if (!wanted[i])
			continue;
		if (high_pipe(ends) < 0) {
			rc = errno;
			break;
		}
		child[i] = i == IN ? ends[0] : ends[1];
		r->fd[i] = i == IN ? ends[1] : ends[0];
		fcntl(r->fd[i], F_SETFL, O_NONBLOCK);
	}
	if (rc == 0)
		rc = spawn(r, child);
	for (int i = IN; i < STREAMS; i++)
		close_fd(&child[i]);
	if (rc == 0 && (r->pid_fd = pidfd_open(r->pid, 0)) < 0)
		rc = errno;
	if (rc == 0) {
		r->v->started = true;
		return 0;
	}
	sp_error_errno(err, rc, "run %s %s", r->v->command, r->v->verb);
	if (rc == ENOENT || rc == ENOTDIR || rc == EACCES || rc == ENOEXEC)
		err->code = SP_ECONF;
	return err->code;
}

/* --- Streams --- */

static void
end_line(struct run *r)
{
	if (r->line_len == 0)
		return;
	for (size_t i = 0; i < r->line_len; i++)
		if ((unsigned char)r->line[i] < 0x20 || r->line[i] == 0x7f)
			r->line[i] = ' ';
	r->line[r->line_len] = '\0';
	memcpy(r->said, r->line, r->line_len + 1);
	r->line_len = 0;
	if (r->lines++ < LINES_MAX)
		log_info("driver", LOG_STR("verb", r->v->verb), LOG_STR("line", r->said));
}

static void
take_complaint(struct run *r, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] == '\n')
			end_line(r);
		else if (r->line_len < LINE_MAX_LEN)
			r->line[r->line_len++] = data[i];
}

static int
take_bytes(struct run *r, int stream, const char *data, size_t len, struct sp_error *err)
{
	struct buf *into = stream == TRAILER ? r->v->trailer : r->v->answer;
	int rc = 0;

	if (stream == OUT)
		r->v->bytes_out += len;
	if (into != NULL && (rc = buf_add(into, data, len)) < 0)
		return sp_error_set(err, rc, "%s: more than %zu bytes of %s", r->v->verb, into->limit,
		    stream == TRAILER ? "trailer" : "answer");
	if (stream == OUT && r->v->sink != NULL)
		rc = r->v->sink(r->v->arg, data, len, err);
	r->last_ms = clock_mono_ms();
	return rc;
}

static int
read_stream(struct run *r, int stream, struct sp_error *err)
{
	char data[CHUNK];
	ssize_t n = read(r->fd[stream], data, sizeof(data));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		close_fd(&r->fd[stream]);
		return 0;
	}
	if (stream == ERR) {
		take_complaint(r, data, (size_t)n);
		return 0;
	}
	return take_bytes(r, stream, data, (size_t)n, err);
}

/* write() without the signal that ends this process if the verb has closed its input. */
static ssize_t
write_quietly(int fd, const char *data, size_t len)
{
	const struct timespec now = { 0 };
	sigset_t pipe_signal, before;
	ssize_t n;
	int saved;

	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
	n = write(fd, data, len);
	saved = errno;
	if (n < 0 && saved == EPIPE && sigismember(&before, SIGPIPE) == 0)
		sigtimedwait(&pipe_signal, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = saved;
	return n;
}

static int
feed_input(struct run *r, struct sp_error *err)
{
	const void *piece;
	ssize_t n;
	int rc;

	if (r->pending_len == 0) {
		if ((rc = r->v->source(r->v->arg, &piece, &r->pending_len, err)) < 0)
			return rc;
		if (rc == 0) {
			close_fd(&r->fd[IN]);
			r->pending_len = 0;
			return 0;
		}
		r->pending = piece;
		r->last_ms = clock_mono_ms();
	}
	n = write_quietly(r->fd[IN], r->pending, r->pending_len);
	if (n < 0 && errno == EPIPE) {
		r->unread = true;
		close_fd(&r->fd[IN]);
		return 0;
	}
	if (n > 0) {
		r->pending += n;
		r->pending_len -= (size_t)n;
		r->last_ms = clock_mono_ms();
	}
	return 0;
}

/* --- The loop --- */

/* Milliseconds until time runs out; 0: it has, with *err set. */
static int64_t
time_left(const struct run *r, struct sp_error *err)
{
	int64_t now = clock_mono_ms(), left = 60000;
	const struct exec_verb *v = r->v;

	if (r->ended && r->ended_ms + DRAIN_MS <= now) {
		sp_error_set(err, SP_EINTERNAL, "%s: a stream is still open after the verb ended", v->verb);
		return 0;
	}
	if (v->deadline_ms > 0 && r->start_ms + v->deadline_ms <= now) {
		sp_error_set(err, SP_ESTALLED, "%s: not done after %lld ms", v->verb, (long long)v->deadline_ms);
		return 0;
	}
	if (v->idle_ms > 0 && r->last_ms + v->idle_ms <= now) {
		sp_error_set(err, SP_ESTALLED, "%s: no byte for %lld ms", v->verb, (long long)v->idle_ms);
		return 0;
	}
	if (r->ended && r->ended_ms + DRAIN_MS - now < left)
		left = r->ended_ms + DRAIN_MS - now;
	if (v->deadline_ms > 0 && r->start_ms + v->deadline_ms - now < left)
		left = r->start_ms + v->deadline_ms - now;
	if (v->idle_ms > 0 && r->last_ms + v->idle_ms - now < left)
		left = r->last_ms + v->idle_ms - now;
	return left;
}

static bool
at_end(const struct run *r)
{
	return r->ended && r->fd[OUT] < 0 && r->fd[ERR] < 0 && r->fd[TRAILER] < 0;
}

static int
turn(struct run *r, struct sp_error *err)
{
	struct pollfd fds[STREAMS + 2];
	int64_t left = time_left(r, err);
	int rc = 0;

	if (left <= 0)
		return err->code;
	for (int i = IN; i < STREAMS; i++)
		fds[i] = (struct pollfd){ .fd = r->fd[i], .events = i == IN ? POLLOUT : POLLIN };
	fds[STREAMS] = (struct pollfd){ .fd = r->ended ? -1 : r->pid_fd, .events = POLLIN };
	fds[STREAMS + 1] = (struct pollfd){ .fd = r->v->cancel_fd, .events = POLLIN };
	if (poll(fds, STREAMS + 2, (int)left) <= 0)
		return 0;
	if (fds[STREAMS + 1].revents != 0)
		return sp_error_set(err, SP_ECANCELED, "%s: canceled", r->v->verb);
	for (int i = OUT; i < STREAMS && rc == 0; i++)
		if (fds[i].revents != 0)
			rc = read_stream(r, i, err);
	if (rc == 0 && fds[IN].revents != 0)
		rc = feed_input(r, err);
	if (rc == 0 && fds[STREAMS].revents != 0) {
		/* The rest of its group would hold the streams open. Its number is not free before waitpid(). */
		kill(-r->pid, SIGKILL);
		r->ended = true;
		r->ended_ms = clock_mono_ms();
		r->unread = r->unread || r->fd[IN] >= 0;
		close_fd(&r->fd[IN]);
	}
	return rc;
}

static int
exit_code_meaning(int code)
{
	static const struct {
		int code, meaning;
	} codes[] = { { 0, 0 }, { 64, SP_EUSAGE }, { 65, SP_EBADDATA }, { 66, SP_ENOTFOUND }, { 69, SP_EUNAVAIL },
		{ 70, SP_EINTERNAL }, { 73, SP_ENOSPACE }, { 74, SP_EIO }, { 75, SP_EAGAIN }, { 76, SP_EDIVERGED },
		{ 77, SP_EPERM }, { 78, SP_ECONF } };

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return codes[i].meaning;
	return SP_EINTERNAL;
}

/* The end of a verb that was not killed by us. */
static int
judge(struct run *r, int status, struct sp_error *err)
{
	const char *verb = r->v->verb, *colon = r->said[0] != '\0' ? ": " : "";
	int rc;

	if (WIFSIGNALED(status))
		return sp_error_set(
		    err, SP_EINTERNAL, "%s: ended by signal %d%s%s", verb, WTERMSIG(status), colon, r->said);
	if ((rc = exit_code_meaning(WEXITSTATUS(status))) < 0)
		return sp_error_set(err, rc, "%s: exit code %d%s%s", verb, WEXITSTATUS(status), colon, r->said);
	if (r->unread)
		return sp_error_set(err, SP_EINTERNAL, "%s: exit code 0, but its input was not read to the end", verb);
	return 0;
}

int
exec_verb_run(struct exec_verb *v, struct sp_error *err)
{
	struct run r = { .v = v, .pid = -1, .pid_fd = -1, .fd = { -1, -1, -1, -1 } };
	int rc, status = 0;

	v->bytes_out = 0;
	v->started = false;
	r.start_ms = r.last_ms = clock_mono_ms();
	rc = start(&r, err);
	while (rc == 0 && !at_end(&r))
		rc = turn(&r, err);
	if (r.pid > 0) {
		kill(-r.pid, SIGKILL);
		while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR)
			continue;
	}
	end_line(&r);
	if (r.lines > LINES_MAX)
		log_warn("driver: more lines were not logged", LOG_STR("verb", v->verb),
		    LOG_U64("lines", r.lines - LINES_MAX));
	if (rc == 0)
		rc = judge(&r, status, err);
	for (int i = IN; i < STREAMS; i++)
		close_fd(&r.fd[i]);
	close_fd(&r.pid_fd);
	return rc;
}
