#include <string.h>

#include "lib/protocol/fanout.h"
#include "tests/lib/suite.h"

#define DONOR 0
#define PODS  200

START_TEST(fanout_place__so_many_directly_then_pointed_to_in_turn)
{
	struct fanout f = { .limit = 2 };
	unsigned sibling = 99;

	ck_assert(fanout_place(&f, 4, &sibling));
	ck_assert(fanout_place(&f, 7, &sibling));
	ck_assert_uint_eq(sibling, 99);
	ck_assert(!fanout_place(&f, 1, &sibling));
	ck_assert_uint_eq(sibling, 4);
	ck_assert(!fanout_place(&f, 2, &sibling));
	ck_assert_uint_eq(sibling, 7);
	ck_assert(!fanout_place(&f, 3, &sibling));
	ck_assert_uint_eq(sibling, 4);
}
END_TEST

START_TEST(fanout_leave__makes_room_for_one)
{
	struct fanout f = { .limit = 2 };
	unsigned sibling;

	ck_assert(fanout_place(&f, 1, &sibling) && fanout_place(&f, 2, &sibling));
	fanout_leave(&f, 9);
	ck_assert(!fanout_place(&f, 3, &sibling));
	fanout_leave(&f, 1);
	ck_assert(fanout_place(&f, 3, &sibling));
	ck_assert(!fanout_place(&f, 4, &sibling));
	ck_assert_msg(sibling == 2 || sibling == 3, "%u has left", sibling);
	fanout_leave(&f, 2);
	fanout_leave(&f, 3);
	ck_assert_uint_eq(f.count, 0);
}
END_TEST

/* The connection of a pod that was killed may not be known to have ended: it must not be pointed to itself. */
START_TEST(fanout_place__a_pod_that_begins_anew_is_sent_to)
{
	struct fanout f = { .limit = 1 };
	unsigned sibling;

	ck_assert(fanout_place(&f, 1, &sibling));
	ck_assert(fanout_place(&f, 1, &sibling));
	fanout_leave(&f, 1);
	fanout_leave(&f, 1);
	ck_assert_uint_eq(f.count, 0);
}
END_TEST

START_TEST(fanout_place__without_a_limit_all_are_sent_to)
{
	struct fanout f = { .limit = 0 };
	unsigned sibling;

	for (unsigned pod = 0; pod < PODS; pod++)
		ck_assert(fanout_place(&f, pod, &sibling));
	fanout_leave(&f, 1);
	ck_assert_uint_eq(f.count, 0);
}
END_TEST

/* A limit that nobody may configure is held to what there is room for. */
START_TEST(fanout_place__never_more_than_there_is_room_for)
{
	struct fanout f = { .limit = 1000 };
	unsigned sibling;

	for (unsigned pod = 0; pod < FANOUT_LIMIT_MAX; pod++)
		ck_assert(fanout_place(&f, pod, &sibling));
	ck_assert(!fanout_place(&f, FANOUT_LIMIT_MAX, &sibling));
}
END_TEST

/* Each pod follows the pointers from the donor on: all find a place, nobody sends to more than the limit, and the way
 * to the last one is short. */
static void
grow_tree(unsigned limit, unsigned deepest)
{
	static struct fanout nodes[PODS];
	unsigned most = 0;

	memset(nodes, 0, sizeof(nodes));
	for (unsigned i = 0; i < PODS; i++)
		nodes[i].limit = limit;
	for (unsigned pod = 1; pod < PODS; pod++) {
		unsigned at = DONOR, hops = 1;

		while (!fanout_place(&nodes[at], pod, &at)) {
			ck_assert_uint_ne(at, pod);
			ck_assert_uint_lt(hops++, PODS);
		}
		ck_assert_uint_le(nodes[at].count, limit);
		most = hops > most ? hops : most;
	}
	ck_assert_uint_le(most, deepest);
}

START_TEST(fanout_place__pods_form_a_shallow_tree)
{
	grow_tree(2, 8);
	grow_tree(4, 5);
	grow_tree(16, 3);
	grow_tree(1, PODS);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		fanout_place__so_many_directly_then_pointed_to_in_turn,
		fanout_leave__makes_room_for_one,
		fanout_place__a_pod_that_begins_anew_is_sent_to,
		fanout_place__without_a_limit_all_are_sent_to,
		fanout_place__never_more_than_there_is_room_for,
		fanout_place__pods_form_a_shallow_tree,
	};

	return suite_run("fanout", tests, sizeof(tests) / sizeof(tests[0]), 10);
}
