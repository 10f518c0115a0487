
#include "server/replication/raft/plan.h"
#include "tests/lib/suite.h"

#define ID(incarnation, number) MEMBER_ID(incarnation, number)

static const struct contact two = { .number = 2, .id = ID(5, 2), .name = "b", .url = "http://b:1", .raft = "b:2" };

static struct plan_facts
facts(const struct plan_member *members, size_t count)
{
	return (struct plan_facts){
		.members = members, .count = count, .self = members[0].id, .last_index = 5000, .max_voters = 3
	};
}

START_TEST(plan_add__goes_from_nothing_to_a_stand_by_step_by_step)
{
	const struct plan_member alone[] = { { ID(1, 1), PLAN_VOTER, 0 } };
	const struct plan_member spare[] = { alone[0], { ID(5, 2), PLAN_SPARE, 0 } };
	const struct plan_member standby[] = { alone[0], { ID(5, 2), PLAN_STANDBY, 0 } };
	struct plan_facts f = facts(alone, 1);
	uint64_t id;

	ck_assert_int_eq(plan_add(&f, &two, NULL, &id), PLAN_NOTE);
	ck_assert_int_eq(plan_add(&f, &two, &two, &id), PLAN_ADD);
	ck_assert_uint_eq(id, ID(5, 2));
	f = facts(spare, 2);
	ck_assert_int_eq(plan_add(&f, &two, &two, &id), PLAN_STAND_BY);
	f = facts(standby, 2);
	ck_assert_int_eq(plan_add(&f, &two, &two, &id), PLAN_DONE);
}
END_TEST

START_TEST(plan_add__the_numbers_former_life_goes_first)
{
	const struct plan_member old[] = { { ID(1, 1), PLAN_VOTER, 0 }, { ID(4, 2), PLAN_VOTER, 9 },
		{ ID(1, 3), PLAN_VOTER, 9 } };
	struct plan_facts f = facts(old, 3);
	uint64_t id;

	ck_assert_int_eq(plan_add(&f, &two, &two, &id), PLAN_REMOVE);
	ck_assert_uint_eq(id, ID(4, 2));
}
END_TEST

START_TEST(plan_add__the_leaders_own_number_is_refused)
{
	const struct plan_member old[] = { { ID(4, 2), PLAN_VOTER, 0 }, { ID(1, 3), PLAN_VOTER, 9 } };
	struct plan_facts f = facts(old, 2);
	uint64_t id;

	ck_assert_int_eq(plan_add(&f, &two, &two, &id), PLAN_REFUSE);
}
END_TEST

START_TEST(plan_add__a_changed_address_is_noted)
{
	const struct plan_member there[] = { { ID(1, 1), PLAN_VOTER, 0 }, { ID(5, 2), PLAN_VOTER, 9 } };
	struct plan_facts f = facts(there, 2);
	struct contact before = two;
	uint64_t id;

	strcpy(before.url, "http://elsewhere:1");
	ck_assert_int_eq(plan_add(&f, &two, &before, &id), PLAN_NOTE);
	ck_assert_int_eq(plan_add(&f, &two, &two, &id), PLAN_DONE);
}
END_TEST

START_TEST(plan_add__who_is_announced_is_a_spare_until_it_runs)
{
	const struct plan_member alone[] = { { ID(1, 1), PLAN_VOTER, 0 } };
	const struct plan_member spare[] = { alone[0], { ID(0, 2), PLAN_SPARE, 0 } };
	const struct plan_member running[] = { alone[0], { ID(5, 2), PLAN_STANDBY, 0 } };
	struct contact announced = two;
	struct plan_facts f = facts(alone, 1);
	uint64_t id;

	announced.id = 0;
	ck_assert_int_eq(plan_add(&f, &announced, &announced, &id), PLAN_ADD);
	ck_assert_uint_eq(id, ID(0, 2));
	f = facts(spare, 2);
	ck_assert_int_eq(plan_add(&f, &announced, &announced, &id), PLAN_DONE);
	/* It comes with an id of its own: the announcement has done its part. */
	ck_assert_int_eq(plan_add(&f, &two, &announced, &id), PLAN_REMOVE);
	ck_assert_uint_eq(id, ID(0, 2));
	f = facts(running, 2);
	ck_assert_int_eq(plan_add(&f, &announced, &two, &id), PLAN_DONE);
	/* One that is to be elsewhere is not the one that runs. */
	strcpy(announced.url, "http://elsewhere:1");
	ck_assert_int_eq(plan_add(&f, &announced, &two, &id), PLAN_REFUSE);
}
END_TEST

START_TEST(plan_remove__by_number_but_never_the_last_voter)
{
	const struct plan_member some[] = { { ID(1, 1), PLAN_VOTER, 0 }, { ID(5, 2), PLAN_STANDBY, 0 } };
	struct plan_facts f = facts(some, 2);
	uint64_t id;

	ck_assert_int_eq(plan_remove(&f, 2, &id), PLAN_REMOVE);
	ck_assert_uint_eq(id, ID(5, 2));
	ck_assert_int_eq(plan_remove(&f, 3, &id), PLAN_NOT_THERE);
	/* Who stands by cannot go on alone. */
	ck_assert_int_eq(plan_remove(&f, 1, &id), PLAN_REFUSE);
	f = facts(some, 1);
	ck_assert_int_eq(plan_remove(&f, 1, &id), PLAN_REFUSE);
}
END_TEST

START_TEST(plan_remove__the_leader_hands_over_first)
{
	const struct plan_member some[] = { { ID(1, 1), PLAN_VOTER, 0 }, { ID(5, 2), PLAN_VOTER, 9 } };
	struct plan_facts f = facts(some, 2);
	uint64_t id;

	ck_assert_int_eq(plan_remove(&f, 1, &id), PLAN_HAND_OVER);
	ck_assert_int_eq(plan_remove(&f, 2, &id), PLAN_REMOVE);
}
END_TEST

START_TEST(plan_promotion__who_has_nearly_all_of_the_log_where_there_is_room)
{
	struct plan_member m[] = { { ID(1, 1), PLAN_VOTER, 5000 }, { ID(1, 2), PLAN_STANDBY, 4500 },
		{ ID(1, 3), PLAN_STANDBY, 4900 }, { ID(1, 4), PLAN_SPARE, 0 } };
	struct plan_facts f = facts(m, 4);
	uint64_t id;

	ck_assert_int_eq(plan_promotion(&f, &id), PLAN_PROMOTE);
	ck_assert_uint_eq(id, ID(1, 3));
	m[1].match = m[2].match = 3999;
	ck_assert_int_eq(plan_promotion(&f, &id), PLAN_DONE);
	m[1].match = 5000;
	m[2].role = m[3].role = PLAN_VOTER;
	ck_assert_int_eq(plan_promotion(&f, &id), PLAN_DONE);
	f.max_voters = 4;
	ck_assert_int_eq(plan_promotion(&f, &id), PLAN_PROMOTE);
	/* Who acknowledged a pointer has yet to show that it needs no seeding. */
	f.pointed = 5000;
	ck_assert_int_eq(plan_promotion(&f, &id), PLAN_PROVE);
	f.last_index = 5001;
	ck_assert_int_eq(plan_promotion(&f, &id), PLAN_DONE);
	m[1].match = 5001;
	ck_assert_int_eq(plan_promotion(&f, &id), PLAN_PROMOTE);
	f.pointed = 0;
	/* Who was never heard of may be as empty as the log. */
	f.last_index = 10;
	m[1].match = 0;
	ck_assert_int_eq(plan_promotion(&f, &id), PLAN_DONE);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		plan_add__goes_from_nothing_to_a_stand_by_step_by_step,
		plan_add__the_numbers_former_life_goes_first,
		plan_add__the_leaders_own_number_is_refused,
		plan_add__a_changed_address_is_noted,
		plan_add__who_is_announced_is_a_spare_until_it_runs,
		plan_remove__by_number_but_never_the_last_voter,
		plan_remove__the_leader_hands_over_first,
		plan_promotion__who_has_nearly_all_of_the_log_where_there_is_room,
	};

	return suite_run("raft_plan", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
