#include "conf/store_driver.h"

#include "lib/driver/driver_exec.h"

struct driver *
conf_store_driver(const struct conf *c, struct sp_error *err)
{
	if (c->store_driver != CONF_DRIVER_EXEC) {
		sp_error_set(err, SP_ECONF, "[store] driver: %s",
		    c->store_driver == CONF_DRIVER_DIRECTORY ? "directory is not available in this version"
							     : "seedpod is the server's own store");
		return NULL;
	}
	return driver_exec_new(&(struct driver_exec_options){ .command = c->store_command,
				   .data = c->store_path,
				   .lock_dir = c->server_data_dir,
				   .secrets_dir = c->store_secrets_dir,
				   .pod = c->pod.name,
				   .ordinal = c->pod.ordinal,
				   .timeout_ms = c->store_timeout_ms,
				   .idle_timeout_ms = c->store_idle_timeout_ms,
				   .keys = c->driver_keys,
				   .key_count = c->driver_key_count },
	    err);
}
