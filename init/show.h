/* Facts and plan for people (--plan) and programs (--plan --json). Pure. */
#ifndef INIT_SHOW_H_
#define INIT_SHOW_H_

#include "init/facts.h"
#include "init/plan.h"
#include "lib/base/buf.h"

int show_text(const struct facts *f, const struct plan *p, struct buf *out);

/* One line of JSON: {"pod","leader","volume","store","peers":[…],"action","donor","why",…}. */
int show_json(const struct facts *f, const struct plan *p, struct buf *out);

#endif
