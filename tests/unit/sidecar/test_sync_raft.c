/* The sidecar's turns beside a member of mode raft, against a leader and a store of toys: nothing is pulled; what is
 * proven, what makes a pod unready, and when the store is seeded again. */
#include "sidecar/follower.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/net/http_client.h"
#include "sidecar/metrics_page.h"
#include "sidecar/view.h"
#include "tests/lib/suite.h"
#include "tests/lib/toy_leader.h"
#include "tests/lib/toy_store.h"

static struct toy_leader leader;
static struct toy_store store;
static struct toy_driver driver;
static struct state *state;
static struct follower *follower;
static struct view view;

static struct {
	unsigned calls;
	bool force;
	uint64_t min_applied;
	int fail;
} reseeds;

static struct position *
open_position(struct toy_store *s)
{
	pthread_mutex_lock(&s->mutex);
	return &s->p;
}

static void
close_position(struct toy_store *s)
{
	pthread_mutex_unlock(&s->mutex);
}

/* What this member is and has applied. */
static void
member(enum member_role role, uint64_t applied)
{
	struct position *p = open_position(&store);

	p->raft = (struct position_raft){ .role = role,
		.id = 7,
		.number = 2,
		.term = 3,
		.leader_known =
		    role == MEMBER_ROLE_FOLLOWER || role == MEMBER_ROLE_STANDBY || role == MEMBER_ROLE_LEADER,
		.commit = applied,
		.applied = applied,
		.members = 3,
		.voters = 3 };
	p->role = role == MEMBER_ROLE_LEADER ? ROLE_LEADER : ROLE_FOLLOWER;
	p->writable = true;
	snprintf(p->leader, sizeof(p->leader), "%s", p->raft.leader_known ? leader.url : "");
	close_position(&store);
}

static void
leader_applied(uint64_t applied)
{
	struct position *p = open_position(&leader.store);

	p->raft = (struct position_raft){ .role = MEMBER_ROLE_LEADER,
		.id = 1,
		.number = 1,
		.term = 3,
		.leader_known = true,
		.commit = applied + 7, /* of which the last entries change no store */
		.applied = applied,
		.members = 3,
		.voters = 3 };
	close_position(&leader.store);
}

/* init brings another member's store: the log leads on from there. */
static int
reseed(void *arg, const struct reseed_call *call, struct sp_error *err)
{
	(void)arg;
	reseeds.calls++;
	reseeds.force = call->force;
	reseeds.min_applied = call->min_applied;
	if (reseeds.fail < 0)
		return sp_error_set(err, reseeds.fail, "no donor");
	toy_copy(&store, &leader.store);
	member(MEMBER_ROLE_FOLLOWER, call->min_applied + 5);
	return 0;
}

static void
begin(const char *more)
{
	struct follower_options o = {
		.driver = &driver.driver, .reseed = reseed, .recheck_ms = 1, .reseed_first_ms = 1, .reseed_most_ms = 2
	};
	struct sp_error err = { 0 };
	struct conf conf;
	char text[1024];
	int len = snprintf(text, sizeof(text), "[pod]\nname = store-1\nservice = s\n%s", more);

	ck_assert_msg(conf_parse("test.ini", text, (size_t)len, NULL, &conf, &err) == 0, "%s", err.text);
	conf.replication_mode = CONF_MODE_RAFT;
	state = state_new(&conf, clock_mono_ms());
	o.state = state;
	follower = follower_new(&o, &err);
	ck_assert_msg(follower != NULL, "%s", err.text);
}

static void
setup(void)
{
	memset(&reseeds, 0, sizeof(reseeds));
	toy_pair_start(&leader, &store, &driver);
	leader_applied(100);
	member(MEMBER_ROLE_FOLLOWER, 100);
}

static void
teardown(void)
{
	follower_free(follower);
	follower = NULL;
	state_free(state);
	state = NULL;
	toy_leader_stop(&leader);
	http_teardown();
}

static const struct view *
look(void)
{
	view_take(state, clock_mono_ms(), &view);
	return &view;
}

static const char *
text_of(const char *check)
{
	for (size_t i = 0; i < view.readiness.count; i++)
		if (strcmp(view.readiness.checks[i].name, check) == 0)
			return view.readiness.checks[i].text;
	return "";
}

START_TEST(mode_raft_follower__is_ready_when_it_has_applied_what_the_leader_had_at_the_start)
{
	begin("");
	member(MEMBER_ROLE_FOLLOWER, 99);
	ck_assert_int_le(follower_turn(follower), 100);
	ck_assert(!look()->readiness.ready);
	ck_assert_ptr_nonnull(strstr(text_of("log"), "applied to index 99, the leader was at 100"));
	/* The target is that of the start: a leader that goes on is not to be caught up with. */
	leader_applied(500);
	member(MEMBER_ROLE_FOLLOWER, 100);
	ck_assert_int_ge(follower_turn(follower), 1000);
	ck_assert(look()->readiness.ready);
	ck_assert(view.proven);
	ck_assert_str_eq(view.phase, "in sync");
	ck_assert_uint_eq(driver.applies, 0);
	ck_assert_uint_eq(atomic_load(&leader.changes), 0);
}
END_TEST

START_TEST(mode_raft_member__that_becomes_leader_stays_proven)
{
	begin("");
	follower_turn(follower);
	ck_assert(look()->readiness.ready);
	member(MEMBER_ROLE_LEADER, 101);
	store.p.epoch = 4;
	follower_turn(follower);
	ck_assert(look()->readiness.ready);
	ck_assert_str_eq(view.phase, "leading");
	ck_assert_str_eq(text_of("writes"), "writes accepted (leader)");
	member(MEMBER_ROLE_FOLLOWER, 102);
	follower_turn(follower);
	ck_assert(look()->readiness.ready);
}
END_TEST

START_TEST(mode_raft_leader__that_cannot_write_is_not_ready)
{
	begin("");
	member(MEMBER_ROLE_LEADER, 101);
	store.p.writable = false;
	follower_turn(follower);
	ck_assert(!look()->readiness.ready);
}
END_TEST

START_TEST(mode_raft_member__on_another_volume_is_proven_anew)
{
	begin("");
	follower_turn(follower);
	ck_assert(look()->proven);
	member(MEMBER_ROLE_FOLLOWER, 400);
	store.p.raft.id = 8;
	leader_applied(500);
	follower_turn(follower);
	ck_assert(!look()->proven);
}
END_TEST

START_TEST(mode_raft_member__without_a_leader_is_not_ready)
{
	begin("");
	follower_turn(follower);
	ck_assert(look()->readiness.ready);
	member(MEMBER_ROLE_CANDIDATE, 100);
	follower_turn(follower);
	ck_assert_int_eq(look()->readiness.verdict, READINESS_POOR);
	ck_assert_ptr_nonnull(strstr(text_of("leader"), "no leader is known"));
	snprintf(open_position(&store)->raft.unresolved, POSITION_HOST_MAX, "store-1.example");
	close_position(&store);
	follower_turn(follower);
	ck_assert_int_eq(look()->readiness.verdict, READINESS_POOR);
	ck_assert_ptr_nonnull(
	    strstr(text_of("leader"), "no leader is known: the name store-1.example cannot be resolved"));
	ck_assert_str_eq(view.phase, "no leader");
	ck_assert(view.stale);
	view_take(state, clock_mono_ms() + READINESS_PATIENCE_MS + 1, &view);
	ck_assert(!view.readiness.ready);
	member(MEMBER_ROLE_FOLLOWER, 100);
	follower_turn(follower);
	ck_assert(look()->readiness.ready);
}
END_TEST

START_TEST(mode_raft_member__joining_or_removed_is_not_ready_and_is_left_alone)
{
	begin("");
	member(MEMBER_ROLE_JOINING, 100);
	follower_turn(follower);
	ck_assert(!look()->readiness.ready);
	ck_assert_str_eq(view.phase, "joining");
	member(MEMBER_ROLE_REMOVED, 100);
	ck_assert_int_ge(follower_turn(follower), 1000);
	ck_assert(!look()->readiness.ready);
	ck_assert_str_eq(view.phase, "removed");
	ck_assert_uint_eq(reseeds.calls, 0);
}
END_TEST

START_TEST(mode_raft_member__that_needs_a_snapshot_is_seeded_again_whatever_on_divergence_says)
{
	begin("[sync]\non_divergence = halt\n");
	member(MEMBER_ROLE_NEEDS_SNAPSHOT, 10);
	store.p.raft.needs = 95;
	follower_turn(follower);
	ck_assert_uint_eq(reseeds.calls, 1);
	ck_assert(reseeds.force);
	ck_assert_uint_eq(reseeds.min_applied, 95);
	follower_turn(follower);
	ck_assert(look()->readiness.ready);
	ck_assert_uint_eq(view.counters.reseeds, 1);
}
END_TEST

START_TEST(mode_raft_member__whose_reseed_fails_says_what_it_needs_and_tries_again)
{
	begin("");
	member(MEMBER_ROLE_NEEDS_SNAPSHOT, 10);
	store.p.raft.needs = 95;
	reseeds.fail = SP_EUNAVAIL;
	follower_turn(follower);
	ck_assert_str_eq(look()->phase, "needs_snapshot");
	ck_assert(!view.readiness.ready);
	ck_assert_ptr_nonnull(strstr(text_of("member"), "needs a snapshot at index 95"));
	reseeds.fail = 0;
	while (reseeds.calls < 2)
		clock_sleep_ms(follower_turn(follower));
	ck_assert_uint_eq(reseeds.min_applied, 95);
}
END_TEST

START_TEST(mode_raft_member__with_another_content_at_the_same_change_has_diverged)
{
	begin("");
	toy_put(&leader.store, "key", "value");
	toy_put(&store, "key", "another");
	ck_assert_uint_eq(toy_position(&store).seq, toy_position(&leader.store).seq);
	follower_turn(follower);
	ck_assert(!look()->readiness.ready);
	ck_assert_str_eq(view.phase, "diverged");
	ck_assert_uint_eq(view.counters.digest_mismatches, 1);
	ck_assert_uint_eq(reseeds.calls, 0);
}
END_TEST

/* Its log goes on, and with it the numbers: the content is as wrong as before. */
START_TEST(mode_raft_member__with_another_content_stays_diverged_while_its_log_goes_on)
{
	struct position *p;

	toy_put(&leader.store, "k", "good");
	toy_put(&store, "k", "bad");
	begin("");
	follower_turn(follower);
	ck_assert_str_eq(look()->phase, "diverged");
	toy_put(&leader.store, "l", "v");
	toy_put(&leader.store, "m", "v");
	toy_put(&store, "l", "v");
	for (int i = 0; i < 4; i++)
		follower_turn(follower);
	ck_assert_str_eq(look()->phase, "diverged");
	ck_assert(!view.proven);
	/* The store was put right: at the same change there is the same content. */
	toy_put(&store, "m", "v");
	p = open_position(&store);
	p->digest = leader.store.p.digest;
	close_position(&store);
	for (int i = 0; i < 4; i++)
		follower_turn(follower);
	ck_assert(look()->proven);
	ck_assert_uint_eq(reseeds.calls, 0);
}
END_TEST

/* It has nobody to be compared with, and one of the two was wrong: it says so until its server begins anew. */
START_TEST(mode_raft_member__that_was_found_to_differ_is_not_proven_by_leading)
{
	struct sp_error err = { .code = SP_EUNAVAIL };

	toy_put(&leader.store, "k", "good");
	toy_put(&store, "k", "bad");
	begin("");
	follower_turn(follower);
	member(MEMBER_ROLE_LEADER, 101);
	for (int i = 0; i < 3; i++)
		follower_turn(follower);
	ck_assert(!look()->readiness.ready);
	ck_assert(!state_proven(state));
	ck_assert_ptr_nonnull(strstr(text_of("history"), "history diverged"));
	ck_assert_uint_eq(reseeds.calls, 0);
	state_server_failed(state, &err);
	for (int i = 0; i < 3; i++)
		follower_turn(follower);
	ck_assert(look()->readiness.ready);
}
END_TEST

START_TEST(mode_raft_metrics__tell_of_the_member)
{
	struct reload_status conf = { .success = true };
	struct metrics_seed seed = { 0 };
	struct buf page;

	begin("");
	follower_turn(follower);
	look();
	buf_init(&page, 1u << 20);
	ck_assert_int_eq(metrics_page_write(&page, &view, &conf, &seed), 0);
	ck_assert_ptr_nonnull(strstr(page.data, "\nseedpod_raft_role{role=\"follower\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(page.data, "\nseedpod_raft_role{role=\"leader\"} 0\n"));
	ck_assert_ptr_nonnull(strstr(page.data, "\nseedpod_raft_term 3\n"));
	ck_assert_ptr_nonnull(strstr(page.data, "\nseedpod_raft_commit_index 100\n"));
	ck_assert_ptr_nonnull(strstr(page.data, "\nseedpod_raft_voters 3\n"));
	view.own.raft.role = MEMBER_ROLE_NONE;
	buf_release(&page);
	ck_assert_int_eq(metrics_page_write(&page, &view, &conf, &seed), 0);
	ck_assert_ptr_null(strstr(page.data, "seedpod_raft_"));
	buf_release(&page);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		mode_raft_follower__is_ready_when_it_has_applied_what_the_leader_had_at_the_start,
		mode_raft_member__that_becomes_leader_stays_proven,
		mode_raft_leader__that_cannot_write_is_not_ready,
		mode_raft_member__on_another_volume_is_proven_anew,
		mode_raft_member__without_a_leader_is_not_ready,
		mode_raft_member__joining_or_removed_is_not_ready_and_is_left_alone,
		mode_raft_member__that_needs_a_snapshot_is_seeded_again_whatever_on_divergence_says,
		mode_raft_member__whose_reseed_fails_says_what_it_needs_and_tries_again,
		mode_raft_member__with_another_content_at_the_same_change_has_diverged,
		mode_raft_member__with_another_content_stays_diverged_while_its_log_goes_on,
		mode_raft_member__that_was_found_to_differ_is_not_proven_by_leading,
		mode_raft_metrics__tell_of_the_member,
	};

	return suite_run_fixture("sync in mode raft", tests, sizeof(tests) / sizeof(tests[0]), 20, setup, teardown);
}
