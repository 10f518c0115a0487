/* drivers/example, the worked example of docs/driver-contract.md: it seeds an empty directory. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/driver/driver_exec.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define POSITION "{\"cluster\":\"ex\",\"epoch\":1,\"seq\":7,\"history\":[[1,0]],\"role\":\"leader\"}"

static char dir[TEMPDIR_MAX], data[TEMPDIR_MAX], target[TEMPDIR_MAX];
static struct sp_error err;

static struct driver *
make(void)
{
	struct driver *d;

	snprintf(data, sizeof(data), "%s", tempdir_path(dir, "data"));
	snprintf(target, sizeof(target), "%s", tempdir_path(dir, "target"));
	ck_assert_int_eq(mkdir(data, 0700), 0);
	ck_assert_int_eq(mkdir(target, 0700), 0);
	d = driver_exec_new(
	    &(struct driver_exec_options){
		.command = "drivers/example", .data = data, .lock_dir = dir, .pod = "ex-0", .timeout_ms = 30000 },
	    &err);
	ck_assert_msg(d != NULL, "%s", err.text);
	return d;
}

static int
collect(void *arg, const void *bytes, size_t len, struct sp_error *e)
{
	(void)e;
	return buf_add(arg, bytes, len);
}

struct once {
	struct buf *from;
	bool done;
};

static int
next_all(void *arg, const void **bytes, size_t *len, struct sp_error *e)
{
	struct once *o = arg;

	(void)e;
	if (o->done)
		return 0;
	o->done = true;
	*bytes = o->from->data;
	*len = o->from->len;
	return 1;
}

START_TEST(driver_example__seeds_an_empty_directory)
{
	struct driver *d = make();
	struct driver_traits traits;
	struct driver_report said, restored;
	struct buf payload, text;

	buf_init(&payload, 1 << 20);
	buf_init(&text, 1000);
	tempdir_write(data, "a", "content");
	tempdir_write(data, ".position", POSITION);
	ck_assert_msg(d->ops->traits(d, &traits, &err) == 0, "%s", err.text);
	ck_assert_str_eq(traits.store, "example");
	ck_assert_msg(d->ops->payload(d, collect, &payload, &said, &err) == 0, "%s", err.text);
	ck_assert_msg(
	    d->ops->restore(d, target, next_all, &(struct once){ .from = &payload }, &err) == 0, "%s", err.text);
	ck_assert_msg(d->ops->verify(d, target, &restored, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(said.position.seq, 7);
	ck_assert_uint_eq(restored.position.seq, 7);
	ck_assert_int_eq(file_read_all(tempdir_path(target, "a"), &text, NULL), 0);
	ck_assert_str_eq(text.data, "content");
	ck_assert_int_eq(d->ops->cleanup(d, &err), 0);
	buf_release(&payload);
	buf_release(&text);
	d->ops->free(d);
}
END_TEST

START_TEST(driver_example__without_a_store)
{
	struct driver *d = make();
	struct driver_report said;
	struct buf payload;

	buf_init(&payload, 1 << 20);
	ck_assert_int_eq(d->ops->report(d, &said, &err), SP_ENOTFOUND);
	ck_assert_int_eq(d->ops->payload(d, collect, &payload, &said, &err), SP_ENOTFOUND);
	ck_assert_int_eq(d->ops->verify(d, target, &said, &err), SP_ENOTFOUND);
	buf_release(&payload);
	d->ops->free(d);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { driver_example__seeds_an_empty_directory, driver_example__without_a_store };

	return suite_run_in_folder("driver_example", tests, sizeof(tests) / sizeof(tests[0]), 60, dir);
}
