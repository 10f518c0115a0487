/*
 * init against donors that send what no honest donor would: whatever comes, the code and the message are right, and the
 * store that was there before is there after. The last check, which takes seedpod-server, is a function of the test's
 * own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "init/run.h"
#include "init/stop.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/protocol/tar.h"
#include "tests/lib/donor.h"
#include "tests/lib/snapshot_maker.h"
#include "tests/lib/suite.h"
#include "tests/lib/tar_maker.h"

#define DATA_BYTES 303104 /* 74 pages */

static char dir[64];
static struct donor donor;
static struct snapshot snapshot;
static struct conf conf;
static struct sp_error err;
static struct seed_report report;

/* What the stand-ins for seedpod-server say of the old store and of the new one. */
static struct position old_position, new_position;
static int new_code;

static int
tell_old(struct driver *d, struct position *out, struct sp_error *e)
{
	(void)d;
	(void)e;
	*out = old_position;
	return 0;
}

static const struct driver_ops old_store_ops = { .name = "old", .position = tell_old };
static struct driver old_store = { .ops = &old_store_ops };

static int
tell_new(void *arg, const char *store_dir, struct position *out, struct sp_error *e)
{
	char path[VOLUME_PATH_MAX];

	(void)arg;
	file_join(path, sizeof(path), store_dir, "data.mdb", NULL);
	ck_assert(file_exists(path));
	*out = new_position;
	return new_code < 0 ? sp_error_set(e, new_code, "the new store is damaged") : 0;
}

static void
configure(const char *more)
{
	char text[2048], url[64];

	peer_server_url(donor.server, "", url, sizeof(url));
	snprintf(text, sizeof(text),
	    "[pod]\nname = store-1\nservice = s\ntermination_log = %s/termination\n"
	    "[server]\ndata_dir = %s\ncontrol_socket = %s/control\n"
	    "[bootstrap]\nattempts = 1\nretry_delay = 10ms\nstall_timeout = 300ms\nmax_peers = 1\npeer_grace = 0\n%s",
	    dir, dir, dir, more);
	ck_assert_msg(conf_parse("test", text, strlen(text), NULL, &conf, &err) == 0, "%s", err.text);
	/* A real one has no path; here it tells one pod of the donor's server from another. */
	snprintf(conf.pod_peer_url, sizeof(conf.pod_peer_url), "%s/{ordinal}", url);
}

static void
set_up(void)
{
	memset(&err, 0, sizeof(err));
	memset(&old_position, 0, sizeof(old_position));
	log_configure(LOG_ERROR, LOG_LOGFMT);
	snprintf(dir, sizeof(dir), "/tmp/test_seed.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	donor_init(&donor);
	configure("");
	snapshot_init(&snapshot, DATA_BYTES);
	new_position = snapshot.position;
	new_position.consistent = true;
	new_position.history_count = 1;
	new_position.history[0].epoch = 1;
	new_code = 0;
	donor.pods[0].absent = false;
	donor.pods[0].position = new_position;
	donor.pods[0].position.role = ROLE_LEADER;
}

static void
tear_down(void)
{
	donor_release(&donor);
	snapshot_maker_release(&snapshot);
	file_remove_tree(dir, NULL);
}

static struct buf *
tar(void)
{
	return &donor.pods[0].tar;
}

/* A store on the volume, as far as it matters here. */
static void
put_store(const char *name, const char *content)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	ck_assert_int_eq(file_make_dirs(path, &err), 0);
	snprintf(path, sizeof(path), "%s/%s/data.mdb", dir, name);
	ck_assert_int_eq(file_write_atomic(path, content, strlen(content), 0600, &err), 0);
}

/* A store that is there already: of the same cluster, but too far behind, so that it is seeded again. */
static void
have_old_store(void)
{
	put_store("store", "old store");
	old_position = snapshot.position;
	snprintf(old_position.cluster, sizeof(old_position.cluster), SNAPSHOT_CLUSTER);
	old_position.seq = 1;
	old_position.consistent = true;
}

static int
run(void)
{
	return run_init(&(struct run_options){ .conf = &conf, .driver = &old_store, .check = tell_new }, &report, &err);
}

static bool
store_is(const void *data, size_t len)
{
	char path[128];
	struct buf found;
	bool same;

	buf_init(&found, 64u << 20);
	snprintf(path, sizeof(path), "%s/store/data.mdb", dir);
	same = file_read_all(path, &found, NULL) == 0 && found.len == len && memcmp(found.data, data, len) == 0;
	buf_release(&found);
	return same;
}

static bool
is_there(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return file_exists(path);
}

/* It failed as it should: code, words of the message, and nothing of the volume changed. */
static void
expect_refusal(int exit_code, const char *words)
{
	int rc;

	have_old_store();
	rc = run();
	ck_assert_msg(sp_code_exit(rc) == exit_code, "%s: %s", sp_code_name(rc), err.text);
	ck_assert_msg(strstr(err.text, words) != NULL, "\"%s\" is not in \"%s\"", words, err.text);
	ck_assert_msg(strstr(err.text, "store-0") != NULL, "%s", err.text);
	ck_assert(store_is("old store", 9));
	ck_assert(!is_there("store.incoming") && !is_there("store.ready") && !is_there("store.old"));
	ck_assert(!is_there("seed.json"));
	ck_assert(!is_there("x") && !is_there("../x"));
}

static void
expect_seeded(void)
{
	int rc = run();

	ck_assert_msg(rc == 0, "%s: %s", sp_code_name(rc), err.text);
	ck_assert(store_is(snapshot.data.data, snapshot.data.len));
	ck_assert(!is_there("store.incoming") && !is_there("store.ready") && !is_there("store.old"));
}

/* --- Good ends --- */

/* That pod stands where pod 0 does, and follows it. */
static void
follows(size_t pod)
{
	donor.pods[pod].position = donor.pods[0].position;
	donor.pods[pod].position.role = ROLE_FOLLOWER;
}

START_TEST(init_seed__empty_volume_gets_the_snapshot_and_a_record)
{
	char path[128];
	struct buf text;
	json_t *json;

	snapshot_pack(&snapshot, tar());
	expect_seeded();
	ck_assert_str_eq(report.donor, "store-0");
	ck_assert_uint_eq(report.bytes, tar()->len);
	buf_init(&text, 4096);
	snprintf(path, sizeof(path), "%s/seed.json", dir);
	ck_assert_int_eq(file_read_all(path, &text, &err), 0);
	json = json_loadb(text.data, text.len, 0, NULL);
	ck_assert_int_eq(json_integer_value(json_object_get(json, "bytes")), (json_int_t)tar()->len);
	ck_assert_int_eq(json_integer_value(json_object_get(json, "seq")), 200);
	ck_assert_str_eq(json_string_value(json_object_get(json, "donor")), "store-0");
	ck_assert(json_is_real(json_object_get(json, "seconds")));
	json_decref(json);
	buf_release(&text);
}
END_TEST

START_TEST(init_seed__an_old_store_is_replaced)
{
	have_old_store();
	snapshot_pack(&snapshot, tar());
	expect_seeded();
}
END_TEST

START_TEST(init_seed__broken_connections_are_resumed_at_the_byte)
{
	snapshot_pack(&snapshot, tar());
	donor.pods[0].holds = true;
	donor.pods[0].cut_at = 70001;
	donor.pods[0].cuts = 100;
	expect_seeded();
	ck_assert_uint_eq(donor.pods[0].snapshots, 1);
	ck_assert_uint_ge(donor.pods[0].resumes, 4);
}
END_TEST

static void
count_look(void *arg)
{
	++*(unsigned *)arg;
}

START_TEST(init_seed__new_certificates_are_looked_for_before_going_on)
{
	unsigned looks = 0;

	snapshot_pack(&snapshot, tar());
	donor.pods[0].holds = true;
	donor.pods[0].cut_at = 100000;
	donor.pods[0].cuts = 2;
	ck_assert_int_eq(
	    run_init(
		&(struct run_options){
		    .conf = &conf, .driver = &old_store, .check = tell_new, .look = count_look, .look_arg = &looks },
		&report, &err),
	    0);
	ck_assert_uint_eq(donor.pods[0].resumes, 2);
	ck_assert_uint_eq(looks, 3);
}
END_TEST

START_TEST(init_seed__a_stall_is_resumed)
{
	snapshot_pack(&snapshot, tar());
	donor.pods[0].holds = true;
	donor.pods[0].cut_at = 100000;
	donor.pods[0].cuts = 1;
	donor.pods[0].stall = true;
	expect_seeded();
	ck_assert_uint_eq(donor.pods[0].resumes, 1);
}
END_TEST

START_TEST(init_seed__starts_over_where_the_donor_forgot_the_snapshot)
{
	snapshot_pack(&snapshot, tar());
	configure("reseed_ratio = 0.25\n");
	conf.bootstrap_attempts = 2;
	donor.pods[0].holds = donor.pods[0].forgets = true;
	donor.pods[0].cut_at = 100000;
	donor.pods[0].cuts = 1;
	expect_seeded();
	ck_assert_uint_eq(donor.pods[0].snapshots, 2);
	ck_assert_uint_eq(donor.pods[0].resumes, 1);
}
END_TEST

START_TEST(init_seed__bad_data_from_a_follower_leads_to_the_leader)
{
	conf.bootstrap_max_peers = 3;
	donor.pods[2].absent = false;
	follows(2);
	snapshot_pack(&snapshot, tar());
	snapshot_pack(&snapshot, &donor.pods[2].tar);
	donor.pods[2].tar.data[5000] ^= 1;
	expect_seeded();
	ck_assert_uint_eq(donor.pods[2].snapshots, 1);
	ck_assert_uint_eq(donor.pods[0].snapshots, 1);
}
END_TEST

START_TEST(init_seed__a_leader_restores_from_the_most_advanced_peer)
{
	conf.pod.ordinal = 0;
	snprintf(conf.pod.name, sizeof(conf.pod.name), "store-0");
	conf.bootstrap_max_peers = 4;
	donor.pods[0].absent = true;
	for (size_t i = 2; i < 4; i++) {
		donor.pods[i].absent = false;
		follows(i);
		donor.pods[i].position.seq -= i - 2;
	}
	snapshot_pack(&snapshot, &donor.pods[2].tar);
	expect_seeded();
	ck_assert_str_eq(report.donor, "store-2");
}
END_TEST

/* Who gave its position, and half of its snapshot, has data still when it does not answer any more. */
START_TEST(init_seed__a_leader_whose_donor_vanishes_does_not_start_empty)
{
	snapshot_pack(&snapshot, &donor.pods[2].tar);
	for (int mode = CONF_MODE_STATIC; mode <= CONF_MODE_RAFT; mode++) {
		conf.replication_mode = (enum conf_mode)mode;
		conf.pod.ordinal = 0;
		conf.bootstrap_max_peers = 4;
		conf.bootstrap_attempts = 3;
		pthread_mutex_lock(&donor.lock);
		donor.pods[0].absent = true;
		follows(2);
		donor.pods[2].position.raft =
		    (struct position_raft){ .role = mode == CONF_MODE_RAFT ? MEMBER_ROLE_LEADER : MEMBER_ROLE_NONE };
		donor.pods[2].absent = false;
		donor.pods[2].vanishes = true;
		donor.pods[2].cut_at = 100000;
		donor.pods[2].cuts = 1;
		pthread_mutex_unlock(&donor.lock);
		ck_assert_int_eq(run(), SP_EAGAIN);
		ck_assert_msg(strstr(err.text, "store-2 may have data") != NULL, "%s", err.text);
		ck_assert(!is_there("store"));
	}
}
END_TEST

/* A member of mode raft that has its log and its vote in raft/, and a store that its log does not lead on from. */
static void
have_member(void)
{
	char path[128];

	have_old_store();
	snprintf(path, sizeof(path), "%s/raft", dir);
	ck_assert_int_eq(file_make_dirs(path, &err), 0);
	snprintf(path, sizeof(path), "%s/raft/member", dir);
	ck_assert_int_eq(file_write_atomic(path, "vote", 4, 0600, &err), 0);
	conf.replication_mode = CONF_MODE_RAFT;
	donor.pods[0].position.raft =
	    (struct position_raft){ .role = MEMBER_ROLE_LEADER, .applied = 900, .commit = 900 };
	snapshot_pack(&snapshot, tar());
}

static int
run_member(uint64_t min_applied)
{
	return run_init(
	    &(struct run_options){
		.conf = &conf, .reseed = true, .min_applied = min_applied, .driver = &old_store, .check = tell_new },
	    &report, &err);
}

START_TEST(init_seed__a_member_gets_another_store_and_keeps_its_log)
{
	have_member();
	new_position.raft = (struct position_raft){ .role = MEMBER_ROLE_STOPPED, .applied = 850 };
	ck_assert_int_eq(run_member(850), 0);
	ck_assert(store_is(snapshot.data.data, snapshot.data.len));
	ck_assert(is_there("raft/member"));
	ck_assert(!is_there("seedpod.json"));
}
END_TEST

START_TEST(init_seed__a_member_waits_for_a_donor_that_has_applied_enough)
{
	have_member();
	ck_assert_int_eq(run_member(901), SP_EUNAVAIL);
	ck_assert_ptr_nonnull(strstr(err.text, "index 901"));
	ck_assert_uint_eq(donor.pods[0].snapshots, 0);
	ck_assert(store_is("old store", 9));
}
END_TEST

/* The donor has applied enough by now, but its snapshot was taken for somebody else before. */
START_TEST(init_seed__a_member_refuses_a_snapshot_from_before_what_it_needs)
{
	have_member();
	new_position.raft = (struct position_raft){ .role = MEMBER_ROLE_STOPPED, .applied = 849 };
	ck_assert_int_eq(run_member(850), SP_EAGAIN);
	ck_assert_ptr_nonnull(strstr(err.text, "needed is 850"));
	ck_assert(store_is("old store", 9));
	ck_assert(is_there("raft/member"));
}
END_TEST

/* The plan was made from a position of the donor's that its snapshot does not reach. */
static void
old_snapshot(uint64_t seq)
{
	snapshot.position.seq = new_position.seq = seq;
	snapshot_seal(&snapshot);
	snapshot_pack(&snapshot, tar());
}

START_TEST(init_seed__a_snapshot_older_than_the_store_keeps_it)
{
	have_old_store();
	old_position.seq = 100;
	old_snapshot(99);
	ck_assert_int_eq(run(), SP_EAGAIN);
	ck_assert_ptr_nonnull(strstr(err.text, "older than what it would replace"));
	ck_assert_uint_eq(donor.pods[0].snapshots, 1);
	ck_assert(store_is("old store", 9));
	ck_assert(!is_there("store.incoming") && !is_there("store.ready"));
}
END_TEST

START_TEST(init_seed__a_snapshot_of_another_history_keeps_the_store)
{
	have_old_store();
	old_position.seq = 100;
	new_position.history[0].since = 101;
	old_snapshot(150);
	ck_assert_int_eq(run(), SP_EAGAIN);
	ck_assert(store_is("old store", 9));
}
END_TEST

START_TEST(init_seed__a_snapshot_at_the_stores_place_replaces_it)
{
	have_old_store();
	old_position.seq = 100;
	old_snapshot(100);
	expect_seeded();
}
END_TEST

/* What a peer told is what a lost leader comes back with, and not less. */
START_TEST(init_seed__a_leader_restores_no_snapshot_older_than_what_was_told)
{
	conf.pod.ordinal = 0;
	snprintf(conf.pod.name, sizeof(conf.pod.name), "store-0");
	conf.bootstrap_max_peers = 2;
	donor.pods[0].absent = true;
	donor.pods[1].absent = false;
	follows(1);
	old_snapshot(199);
	snapshot_pack(&snapshot, &donor.pods[1].tar);
	ck_assert_int_eq(run(), SP_EAGAIN);
	ck_assert(!is_there("store") && !is_there("store.ready"));
}
END_TEST

/* A reseed in a running pod whose init was killed between commit and swap: the server went on with the store it had. */
static int
tell_each(void *arg, const char *store_dir, struct position *out, struct sp_error *e)
{
	(void)arg;
	(void)e;
	*out = new_position;
	if (strstr(store_dir, "store.ready") != NULL)
		out->seq--;
	return 0;
}

START_TEST(init_seed__what_was_ready_and_is_older_by_now_is_dropped)
{
	put_store("store.ready", "ready store");
	have_old_store();
	old_position = donor.pods[0].position;
	ck_assert_int_eq(
	    run_init(&(struct run_options){ .conf = &conf, .driver = &old_store, .check = tell_each }, &report, &err),
	    0);
	ck_assert(store_is("old store", 9));
	ck_assert(!is_there("store.incoming") && !is_there("store.ready") && !is_there("store.old"));
}
END_TEST

START_TEST(init_seed__what_an_earlier_life_left_is_finished_first)
{
	put_store("store.ready", "ready store");
	have_old_store();
	old_position = donor.pods[0].position;
	ck_assert_int_eq(run(), 0);
	ck_assert(store_is("ready store", 11));
	ck_assert_uint_eq(donor.pods[0].snapshots, 0);
}
END_TEST

/* --- Bad ends --- */

START_TEST(init_seed__truncated_stream_keeps_old_store)
{
	snapshot_pack(&snapshot, tar());
	donor.pods[0].cut_at = 100000;
	donor.pods[0].cuts = 100;
	expect_refusal(65, "100000 of");
	ck_assert_int_eq(err.code, SP_ETRUNCATED);
	ck_assert_str_eq(report.phase, "download");
}
END_TEST

START_TEST(init_seed__truncated_archive_keeps_old_store)
{
	snapshot_pack(&snapshot, tar());
	tar()->len -= TAR_END_BYTES;
	expect_refusal(65, "cut short");
}
END_TEST

START_TEST(init_seed__archive_that_ends_within_the_data_keeps_old_store)
{
	snapshot_pack(&snapshot, tar());
	tar()->len = 100000;
	donor.pods[0].no_length = true;
	expect_refusal(65, "cut short");
}
END_TEST

START_TEST(init_seed__stalled_stream_keeps_old_store)
{
	snapshot_pack(&snapshot, tar());
	donor.pods[0].cut_at = 100000;
	donor.pods[0].cuts = 100;
	donor.pods[0].stall = true;
	expect_refusal(69, "silent for");
}
END_TEST

START_TEST(init_seed__altered_byte_keeps_old_store)
{
	snapshot_pack(&snapshot, tar());
	tar()->data[200000] ^= 4;
	expect_refusal(65, "store/data.mdb is not what was sent");
	ck_assert_str_eq(report.phase, "verify");
	ck_assert_uint_eq(strlen(report.expected), 32);
	ck_assert_uint_eq(strlen(report.found), 32);
}
END_TEST

START_TEST(init_seed__altered_manifest_keeps_old_store)
{
	snapshot.manifest.data[strcspn(snapshot.manifest.data, "2")] = '3'; /* some digit */
	snapshot_pack(&snapshot, tar());
	expect_refusal(65, "seedpod.json");
}
END_TEST

START_TEST(init_seed__wrong_sums_keep_old_store)
{
	buf_reset(&snapshot.sums);
	buf_adds(&snapshot.sums, "these are no sums\n");
	snapshot_pack(&snapshot, tar());
	expect_refusal(65, "seedpod.sums: line 1");
}
END_TEST

/* Members that have no place in a snapshot: what comes first, and the words of the refusal. */
static const struct {
	char type;
	const char *name;
	const char *link;
	const char *words;
} strangers[] = {
	{ '0', "../x", "", "../x" },
	{ '0', "store/../../x", "", "\"..\"" },
	{ '0', "/x", "", "absolute" },
	{ '2', "seedpod.json", "/etc/passwd", "symbolic link" },
	{ '1', "seedpod.json", "/etc/passwd", "hard link" },
	{ '3', "seedpod.json", "", "character device" },
	{ '4', "seedpod.json", "", "block device" },
	{ '6', "seedpod.json", "", "fifo" },
	{ '5', "store", "", "directory" },
	{ '0', "x", "", "holds x where seedpod.json must be" },
	{ '0', "store/lock.mdb", "", "holds store/lock.mdb" },
};

START_TEST(init_seed__strange_members_keep_old_store)
{
	tar_maker_add(tar(), strangers[_i].type, strangers[_i].name, strangers[_i].link, "", 0);
	snapshot_pack(&snapshot, tar());
	expect_refusal(65, strangers[_i].words);
	ck_assert_str_eq(report.phase, "verify");
}
END_TEST

/* The same, after a manifest that is right. */
START_TEST(init_seed__strange_second_members_keep_old_store)
{
	tar_maker_add(tar(), '0', "seedpod.json", "", snapshot.manifest.data, snapshot.manifest.len);
	tar_maker_add(tar(), strangers[_i].type, strangers[_i].name, strangers[_i].link, "", 0);
	tar_maker_end(tar());
	expect_refusal(65, _i == 9 ? "holds x where store/data.mdb must be" : strangers[_i].words);
}
END_TEST

static void
add_manifest(void)
{
	tar_maker_add(tar(), '0', "seedpod.json", "", snapshot.manifest.data, snapshot.manifest.len);
}

static void
add_data(void)
{
	tar_maker_add(tar(), '0', "store/data.mdb", "", snapshot.data.data, snapshot.data.len);
}

static void
add_sums(void)
{
	tar_maker_add(tar(), '0', "seedpod.sums", "", snapshot.sums.data, snapshot.sums.len);
}

START_TEST(init_seed__repeated_missing_and_misplaced_members_keep_old_store)
{
	static void (*const orders[][5])(void) = {
		{ add_manifest, add_manifest, add_data, add_sums },
		{ add_manifest, add_data, add_data, add_sums },
		{ add_manifest, add_data, add_sums, add_sums },
		{ add_manifest, add_data, add_sums, add_data },
		{ add_data, add_manifest, add_sums },
		{ add_manifest, add_sums, add_data },
		{ add_manifest, add_data },
		{ add_manifest, add_sums },
		{ add_manifest },
		{ NULL },
	};
	static const char *const words[] = {
		"holds seedpod.json where store/data.mdb must be",
		"holds store/data.mdb where seedpod.sums must be",
		"holds seedpod.sums after seedpod.sums",
		"holds store/data.mdb after seedpod.sums",
		"holds store/data.mdb where seedpod.json must be",
		"holds seedpod.sums where store/data.mdb must be",
		"ends without seedpod.sums",
		"holds seedpod.sums where store/data.mdb must be",
		"ends without store/data.mdb",
		"ends without seedpod.json",
	};

	for (size_t i = 0; orders[_i][i] != NULL; i++)
		orders[_i][i]();
	tar_maker_end(tar());
	expect_refusal(65, words[_i]);
}
END_TEST

START_TEST(init_seed__data_of_another_size_than_announced_keeps_old_store)
{
	add_manifest();
	tar_maker_add(tar(), '0', "store/data.mdb", "", snapshot.data.data, snapshot.data.len - 1);
	add_sums();
	tar_maker_end(tar());
	expect_refusal(65, "announced 303104");
}
END_TEST

START_TEST(init_seed__small_members_are_bounded)
{
	if (_i == 0) {
		tar_maker_header(tar(), '0', "seedpod.json", "", (size_t)5 << 30);
	} else {
		add_manifest();
		add_data();
		tar_maker_header(tar(), '0', "seedpod.sums", "", (size_t)5 << 30);
	}
	donor.pods[0].no_length = true;
	donor.pods[0].endless = "and on, and on, and on, and on, and on, and on, and on, and on ";
	expect_refusal(65, _i == 0 ? "at most 65536" : "at most 4096");
}
END_TEST

START_TEST(init_seed__endless_stream_keeps_old_store)
{
	snapshot_pack(&snapshot, tar());
	donor.pods[0].no_length = true;
	donor.pods[0].endless = "and on, and on, and on, and on, and on, and on, and on, and on ";
	expect_refusal(65, "after the archive's end");
}
END_TEST

START_TEST(init_seed__another_cluster_keeps_old_store)
{
	snapshot.position.cluster[0] = '0';
	snapshot_seal(&snapshot);
	snapshot_pack(&snapshot, tar());
	expect_refusal(65, "of cluster 0f1c");
	ck_assert_str_eq(report.expected, SNAPSHOT_CLUSTER);
}
END_TEST

START_TEST(init_seed__a_store_that_is_not_what_it_claims_keeps_old_store)
{
	snapshot_pack(&snapshot, tar());
	new_position.seq++;
	expect_refusal(65, "found epoch 1 seq 201 keys 150");
	ck_assert_str_eq(report.phase, "check");
}
END_TEST

START_TEST(init_seed__a_damaged_new_store_keeps_old_store)
{
	snapshot_pack(&snapshot, tar());
	new_code = SP_EBADDATA;
	expect_refusal(65, "the new store is damaged");
}
END_TEST

START_TEST(init_seed__a_snapshot_larger_than_the_volume_is_refused_before_the_first_byte)
{
	snapshot_pack(&snapshot, tar());
	donor.pods[0].announce_more = (size_t)1 << 60;
	expect_refusal(73, "bytes free");
	ck_assert_str_eq(report.phase, "connect");
}
END_TEST

START_TEST(init_seed__data_larger_than_the_volume_is_refused_before_its_first_byte)
{
	buf_reset(&snapshot.manifest);
	buf_printf(&snapshot.manifest,
	    "{\"format\":1,\"cluster\":\"" SNAPSHOT_CLUSTER "\",\"epoch\":1,\"seq\":200,"
	    "\"digest\":\"00000000000000070000000000000011\",\"bytes\":%llu,\"page_size\":4096}",
	    1ull << 60);
	add_manifest();
	ck_assert_int_eq(tar_write_header(tar(), "store/data.mdb", 1ull << 60, 0, &err), 0);
	donor.pods[0].no_length = true; /* as when it is compressed */
	expect_refusal(73, "bytes free");
	ck_assert_str_eq(report.phase, "extract");
}
END_TEST

START_TEST(init_seed__a_donor_that_fails_is_tried_as_often_as_configured)
{
	have_old_store();
	conf.bootstrap_attempts = 3;
	donor.pods[0].broken_snapshots = true;
	ck_assert_int_eq(sp_code_exit(run()), 69);
	ck_assert_ptr_nonnull(strstr(err.text, "after 3 attempts"));
	ck_assert_ptr_nonnull(strstr(err.text, "broken"));
}
END_TEST

START_TEST(init_run__an_empty_follower_without_a_leader_gives_up_after_its_attempts)
{
	conf.bootstrap_attempts = 2;
	donor.pods[0].absent = true;
	ck_assert_int_eq(sp_code_exit(run()), 69);
	pthread_mutex_lock(&donor.lock);
	donor.pods[0].absent = false;
	donor.pods[0].no_store = true;
	pthread_mutex_unlock(&donor.lock);
	ck_assert_int_eq(sp_code_exit(run()), 75);
	ck_assert_ptr_nonnull(strstr(err.text, "no store"));
	ck_assert(!is_there("store"));
}
END_TEST

START_TEST(init_run__diverged_refuses_and_is_seeded_with_reseed)
{
	have_old_store();
	old_position.cluster[0] = '0';
	snapshot_pack(&snapshot, tar());
	ck_assert_int_eq(run(), SP_EDIVERGED);
	ck_assert(store_is("old store", 9));
	ck_assert_int_eq(
	    run_init(&(struct run_options){ .conf = &conf, .reseed = true, .driver = &old_store, .check = tell_new },
		&report, &err),
	    0);
	ck_assert(store_is(snapshot.data.data, snapshot.data.len));
}
END_TEST

START_TEST(init_run__an_empty_leader_waits_for_its_peers_then_creates)
{
	int64_t begun_ms = clock_mono_ms();

	conf.pod.ordinal = 0;
	conf.bootstrap_max_peers = 3;
	conf.bootstrap_peer_grace_ms = 500;
	donor.pods[0].absent = true;
	ck_assert_int_eq(run(), 0);
	ck_assert_int_ge(clock_mono_ms() - begun_ms, 500);
	ck_assert(!is_there("store"));
}
END_TEST

START_TEST(init_run__a_volume_in_use_is_for_later)
{
	struct volume other;

	ck_assert_int_eq(volume_init(&other, dir, &err), 0);
	ck_assert_int_eq(volume_lock(&other, &err), 0);
	ck_assert_int_eq(sp_code_exit(run()), 75);
	volume_release(&other);
}
END_TEST

START_TEST(init_run__stops_when_asked)
{
	conf.bootstrap_attempts = 0;
	donor.pods[0].absent = true;
	stop_request();
	ck_assert_int_eq(run(), SP_ECANCELED);
	ck_assert_int_eq(sp_code_exit(err.code), 75);
}
END_TEST

static void *
stop_during_download(void *arg)
{
	(void)arg;
	for (;;) {
		bool begun;

		pthread_mutex_lock(&donor.lock);
		begun = donor.pods[0].snapshots > 0;
		pthread_mutex_unlock(&donor.lock);
		if (begun)
			break;
		usleep(1000);
	}
	stop_request();
	return NULL;
}

START_TEST(init_run__stops_in_the_middle_of_a_download)
{
	int64_t begun_ms = clock_mono_ms();
	pthread_t thread;

	have_old_store();
	snapshot_pack(&snapshot, tar());
	conf.bootstrap_stall_timeout_ms = 60000;
	donor.pods[0].cut_at = 100000;
	donor.pods[0].cuts = 100;
	donor.pods[0].stall = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, stop_during_download, NULL), 0);
	ck_assert_int_eq(run(), SP_ECANCELED);
	pthread_join(thread, NULL);
	ck_assert_int_lt(clock_mono_ms() - begun_ms, 10000);
	ck_assert(store_is("old store", 9));
	ck_assert(!is_there("store.incoming"));
}
END_TEST

START_TEST(init_plan__changes_nothing)
{
	struct facts facts;
	struct plan plan;

	have_old_store();
	ck_assert_int_eq(run_plan(&(struct run_options){ .conf = &conf, .driver = &old_store, .check = tell_new },
			     &facts, &plan, &err),
	    0);
	ck_assert_int_eq(plan.action, PLAN_SEED);
	ck_assert_str_eq(plan.donor->name, "store-0");
	ck_assert(store_is("old store", 9));
	ck_assert(!is_there("lock"));
	facts_release(&facts);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("init_seed");
	int failed;

	if (http_setup(&err) < 0)
		return 1;
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, init_seed__empty_volume_gets_the_snapshot_and_a_record);
	tcase_add_test(tc, init_seed__an_old_store_is_replaced);
	tcase_add_test(tc, init_seed__broken_connections_are_resumed_at_the_byte);
	tcase_add_test(tc, init_seed__new_certificates_are_looked_for_before_going_on);
	tcase_add_test(tc, init_seed__a_stall_is_resumed);
	tcase_add_test(tc, init_seed__starts_over_where_the_donor_forgot_the_snapshot);
	tcase_add_test(tc, init_seed__bad_data_from_a_follower_leads_to_the_leader);
	tcase_add_test(tc, init_seed__a_leader_restores_from_the_most_advanced_peer);
	tcase_add_test(tc, init_seed__a_leader_whose_donor_vanishes_does_not_start_empty);
	tcase_add_test(tc, init_seed__a_member_gets_another_store_and_keeps_its_log);
	tcase_add_test(tc, init_seed__a_member_waits_for_a_donor_that_has_applied_enough);
	tcase_add_test(tc, init_seed__a_member_refuses_a_snapshot_from_before_what_it_needs);
	tcase_add_test(tc, init_seed__a_snapshot_older_than_the_store_keeps_it);
	tcase_add_test(tc, init_seed__a_snapshot_of_another_history_keeps_the_store);
	tcase_add_test(tc, init_seed__a_snapshot_at_the_stores_place_replaces_it);
	tcase_add_test(tc, init_seed__a_leader_restores_no_snapshot_older_than_what_was_told);
	tcase_add_test(tc, init_seed__what_was_ready_and_is_older_by_now_is_dropped);
	tcase_add_test(tc, init_seed__what_an_earlier_life_left_is_finished_first);
	tcase_add_test(tc, init_seed__truncated_stream_keeps_old_store);
	tcase_add_test(tc, init_seed__truncated_archive_keeps_old_store);
	tcase_add_test(tc, init_seed__archive_that_ends_within_the_data_keeps_old_store);
	tcase_add_test(tc, init_seed__stalled_stream_keeps_old_store);
	tcase_add_test(tc, init_seed__altered_byte_keeps_old_store);
	tcase_add_test(tc, init_seed__altered_manifest_keeps_old_store);
	tcase_add_test(tc, init_seed__wrong_sums_keep_old_store);
	tcase_add_loop_test(
	    tc, init_seed__strange_members_keep_old_store, 0, (int)(sizeof(strangers) / sizeof(strangers[0])));
	tcase_add_loop_test(
	    tc, init_seed__strange_second_members_keep_old_store, 0, (int)(sizeof(strangers) / sizeof(strangers[0])));
	tcase_add_loop_test(tc, init_seed__repeated_missing_and_misplaced_members_keep_old_store, 0, 10);
	tcase_add_test(tc, init_seed__data_of_another_size_than_announced_keeps_old_store);
	tcase_add_loop_test(tc, init_seed__small_members_are_bounded, 0, 2);
	tcase_add_test(tc, init_seed__endless_stream_keeps_old_store);
	tcase_add_test(tc, init_seed__another_cluster_keeps_old_store);
	tcase_add_test(tc, init_seed__a_store_that_is_not_what_it_claims_keeps_old_store);
	tcase_add_test(tc, init_seed__a_damaged_new_store_keeps_old_store);
	tcase_add_test(tc, init_seed__a_snapshot_larger_than_the_volume_is_refused_before_the_first_byte);
	tcase_add_test(tc, init_seed__data_larger_than_the_volume_is_refused_before_its_first_byte);
	tcase_add_test(tc, init_seed__a_donor_that_fails_is_tried_as_often_as_configured);
	tcase_add_test(tc, init_run__an_empty_follower_without_a_leader_gives_up_after_its_attempts);
	tcase_add_test(tc, init_run__diverged_refuses_and_is_seeded_with_reseed);
	tcase_add_test(tc, init_run__an_empty_leader_waits_for_its_peers_then_creates);
	tcase_add_test(tc, init_run__a_volume_in_use_is_for_later);
	tcase_add_test(tc, init_run__stops_when_asked);
	tcase_add_test(tc, init_run__stops_in_the_middle_of_a_download);
	tcase_add_test(tc, init_plan__changes_nothing);
	failed = suite_run_case("init_seed", tc);
	http_teardown();
	return failed;
}
