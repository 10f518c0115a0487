#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/protocol/position.h"
#include "tests/lib/suite.h"

#define CLUSTER "0f8fad5b-d9cb-469f-a165-70867728950e"
#define OTHER   "7c9e6679-7425-40de-944b-e07fc1f90ae7"

static const struct digest digest_a = { .high = 1, .low = 2 }, digest_b = { .high = 1, .low = 3 };

/* A leader in epoch 5: epoch 2 wrote 1..100, epoch 4 wrote 101..200, epoch 5 from 201 on; horizon 50. */
static struct position
leader(void)
{
	struct position p = { .cluster = CLUSTER,
		.epoch = 5,
		.seq = 300,
		.digest = digest_a,
		.keys = 7,
		.horizon = 50,
		.consistent = true,
		.writable = true,
		.role = ROLE_LEADER,
		.history_count = 3,
		.history = { { .epoch = 2, .since = 0 }, { .epoch = 4, .since = 100 }, { .epoch = 5, .since = 200 } } };

	return p;
}

static struct position
follower(uint64_t epoch, uint64_t seq)
{
	struct position p = leader();

	p.epoch = epoch;
	p.seq = seq;
	p.role = ROLE_FOLLOWER;
	return p;
}

static enum relation
relate(uint64_t epoch, uint64_t seq)
{
	struct position l = leader(), f = follower(epoch, seq);

	return position_relate(&l, &f, NULL, 0);
}

START_TEST(position_relate__equal_is_same)
{
	ck_assert_int_eq(relate(5, 300), RELATION_SAME);
}
END_TEST

START_TEST(position_relate__equal_seq_and_another_digest_diverged)
{
	struct position l = leader(), f = follower(5, 300);
	char why[300];

	f.digest = digest_b;
	ck_assert_int_eq(position_relate(&l, &f, why, sizeof(why)), RELATION_DIVERGED);
	ck_assert_ptr_nonnull(strstr(why, "00000000000000010000000000000002"));
	ck_assert_ptr_nonnull(strstr(why, "00000000000000010000000000000003"));
}
END_TEST

/* The content of a catch-up half applied is nobody's cut: its digest proves nothing either way. */
START_TEST(position_relate__digests_count_only_at_cuts)
{
	struct position l = leader(), f = follower(5, 300);

	f.digest = digest_b;
	f.consistent = false;
	ck_assert_int_eq(position_relate(&l, &f, NULL, 0), RELATION_BEHIND);
	f.consistent = true;
	l.consistent = false;
	ck_assert_int_eq(position_relate(&l, &f, NULL, 0), RELATION_BEHIND);
	/* Below the leader's seq, a digest says nothing. */
	f = follower(5, 299);
	f.digest = digest_b;
	l = leader();
	ck_assert_int_eq(position_relate(&l, &f, NULL, 0), RELATION_BEHIND);
}
END_TEST

START_TEST(position_relate__in_the_present_epoch)
{
	struct position l = leader(), f = follower(5, 299);
	char why[300];

	ck_assert_int_eq(position_relate(&l, &f, why, sizeof(why)), RELATION_BEHIND);
	ck_assert_str_eq(why, "this store is 1 change behind");
	ck_assert_int_eq(relate(5, 201), RELATION_BEHIND);
	/* It learnt of the epoch before there was a change in it. */
	ck_assert_int_eq(relate(5, 200), RELATION_BEHIND);
	ck_assert_int_eq(relate(5, 301), RELATION_DIVERGED);
}
END_TEST

START_TEST(position_relate__a_past_epoch_up_to_its_end)
{
	ck_assert_int_eq(relate(4, 101), RELATION_BEHIND);
	ck_assert_int_eq(relate(4, 200), RELATION_BEHIND);
	ck_assert_int_eq(relate(4, 201), RELATION_DIVERGED);
	ck_assert_int_eq(relate(2, 100), RELATION_BEHIND);
	ck_assert_int_eq(relate(2, 101), RELATION_DIVERGED);
	ck_assert_int_eq(relate(4, 300), RELATION_DIVERGED);
}
END_TEST

/* Two took over from the same leader at different seqs and called their epochs alike. */
START_TEST(position_relate__an_epoch_that_began_elsewhere_diverged)
{
	ck_assert_int_eq(relate(5, 199), RELATION_DIVERGED);
	ck_assert_int_eq(relate(4, 99), RELATION_DIVERGED);
	ck_assert_int_eq(relate(4, 100), RELATION_BEHIND);
}
END_TEST

START_TEST(position_relate__an_unknown_epoch_diverged)
{
	struct position l = leader(), f = follower(3, 90);
	char why[300];

	ck_assert_int_eq(position_relate(&l, &f, why, sizeof(why)), RELATION_DIVERGED);
	ck_assert_ptr_nonnull(strstr(why, "epoch 3"));
	/* Ahead of the leader: it lost the election, or its volume is an old one. */
	ck_assert_int_eq(relate(6, 300), RELATION_DIVERGED);
	ck_assert_int_eq(relate(6, 10), RELATION_DIVERGED);
	/* Older than the oldest epoch that the leader still knows. */
	ck_assert_int_eq(relate(1, 60), RELATION_DIVERGED);
}
END_TEST

/* The leader took over and wrote nothing yet: an equal content in its former epoch still is to learn of the new one. */
START_TEST(position_relate__equal_seq_in_the_epoch_before_is_behind)
{
	struct position l = leader(), f = follower(4, 200);

	l.seq = 200;
	ck_assert_int_eq(position_relate(&l, &f, NULL, 0), RELATION_BEHIND);
	f.digest = digest_b;
	ck_assert_int_eq(position_relate(&l, &f, NULL, 0), RELATION_DIVERGED);
}
END_TEST

START_TEST(position_relate__the_horizon_itself_can_be_told)
{
	struct position l = leader(), f = follower(2, 49);
	char why[300];

	ck_assert_int_eq(relate(2, 50), RELATION_BEHIND);
	ck_assert_int_eq(position_relate(&l, &f, why, sizeof(why)), RELATION_BELOW_HORIZON);
	ck_assert_ptr_nonnull(strstr(why, "49"));
	ck_assert_ptr_nonnull(strstr(why, "50"));
	ck_assert_int_eq(relate(2, 0), RELATION_BELOW_HORIZON);
}
END_TEST

/* A store that is what the leader's is needs no feed, wherever the horizon is. */
START_TEST(position_relate__same_at_a_horizon_beyond_is_same)
{
	struct position l = leader(), f = follower(5, 300);

	l.horizon = 300;
	ck_assert_int_eq(position_relate(&l, &f, NULL, 0), RELATION_SAME);
	f = follower(2, 70);
	l.horizon = 100;
	ck_assert_int_eq(position_relate(&l, &f, NULL, 0), RELATION_BELOW_HORIZON);
	/* Diverged weighs more: a feed would not help. */
	f = follower(3, 70);
	ck_assert_int_eq(position_relate(&l, &f, NULL, 0), RELATION_DIVERGED);
}
END_TEST

START_TEST(position_relate__another_cluster_before_all_else)
{
	struct position l = leader(), f = follower(5, 300);
	char why[300];

	memcpy(f.cluster, OTHER, sizeof(OTHER));
	ck_assert_int_eq(position_relate(&l, &f, why, sizeof(why)), RELATION_OTHER_CLUSTER);
	ck_assert_ptr_nonnull(strstr(why, CLUSTER));
	ck_assert_ptr_nonnull(strstr(why, OTHER));
	f.cluster[0] = '\0';
	ck_assert_int_eq(position_relate(&l, &f, NULL, 0), RELATION_OTHER_CLUSTER);
}
END_TEST

START_TEST(position_relate__an_empty_pair_is_same)
{
	struct position l = {
		.cluster = CLUSTER, .epoch = 1, .consistent = true, .history_count = 1, .history = { { 1, 0 } }
	};

	ck_assert_int_eq(position_relate(&l, &l, NULL, 0), RELATION_SAME);
}
END_TEST

START_TEST(position_relate__why_is_bounded)
{
	struct position l = leader(), f = follower(3, 90);
	char why[8] = "#######";

	position_relate(&l, &f, why, 4);
	ck_assert_uint_eq(strlen(why), 3);
	ck_assert_int_eq(why[4], '#');
	position_relate(&l, &l, why, 4);
	ck_assert_str_eq(why, "");
}
END_TEST

/* --- What becomes of a pod that takes another store --- */

static enum course
course(struct position from, struct position to)
{
	return position_course(&from, &to);
}

/* follower() says what the leader's history is; a store of an earlier epoch knows it up to there. */
static struct position
store_at(uint64_t epoch, uint64_t seq)
{
	struct position p = follower(epoch, seq);

	while (p.history[p.history_count - 1].epoch > epoch)
		p.history_count--;
	return p;
}

START_TEST(position_course__in_one_history_the_seq_decides)
{
	ck_assert_int_eq(course(store_at(5, 250), store_at(5, 300)), COURSE_ONWARD);
	ck_assert_int_eq(course(store_at(5, 250), store_at(5, 250)), COURSE_ONWARD);
	ck_assert_int_eq(course(store_at(5, 250), store_at(5, 249)), COURSE_BACK);
	ck_assert_int_eq(course(store_at(4, 150), store_at(5, 201)), COURSE_ONWARD);
	ck_assert_int_eq(course(store_at(5, 201), store_at(4, 150)), COURSE_BACK);
	/* Where an epoch begins, the store of the epoch before is the same; its epoch is not. */
	ck_assert_int_eq(course(store_at(4, 200), store_at(5, 200)), COURSE_ONWARD);
	ck_assert_int_eq(course(store_at(5, 200), store_at(4, 200)), COURSE_BACK);
}
END_TEST

START_TEST(position_course__neither_digest_nor_horizon_count)
{
	struct position altered = store_at(5, 250), young = store_at(5, 300);

	altered.digest = digest_b;
	young.horizon = 290;
	ck_assert_int_eq(course(store_at(5, 250), altered), COURSE_ONWARD);
	ck_assert_int_eq(course(store_at(2, 20), young), COURSE_ONWARD);
	ck_assert_int_eq(course(young, store_at(2, 20)), COURSE_BACK);
}
END_TEST

START_TEST(position_course__between_two_cuts_is_before_the_cut)
{
	struct position torn = store_at(5, 250);

	torn.consistent = false;
	ck_assert_int_eq(course(store_at(5, 250), torn), COURSE_BACK);
	ck_assert_int_eq(course(torn, torn), COURSE_ONWARD);
	ck_assert_int_eq(course(torn, store_at(5, 250)), COURSE_ONWARD);
	/* What a catch-up that was not finished has brought is not thrown away either. */
	ck_assert_int_eq(course(torn, store_at(5, 249)), COURSE_BACK);
}
END_TEST

START_TEST(position_course__other_histories_are_aside)
{
	struct position other = store_at(5, 300), rival = store_at(5, 210), later = follower(9, 400);

	memcpy(other.cluster, OTHER, sizeof(OTHER));
	ck_assert_int_eq(course(store_at(5, 250), other), COURSE_ASIDE);
	/* Epoch 5 began at 200 here, and at 150 there: what each wrote since the other does not have. */
	rival.history[2].since = 150;
	ck_assert_int_eq(course(store_at(4, 190), rival), COURSE_ASIDE);
	/* An epoch that has been forgotten. */
	later.history[0] = (struct epoch_start){ .epoch = 9, .since = 280 };
	later.history_count = 1;
	ck_assert_int_eq(course(store_at(5, 250), later), COURSE_ASIDE);
}
END_TEST

START_TEST(position_course__in_a_log_of_raft_the_index_decides)
{
	struct position from = store_at(2, 90), to = store_at(5, 300);

	from.raft = (struct position_raft){ .applied = 100, .log = 7 };
	to.raft = (struct position_raft){ .applied = 400, .log = 7 };
	to.history[0] = to.history[2]; /* so many leaders since that the epoch was forgotten */
	to.history_count = 1;
	ck_assert_int_eq(course(from, to), COURSE_ONWARD);
	ck_assert_int_eq(course(to, from), COURSE_BACK);
	to.raft.log = 8;
	ck_assert_int_eq(course(from, to), COURSE_ASIDE);
}
END_TEST

START_TEST(relation_name__each_has_one)
{
	ck_assert_str_eq(relation_name(RELATION_SAME), "same");
	ck_assert_str_eq(relation_name(RELATION_BEHIND), "behind");
	ck_assert_str_eq(relation_name(RELATION_BELOW_HORIZON), "below horizon");
	ck_assert_str_eq(relation_name(RELATION_DIVERGED), "diverged");
	ck_assert_str_eq(relation_name(RELATION_OTHER_CLUSTER), "other cluster");
	ck_assert_str_eq(role_name(ROLE_LEADER), "leader");
	ck_assert_str_eq(role_name(ROLE_FOLLOWER), "follower");
}
END_TEST

static void
assert_equal(const struct position *a, const struct position *b)
{
	ck_assert_str_eq(a->cluster, b->cluster);
	ck_assert_uint_eq(a->epoch, b->epoch);
	ck_assert_uint_eq(a->seq, b->seq);
	ck_assert(digest_equal(a->digest, b->digest));
	ck_assert_uint_eq(a->keys, b->keys);
	ck_assert_uint_eq(a->horizon, b->horizon);
	ck_assert_int_eq(a->consistent, b->consistent);
	ck_assert_int_eq(a->writable, b->writable);
	ck_assert_int_eq(a->role, b->role);
	ck_assert_str_eq(a->leader, b->leader);
	ck_assert_str_eq(a->mode, b->mode);
	ck_assert_uint_eq(a->history_count, b->history_count);
	for (size_t i = 0; i < a->history_count; i++) {
		ck_assert_uint_eq(a->history[i].epoch, b->history[i].epoch);
		ck_assert_uint_eq(a->history[i].since, b->history[i].since);
	}
}

START_TEST(position_json__round_trip)
{
	struct position p = leader(), back;
	char *text;

	memcpy(p.leader, "http://store-0.x:9876", sizeof("http://store-0.x:9876"));
	memcpy(p.mode, "static", sizeof("static"));
	for (int i = 0; i < 8; i++) {
		p.consistent = (i & 1) != 0;
		p.writable = (i & 2) != 0;
		p.role = (i & 4) != 0 ? ROLE_LEADER : ROLE_FOLLOWER;
		text = position_to_json(&p);
		ck_assert_ptr_nonnull(text);
		ck_assert_ptr_null(strchr(text, '\n'));
		ck_assert_int_eq(position_from_json(text, strlen(text), &back, NULL), 0);
		assert_equal(&p, &back);
		free(text);
	}
}
END_TEST

START_TEST(position_json__a_lost_tail_is_told_where_there_is_one)
{
	struct position p = leader(), out;
	struct sp_error err;
	char *text = position_to_json(&p);

	ck_assert_ptr_null(strstr(text, "tail_lost"));
	free(text);
	p.tail_lost = true;
	text = position_to_json(&p);
	ck_assert_int_eq(position_from_json(text, strlen(text), &out, &err), 0);
	ck_assert(out.tail_lost);
	free(text);
}
END_TEST

START_TEST(position_json__extremes)
{
	struct position p = leader(), back;
	char *text;

	p.seq = INT64_MAX;
	p.digest = (struct digest){ UINT64_MAX, UINT64_MAX };
	memset(p.leader, 'x', sizeof(p.leader) - 1);
	p.epoch = p.history_count = POSITION_HISTORY_MAX;
	for (size_t i = 0; i < POSITION_HISTORY_MAX; i++)
		p.history[i] = (struct epoch_start){ .epoch = i + 1, .since = i * 1000 };
	text = position_to_json(&p);
	ck_assert_int_eq(position_from_json(text, strlen(text), &back, NULL), 0);
	assert_equal(&p, &back);
	free(text);
}
END_TEST

START_TEST(position_json__a_member_of_mode_raft_round_trip)
{
	struct position p = leader(), back;
	char *text;

	p.raft = (struct position_raft){ .id = 0xfedcba9876543210,
		.number = 3,
		.term = INT64_MAX,
		.leader_known = true,
		.commit = 9,
		.applied = 8,
		.log = 0xfedcba9876543211,
		.needs = 7,
		.members = 5,
		.voters = 4,
		.unresolved = "store-1.seedpod-headless.default.svc" };
	for (int role = MEMBER_ROLE_STOPPED; role <= MEMBER_ROLE_REMOVED; role++) {
		p.raft.role = (enum member_role)role;
		text = position_to_json(&p);
		ck_assert_int_eq(position_from_json(text, strlen(text), &back, NULL), 0);
		ck_assert_mem_eq(&back.raft, &p.raft, sizeof(p.raft));
		free(text);
	}
	p.raft.role = MEMBER_ROLE_NONE;
	text = position_to_json(&p);
	ck_assert_ptr_null(strstr(text, "raft"));
	ck_assert_int_eq(position_from_json(text, strlen(text), &back, NULL), 0);
	ck_assert_int_eq(back.raft.role, MEMBER_ROLE_NONE);
	free(text);
}
END_TEST

#define REQUIRED "\"cluster\":\"" CLUSTER "\",\"epoch\":2,\"seq\":10,\"digest\":\"000000000000000000000000000000ff\""

START_TEST(position_from_json__what_is_left_out_has_a_default)
{
	static const char text[] = "{" REQUIRED ",\"to come\":[1,{}]}";
	struct position p;

	ck_assert_int_eq(position_from_json(text, strlen(text), &p, NULL), 0);
	ck_assert_uint_eq(p.digest.low, 255);
	ck_assert(p.consistent);
	ck_assert(!p.writable);
	ck_assert_int_eq(p.role, ROLE_FOLLOWER);
	ck_assert_uint_eq(p.history_count, 1);
	ck_assert_uint_eq(p.history[0].epoch, 2);
	ck_assert_uint_eq(p.history[0].since, 0);
}
END_TEST

static const struct {
	const char *text, *named;
} mistakes[] = {
	{ "", "JSON" },
	{ "[]", "JSON object" },
	{ "nonsense", "JSON" },
	{ "{" REQUIRED, "JSON" },
	{ "{" REQUIRED "} x", "JSON" },
	{ "{\"epoch\":2,\"seq\":10,\"digest\":\"000000000000000000000000000000ff\"}", "\"cluster\"" },
	{ "{\"cluster\":\"c\",\"seq\":10,\"digest\":\"000000000000000000000000000000ff\"}", "\"epoch\"" },
	{ "{\"cluster\":\"c\",\"epoch\":2,\"digest\":\"000000000000000000000000000000ff\"}", "\"seq\"" },
	{ "{\"cluster\":\"c\",\"epoch\":2,\"seq\":10}", "\"digest\"" },
	{ "{\"cluster\":7,\"epoch\":2,\"seq\":10,\"digest\":\"000000000000000000000000000000ff\"}", "\"cluster\"" },
	{ "{\"cluster\":\"" CLUSTER CLUSTER
	  "\",\"epoch\":2,\"seq\":10,\"digest\":\"000000000000000000000000000000ff\"}",
	    "\"cluster\"" },
	{ "{\"cluster\":\"c\",\"epoch\":\"2\",\"seq\":10,\"digest\":\"000000000000000000000000000000ff\"}",
	    "\"epoch\"" },
	{ "{\"cluster\":\"c\",\"epoch\":2,\"seq\":-1,\"digest\":\"000000000000000000000000000000ff\"}", "\"seq\"" },
	{ "{\"cluster\":\"c\",\"epoch\":2,\"seq\":1.5,\"digest\":\"000000000000000000000000000000ff\"}", "\"seq\"" },
	{ "{\"cluster\":\"c\",\"epoch\":2,\"seq\":1,\"digest\":\"ff\"}", "\"digest\"" },
	{ "{\"cluster\":\"c\",\"epoch\":2,\"seq\":1,\"digest\":\"g00000000000000000000000000000ff\"}", "\"digest\"" },
	{ "{\"cluster\":\"c\",\"epoch\":2,\"seq\":1,\"digest\":255}", "\"digest\"" },
	{ "{" REQUIRED ",\"keys\":\"7\"}", "\"keys\"" },
	{ "{" REQUIRED ",\"keys\":-7}", "\"keys\"" },
	{ "{" REQUIRED ",\"horizon\":true}", "\"horizon\"" },
	{ "{" REQUIRED ",\"role\":1}", "\"role\"" },
	{ "{" REQUIRED ",\"leader\":1}", "\"leader\"" },
	{ "{" REQUIRED ",\"mode\":\"mode too long\"}", "\"mode\"" },
	{ "{" REQUIRED ",\"consistent\":1}", "\"consistent\"" },
	{ "{" REQUIRED ",\"writable\":\"yes\"}", "\"writable\"" },
	{ "{" REQUIRED ",\"history\":7}", "\"history\"" },
	{ "{" REQUIRED ",\"history\":{\"epoch\":2}}", "\"history\"" },
	{ "{" REQUIRED ",\"history\":[{\"epoch\":2}]}", "\"since\"" },
	{ "{" REQUIRED ",\"history\":[7]}", "\"epoch\"" },
	{ "{" REQUIRED ",\"history\":[{\"epoch\":\"2\",\"since\":0}]}", "\"epoch\"" },
	{ "{" REQUIRED ",\"history\":[{\"epoch\":2,\"since\":11}]}", "beyond the present seq" },
	{ "{" REQUIRED ",\"history\":[{\"epoch\":1,\"since\":0}]}", "present epoch" },
	{ "{" REQUIRED ",\"history\":[{\"epoch\":2,\"since\":0},{\"epoch\":2,\"since\":1}]}", "must grow" },
	{ "{" REQUIRED ",\"history\":[{\"epoch\":1,\"since\":2},{\"epoch\":2,\"since\":1}]}", "must grow" },
	{ "{" REQUIRED ",\"raft\":7}", "\"raft\"" },
	{ "{" REQUIRED ",\"raft\":{}}", "\"role\"" },
	{ "{" REQUIRED ",\"raft\":{\"role\":\"none\"}}", "\"role\"" },
	{ "{" REQUIRED ",\"raft\":{\"role\":\"leader\",\"id\":\"\"}}", "\"id\"" },
	{ "{" REQUIRED ",\"raft\":{\"role\":\"leader\",\"id\":\"18446744073709551616\"}}", "\"id\"" },
	{ "{" REQUIRED ",\"raft\":{\"role\":\"leader\",\"id\":7}}", "\"id\"" },
	{ "{" REQUIRED ",\"raft\":{\"role\":\"leader\",\"log\":\"1x\"}}", "\"log\"" },
	{ "{" REQUIRED ",\"raft\":{\"role\":\"leader\",\"number\":4294967296}}", "\"number\"" },
	{ "{" REQUIRED ",\"raft\":{\"role\":\"leader\",\"applied\":-1}}", "\"applied\"" },
	{ "{" REQUIRED ",\"raft\":{\"role\":\"leader\",\"leader_known\":1}}", "\"leader_known\"" },
	{ "{" REQUIRED ",\"raft\":{\"role\":\"leader\",\"unresolved\":1}}", "unresolved" },
};

START_TEST(position_from_json__a_mistake_is_named)
{
	struct position p = { .seq = 4711 };
	struct sp_error err = { 0 };

	ck_assert_int_eq(position_from_json(mistakes[_i].text, strlen(mistakes[_i].text), &p, &err), SP_EBADDATA);
	ck_assert_int_eq(err.code, SP_EBADDATA);
	ck_assert_msg(strstr(err.text, mistakes[_i].named) != NULL, "%s: \"%s\"", mistakes[_i].text, err.text);
	ck_assert_uint_eq(p.seq, 4711);
}
END_TEST

START_TEST(position_from_json__names_of_clusters)
{
	static const struct {
		const char *name;
		int rc;
	} cases[] = {
		{ "", 0 },
		{ "8371a37ac2e96afc2e6bcdd3ce83dc4a1fdec2d8", 0 },
		{ "0-1.A_z", 0 },
		{ "0123456789012345678901234567890123456789012345678901234567890123", 0 },
		{ "01234567890123456789012345678901234567890123456789012345678901234", SP_EBADDATA },
		{ "a b", SP_EBADDATA },
		{ "../x", SP_EBADDATA },
		{ "a\\nb", SP_EBADDATA },
		{ "\xc3\xa4", SP_EBADDATA },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct position p = { .seq = 0 };
		struct sp_error err = { 0 };
		char text[300];

		snprintf(text, sizeof(text),
		    "{\"cluster\":\"%s\",\"epoch\":1,\"seq\":1,\"digest\":\"00000000000000000000000000000000\"}",
		    cases[i].name);
		ck_assert_msg(
		    position_from_json(text, strlen(text), &p, &err) == cases[i].rc, "%s: %s", cases[i].name, err.text);
		if (cases[i].rc == 0)
			ck_assert_str_eq(p.cluster, cases[i].name);
		else
			ck_assert_ptr_nonnull(strstr(err.text, "\"cluster\""));
	}
	ck_assert(!position_cluster_valid(""));
}
END_TEST

START_TEST(position_from_json__a_history_too_long_is_refused)
{
	struct position p = leader(), out = { .seq = 4711 };
	struct sp_error err = { 0 };
	char *text = position_to_json(&p);
	json_t *root = json_loads(text, 0, NULL);
	json_t *history = json_object_get(root, "history");

	free(text);
	while (json_array_size(history) <= POSITION_HISTORY_MAX)
		json_array_append_new(history, json_pack("{si si}", "epoch", 9, "since", 300));
	text = json_dumps(root, 0);
	ck_assert_int_eq(position_from_json(text, strlen(text), &out, &err), SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(err.text, "\"history\""));
	ck_assert_uint_eq(out.seq, 4711);
	free(text);
	json_decref(root);
}
END_TEST

int
main(void)
{
	TCase *all = tcase_create("position");

	tcase_add_test(all, position_relate__equal_is_same);
	tcase_add_test(all, position_relate__equal_seq_and_another_digest_diverged);
	tcase_add_test(all, position_relate__digests_count_only_at_cuts);
	tcase_add_test(all, position_relate__in_the_present_epoch);
	tcase_add_test(all, position_relate__a_past_epoch_up_to_its_end);
	tcase_add_test(all, position_relate__an_epoch_that_began_elsewhere_diverged);
	tcase_add_test(all, position_relate__an_unknown_epoch_diverged);
	tcase_add_test(all, position_relate__equal_seq_in_the_epoch_before_is_behind);
	tcase_add_test(all, position_relate__the_horizon_itself_can_be_told);
	tcase_add_test(all, position_relate__same_at_a_horizon_beyond_is_same);
	tcase_add_test(all, position_relate__another_cluster_before_all_else);
	tcase_add_test(all, position_relate__an_empty_pair_is_same);
	tcase_add_test(all, position_relate__why_is_bounded);
	tcase_add_test(all, position_course__in_one_history_the_seq_decides);
	tcase_add_test(all, position_course__neither_digest_nor_horizon_count);
	tcase_add_test(all, position_course__between_two_cuts_is_before_the_cut);
	tcase_add_test(all, position_course__other_histories_are_aside);
	tcase_add_test(all, position_course__in_a_log_of_raft_the_index_decides);
	tcase_add_test(all, relation_name__each_has_one);
	tcase_add_test(all, position_json__round_trip);
	tcase_add_test(all, position_json__a_lost_tail_is_told_where_there_is_one);
	tcase_add_test(all, position_json__extremes);
	tcase_add_test(all, position_json__a_member_of_mode_raft_round_trip);
	tcase_add_test(all, position_from_json__what_is_left_out_has_a_default);
	tcase_add_loop_test(
	    all, position_from_json__a_mistake_is_named, 0, (int)(sizeof(mistakes) / sizeof(mistakes[0])));
	tcase_add_test(all, position_from_json__names_of_clusters);
	tcase_add_test(all, position_from_json__a_history_too_long_is_refused);
	return suite_run_case("position", all);
}
