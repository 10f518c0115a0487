/*
 * The causes of failed starts since the last good one: a file on the volume, because a failed init
 * container's log is gone once the kubelet has started the next one. The first failure is kept,
 * since later ones are often its consequence.
 *
 *	failure_note(data_dir, line);		at the end of a run that failed
 *	failure_take(data_dir, &out);		at the end of one that did not: what there was, and the file is gone
 *
 * One thread.
 */
#ifndef INIT_FAILURE_H_
#define INIT_FAILURE_H_

#include "lib/base/buf.h"

#define FAILURE_BYTES_MAX (16u << 10)

/* Count a failure, and keep `line`, a termination message, if it is the first. Does nothing if data_dir is missing or
 * cannot be written: the failure may be just that, and is reported elsewhere. */
void failure_note(const char *data_dir, const char *line);

/* {"failures":N,"first":{"time":…,"phase":…,…}} into `out`, and forget it. "" if no start failed. */
void failure_take(const char *data_dir, struct buf *out);

#endif
