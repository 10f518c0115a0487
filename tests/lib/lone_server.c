#include "tests/lib/lone_server.h"

#include <check.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/lib/tempdir.h"

struct server *
lone_server_start(const char *dir, const char *more, struct conf *conf)
{
	char text[3 * TEMPDIR_MAX + 512], path[TEMPDIR_MAX + 16];
	unsigned pid = (unsigned)getpid();
	struct sp_error err = { 0 };
	struct server *s = NULL;

	snprintf(text, sizeof(text),
	    "[pod]\nname = store-0\npeer_url = http://127.%u.%u.{ordinal}:9876\n[server]\nlisten = 127.%u.%u.0:9876\n"
	    "control_socket = %s/control.sock\ndata_dir = %s/data\n%s[log]\nlevel = error\n",
	    100 + (pid >> 8 & 0x3f), pid & 0xff, 100 + (pid >> 8 & 0x3f), pid & 0xff, dir, dir, more);
	tempdir_write(dir, "seedpod.ini", text);
	snprintf(path, sizeof(path), "%s/seedpod.ini", dir);
	ck_assert_msg(conf_load(path, conf, &err) == 0, "%s", err.text);
	ck_assert_msg(server_start(conf, path, NULL, &s, &err) == 0, "%s", err.text);
	return s;
}
