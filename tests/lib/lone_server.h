/* A whole server alone in its pod, in the test's own process, on a loopback address of that process's own. What fails
 * here fails the test. */
#ifndef TESTS_LIB_LONE_SERVER_H_
#define TESTS_LIB_LONE_SERVER_H_

#include "conf/conf.h"
#include "server/server.h"

/* Its volume is dir/data, and `more` stands at the end of its section [server]. */
struct server *lone_server_start(const char *dir, const char *more, struct conf *conf);

#endif
