/* The small parts of init: volume states and their recovery, sums, manifest, progress, the termination message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "init/failure.h"
#include "init/manifest.h"
#include "init/progress.h"
#include "init/sums.h"
#include "init/termination.h"
#include "init/volume.h"
#include "lib/base/file.h"
#include "tests/lib/snapshot_maker.h"
#include "tests/lib/suite.h"

static char dir[64];
static struct volume volume;
static struct sp_error err;

static void
set_up(void)
{
	memset(&err, 0, sizeof(err));
	snprintf(dir, sizeof(dir), "/tmp/test_init.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(volume_init(&volume, dir, &err), 0);
}

static void
tear_down(void)
{
	volume_release(&volume);
	file_remove_tree(dir, NULL);
}

/* A store whose content is `text`; NULL: a directory without one. */
static void
put_store(const char *path, const char *text)
{
	char data[VOLUME_PATH_MAX];

	ck_assert_int_eq(file_make_dirs(path, &err), 0);
	if (text == NULL)
		return;
	ck_assert_int_eq(file_join(data, sizeof(data), path, "data.mdb", &err), 0);
	ck_assert_int_eq(file_write_atomic(data, text, strlen(text), 0600, &err), 0);
}

/* What is in force: the content of store/data.mdb, or "" for none. */
static void
read_store(char out[64])
{
	char data[VOLUME_PATH_MAX];
	struct buf text;

	buf_init(&text, 63);
	file_join(data, sizeof(data), volume.store, "data.mdb", NULL);
	snprintf(out, 64, "%s", file_read_all(data, &text, NULL) == 0 ? text.data : "");
	buf_release(&text);
}

/* --- Volume --- */

START_TEST(volume_recover__every_state_has_one_outcome)
{
	bool store = (_i & 1) != 0, incoming = (_i & 2) != 0, ready = (_i & 4) != 0, old = (_i & 8) != 0;
	const char *expected = ready ? "new" : store ? "store" : old ? "former" : "";
	struct volume_state state;
	char did[256], found[64];

	if (store)
		put_store(volume.store, "store");
	if (incoming)
		put_store(volume.incoming, "half");
	if (ready)
		put_store(volume.ready, "new");
	if (old)
		put_store(volume.old, "former");
	ck_assert_int_eq(volume_recover(&volume, did, sizeof(did), &err), 0);
	read_store(found);
	ck_assert_str_eq(found, expected);
	volume_look(&volume, &state);
	ck_assert(!state.incoming && !state.ready && !state.old);
	ck_assert_int_eq(did[0] != '\0', incoming || ready || old);
	ck_assert_int_eq(volume_recover(&volume, did, sizeof(did), &err), 0);
	ck_assert_str_eq(did, "");
}
END_TEST

START_TEST(volume_recover__an_empty_store_gives_way_to_the_former_one)
{
	char did[256], found[64];

	put_store(volume.store, "");
	put_store(volume.old, "former");
	ck_assert_str_eq(volume_store_to_be(&volume), volume.old);
	ck_assert_int_eq(volume_recover(&volume, did, sizeof(did), &err), 0);
	read_store(found);
	ck_assert_str_eq(found, "former");
}
END_TEST

START_TEST(volume_swap__keeps_the_former_store_until_cleaned)
{
	struct volume_state state;
	char found[64];

	put_store(volume.store, "store");
	ck_assert_int_eq(volume_make_incoming(&volume, &err), 0);
	put_store(volume.incoming, "new");
	ck_assert_int_eq(volume_commit(&volume, &err), 0);
	ck_assert_str_eq(volume_store_to_be(&volume), volume.ready);
	ck_assert_int_eq(volume_swap(&volume, &err), 0);
	read_store(found);
	ck_assert_str_eq(found, "new");
	volume_look(&volume, &state);
	ck_assert(state.store && state.old && !state.ready && !state.incoming);
	ck_assert_int_eq(volume_clean(&volume, &err), 0);
	volume_look(&volume, &state);
	ck_assert(state.store && !state.old);
}
END_TEST

START_TEST(volume_look__what_was_never_written_is_no_store)
{
	struct volume_state state;

	volume_look(&volume, &state);
	ck_assert(!state.store);
	put_store(volume.store, NULL);
	volume_look(&volume, &state);
	ck_assert(!state.store);
	put_store(volume.store, "");
	volume_look(&volume, &state);
	ck_assert(!state.store);
	put_store(volume.store, "x");
	volume_look(&volume, &state);
	ck_assert(state.store);
}
END_TEST

START_TEST(volume_lock__one_at_a_time)
{
	struct volume other;

	ck_assert_int_eq(volume_init(&other, dir, &err), 0);
	ck_assert_int_eq(volume_lock(&volume, &err), 0);
	ck_assert_int_eq(volume_lock(&other, &err), SP_EAGAIN);
	volume_release(&volume);
	ck_assert_int_eq(volume_lock(&other, &err), 0);
	volume_release(&other);
}
END_TEST

START_TEST(volume_lock__a_volume_that_is_no_directory_cannot_be_used)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/file/data", dir);
	snprintf(volume.lock, sizeof(volume.lock), "%s/file", dir);
	ck_assert_int_eq(file_write_atomic(volume.lock, "x", 1, 0600, &err), 0);
	ck_assert_int_eq(volume_init(&volume, path, &err), 0);
	ck_assert_int_eq(sp_code_exit(volume_lock(&volume, &err)), 73);
}
END_TEST

/* --- Sums and manifest --- */

static struct sums_fault fault;

static int
check_sums(const struct snapshot *s, const char *text, size_t len)
{
	return sums_check(text, len, digest_of(s->manifest.data, s->manifest.len), digest_of(s->data.data, s->data.len),
	    &fault, &err);
}

START_TEST(sums_check__right_ones_pass_and_any_other_byte_fails)
{
	struct snapshot s;

	snapshot_init(&s, 4096);
	ck_assert_int_eq(check_sums(&s, s.sums.data, s.sums.len), 0);
	for (size_t i = 0; i < s.sums.len; i++) {
		s.sums.data[i] ^= 1;
		ck_assert_msg(check_sums(&s, s.sums.data, s.sums.len) == SP_EBADDATA, "byte %zu", i);
		s.sums.data[i] ^= 1;
		ck_assert_int_eq(check_sums(&s, s.sums.data, i), SP_EBADDATA);
	}
	buf_adds(&s.sums, "\n");
	ck_assert_int_eq(check_sums(&s, s.sums.data, s.sums.len), SP_EBADDATA);
	snapshot_maker_release(&s);
}
END_TEST

START_TEST(sums_check__says_which_hash_and_what_was_found)
{
	char found[DIGEST_HEX_SIZE];
	struct snapshot s;

	snapshot_init(&s, 4096);
	s.data.data[17] ^= 1;
	digest_to_hex(digest_of(s.data.data, s.data.len), found);
	ck_assert_int_eq(check_sums(&s, s.sums.data, s.sums.len), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "store/data.mdb"));
	ck_assert_str_eq(fault.found, found);
	ck_assert_ptr_nonnull(strstr(err.text, fault.expected));
	s.data.data[17] ^= 1;
	s.manifest.data[3] ^= 1;
	ck_assert_int_eq(check_sums(&s, s.sums.data, s.sums.len), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "seedpod.json is not"));
	snapshot_maker_release(&s);
}
END_TEST

START_TEST(manifest_parse__reads_a_right_one)
{
	struct manifest m;
	struct snapshot s;

	snapshot_init(&s, 4096);
	ck_assert_int_eq(manifest_parse(s.manifest.data, s.manifest.len, &m, &err), 0);
	ck_assert_uint_eq(m.bytes, 4096);
	ck_assert_str_eq(m.donor, "store-0");
	ck_assert_str_eq(m.position.cluster, SNAPSHOT_CLUSTER);
	ck_assert_uint_eq(m.position.seq, 200);
	snapshot_maker_release(&s);
}
END_TEST

START_TEST(manifest_parse__wrong_ones_are_named)
{
	static const char *const wrong[][2] = {
		{ "", "seedpod.json" },
		{ "[1]", "format" },
		{ "{\"format\":2,\"bytes\":1}", "format 2" },
		{ "{\"format\":1}", "bytes" },
		{ "{\"format\":1,\"bytes\":-4}", "bytes" },
		{ "{\"format\":1,\"bytes\":\"4\"}", "bytes" },
		{ "{\"format\":1,\"bytes\":4096}", "page_size" },
		{ "{\"format\":1,\"bytes\":65536,\"page_size\":65536}", "page_size" },
		{ "{\"format\":1,\"bytes\":12288,\"page_size\":12288}", "page_size" },
		{ "{\"format\":1,\"bytes\":5000,\"page_size\":4096}", "whole number of pages" },
		{ "{\"format\":1,\"bytes\":4096,\"page_size\":4096}", "cluster" },
		{ "{\"format\":1,\"format\":1,\"bytes\":4096}", "duplicate" },
	};
	struct manifest m;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_assert_int_eq(manifest_parse(wrong[i][0], strlen(wrong[i][0]), &m, &err), SP_EBADDATA);
		ck_assert_msg(strstr(err.text, wrong[i][1]) != NULL, "%s", err.text);
	}
}
END_TEST

/* --- Progress --- */

static const char *
progress_of(uint64_t done, uint64_t total, int64_t elapsed_ms)
{
	static char text[PROGRESS_TEXT_MAX];

	progress_text(done, total, elapsed_ms, text, sizeof(text));
	return text;
}

START_TEST(progress_text__shows_bytes_rate_and_time_left)
{
	ck_assert_str_eq(progress_of(0, 1000, 0), "[>                       ]   0%  0 B of 1000 B  0 B/s");
	ck_assert_str_eq(progress_of(10u << 20, 40u << 20, 2000),
	    "[======>                 ]  25%  10.0 MiB of 40.0 MiB  5.0 MiB/s  6 s left");
	ck_assert_str_eq(
	    progress_of(1024, 1024, 1000), "[========================] 100%  1.0 KiB of 1.0 KiB  1.0 KiB/s  0 s left");
	ck_assert_str_eq(progress_of((uint64_t)3 << 40, 0, 1000), "3.0 TiB  3.0 TiB/s");
	ck_assert_str_eq(
	    progress_of(2000, 1000, 1000), "[========================] 100%  2.0 KiB of 1000 B  2.0 KiB/s");
}
END_TEST

/* --- Termination message --- */

START_TEST(termination_write__one_json_line_where_the_folder_exists)
{
	struct seed_report report = {
		.phase = "verify", .donor = "store-0", .bytes = 12, .expected = "a", .found = "b"
	};
	char path[128];
	struct buf text;
	json_t *json;
	char *line;

	buf_init(&text, 4096);
	sp_error_set(&err, SP_EBADDATA, "it was \"altered\"\nand more");
	snprintf(path, sizeof(path), "%s/termination-log", dir);
	ck_assert_int_eq(file_write_atomic(path,
			     "a longer text that was there before, to be replaced in place, as a "
			     "mounted file must be, whatever its length may be, even two hundred bytes "
			     "or so, which is more than the message itself will ever need here",
			     200, 0600, &err),
	    0);
	line = termination_line(&report, &err, 65);
	ck_assert_ptr_nonnull(line);
	termination_write(path, line);
	ck_assert_int_eq(file_read_all(path, &text, &err), 0);
	ck_assert_uint_eq(strcspn(text.data, "\n"), text.len - 1);
	json = json_loadb(text.data, text.len, 0, NULL);
	ck_assert_str_eq(json_string_value(json_object_get(json, "phase")), "verify");
	ck_assert_str_eq(json_string_value(json_object_get(json, "donor")), "store-0");
	ck_assert_int_eq(json_integer_value(json_object_get(json, "bytes")), 12);
	ck_assert_str_eq(json_string_value(json_object_get(json, "expected")), "a");
	ck_assert_str_eq(json_string_value(json_object_get(json, "found")), "b");
	ck_assert_str_eq(json_string_value(json_object_get(json, "error")), err.text);
	ck_assert_int_eq(json_integer_value(json_object_get(json, "exit_code")), 65);
	json_decref(json);
	buf_release(&text);

	snprintf(path, sizeof(path), "%s/nowhere/termination-log", dir);
	termination_write(path, line);
	ck_assert(!file_exists(path));
	free(line);
}
END_TEST

/* --- Starts that failed --- */

static void
fail_start(const char *why)
{
	struct seed_report report = { .phase = "facts" };
	char *line;

	sp_error_set(&err, SP_EUNAVAIL, "%s", why);
	line = termination_line(&report, &err, 69);
	failure_note(dir, line);
	free(line);
}

START_TEST(failure_take__tells_the_first_failure_and_their_number_once)
{
	struct buf told;
	json_t *record, *first;

	buf_init(&told, FAILURE_BYTES_MAX);
	failure_take(dir, &told);
	ck_assert_uint_eq(told.len, 0);
	fail_start("the reason");
	fail_start("what came of it");
	failure_take(dir, &told);
	record = json_loadb(told.data, told.len, 0, NULL);
	first = json_object_get(record, "first");
	ck_assert_int_eq(json_integer_value(json_object_get(record, "failures")), 2);
	ck_assert_str_eq(json_string_value(json_object_get(first, "error")), "the reason");
	ck_assert_int_eq(json_integer_value(json_object_get(first, "exit_code")), 69);
	ck_assert_ptr_nonnull(json_object_get(first, "time"));
	json_decref(record);
	buf_reset(&told);
	failure_take(dir, &told);
	ck_assert_uint_eq(told.len, 0);
	buf_release(&told);
}
END_TEST

START_TEST(failure_note__what_is_no_record_is_replaced)
{
	struct buf told;
	char path[128];

	buf_init(&told, FAILURE_BYTES_MAX);
	snprintf(path, sizeof(path), "%s/init-failure.json", dir);
	ck_assert_int_eq(file_write_atomic(path, "[1", 2, 0600, &err), 0);
	fail_start("the reason");
	failure_take(dir, &told);
	ck_assert_ptr_nonnull(strstr(told.data, "the reason"));
	buf_release(&told);
	failure_note("/nonexistent/data", "{}");
}
END_TEST

/* --- A volume without a store --- */

START_TEST(volume_describe_empty__names_the_files_of_others)
{
	static const char *const names[] = { "lock", "control.sock", "cluster", "appendonly.aof" };
	char text[512], path[128], want[512];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(want, sizeof(want), "there is no store in %s", dir);
		volume_describe_empty(&volume, text, sizeof(text));
		ck_assert_str_eq(text, want);
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		ck_assert_int_eq(file_write_atomic(path, "x", 1, 0600, &err), 0);
	}
	volume_describe_empty(&volume, text, sizeof(text));
	snprintf(want, sizeof(want), "there is no store in %s, which holds other files (appendonly.aof)", dir);
	ck_assert_str_eq(text, want);
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/other-%d", dir, i);
		ck_assert_int_eq(file_write_atomic(path, "x", 1, 0600, &err), 0);
	}
	volume_describe_empty(&volume, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, " and 2 more)"));
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("init_parts");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, volume_recover__every_state_has_one_outcome, 0, 16);
	tcase_add_test(tc, volume_recover__an_empty_store_gives_way_to_the_former_one);
	tcase_add_test(tc, volume_swap__keeps_the_former_store_until_cleaned);
	tcase_add_test(tc, volume_look__what_was_never_written_is_no_store);
	tcase_add_test(tc, volume_lock__one_at_a_time);
	tcase_add_test(tc, volume_lock__a_volume_that_is_no_directory_cannot_be_used);
	tcase_add_test(tc, sums_check__right_ones_pass_and_any_other_byte_fails);
	tcase_add_test(tc, sums_check__says_which_hash_and_what_was_found);
	tcase_add_test(tc, manifest_parse__reads_a_right_one);
	tcase_add_test(tc, manifest_parse__wrong_ones_are_named);
	tcase_add_test(tc, progress_text__shows_bytes_rate_and_time_left);
	tcase_add_test(tc, termination_write__one_json_line_where_the_folder_exists);
	tcase_add_test(tc, failure_take__tells_the_first_failure_and_their_number_once);
	tcase_add_test(tc, failure_note__what_is_no_record_is_replaced);
	tcase_add_test(tc, volume_describe_empty__names_the_files_of_others);
	return suite_run_case("init_parts", tc);
}
