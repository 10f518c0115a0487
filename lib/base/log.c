#include "lib/base/log.h"

#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/utf8.h"

#define LINE_MAX_BYTES 8192
#define READER_WAIT_MS 1000

static const char *program = "seedpod";
static atomic_int level_in_force = LOG_INFO;
static atomic_int format_in_force = LOG_LOGFMT;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

/* A line under construction; what does not fit is cut. */
struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
};

static void
put(struct line *l, const char *text, size_t len)
{
	size_t room = sizeof(l->text) - 2 - l->len; /* for "}" and the newline */

	if (len > room)
		len = room;
	memcpy(l->text + l->len, text, len);
	l->len += len;
}

static void
puts_line(struct line *l, const char *text)
{
	put(l, text, strlen(text));
}

static size_t
room(const struct line *l)
{
	return sizeof(l->text) - 2 - l->len;
}

/* One character as it stands within quotes; how many bytes of `text` it took. */
static size_t
escape(const char *text, char out[8], size_t *len)
{
	unsigned char c = (unsigned char)*text;
	size_t n = utf8_length(text);

	if (n == 0)
		*len = (size_t)snprintf(out, 8, "\\ufffd"); /* bytes that no JSON parser would take */
	else if (c == '"' || c == '\\')
		*len = (size_t)snprintf(out, 8, "\\%c", c);
	else if (c == '\n')
		*len = (size_t)snprintf(out, 8, "\\n");
	else if (c < 0x20 || c == 0x7f)
		*len = (size_t)snprintf(out, 8, "\\u%04x", c);
	else {
		memcpy(out, text, n);
		*len = n;
	}
	return n > 0 ? n : 1;
}

/* Both formats quote alike: JSON's escapes are also what logfmt parsers take. A long text is cut
 * between characters, and the quote is closed. */
static void
put_quoted(struct line *l, const char *text)
{
	char escaped[8];
	size_t len;

	put(l, "\"", 1);
	while (*text != '\0') {
		text += escape(text, escaped, &len);
		if (len + 1 > room(l))
			break;
		put(l, escaped, len);
	}
	put(l, "\"", 1);
}

/* Whether logfmt may show it as it is: no space, quote or "=", no control character, nothing but UTF-8. */
static bool
is_plain(const char *text)
{
	size_t n;

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text += n) {
		n = utf8_length(text);
		if (n == 0 || (unsigned char)*text <= ' ' || *text == 0x7f || strchr("=\"\\", *text) != NULL)
			return false;
	}
	return true;
}

static void
put_text(struct line *l, const char *text, enum log_format format)
{
	if (text == NULL)
		text = "";
	if (format == LOG_LOGFMT && is_plain(text))
		puts_line(l, text);
	else
		put_quoted(l, text);
}

static void
put_key(struct line *l, const char *key, enum log_format format)
{
	if (l->len > 1)
		put(l, format == LOG_JSON ? "," : " ", 1);
	if (format == LOG_JSON) {
		put_quoted(l, key);
		put(l, ":", 1);
	} else {
		puts_line(l, key);
		put(l, "=", 1);
	}
}

static void
put_field(struct line *l, const struct log_field *f, enum log_format format)
{
	char number[64];

	/* A field has its key and its quotes whole, or it is left out. */
	if (room(l) < strlen(f->key) + sizeof(number))
		return;
	put_key(l, f->key, format);
	switch (f->type) {
	case LOG_FIELD_STR:
		put_text(l, f->value.str, format);
		return;
	case LOG_FIELD_U64:
		snprintf(number, sizeof(number), "%llu", (unsigned long long)f->value.u64);
		break;
	case LOG_FIELD_I64:
		snprintf(number, sizeof(number), "%lld", (long long)f->value.i64);
		break;
	case LOG_FIELD_F64:
		snprintf(number, sizeof(number), "%.6g", isfinite(f->value.f64) ? f->value.f64 : 0.0);
		break;
	case LOG_FIELD_BOOL:
		snprintf(number, sizeof(number), "%s", f->value.boolean ? "true" : "false");
		break;
	}
	puts_line(l, number);
}

void
log_setup(const char *name, enum log_level level, enum log_format format)
{
	program = name;
	log_configure(level, format);
}

void
log_configure(enum log_level level, enum log_format format)
{
	atomic_store(&level_in_force, (int)level);
	atomic_store(&format_in_force, (int)format);
}

enum log_format
log_format_in_force(void)
{
	return (enum log_format)atomic_load(&format_in_force);
}

/* Write all of it; false if the reader of standard error has stopped for wait_ms. A pipe that is
 * ready takes a piece of PIPE_BUF bytes whole. */
static bool
write_within(const char *text, size_t len, int wait_ms)
{
	struct pollfd ready = { .fd = STDERR_FILENO, .events = POLLOUT };
	size_t piece;

	for (; len > 0; text += piece, len -= piece) {
		piece = len < PIPE_BUF ? len : PIPE_BUF;
		if (poll(&ready, 1, wait_ms) == 0)
			return false;
		/* Nothing sensible can be done where standard error is gone. */
		if (write(STDERR_FILENO, text, piece) != (ssize_t)piece)
			return true;
	}
	return true;
}

/* One line at a time. A thread that logs has clients to serve: only the first line that finds no
 * reader waits for one. Returns how many lines were lost before this one was written. */
static uint64_t
emit(const char *text, size_t len)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static uint64_t lost;
	uint64_t before;

	pthread_mutex_lock(&lock);
	before = lost;
	lost = write_within(text, len, lost > 0 ? 0 : READER_WAIT_MS) ? 0 : lost + 1;
	if (lost > 0)
		before = 0;
	pthread_mutex_unlock(&lock);
	return before;
}

void
log_write(enum log_level level, const char *msg, ...)
{
	enum log_format format = log_format_in_force();
	char when[CLOCK_RFC3339_SIZE];
	struct line l;
	uint64_t lost;
	va_list ap;

	if ((int)level < atomic_load(&level_in_force))
		return;
	l.len = 0;
	clock_format(clock_wall_ms(), when, sizeof(when));
	if (format == LOG_JSON)
		put(&l, "{", 1);
	put_field(&l, &LOG_STR("time", when), format);
	put_field(&l, &LOG_STR("level", level_names[level]), format);
	put_field(&l, &LOG_STR("program", program), format);
	put_field(&l, &LOG_STR("msg", msg), format);
	va_start(ap, msg);
	for (;;) {
		struct log_field f = va_arg(ap, struct log_field);

		if (f.key == NULL)
			break;
		put_field(&l, &f, format);
	}
	va_end(ap);
	if (format == LOG_JSON)
		l.text[l.len++] = '}';
	l.text[l.len++] = '\n';
	if ((lost = emit(l.text, l.len)) > 0)
		log_warn("lines before this one were lost: nobody read them", LOG_U64("lines", lost));
}
