/*
 * Structured log lines on standard error, as logfmt or JSON.
 *
 *	log_setup("seedpod-init", LOG_INFO, LOG_LOGFMT);
 *	log_info("snapshot served", LOG_STR("peer", peer), LOG_U64("bytes", n));
 *
 * gives  time=2026-11-20T11:02:03.123Z level=info program=seedpod-init msg="snapshot served" peer=… bytes=…
 *
 * Any thread may log at any time; a line is one write(2), so lines of several threads do not mix. The
 * level and the format may change while threads log (they are live configuration).
 */
#ifndef LIB_BASE_LOG_H_
#define LIB_BASE_LOG_H_

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

/* One key with its value; made by the LOG_… macros below and used within the call. */
struct log_field {
	const char *key; /* NULL ends the list */
	enum { LOG_FIELD_STR, LOG_FIELD_U64, LOG_FIELD_I64, LOG_FIELD_F64, LOG_FIELD_BOOL } type;
	union {
		const char *str; /* NULL is logged as an empty string */
		uint64_t u64;
		int64_t i64;
		double f64;
		bool boolean;
	} value;
};

#define LOG_STR(k, v)  ((struct log_field){ .key = (k), .type = LOG_FIELD_STR, .value.str = (v) })
#define LOG_U64(k, v)  ((struct log_field){ .key = (k), .type = LOG_FIELD_U64, .value.u64 = (v) })
#define LOG_I64(k, v)  ((struct log_field){ .key = (k), .type = LOG_FIELD_I64, .value.i64 = (v) })
#define LOG_F64(k, v)  ((struct log_field){ .key = (k), .type = LOG_FIELD_F64, .value.f64 = (v) })
#define LOG_BOOL(k, v) ((struct log_field){ .key = (k), .type = LOG_FIELD_BOOL, .value.boolean = (v) })
#define LOG_END        ((struct log_field){ .key = 0 })

/* `program` is kept by reference; call before the first thread starts. Before it, lines say "seedpod". */
void log_setup(const char *program, enum log_level level, enum log_format format);

/* Change level and format while running. Any thread. */
void log_configure(enum log_level level, enum log_format format);

/* The format in force. Any thread, and signal handlers. */
enum log_format log_format_in_force(void);

/* Write one line if `level` is in force. The arguments after msg are struct log_field by value, ended by LOG_END;
 * use the macros, which see to that. A line is cut at 8 KiB. */
void log_write(enum log_level level, const char *msg, ...);

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__, LOG_END)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__, LOG_END)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__, LOG_END)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__, LOG_END)

#endif
