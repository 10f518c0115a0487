/* GET /status: everything that this pod knows about itself, as one JSON object. Any thread. */
#ifndef SIDECAR_STATUS_PAGE_H_
#define SIDECAR_STATUS_PAGE_H_

#include "conf/reload.h"
#include "sidecar/view.h"

/* malloc'ed text, or NULL when out of memory. seed_json: the text of data_dir/seed.json, or NULL. */
char *status_page(const struct view *v, const struct reload_status *conf, const char *seed_json);

#endif
