#include "lib/protocol/fanout.h"

static unsigned
find(const struct fanout *f, unsigned pod)
{
	unsigned i = 0;

	while (i < f->count && f->pods[i] != pod)
		i++;
	return i;
}

bool
fanout_place(struct fanout *f, unsigned pod, unsigned *sibling)
{
	unsigned limit = f->limit < FANOUT_LIMIT_MAX ? f->limit : FANOUT_LIMIT_MAX;

	if (limit == 0)
		return true;
	if (f->count < limit) {
		f->pods[f->count++] = pod;
		return true;
	}
	if (find(f, pod) < f->count)
		return true;
	*sibling = f->pods[f->turn++ % f->count];
	return false;
}

void
fanout_leave(struct fanout *f, unsigned pod)
{
	unsigned i = find(f, pod);

	if (i < f->count)
		f->pods[i] = f->pods[--f->count];
}
