/* Why a sync failed: the fixed set of values that seedpod_sync_errors_total{reason} has, all there from the start. */
#ifndef SIDECAR_REASONS_H_
#define SIDECAR_REASONS_H_

/* name, label, what it means */
#define SYNC_REASONS(X)                                                                                                \
	X(REASON_UNREACHABLE, "unreachable", "the leader does not answer")                                             \
	X(REASON_STALLED, "stalled", "the leader fell silent within an answer")                                        \
	X(REASON_REFUSED, "refused", "the leader or its certificate is not trusted, or does not trust this pod")       \
	X(REASON_TRUNCATED, "truncated", "an answer was cut short")                                                    \
	X(REASON_BAD_FEED, "bad_feed", "an answer could not be understood")                                            \
	X(REASON_DIGEST, "digest", "the content is not the leader's")                                                  \
	X(REASON_DIVERGED, "diverged", "the histories parted")                                                         \
	X(REASON_HORIZON, "horizon", "the feed does not reach back so far")                                            \
	X(REASON_GAP, "gap", "a feed did not begin where the store stands")                                            \
	X(REASON_APPLY, "apply", "the local server refused a feed")                                                    \
	X(REASON_NO_SPACE, "no_space", "the volume is full")                                                           \
	X(REASON_LOCAL_SERVER, "local_server", "the local server does not answer")                                     \
	X(REASON_RESEED, "reseed", "seeding again failed")

enum sync_reason {
#define X(name, label, text) name,
	SYNC_REASONS(X)
#undef X
	    SYNC_REASON_COUNT
};

/* A static string. */
const char *sync_reason_label(enum sync_reason reason);

#endif
