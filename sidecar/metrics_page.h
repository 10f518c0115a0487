/* GET /metrics: the sidecar's own samples, then the server's. Pure text; any thread. */
#ifndef SIDECAR_METRICS_PAGE_H_
#define SIDECAR_METRICS_PAGE_H_

#include <stdint.h>

#include "conf/reload.h"
#include "lib/base/buf.h"
#include "sidecar/view.h"

#define METRICS_PAGE_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The cost of the last seed of this volume, from data_dir/seed.json; zeros where it was never
 * seeded. */
struct metrics_seed {
	double bytes;
	double seconds;
};

/* The seed's costs out of the text of seed.json (NULL: none). */
struct metrics_seed metrics_page_seed(const char *seed_json);

/* Append the sidecar's own samples. 0, SP_ETOOBIG, SP_ENOMEM. */
int metrics_page_write(
    struct buf *out, const struct view *v, const struct reload_status *conf, const struct metrics_seed *seed);

/* Append to `out` those of the server's families in `server` that the sidecar does not have itself: a name may stand
 * only once on a page. Text that is not in the format is left out. 0, SP_ETOOBIG, SP_ENOMEM. */
int metrics_page_adopt(const struct buf *server, struct buf *out);

#endif
