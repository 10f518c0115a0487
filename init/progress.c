#include "init/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"

#define BAR_COLUMNS       24
#define TERMINAL_EVERY_MS 100
#define LOG_EVERY_MS      5000

/* "812.0 MiB" */
static void
format_bytes(double bytes, char *out, size_t size)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t unit = 0;

	while (bytes >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		unit++;
	}
	snprintf(out, size, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

static double
bytes_per_second(uint64_t done, int64_t elapsed_ms)
{
	return elapsed_ms > 0 ? (double)done * 1000 / (double)elapsed_ms : 0;
}

/* -1 if it cannot be told. */
static double
seconds_left(uint64_t done, uint64_t total, int64_t elapsed_ms)
{
	double rate = bytes_per_second(done, elapsed_ms);

	return total >= done && total > 0 && rate > 0 ? (double)(total - done) / rate : -1;
}

static void
draw_bar(uint64_t done, uint64_t total, char out[BAR_COLUMNS + 1])
{
	size_t filled = done >= total ? BAR_COLUMNS : (size_t)((double)done / (double)total * BAR_COLUMNS);

	memset(out, ' ', BAR_COLUMNS);
	memset(out, '=', filled);
	if (filled < BAR_COLUMNS)
		out[filled] = '>';
	out[BAR_COLUMNS] = '\0';
}

void
progress_text(uint64_t done, uint64_t total, int64_t elapsed_ms, char *out, size_t size)
{
	char bar[BAR_COLUMNS + 1], done_text[32], total_text[32], rate_text[32], left_text[32] = "";
	double left = seconds_left(done, total, elapsed_ms);

	format_bytes((double)done, done_text, sizeof(done_text));
	format_bytes((double)total, total_text, sizeof(total_text));
	format_bytes(bytes_per_second(done, elapsed_ms), rate_text, sizeof(rate_text));
	if (left >= 0)
		snprintf(left_text, sizeof(left_text), "  %.0f s left", left);
	if (total == 0) {
		snprintf(out, size, "%s  %s/s", done_text, rate_text);
		return;
	}
	draw_bar(done, total, bar);
	snprintf(out, size, "[%s] %3.0f%%  %s of %s  %s/s%s", bar,
	    done >= total ? 100.0 : (double)done * 100 / (double)total, done_text, total_text, rate_text, left_text);
}

void
progress_begin(struct progress *p, uint64_t total_bytes)
{
	memset(p, 0, sizeof(*p));
	p->total = total_bytes;
	p->begun_ms = p->shown_ms = clock_mono_ms();
	p->terminal = isatty(STDERR_FILENO) == 1;
}

static void
draw(struct progress *p, int64_t now_ms)
{
	char text[PROGRESS_TEXT_MAX];

	progress_text(p->done, p->total, now_ms - p->begun_ms, text, sizeof(text));
	fprintf(stderr, "\r%s\033[K", text); /* and clear what the last one left to its right */
	fflush(stderr);
	p->drawn = true;
}

void
progress_show(struct progress *p, uint64_t done_bytes)
{
	int64_t now_ms = clock_mono_ms();

	p->done = done_bytes;
	if (now_ms - p->shown_ms < (p->terminal ? TERMINAL_EVERY_MS : LOG_EVERY_MS))
		return;
	p->shown_ms = now_ms;
	if (p->terminal) {
		draw(p, now_ms);
		return;
	}
	log_info("seeding", LOG_U64("bytes", p->done), LOG_U64("total", p->total),
	    LOG_U64("bytes_per_second", (uint64_t)bytes_per_second(p->done, now_ms - p->begun_ms)),
	    LOG_F64("seconds_left", seconds_left(p->done, p->total, now_ms - p->begun_ms)));
}

void
progress_end(struct progress *p)
{
	if (!p->drawn)
		return;
	draw(p, clock_mono_ms());
	fputc('\n', stderr);
	p->drawn = false;
}
