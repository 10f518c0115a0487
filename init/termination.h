/* The termination message: one JSON line that Kubernetes shows with the pod (kubectl describe). */
#ifndef INIT_TERMINATION_H_
#define INIT_TERMINATION_H_

#include "init/seed.h"

/* {"phase","donor","bytes","expected","found","error","exit_code"} as one line, which the caller frees; NULL if it
 * cannot be made. */
char *termination_line(const struct seed_report *report, const struct sp_error *err, int exit_code);

/* `line` into the file `path`, if its folder exists. The file is written in place, because the
 * kubelet mounts it as a file. A failure is only logged. */
void termination_write(const char *path, const char *line);

#endif
