#include "sidecar/reasons.h"

const char *
sync_reason_label(enum sync_reason reason)
{
	static const char *const labels[] = {
#define X(name, label, text) label,
		SYNC_REASONS(X)
#undef X
	};

	return reason < SYNC_REASON_COUNT ? labels[reason] : "unknown";
}
