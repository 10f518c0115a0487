#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/protocol/position.h"
#include "tests/lib/suite.h"

static struct position
at(uint64_t epoch, uint64_t seq)
{
	struct position p = { .cluster = "0b5c5a3c-8c34-4d19-9a56-0cf0d9f0a001",
		.epoch = epoch,
		.seq = seq,
		.consistent = true,
		.digest = { seq, epoch },
		.history_count = 1,
		.history = { { .epoch = epoch } } };

	p.lead = (struct lead){ .kind = LEAD_NONE, .pod = LEAD_NOBODY, .to = LEAD_NOBODY, .despite = LEAD_NOBODY };
	return p;
}

static struct position
released(uint32_t pod, uint32_t to)
{
	struct position p = at(3, 70);

	p.lead = (struct lead){ .kind = LEAD_RELEASED, .pod = pod, .to = to, .despite = LEAD_NOBODY };
	p.lead.epoch = p.epoch;
	p.lead.seq = p.seq;
	p.lead.digest = p.digest;
	return p;
}

START_TEST(lead_is_own__by_the_record_first)
{
	struct position p = at(3, 70);

	/* Nothing is known: only a store that was written here, as an older version leaves it, and by its name. */
	ck_assert(!lead_is_own(&p, 1, true, false));
	p.writer = true;
	ck_assert(lead_is_own(&p, 1, true, false));
	ck_assert(!lead_is_own(&p, 1, false, false));
	/* Held: whatever the name says, but only in the pod that wrote it, and only while it is the writer. */
	p.lead = (struct lead){ .kind = LEAD_HELD, .pod = 1 };
	ck_assert(lead_is_own(&p, 1, false, false));
	ck_assert(!lead_is_own(&p, 2, true, false));
	p.writer = false;
	ck_assert(!lead_is_own(&p, 1, true, false));
	/* Released: never again by itself. */
	p = released(1, 2);
	ck_assert(!lead_is_own(&p, 1, true, false));
	ck_assert(!lead_is_own(&p, 2, true, false));
	/* A restored store, and one of raft's, begin anew by the name. */
	ck_assert(lead_is_own(&p, 1, true, true));
	ck_assert(!lead_is_own(&p, 1, false, true));
	p.raft.applied = 9;
	ck_assert(lead_is_own(&p, 1, true, false));
}
END_TEST

START_TEST(lead_awaits__until_the_store_has_moved_on)
{
	struct position p = released(1, 2);

	ck_assert(lead_awaits(&p, 2));
	ck_assert(!lead_awaits(&p, 1));
	ck_assert(!lead_awaits(&p, LEAD_NOBODY));
	p.role = ROLE_LEADER;
	ck_assert(!lead_awaits(&p, 2));
	p = released(1, 2);
	p.epoch = 4;
	ck_assert(!lead_awaits(&p, 2));
	p = released(1, 2);
	p.digest.low ^= 1;
	ck_assert(!lead_awaits(&p, 2));
}
END_TEST

START_TEST(lead_json__is_read_as_it_was_written)
{
	struct position p = released(1, LEAD_NOBODY), q;
	struct sp_error err;
	char *text;

	p.writer = true;
	p.lead.despite = 7;
	p.handover = (struct lead_report){ .state = HANDOVER_FAILED, .from = 1, .to = 2, .pause_ms = 41, .wall_ms = 5 };
	text = position_to_json(&p);
	ck_assert_ptr_nonnull(text);
	ck_assert_msg(position_from_json(text, strlen(text), &q, &err) == 0, "%s", err.text);
	free(text);
	ck_assert_mem_eq(&q.lead, &p.lead, sizeof(p.lead));
	ck_assert_mem_eq(&q.handover, &p.handover, sizeof(p.handover));
	ck_assert(q.writer);
}
END_TEST

START_TEST(lead_json__of_another_shape_is_refused)
{
	static const char *const bad[] = { "1", "{}", "{\"kind\":\"taken\",\"pod\":1,\"to\":1,\"despite\":-1}",
		"{\"kind\":\"held\",\"pod\":-2,\"to\":1,\"despite\":-1}",
		"{\"kind\":\"held\",\"pod\":4294967295,\"to\":1,\"despite\":-1}",
		"{\"kind\":\"released\",\"pod\":1,\"to\":2,\"despite\":-1}",
		"{\"kind\":\"released\",\"pod\":1,\"to\":2,\"despite\":-1,\"epoch\":1,\"seq\":-1,\"digest\":\"00\"}",
		"{\"kind\":\"none\",\"pod\":1,\"to\":2,\"despite\":-1,\"handover\":{\"state\":\"odd\"}}" };
	struct position p;
	struct sp_error err;
	char text[512];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text),
		    "{\"cluster\":\"c\",\"epoch\":1,\"seq\":1,\"digest\":\"00000000000000000000000000000000\",\"lead\":"
		    "%s}",
		    bad[i]);
		ck_assert_msg(position_from_json(text, strlen(text), &p, &err) == SP_EBADDATA, "%s", bad[i]);
	}
}
END_TEST

int
main(void)
{
	const TTest *const tests[] = {
		lead_is_own__by_the_record_first,
		lead_awaits__until_the_store_has_moved_on,
		lead_json__is_read_as_it_was_written,
		lead_json__of_another_shape_is_refused,
	};

	return suite_run("lead", tests, sizeof(tests) / sizeof(tests[0]), 30);
}
