/* What `seedpod-init --plan` says: facts and plan, for people and for programs. */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "init/show.h"
#include "lib/base/buf.h"
#include "tests/lib/plan_facts.h"
#include "tests/lib/suite.h"

#define CLUSTER "6f1c2f7e-35a1-4a4c-9f0e-0123456789ab"

static struct buf out;

static void
setup(void)
{
	buf_init(&out, 1u << 16);
}

static void
teardown(void)
{
	buf_release(&out);
}

static struct position
at(uint64_t seq, enum role role)
{
	struct position p = { .cluster = CLUSTER, .epoch = 1, .seq = seq, .keys = 7, .horizon = 3, .consistent = true };

	p.role = role;
	p.digest = (struct digest){ 0, seq };
	p.history[p.history_count++] = (struct epoch_start){ .epoch = 1, .since = 0 };
	return p;
}

/* The pods as in pods(), with names and URLs, all of them asked. */
static void
asked(unsigned ordinal)
{
	pods(ordinal);
	snprintf(facts.pod, sizeof(facts.pod), "store-%u", ordinal);
	for (size_t i = 0; i < PEERS; i++) {
		snprintf(peers[i].url, sizeof(peers[i].url), "http://store-%u:9876", peers[i].ordinal);
		peers[i].asked = true;
	}
}

static const char *
text(void)
{
	buf_reset(&out);
	ck_assert_int_eq(show_text(&facts, &plan, &out), 0);
	return out.data;
}

#define SAYS(what) ck_assert_msg(strstr(text(), what) != NULL, "not \"%s\" but\n%s", what, out.data)

START_TEST(show_text__names_each_fact_and_the_donor)
{
	asked(2);
	answers(0, at(90, ROLE_LEADER));
	peer(1)->answer.reached = true;
	snprintf(peer(1)->answer.err.text, sizeof(peer(1)->answer.err.text), "it was just made");
	expect_donor(PLAN_SEED, 0);
	SAYS("pod     store-2 (follower)\n");
	SAYS("volume  store empty\n");
	SAYS("peer    store-0 (leader) http");
	SAYS("cluster " CLUSTER ", epoch 1, seq 90, digest 0000000000000000000000000000005a, 7 keys, horizon 3\n");
	SAYS(": no store: it was just made\n");
	SAYS(": not reached: ");
	SAYS("action  seed from store-0 (http");
	SAYS("\nwhy     ");
	ck_assert_ptr_null(strstr(text(), "store   "));
}
END_TEST

START_TEST(show_text__tells_what_a_former_life_left)
{
	asked(0);
	facts.store = STORE_PRESENT;
	facts.own = at(50, ROLE_FOLLOWER);
	facts.own.consistent = false;
	facts.volume.incoming = facts.volume.ready = facts.volume.old = true;
	expect(PLAN_START);
	SAYS("(leader)\nvolume  store present; a download was not finished, it will be removed; a store is ready, the "
	     "swap "
	     "will be finished; a former store is left over\n");
	SAYS("\nstore   cluster " CLUSTER ", epoch 1, seq 50, ");
	SAYS("horizon 3, not on a cut\n");
	SAYS("action  start\n");
}
END_TEST

START_TEST(show_text__a_damaged_store_says_what_is_wrong_with_it)
{
	asked(0);
	facts.store = STORE_DAMAGED;
	snprintf(facts.damage, sizeof(facts.damage), "page 7 is damaged");
	expect_end(PLAN_REFUSE, 65);
	SAYS("volume  store damaged\nstore   page 7 is damaged\n");
	SAYS("action  refuse\n");
}
END_TEST

START_TEST(show_text__a_member_of_mode_raft)
{
	struct position p = at(90, ROLE_LEADER);

	asked(1);
	facts.mode = CONF_MODE_RAFT;
	facts.volume.raft = true;
	p.raft = (struct position_raft){ .role = MEMBER_ROLE_LEADER, .applied = 123, .number = 1, .id = 1 };
	answers(0, p);
	plan_make(&facts, &plan);
	SAYS("pod     store-1 (member)\n");
	SAYS("log     present\n");
	SAYS("peer    store-0 (leader) ");
	SAYS("7 keys, leader, index 123\n");
	asked(0);
	facts.mode = CONF_MODE_RAFT;
	plan_make(&facts, &plan);
	SAYS("pod     store-0 (member, founder)\nvolume  store empty\nlog     none\n");
}
END_TEST

START_TEST(show_json__is_one_line_with_the_same)
{
	json_t *json;

	asked(2);
	facts.store = STORE_PRESENT;
	facts.own = at(10, ROLE_FOLLOWER);
	answers(0, at(90, ROLE_LEADER));
	plan_make(&facts, &plan);
	ck_assert_int_eq(show_json(&facts, &plan, &out), 0);
	ck_assert_ptr_eq(strchr(out.data, '\n'), out.data + out.len - 1);
	json = json_loads(out.data, 0, NULL);
	ck_assert_ptr_nonnull(json);
	ck_assert_str_eq(json_string_value(json_object_get(json, "pod")), "store-2");
	ck_assert_str_eq(json_string_value(json_object_get(json, "action")), plan_action_name(plan.action));
	ck_assert_str_eq(json_string_value(json_object_get(json, "why")), plan.why);
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(json, "position"), "seq")), 10);
	ck_assert_uint_eq(json_array_size(json_object_get(json, "peers")), PEERS);
	json_decref(json);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		show_text__names_each_fact_and_the_donor,
		show_text__tells_what_a_former_life_left,
		show_text__a_damaged_store_says_what_is_wrong_with_it,
		show_text__a_member_of_mode_raft,
		show_json__is_one_line_with_the_same,
	};

	return suite_run_fixture("init_show", tests, sizeof(tests) / sizeof(tests[0]), 10, setup, teardown);
}
