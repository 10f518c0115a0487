#include "lib/driver/driver_exec.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/driver/exec_report.h"
#include "lib/driver/exec_verb.h"
#include "lib/protocol/payload.h"

#define TIMEOUT_MS      30000
#define IDLE_TIMEOUT_MS 60000
#define LOCK_NAME       "driver.lock"
#define LOCK_PAUSE_MS   50
#define ENV_MAX         (20 + DRIVER_EXEC_KEYS_MAX)
#define ENV_BYTES_MAX   (256u << 10)
#define DEFAULT_PATH    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct driver_exec {
	struct driver base;
	struct driver_ops ops; /* base.ops; those that the executable does not offer become NULL */
	char *command, *data, *lock_dir, *secrets_dir, *pod, *leader_host, *leader;
	unsigned ordinal;
	enum role role;
	bool online;
	int64_t timeout_ms, idle_timeout_ms;
	size_t key_count;
	struct driver_exec_key keys[DRIVER_EXEC_KEYS_MAX];
	int cancel_fd; /* an eventfd; readable once canceled */
	bool known;    /* traits */
	struct driver_traits traits;
};

/* What differs from run to run. */
struct call {
	enum driver_verb verb; /* 0: describe */
	const char *target;    /* NULL: none */
	const char *host;      /* NULL: the driver's own */
	const struct position *leader;
	const uint64_t *since;
	bool stream; /* bounded by silence, else by the time for all of it */
	struct exec_verb run;
};

/* --- The environment --- */

struct environment {
	const char *list[ENV_MAX + 1];
	size_t count;
	struct buf text; /* reserved whole, so that it does not move */
	int code;
};

static void __attribute__((format(printf, 2, 3))) add(struct environment *e, const char *fmt, ...)
{
	char *at = e->text.data + e->text.len;
	size_t room = e->text.size - e->text.len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(at, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n + 2 > room || e->count == ENV_MAX) {
		e->code = SP_ETOOBIG;
		return;
	}
	e->text.len += (size_t)n + 1;
	e->list[e->count++] = at;
}

static void
pass_on(struct environment *e, const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	if (value == NULL || value[0] == '\0')
		value = otherwise;
	if (value != NULL)
		add(e, "%s=%s", name, value);
}

static void
add_key(struct environment *e, const struct driver_exec_key *key)
{
	char name[DRIVER_EXEC_NAME_SIZE];
	size_t i;

	for (i = 0; key->name[i] != '\0'; i++)
		name[i] = (char)toupper((unsigned char)key->name[i]);
	name[i] = '\0';
	add(e, "SEEDPOD_DRIVER_%s=%s", name, key->value);
}

static int
make_environment(const struct driver_exec *d, const struct call *c, struct environment *e, struct sp_error *err)
{
	char *leader = c->leader != NULL ? position_to_json(c->leader) : NULL;
	const char *host = c->host != NULL ? c->host : d->leader_host, *at = c->leader != NULL ? leader : d->leader;

	pass_on(e, "PATH", DEFAULT_PATH);
	pass_on(e, "HOME", "/");
	pass_on(e, "LANG", NULL);
	pass_on(e, "TZ", NULL);
	add(e, "SEEDPOD_CONTRACT=%d", DRIVER_EXEC_CONTRACT);
	add(e, "SEEDPOD_DATA=%s", d->data);
	add(e, "SEEDPOD_POD=%s", d->pod);
	add(e, "SEEDPOD_ORDINAL=%u", d->ordinal);
	add(e, "SEEDPOD_ROLE=%s", role_name(d->role));
	add(e, "SEEDPOD_ONLINE=%d", d->online ? 1 : 0);
	add(e, "SEEDPOD_DEADLINE=%" PRId64,
	    (clock_wall_ms() + (c->stream ? d->idle_timeout_ms : d->timeout_ms)) / 1000);
	if (c->target != NULL)
		add(e, "SEEDPOD_TARGET=%s", c->target);
	if (host != NULL)
		add(e, "SEEDPOD_LEADER_HOST=%s", host);
	if (at != NULL)
		add(e, "SEEDPOD_LEADER_POSITION=%s", at);
	if (c->since != NULL)
		add(e, "SEEDPOD_SINCE=%" PRIu64, *c->since);
	if (d->secrets_dir != NULL && d->secrets_dir[0] != '\0')
		add(e, "SEEDPOD_SECRETS_DIR=%s", d->secrets_dir);
	for (size_t i = 0; i < d->key_count; i++)
		add_key(e, &d->keys[i]);
	if (c->leader != NULL && leader == NULL)
		e->code = SP_ENOMEM;
	free(leader);
	e->list[e->count] = NULL;
	return e->code < 0 ? sp_error_set(err, e->code, "make the driver's environment") : 0;
}

/* --- Running --- */

/* Run without lock and clean-up. */
static int
run_bare(struct driver_exec *d, struct call *c, struct sp_error *err)
{
	struct environment e = { .count = 0 };
	int rc;

	buf_init(&e.text, ENV_BYTES_MAX);
	if ((rc = buf_reserve(&e.text, ENV_BYTES_MAX - 1)) < 0)
		return sp_error_set(err, rc, "make the driver's environment");
	rc = make_environment(d, c, &e, err);
	if (rc == 0) {
		c->run.command = d->command;
		c->run.verb = exec_report_verb(c->verb);
		c->run.env = e.list;
		c->run.deadline_ms = c->stream ? 0 : d->timeout_ms;
		c->run.idle_ms = c->stream ? d->idle_timeout_ms : 0;
		c->run.cancel_fd = c->verb == DRIVER_VERB_CLEANUP ? -1 : d->cancel_fd;
		rc = exec_verb_run(&c->run, err);
	}
	buf_release(&e.text);
	return rc;
}

static bool
canceled(const struct driver_exec *d)
{
	struct pollfd fd = { .fd = d->cancel_fd, .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

/* One verb at a time for each store. The descriptor that holds the lock, or an error. */
static int
take_lock(struct driver_exec *d, bool even_if_canceled, struct sp_error *err)
{
	int64_t until = clock_mono_ms() + d->timeout_ms;
	char path[4096];
	int fd, rc;

	if ((rc = file_join(path, sizeof(path), d->lock_dir, LOCK_NAME, err)) < 0)
		return rc;
	if ((fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
		return sp_error_errno(err, errno, "open %s", path);
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			rc = sp_error_errno(err, errno, "lock %s", path);
		else if (!even_if_canceled && canceled(d))
			rc = sp_error_set(err, SP_ECANCELED, "canceled while another verb ran");
		else if (clock_mono_ms() >= until)
			rc = sp_error_set(err, SP_EAGAIN,
			    "another verb runs on this store for more than %" PRId64 " ms", d->timeout_ms);
		if (rc < 0) {
			close(fd);
			return rc;
		}
		clock_sleep_ms(LOCK_PAUSE_MS);
	}
	return fd;
}

/* After a failure; its own failure is logged only, the first one is the caller's. */
static void
clean_up(struct driver_exec *d)
{
	struct call c = { .verb = DRIVER_VERB_CLEANUP };
	struct sp_error err = { 0 };

	if (run_bare(d, &c, &err) < 0)
		log_error("driver: cleanup failed", LOG_STR("error", err.text));
}

/* Run a verb that may change something: alone, and cleaned up after if it fails. */
static int
run_alone(struct driver_exec *d, struct call *c, int (*check)(struct call *, void *, struct sp_error *), void *out,
    struct sp_error *err)
{
	int fd, rc;

	if (d->known && c->verb != 0 && (d->traits.verbs & c->verb) == 0)
		return sp_error_set(err, SP_EUSAGE, "%s: not offered by this driver", exec_report_verb(c->verb));
	if ((fd = take_lock(d, c->verb == DRIVER_VERB_CLEANUP, err)) < 0)
		return fd;
	rc = run_bare(d, c, err);
	if (rc == 0 && check != NULL)
		rc = check(c, out, err);
	if (rc < 0 && c->run.started && c->verb != DRIVER_VERB_CLEANUP)
		clean_up(d);
	close(fd);
	return rc;
}

static int
check_answer(struct call *c, void *out, struct sp_error *err)
{
	int rc = exec_report_position(c->run.answer->data, c->run.answer->len, out, err);

	return rc < 0 ? sp_error_wrap(err, "%s", exec_report_verb(c->verb)) : 0;
}

/* A verb that answers with a position. */
static int
ask(struct driver_exec *d, struct call *c, struct driver_report *out, struct sp_error *err)
{
	struct buf answer;
	int rc;

	buf_init(&answer, DRIVER_EXEC_JSON_MAX);
	c->run.answer = &answer;
	if (c->verb != DRIVER_VERB_POSITION)
		rc = run_alone(d, c, check_answer, out, err);
	else if ((rc = run_bare(d, c, err)) == 0)
		rc = check_answer(c, out, err);
	buf_release(&answer);
	return rc;
}

/* --- Operations --- */

static struct driver_exec *
exec_of(struct driver *d)
{
	return (struct driver_exec *)d;
}

static int
exec_traits(struct driver *base, struct driver_traits *out, struct sp_error *err)
{
	struct driver_exec *d = exec_of(base);
	struct call c = { .verb = 0 };
	struct buf answer;
	int rc = 0;

	if (!d->known) {
		buf_init(&answer, DRIVER_EXEC_JSON_MAX);
		c.run.answer = &answer;
		if ((rc = run_bare(d, &c, err)) == 0)
			rc = exec_report_traits(answer.data, answer.len, &d->traits, err);
		buf_release(&answer);
	}
	if (rc < 0)
		return rc;
	d->known = true;
	if ((d->traits.verbs & DRIVER_VERB_FOLLOW) == 0)
		d->ops.follow = NULL;
	if ((d->traits.verbs & DRIVER_VERB_PROMOTE) == 0)
		d->ops.promote = NULL;
	if ((d->traits.verbs & DRIVER_VERB_DEMOTE) == 0)
		d->ops.demote = NULL;
	if ((d->traits.verbs & DRIVER_VERB_CHANGES) == 0)
		d->ops.changes = NULL;
	if ((d->traits.verbs & DRIVER_VERB_APPLY) == 0)
		d->ops.apply_stream = NULL;
	if ((d->traits.verbs & DRIVER_VERB_DIGEST) == 0)
		d->ops.digest = NULL;
	*out = d->traits;
	return 0;
}

static int
exec_report(struct driver *base, struct driver_report *out, struct sp_error *err)
{
	return ask(exec_of(base), &(struct call){ .verb = DRIVER_VERB_POSITION }, out, err);
}

static int
exec_position(struct driver *base, struct position *out, struct sp_error *err)
{
	struct driver_report report;
	int rc = exec_report(base, &report, err);

	if (rc == 0)
		*out = report.position;
	return rc;
}

static int
check_trailer(struct call *c, void *out, struct sp_error *err)
{
	int rc;

	if (c->run.bytes_out == 0)
		return sp_error_set(err, SP_EBADDATA, "snapshot: exit code 0, but not one byte");
	rc = exec_report_position(c->run.trailer->data, c->run.trailer->len, out, err);
	return rc < 0 ? sp_error_wrap(err, "snapshot: trailer") : 0;
}

static int
exec_payload(struct driver *base, driver_sink sink, void *arg, struct driver_report *out, struct sp_error *err)
{
	struct call c = { .verb = DRIVER_VERB_SNAPSHOT, .stream = true, .run = { .sink = sink, .arg = arg } };
	struct buf trailer;
	int rc;

	buf_init(&trailer, DRIVER_EXEC_JSON_MAX);
	c.run.trailer = &trailer;
	rc = run_alone(exec_of(base), &c, check_trailer, out, err);
	buf_release(&trailer);
	return rc;
}

static int
into_archive(void *arg, const void *data, size_t len, struct sp_error *err)
{
	return payload_writer_add(arg, data, len, err);
}

static int
exec_snapshot(struct driver *base, driver_sink sink, void *arg, struct sp_error *err)
{
	static const char *const carriers[] = { "feed", "native", "none" };
	struct driver_exec *d = exec_of(base);
	struct payload_head head = { .driver = "exec", .created = clock_wall_ms() / 1000 };
	struct driver_traits traits;
	struct driver_report report;
	struct payload_writer *w;
	int rc = exec_traits(base, &traits, err);

	if (rc < 0)
		return rc;
	snprintf(head.store, sizeof(head.store), "%s", traits.store);
	snprintf(head.carrier, sizeof(head.carrier), "%s", carriers[traits.carrier]);
	snprintf(head.proof, sizeof(head.proof), "%s", traits.proof == DRIVER_PROOF_DIGEST ? "digest" : "position");
	snprintf(head.donor, sizeof(head.donor), "%s", d->pod);
	if ((w = payload_writer_new(&head, sink, arg, err)) == NULL)
		return err != NULL ? err->code : SP_ENOMEM;
	rc = exec_payload(base, into_archive, w, &report, err);
	if (rc == 0)
		rc = payload_writer_end(w, &report.position, err);
	payload_writer_free(w);
	return rc;
}

/* A source that counts, so that an empty one can be told. */
struct counted {
	driver_source source;
	void *arg;
	bool any;
};

static int
next_counted(void *arg, const void **data, size_t *len, struct sp_error *err)
{
	struct counted *c = arg;
	int rc = c->source(c->arg, data, len, err);

	if (rc == 0 && !c->any)
		return sp_error_set(err, SP_EBADDATA, "the payload has not one byte");
	c->any = c->any || (rc == 1 && *len > 0);
	return rc;
}

static int
exec_restore(struct driver *base, const char *target, driver_source source, void *arg, struct sp_error *err)
{
	struct counted from = { .source = source, .arg = arg };
	struct call c = { .verb = DRIVER_VERB_RESTORE,
		.target = target,
		.stream = true,
		.run = { .source = next_counted, .arg = &from } };

	return run_alone(exec_of(base), &c, NULL, NULL, err);
}

static int
exec_verify(struct driver *base, const char *target, struct driver_report *out, struct sp_error *err)
{
	return ask(exec_of(base), &(struct call){ .verb = DRIVER_VERB_VERIFY, .target = target }, out, err);
}

static int
exec_follow(struct driver *base, const char *host, const struct position *leader, struct sp_error *err)
{
	return run_alone(exec_of(base), &(struct call){ .verb = DRIVER_VERB_FOLLOW, .host = host, .leader = leader },
	    NULL, NULL, err);
}

static int
exec_promote(struct driver *base, struct driver_report *after, struct sp_error *err)
{
	return ask(exec_of(base), &(struct call){ .verb = DRIVER_VERB_PROMOTE }, after, err);
}

static int
exec_demote(struct driver *base, struct driver_report *after, struct sp_error *err)
{
	return ask(exec_of(base), &(struct call){ .verb = DRIVER_VERB_DEMOTE }, after, err);
}

static int
exec_changes(struct driver *base, uint64_t since, driver_sink sink, void *arg, struct sp_error *err)
{
	struct call c = {
		.verb = DRIVER_VERB_CHANGES, .since = &since, .stream = true, .run = { .sink = sink, .arg = arg }
	};

	return run_alone(exec_of(base), &c, NULL, NULL, err);
}

static int
exec_apply_stream(struct driver *base, driver_source source, void *arg, struct sp_error *err)
{
	struct call c = { .verb = DRIVER_VERB_APPLY, .stream = true, .run = { .source = source, .arg = arg } };

	return run_alone(exec_of(base), &c, NULL, NULL, err);
}

static int
exec_digest(struct driver *base, struct digest *out, struct sp_error *err)
{
	struct driver_report report;
	int rc = ask(exec_of(base), &(struct call){ .verb = DRIVER_VERB_DIGEST }, &report, err);

	if (rc < 0)
		return rc;
	if (!report.has_digest)
		return sp_error_set(err, SP_EBADDATA, "digest: the answer has no \"digest\"");
	*out = report.position.digest;
	return 0;
}

static int
exec_cleanup(struct driver *base, struct sp_error *err)
{
	return run_alone(exec_of(base), &(struct call){ .verb = DRIVER_VERB_CLEANUP }, NULL, NULL, err);
}

static void
exec_free(struct driver *base)
{
	struct driver_exec *d = exec_of(base);

	if (d->cancel_fd >= 0)
		close(d->cancel_fd);
	free(d->command);
	free(d->data);
	free(d->lock_dir);
	free(d->secrets_dir);
	free(d->pod);
	free(d->leader_host);
	free(d->leader);
	free(d);
}

static const struct driver_ops exec_ops = {
	.name = "exec",
	.position = exec_position,
	.snapshot = exec_snapshot,
	.digest = exec_digest,
	.free = exec_free,
	.traits = exec_traits,
	.report = exec_report,
	.payload = exec_payload,
	.restore = exec_restore,
	.verify = exec_verify,
	.follow = exec_follow,
	.promote = exec_promote,
	.demote = exec_demote,
	.changes = exec_changes,
	.apply_stream = exec_apply_stream,
	.cleanup = exec_cleanup,
};

static bool
copy(char **to, const char *from)
{
	*to = strdup(from != NULL ? from : "");
	return *to != NULL;
}

struct driver *
driver_exec_new(const struct driver_exec_options *o, struct sp_error *err)
{
	struct driver_exec *d;

	if (o->command == NULL || o->data == NULL || o->lock_dir == NULL || o->pod == NULL ||
	    o->key_count > DRIVER_EXEC_KEYS_MAX) {
		sp_error_set(err, SP_ECONF, "driver exec needs a command, the store's path, a data_dir and a pod");
		return NULL;
	}
	if ((d = calloc(1, sizeof(*d))) == NULL) {
		sp_error_set(err, SP_ENOMEM, "driver exec");
		return NULL;
	}
	d->ops = exec_ops;
	d->base.ops = &d->ops;
	d->ordinal = o->ordinal;
	d->role = ROLE_FOLLOWER;
	d->timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : TIMEOUT_MS;
	d->idle_timeout_ms = o->idle_timeout_ms > 0 ? o->idle_timeout_ms : IDLE_TIMEOUT_MS;
	d->key_count = o->key_count;
	if (o->key_count > 0)
		memcpy(d->keys, o->keys, o->key_count * sizeof(o->keys[0]));
	d->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->cancel_fd >= 0 && copy(&d->command, o->command) && copy(&d->data, o->data) &&
	    copy(&d->lock_dir, o->lock_dir) && copy(&d->secrets_dir, o->secrets_dir) && copy(&d->pod, o->pod))
		return &d->base;
	sp_error_set(err, SP_ENOMEM, "driver exec");
	exec_free(&d->base);
	return NULL;
}

int
driver_exec_set(struct driver *base, enum role role, bool online, const char *leader_host,
    const struct position *leader, struct sp_error *err)
{
	struct driver_exec *d = exec_of(base);
	char *host = leader_host != NULL ? strdup(leader_host) : NULL;
	char *at = leader != NULL ? position_to_json(leader) : NULL;

	if ((leader_host != NULL && host == NULL) || (leader != NULL && at == NULL)) {
		free(host);
		free(at);
		return sp_error_set(err, SP_ENOMEM, "driver exec");
	}
	free(d->leader_host);
	free(d->leader);
	d->leader_host = host;
	d->leader = at;
	d->role = role;
	d->online = online;
	return 0;
}

void
driver_exec_cancel(struct driver *base)
{
	uint64_t one = 1;
	int saved = errno;

	/* It can fail only where it is set already. */
	if (write(exec_of(base)->cancel_fd, &one, sizeof(one)) < 0)
		errno = saved;
}
