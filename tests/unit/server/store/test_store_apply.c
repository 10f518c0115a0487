/* Whose history a store holds: applying a leader's feeds, leading, following. */
#include <string.h>

#include "lib/protocol/feed.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

#define OTHER_CLUSTER "7c9e6679-7425-40de-944b-e07fc1f90ae7"

static char leader_dir[TEMPDIR_MAX], follower_dir[TEMPDIR_MAX];
static struct store *leader, *follower;
static struct sp_error err;

/* A leader with three keys, and a follower that is a copy of it. */
static void
setup(void)
{
	tempdir_make(leader_dir);
	tempdir_make(follower_dir);
	leader = test_store_new(leader_dir);
	test_store_put(leader, "a", "1");
	test_store_put(leader, "b", "2");
	test_store_put(leader, "c", "3");
	store_detach(leader);
	test_store_copy(leader_dir, follower_dir);
	ck_assert_int_eq(store_attach(leader, STORE_EXISTING, &err), 0);
	follower = test_store_open(follower_dir, STORE_EXISTING, 0);
	test_store_follow(follower);
}

static void
teardown(void)
{
	store_free(leader);
	store_free(follower);
	tempdir_remove(leader_dir);
	tempdir_remove(follower_dir);
}

/* Apply what the leader says after `since`. */
static int
apply(uint64_t since, uint64_t records)
{
	struct buf feed;
	int rc;

	test_store_feed(leader, since, records, &feed);
	rc = test_store_apply(follower, &feed, &err);
	buf_release(&feed);
	return rc;
}

static enum relation
relation(void)
{
	struct position l = test_store_position(leader), f = test_store_position(follower);

	return position_relate(&l, &f, NULL, 0);
}

/* That a refused feed left no trace. */
static void
assert_untouched(const struct position *before)
{
	struct position now = test_store_position(follower);

	ck_assert_uint_eq(now.epoch, before->epoch);
	ck_assert_uint_eq(now.seq, before->seq);
	ck_assert_uint_eq(now.keys, before->keys);
	ck_assert_int_eq(now.consistent, before->consistent);
	ck_assert_uint_eq(now.history_count, before->history_count);
	ck_assert(digest_equal(now.digest, before->digest));
	test_store_expect(follower, "a", "1");
	test_store_expect(follower, "b", "2");
	test_store_expect(follower, "c", "3");
	test_store_verify(follower);
}

START_TEST(store_apply__makes_the_follower_the_leader)
{
	test_store_put(leader, "a", "4");
	test_store_delete(leader, "b");
	test_store_put(leader, "d", "5");
	ck_assert_int_eq(relation(), RELATION_BEHIND);
	ck_assert_msg(apply(3, UINT64_MAX) == 0, "%s", err.text);
	ck_assert_int_eq(relation(), RELATION_SAME);
	test_store_expect(follower, "a", "4");
	test_store_expect(follower, "b", NULL);
	test_store_expect(follower, "d", "5");
	test_store_verify(follower);
	/* An empty feed says no more than that all is well. */
	ck_assert_msg(apply(6, UINT64_MAX) == 0, "%s", err.text);
	ck_assert_int_eq(relation(), RELATION_SAME);
}
END_TEST

/* A key that came and went between two feeds leaves a tombstone here too, so that this follower can tell others. */
START_TEST(store_apply__a_delete_of_what_never_came_is_kept)
{
	struct store_record r;
	struct store_cursor *c;
	struct store_view *v;

	test_store_put(leader, "x", "1");
	test_store_delete(leader, "x");
	ck_assert_msg(apply(3, UINT64_MAX) == 0, "%s", err.text);
	ck_assert_int_eq(relation(), RELATION_SAME);
	ck_assert_int_eq(store_view_begin(follower, &v, &err), 0);
	ck_assert_int_eq(store_cursor_changes(v, 3, &c, &err), 0);
	ck_assert_int_eq(store_cursor_next(c, &r, &err), 1);
	ck_assert(r.is_delete);
	ck_assert_uint_eq(r.seq, 5);
	ck_assert_int_eq(store_cursor_next(c, &r, &err), 0);
	store_cursor_free(c);
	store_view_end(v);
	test_store_verify(follower);
}
END_TEST

/* Overwrites and expired tombstones leave holes: at the cut the follower is where the leader is all the same. */
START_TEST(store_apply__the_cut_says_the_seq)
{
	struct store_txn *t;
	unsigned dropped;

	test_store_put(leader, "x", "1");
	test_store_delete(leader, "x");
	ck_assert_msg(apply(3, UINT64_MAX) == 0, "%s", err.text);
	test_store_put(leader, "a", "2");
	test_store_put(leader, "y", "2");
	test_store_delete(leader, "y");
	ck_assert_int_eq(store_txn_begin(leader, &t, &err), 0);
	ck_assert_int_eq(store_txn_expire(t, INT64_MAX, 1, &dropped, &err), 0);
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	ck_assert_uint_eq(test_store_position(leader).horizon, 5);
	ck_assert_msg(apply(5, UINT64_MAX) == 0, "%s", err.text);
	ck_assert_uint_eq(test_store_position(follower).seq, 8);
	ck_assert_int_eq(relation(), RELATION_SAME);
	test_store_verify(follower);
}
END_TEST

START_TEST(store_apply__more_is_no_cut_until_the_cut_comes)
{
	struct position p;

	for (char key[2] = "p"; key[0] < 'w'; key[0]++)
		test_store_put(leader, key, "v");
	ck_assert_msg(apply(3, 2) == 0, "%s", err.text);
	p = test_store_position(follower);
	ck_assert(!p.consistent);
	ck_assert_uint_eq(p.seq, 5);
	test_store_verify(follower);
	/* So it stays over a restart. */
	store_detach(follower);
	ck_assert_int_eq(store_attach(follower, STORE_EXISTING, &err), 0);
	ck_assert(!test_store_position(follower).consistent);
	ck_assert_msg(apply(5, 4) == 0, "%s", err.text);
	ck_assert(!test_store_position(follower).consistent);
	ck_assert_msg(apply(9, UINT64_MAX) == 0, "%s", err.text);
	ck_assert(test_store_position(follower).consistent);
	ck_assert_int_eq(relation(), RELATION_SAME);
}
END_TEST

START_TEST(store_apply__a_gap_is_refused)
{
	struct position before = test_store_position(follower);

	test_store_put(leader, "d", "4");
	test_store_put(leader, "e", "5");
	ck_assert_int_eq(apply(4, UINT64_MAX), SP_EGAP);
	ck_assert_int_eq(err.code, SP_EGAP);
	assert_untouched(&before);
	/* Neither one that begins further back: its records were applied already. */
	ck_assert_int_eq(apply(2, UINT64_MAX), SP_EGAP);
	assert_untouched(&before);
	ck_assert_int_eq(apply(3, UINT64_MAX), 0);
	ck_assert_int_eq(apply(3, UINT64_MAX), SP_EGAP);
}
END_TEST

/* A feed made by hand from the follower's own place. */
static int
apply_forged(const struct position *says, bool with_record)
{
	struct buf feed;
	int rc;

	buf_init(&feed, 1 << 20);
	feed_write_header(&feed, says, test_store_position(follower).seq);
	if (with_record)
		feed_write_put(&feed, 4, "a", 1, "forged", 6);
	feed_write_cut(&feed, says);
	feed_write_end(&feed, with_record ? 1 : 0);
	rc = test_store_apply(follower, &feed, &err);
	buf_release(&feed);
	return rc;
}

START_TEST(store_apply__below_the_horizon_is_a_gap)
{
	struct position before = test_store_position(follower), says = test_store_position(leader);

	says.horizon = 4;
	says.seq = 4;
	ck_assert_int_eq(apply_forged(&says, true), SP_EGAP);
	ck_assert_ptr_nonnull(strstr(err.text, "horizon"));
	assert_untouched(&before);
}
END_TEST

START_TEST(store_apply__another_cluster_is_refused)
{
	struct position before = test_store_position(follower), says = before;

	memcpy(says.cluster, OTHER_CLUSTER, sizeof(OTHER_CLUSTER));
	ck_assert_int_eq(apply_forged(&says, false), SP_EDIVERGED);
	ck_assert_ptr_nonnull(strstr(err.text, OTHER_CLUSTER));
	assert_untouched(&before);
}
END_TEST

/* It led for a while, and what it wrote then is no part of the leader's history, though the numbers fit. */
START_TEST(store_apply__a_feed_that_does_not_know_our_epoch_is_refused)
{
	struct position before, after;

	test_store_lead(follower);
	test_store_put(follower, "d", "ours");
	test_store_follow(follower);
	before = test_store_position(follower);
	test_store_put(leader, "d", "theirs");
	test_store_put(leader, "e", "5");
	ck_assert_int_eq(apply(4, 1), SP_EDIVERGED);
	ck_assert_ptr_nonnull(strstr(err.text, "epoch 2 seq 4"));
	after = test_store_position(follower);
	ck_assert_uint_eq(after.epoch, before.epoch);
	ck_assert_uint_eq(after.seq, before.seq);
	test_store_expect(follower, "d", "ours");
}
END_TEST

/* The epoch of that number began further on: it is another's, or the number was made up. */
START_TEST(store_apply__a_feed_whose_epoch_began_beyond_us_is_refused)
{
	struct position p = test_store_position(leader);
	struct buf feed;

	p.history[0].since = p.seq + 1;
	p.seq += 2;
	buf_init(&feed, 1 << 20);
	ck_assert_int_eq(feed_write_header(&feed, &p, 3), 0);
	ck_assert_int_eq(feed_write_more(&feed, p.seq), 0);
	ck_assert_int_eq(feed_write_end(&feed, 0), 0);
	ck_assert_int_eq(test_store_apply(follower, &feed, &err), SP_EDIVERGED);
	buf_release(&feed);
}
END_TEST

START_TEST(store_apply__another_digest_or_count_is_refused_and_undone)
{
	struct position before = test_store_position(follower), says = before;
	struct digest right = digest_add(
	    digest_sub(before.digest, digest_of_record("a", 1, 1, "1", 1)), digest_of_record("a", 1, 4, "forged", 6));

	says.seq = 4;
	ck_assert_int_eq(apply_forged(&says, true), SP_EDIGEST);
	ck_assert_ptr_nonnull(strstr(err.text, "leader has digest"));
	assert_untouched(&before);
	says.digest = right;
	says.keys = 4;
	ck_assert_int_eq(apply_forged(&says, true), SP_EDIGEST);
	assert_untouched(&before);
	/* Where nothing came, the present content is compared. */
	says = before;
	says.digest = right;
	ck_assert_int_eq(apply_forged(&says, false), SP_EDIGEST);
	assert_untouched(&before);
	says.seq = 4;
	says.keys = 3;
	ck_assert_int_eq(apply_forged(&says, true), 0);
	test_store_expect(follower, "a", "forged");
}
END_TEST

START_TEST(store_lead__begins_an_epoch_where_another_wrote)
{
	struct store_txn *t;
	struct position p;
	bool began;

	/* Who leads already goes on in its epoch. */
	ck_assert_int_eq(store_txn_begin(leader, &t, &err), 0);
	ck_assert_int_eq(store_txn_lead(t, &began, &err), 0);
	ck_assert(!began);
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	ck_assert_uint_eq(test_store_position(leader).epoch, 1);
	ck_assert_int_eq(store_txn_begin(follower, &t, &err), 0);
	ck_assert_int_eq(store_txn_lead(t, &began, &err), 0);
	ck_assert(began);
	store_txn_position(t, &p);
	ck_assert_uint_eq(p.epoch, 2);
	ck_assert_int_eq(store_txn_commit(t, &err), 0);
	p = test_store_position(follower);
	ck_assert_uint_eq(p.epoch, 2);
	ck_assert_uint_eq(p.history_count, 2);
	ck_assert_uint_eq(p.history[1].epoch, 2);
	ck_assert_uint_eq(p.history[1].since, 3);
	ck_assert_uint_eq(p.seq, 3);
	/* So it stays. */
	store_detach(follower);
	ck_assert_int_eq(store_attach(follower, STORE_EXISTING, &err), 0);
	ck_assert_int_eq(store_txn_begin(follower, &t, &err), 0);
	ck_assert_int_eq(store_txn_lead(t, &began, &err), 0);
	ck_assert(!began);
	store_txn_abort(t);
	ck_assert_uint_eq(test_store_put(follower, "d", "4"), 4);
	ck_assert_int_eq(relation(), RELATION_DIVERGED);
}
END_TEST

START_TEST(store_lead__what_was_a_catch_up_half_applied_is_the_history_now)
{
	test_store_put(leader, "d", "4");
	test_store_put(leader, "e", "5");
	ck_assert_int_eq(apply(3, 1), 0);
	ck_assert(!test_store_position(follower).consistent);
	test_store_lead(follower);
	ck_assert(test_store_position(follower).consistent);
	ck_assert_uint_eq(test_store_position(follower).history[1].since, 4);
	test_store_verify(follower);
}
END_TEST

/* The former leader follows the new one, whose epoch it learns with the feed. */
START_TEST(store_follow__the_former_leader_learns_the_new_epoch)
{
	struct store *former = leader;

	test_store_lead(follower);
	test_store_put(follower, "d", "4");
	test_store_follow(leader);
	leader = follower;
	follower = former;
	ck_assert_int_eq(relation(), RELATION_BEHIND);
	ck_assert_msg(apply(3, UINT64_MAX) == 0, "%s", err.text);
	ck_assert_int_eq(relation(), RELATION_SAME);
	ck_assert_uint_eq(test_store_position(follower).epoch, 2);
	ck_assert_uint_eq(test_store_position(follower).history_count, 2);
	/* It takes over again: the third epoch. */
	test_store_lead(follower);
	ck_assert_uint_eq(test_store_position(follower).epoch, 3);
}
END_TEST

/* Between two epochs a follower's epoch is the one that wrote its last change. */
START_TEST(store_apply__more_adopts_no_epoch_that_it_has_not_reached)
{
	test_store_put(leader, "d", "4");
	test_store_put(leader, "e", "5");
	test_store_follow(leader);
	test_store_lead(leader);
	test_store_put(leader, "f", "6");
	test_store_put(leader, "g", "7");
	ck_assert_uint_eq(test_store_position(leader).epoch, 2);
	ck_assert_int_eq(apply(3, 1), 0);
	ck_assert_uint_eq(test_store_position(follower).epoch, 1);
	ck_assert_uint_eq(test_store_position(follower).history_count, 1);
	ck_assert_int_eq(relation(), RELATION_BEHIND);
	/* Seq 5 is the last of epoch 1, 6 the first of epoch 2. */
	ck_assert_int_eq(apply(4, 1), 0);
	ck_assert_uint_eq(test_store_position(follower).epoch, 1);
	ck_assert_int_eq(apply(5, 1), 0);
	ck_assert_uint_eq(test_store_position(follower).epoch, 2);
	ck_assert_int_eq(relation(), RELATION_BEHIND);
	ck_assert_int_eq(apply(6, UINT64_MAX), 0);
	ck_assert_int_eq(relation(), RELATION_SAME);
}
END_TEST

/* An epoch without a change in it reaches the followers with the next cut. */
START_TEST(store_apply__an_empty_cut_brings_the_epoch)
{
	test_store_follow(leader);
	test_store_lead(leader);
	ck_assert_int_eq(relation(), RELATION_BEHIND);
	ck_assert_int_eq(apply(3, UINT64_MAX), 0);
	ck_assert_int_eq(relation(), RELATION_SAME);
	ck_assert_uint_eq(test_store_position(follower).epoch, 2);
}
END_TEST

START_TEST(store_lead__forgets_the_oldest_epochs)
{
	const unsigned rounds = POSITION_HISTORY_MAX + 10;
	struct position p;

	for (unsigned i = 0; i < rounds; i++) {
		test_store_follow(leader);
		test_store_lead(leader);
		test_store_put(leader, "a", "x");
	}
	store_detach(leader);
	ck_assert_int_eq(store_attach(leader, STORE_EXISTING, &err), 0);
	p = test_store_position(leader);
	ck_assert_uint_eq(p.epoch, 1 + rounds);
	ck_assert_uint_eq(p.history_count, POSITION_HISTORY_MAX);
	ck_assert_uint_eq(p.history[POSITION_HISTORY_MAX - 1].epoch, p.epoch);
	ck_assert_uint_eq(p.history[0].epoch, p.epoch - POSITION_HISTORY_MAX + 1);
	for (size_t i = 1; i < p.history_count; i++)
		ck_assert_uint_eq(p.history[i].since, p.history[i - 1].since + 1);
	/* A store of a forgotten epoch is not in the history any more. */
	ck_assert_int_eq(relation(), RELATION_DIVERGED);
	test_store_verify(leader);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		store_apply__makes_the_follower_the_leader,
		store_apply__a_delete_of_what_never_came_is_kept,
		store_apply__the_cut_says_the_seq,
		store_apply__more_is_no_cut_until_the_cut_comes,
		store_apply__a_gap_is_refused,
		store_apply__below_the_horizon_is_a_gap,
		store_apply__another_cluster_is_refused,
		store_apply__a_feed_that_does_not_know_our_epoch_is_refused,
		store_apply__a_feed_whose_epoch_began_beyond_us_is_refused,
		store_apply__another_digest_or_count_is_refused_and_undone,
		store_lead__begins_an_epoch_where_another_wrote,
		store_lead__what_was_a_catch_up_half_applied_is_the_history_now,
		store_follow__the_former_leader_learns_the_new_epoch,
		store_apply__more_adopts_no_epoch_that_it_has_not_reached,
		store_apply__an_empty_cut_brings_the_epoch,
		store_lead__forgets_the_oldest_epochs,
	};

	return suite_run_fixture("store_apply", tests, sizeof(tests) / sizeof(tests[0]), 30, setup, teardown);
}
