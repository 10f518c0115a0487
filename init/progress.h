/*
 * How far a download is: a bar that moves on a terminal, a log line every few seconds elsewhere. One thread.
 *
 *	progress_begin(&p, total_bytes);
 *	progress_show(&p, done_bytes);		// as often as one likes
 *	progress_end(&p);
 */
#ifndef INIT_PROGRESS_H_
#define INIT_PROGRESS_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_TEXT_MAX 160

struct progress {
	uint64_t total; /* bytes; 0 if it is not known */
	uint64_t done;
	int64_t begun_ms;
	int64_t shown_ms;
	bool terminal; /* standard error is one */
	bool drawn;    /* a bar stands on the line */
};

void progress_begin(struct progress *p, uint64_t total_bytes);
void progress_show(struct progress *p, uint64_t done_bytes);
void progress_end(struct progress *p);

/* Pure: the bar, "[=====>    ]  45%  123.4 MiB of 274.1 MiB  56.0 MiB/s  3 s left", after elapsed_ms. */
void progress_text(uint64_t done, uint64_t total, int64_t elapsed_ms, char *out, size_t size);

#endif
