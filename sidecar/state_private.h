/* The fields of struct state, for state.c which writes them and view.c which reads them. */
#ifndef SIDECAR_STATE_PRIVATE_H_
#define SIDECAR_STATE_PRIVATE_H_

#include <pthread.h>

#include "sidecar/lag.h"
#include "sidecar/local_store.h"
#include "sidecar/readiness.h"
#include "sidecar/state.h"
#include "sidecar/view.h"

struct state {
	pthread_mutex_t mutex; /* guards everything below */

	struct conf conf;
	unsigned generation;
	int64_t started_ms;

	struct local_store own;                 /* the local store */
	char handover_text[READINESS_TEXT_MAX]; /* why this pod does not lead yet, as configured */
	char diverged_text[READINESS_TEXT_MAX]; /* expected and found, where it has */
	bool seeding;
	char *server_metrics; /* or NULL */
	size_t server_metrics_len;
	char *seed; /* JSON text, or NULL */

	/* The leader. */
	char leader_url[POSITION_URL_MAX];
	bool leader_known;
	struct position leader;
	bool leader_heard;       /* it answered at least once */
	bool leader_failing;     /* the last try got no answer */
	int64_t leader_heard_ms; /* its last answer; if there was none, when it began to be followed */
	int64_t leader_due_ms;   /* when the next one is overdue */
	struct lag_tracker lag;

	/* Readiness, as reported. */
	struct readiness_hysteresis hysteresis;
	bool told; /* the log knows whether the pod is ready */
	bool told_ready;

	struct view_counters counters;
	struct view_error last_error;
	bool in_trouble; /* the last error has not ended */

	int64_t hearts[HEART_COUNT]; /* deadlines; 0: does not beat yet */
};

#endif
