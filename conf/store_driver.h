/* The driver that the configuration's [store] names. */
#ifndef CONF_STORE_DRIVER_H_
#define CONF_STORE_DRIVER_H_

#include "conf/conf.h"
#include "lib/driver/driver.h"

/*
 * The driver for c->store_driver: `exec` with all of [store] and [driver]. The caller frees it. SP_ECONF for
 * `directory`, which this version does not have, and for `seedpod`, whose driver needs to know from its caller whether
 * there is a server (driver_seedpod_new()).
 */
struct driver *conf_store_driver(const struct conf *c, struct sp_error *err);

#endif
