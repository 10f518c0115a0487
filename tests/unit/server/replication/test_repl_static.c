#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "server/replication/static/repl_static.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

#define SELF   "http://mystore-0.svc:9876"
#define LEADER "http://mystore-7.svc:9876"

static char dir[TEMPDIR_MAX];
static struct store *store;
static struct committer *committer;
static struct repl *repl;
static struct sp_error err;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned done_count;

static void
setup(void)
{
	struct committer_options o = { .store = NULL };

	tempdir_make(dir);
	o.store = store = test_store_new(dir);
	committer = committer_new(&o, &err);
	ck_assert_ptr_nonnull(committer);
}

static void
teardown(void)
{
	/* The writer calls back into it. */
	committer_stop(committer);
	if (repl != NULL)
		repl->ops->free(repl);
	committer_free(committer);
	store_free(store);
	tempdir_remove(dir);
}

static void
start(bool leads)
{
	struct repl_static_options o = {
		.committer = committer, .leads = leads, .self_url = SELF, .leader_url = LEADER
	};

	repl = repl_static_new(&o, &err);
	ck_assert_ptr_nonnull(repl);
	ck_assert_msg(repl->ops->attached(repl, &err) == 0, "%s", err.text);
}

static void
count_done(void)
{
	pthread_mutex_lock(&lock);
	done_count++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void
batch_done(struct repl_batch *b)
{
	ck_assert_ptr_eq(b->arg, dir);
	count_done();
}

static void
feed_done(struct repl_feed *f)
{
	ck_assert_ptr_eq(f->arg, dir);
	count_done();
}

static void
wait_one(void)
{
	pthread_mutex_lock(&lock);
	while (done_count == 0)
		pthread_cond_wait(&changed, &lock);
	done_count = 0;
	pthread_mutex_unlock(&lock);
}

static struct repl_op
op(int kind, const char *key, const char *value)
{
	struct repl_op o = { .kind = kind == REPL_PUT ? REPL_PUT : REPL_DELETE, .key = key, .key_len = strlen(key) };

	o.value = value;
	o.value_len = value != NULL ? strlen(value) : 0;
	return o;
}

/* Submit a batch and wait: its code; the whole of it in *out where that is not NULL. */
static int
write_batch(const struct repl_op *ops, size_t count, enum repl_condition condition, uint64_t if_seq, uint64_t *seq)
{
	struct repl_batch b = {
		.ops = ops, .count = count, .condition = condition, .if_seq = if_seq, .done = batch_done, .arg = dir
	};

	ck_assert_msg(repl->ops->submit(repl, &b, &err) == 0, "%s", err.text);
	wait_one();
	err = b.err;
	if (seq != NULL)
		*seq = b.seq;
	ck_assert(b.code == 0 || b.err.code == b.code);
	return b.code;
}

static int
put(const char *key, const char *value, enum repl_condition condition, uint64_t if_seq)
{
	struct repl_op one = op(REPL_PUT, key, value);

	return write_batch(&one, 1, condition, if_seq, NULL);
}

static int
apply(const struct buf *bytes)
{
	struct repl_feed f = { .data = bytes->data, .len = bytes->len, .done = feed_done, .arg = dir };

	ck_assert_msg(feed_check(bytes->data, bytes->len, &f.info, &err) == 0, "%s", err.text);
	ck_assert_int_eq(repl->ops->apply(repl, &f, &err), 0);
	wait_one();
	err = f.err;
	return f.code;
}

/* A feed with one put, from where the store stands. */
static void
make_feed(struct buf *out, bool right)
{
	struct position p = test_store_position(store);
	struct position after = p;

	after.seq = p.seq + 1;
	after.keys = p.keys + 1;
	after.digest = digest_add(p.digest, digest_of_record("fed", 3, after.seq, right ? "v" : "w", 1));
	buf_init(out, 1 << 20);
	feed_write_header(out, &after, p.seq);
	feed_write_put(out, after.seq, "fed", 3, "v", 1);
	feed_write_cut(out, &after);
	feed_write_end(out, 1);
}

/* Feeds with one put each, the first from where the store stands; the one numbered `wrong` has another content. */
static void
make_list(struct buf *bytes, struct repl_feed *feeds, unsigned count, unsigned wrong)
{
	struct position p = test_store_position(store);
	char key[16];

	for (unsigned i = 0; i < count; i++) {
		uint64_t since = p.seq++;

		snprintf(key, sizeof(key), "fed-%u", i);
		p.keys++;
		p.digest = digest_add(p.digest, digest_of_record(key, strlen(key), p.seq, i == wrong ? "w" : "v", 1));
		buf_init(&bytes[i], 1 << 20);
		feed_write_header(&bytes[i], &p, since);
		feed_write_put(&bytes[i], p.seq, key, strlen(key), "v", 1);
		feed_write_cut(&bytes[i], &p);
		feed_write_end(&bytes[i], 1);
		feeds[i] = (struct repl_feed){ .data = bytes[i].data,
			.len = bytes[i].len,
			.done = feed_done,
			.arg = dir,
			.here = true,
			.next = i + 1 < count ? &feeds[i + 1] : NULL };
		ck_assert_int_eq(feed_check(feeds[i].data, feeds[i].len, &feeds[i].info, &err), 0);
	}
}

/* A job that changes nothing, and which thread ran it. */
struct idle_job {
	struct commit_job job; /* first */
	pthread_t on;
	atomic_bool over;
};

static int
run_idle(struct commit_job *job, struct store_txn *txn)
{
	(void)txn;
	((struct idle_job *)job)->on = pthread_self();
	return 0;
}

static void
idle_done(struct commit_job *job)
{
	atomic_store(&((struct idle_job *)job)->over, true);
}

/* Wait until the committer's own thread is done with what the start gave it: a job that may run here does. */
static void
wait_committer_idle(void)
{
	int64_t until_ms = clock_mono_ms() + 10000;
	struct idle_job idle;

	do {
		idle = (struct idle_job){ .job = { .run = run_idle, .done = idle_done } };
		ck_assert_int_eq(committer_submit_list(committer, &idle.job, true, &err), 0);
		while (!atomic_load(&idle.over))
			sched_yield();
		ck_assert_int_lt(clock_mono_ms(), until_ms);
	} while (!pthread_equal(idle.on, pthread_self()));
}

START_TEST(repl_static__feeds_in_a_list_are_one_commit_on_the_callers_thread)
{
	struct committer_stats before, after;
	struct repl_feed feeds[3];
	struct buf bytes[3];

	start(false);
	make_list(bytes, feeds, 3, UINT32_MAX);
	wait_committer_idle();
	committer_stats(committer, &before);
	ck_assert_msg(repl->ops->apply(repl, feeds, &err) == 0, "%s", err.text);
	/* No wait: nothing else was to be written. */
	ck_assert_uint_eq(done_count, 3);
	committer_stats(committer, &after);
	ck_assert_uint_eq(after.commits - before.commits, 1);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(feeds[i].code, 0);
		buf_release(&bytes[i]);
	}
	ck_assert_uint_eq(test_store_position(store).seq, 3);
	test_store_expect(store, "fed-2", "v");
	test_store_verify(store);
}
END_TEST

START_TEST(repl_static__a_wrong_feed_in_a_list_leaves_those_before_it)
{
	struct repl_feed feeds[3];
	struct buf bytes[3];

	start(false);
	make_list(bytes, feeds, 3, 1);
	wait_committer_idle();
	ck_assert_int_eq(repl->ops->apply(repl, feeds, &err), 0);
	ck_assert_uint_eq(done_count, 3);
	ck_assert_int_eq(feeds[0].code, 0);
	ck_assert_int_eq(feeds[1].code, SP_EDIGEST);
	ck_assert_int_eq(feeds[2].code, SP_EGAP);
	for (unsigned i = 0; i < 3; i++)
		buf_release(&bytes[i]);
	ck_assert_uint_eq(test_store_position(store).seq, 1);
	test_store_expect(store, "fed-0", "v");
	test_store_expect(store, "fed-1", NULL);
	test_store_verify(store);
}
END_TEST

START_TEST(repl_static__a_leader_writes)
{
	struct repl_op ops[] = { op(REPL_PUT, "a", "1"), op(REPL_PUT, "b", "2"), op(REPL_DELETE, "a", NULL) };
	char url[POSITION_URL_MAX];
	uint64_t seq;

	start(true);
	ck_assert_str_eq(repl->ops->mode, "static");
	ck_assert_int_eq(repl->ops->role(repl), ROLE_LEADER);
	repl->ops->leader(repl, url, sizeof(url));
	ck_assert_str_eq(url, SELF);
	ck_assert_int_eq(write_batch(ops, 3, REPL_ALWAYS, 0, &seq), 0);
	ck_assert_uint_eq(seq, 3);
	test_store_expect(store, "a", NULL);
	test_store_expect(store, "b", "2");
	ck_assert_uint_eq(test_store_position(store).epoch, 1);
}
END_TEST

START_TEST(repl_static__conditions)
{
	struct repl_op gone = op(REPL_DELETE, "a", NULL);

	start(true);
	ck_assert_int_eq(put("a", "1", REPL_IF_PRESENT, 0), SP_EPRECOND);
	ck_assert_int_eq(put("a", "1", REPL_IF_SEQ, 1), SP_EPRECOND);
	ck_assert_uint_eq(test_store_position(store).seq, 0);
	ck_assert_int_eq(put("a", "1", REPL_IF_ABSENT, 0), 0);
	ck_assert_int_eq(put("a", "2", REPL_IF_ABSENT, 0), SP_EPRECOND);
	ck_assert_int_eq(put("a", "2", REPL_IF_SEQ, 2), SP_EPRECOND);
	test_store_expect(store, "a", "1");
	ck_assert_int_eq(put("a", "3", REPL_IF_SEQ, 1), 0);
	ck_assert_int_eq(put("a", "4", REPL_IF_PRESENT, 0), 0);
	test_store_expect(store, "a", "4");
	ck_assert_int_eq(write_batch(&gone, 1, REPL_IF_SEQ, 2, NULL), SP_EPRECOND);
	ck_assert_int_eq(write_batch(&gone, 1, REPL_IF_SEQ, 3, NULL), 0);
	/* A tombstone is as good as nothing. */
	ck_assert_int_eq(put("a", "5", REPL_IF_PRESENT, 0), SP_EPRECOND);
	ck_assert_int_eq(put("a", "5", REPL_IF_SEQ, 4), SP_EPRECOND);
	ck_assert_int_eq(put("a", "5", REPL_IF_ABSENT, 0), 0);
	ck_assert_uint_eq(test_store_position(store).seq, 5);
	test_store_verify(store);
}
END_TEST

START_TEST(repl_static__a_single_delete_of_nothing_is_not_found)
{
	struct repl_op ops[] = { op(REPL_DELETE, "a", NULL), op(REPL_DELETE, "b", NULL) };
	uint64_t seq;

	start(true);
	put("c", "1", REPL_ALWAYS, 0);
	ck_assert_int_eq(write_batch(ops, 1, REPL_ALWAYS, 0, NULL), SP_ENOTFOUND);
	/* Of several, what is gone is as it should be. */
	ck_assert_int_eq(write_batch(ops, 2, REPL_ALWAYS, 0, &seq), 0);
	ck_assert_uint_eq(seq, 1);
	ck_assert_uint_eq(test_store_position(store).seq, 1);
}
END_TEST

/* All or nothing, whatever is wrong with the last of them. */
START_TEST(repl_static__a_batch_with_a_bad_key_leaves_no_trace)
{
	static char key[STORE_KEY_MAX + 1];
	struct repl_op ops[] = { op(REPL_PUT, "a", "1"), op(REPL_PUT, "b", "2"), op(REPL_PUT, "", "3") };

	start(true);
	ck_assert_int_eq(write_batch(ops, 3, REPL_ALWAYS, 0, NULL), SP_ETOOBIG);
	ops[2] = (struct repl_op){ .kind = REPL_DELETE, .key = key, .key_len = sizeof(key) };
	ck_assert_int_eq(write_batch(ops, 3, REPL_ALWAYS, 0, NULL), SP_ETOOBIG);
	ck_assert_uint_eq(test_store_position(store).seq, 0);
	test_store_expect(store, "a", NULL);
	ck_assert_int_eq(write_batch(ops, 2, REPL_ALWAYS, 0, NULL), 0);
	ck_assert_uint_eq(test_store_position(store).seq, 2);
}
END_TEST

START_TEST(repl_static__a_follower_writes_nothing)
{
	char url[POSITION_URL_MAX];

	start(false);
	ck_assert_int_eq(repl->ops->role(repl), ROLE_FOLLOWER);
	repl->ops->leader(repl, url, sizeof(url));
	ck_assert_str_eq(url, LEADER);
	ck_assert_int_eq(put("a", "1", REPL_ALWAYS, 0), SP_EAGAIN);
	ck_assert_uint_eq(test_store_position(store).seq, 0);
}
END_TEST

START_TEST(repl_static__a_follower_applies_feeds)
{
	struct buf feed;

	start(false);
	make_feed(&feed, false);
	ck_assert_int_eq(apply(&feed), SP_EDIGEST);
	ck_assert_uint_eq(test_store_position(store).seq, 0);
	test_store_expect(store, "fed", NULL);
	buf_release(&feed);
	make_feed(&feed, true);
	ck_assert_int_eq(apply(&feed), 0);
	ck_assert_uint_eq(test_store_position(store).seq, 1);
	test_store_expect(store, "fed", "v");
	ck_assert_int_eq(apply(&feed), SP_EGAP);
	buf_release(&feed);
	test_store_verify(store);
}
END_TEST

START_TEST(repl_static__a_leader_takes_no_feed)
{
	struct buf feed;

	start(true);
	make_feed(&feed, true);
	ck_assert_int_eq(apply(&feed), SP_EDIVERGED);
	ck_assert_uint_eq(test_store_position(store).seq, 0);
	buf_release(&feed);
}
END_TEST

START_TEST(repl_static__taking_over_begins_an_epoch)
{
	char url[POSITION_URL_MAX];
	struct buf feed;

	start(false);
	make_feed(&feed, true);
	ck_assert_int_eq(apply(&feed), 0);
	ck_assert_int_eq(repl->ops->set_role(repl, ROLE_LEADER, &err), 0);
	ck_assert_int_eq(repl->ops->role(repl), ROLE_LEADER);
	repl->ops->leader(repl, url, sizeof(url));
	ck_assert_str_eq(url, SELF);
	ck_assert_uint_eq(test_store_position(store).epoch, 2);
	ck_assert_uint_eq(test_store_position(store).history[1].since, 1);
	/* Once more changes nothing, nor does opening the store again. */
	ck_assert_int_eq(repl->ops->set_role(repl, ROLE_LEADER, &err), 0);
	ck_assert_int_eq(repl->ops->attached(repl, &err), 0);
	ck_assert_uint_eq(test_store_position(store).epoch, 2);
	ck_assert_int_eq(put("a", "1", REPL_ALWAYS, 0), 0);
	ck_assert_int_eq(repl->ops->set_role(repl, ROLE_FOLLOWER, &err), 0);
	ck_assert_int_eq(put("a", "1", REPL_ALWAYS, 0), SP_EAGAIN);
	ck_assert_uint_eq(test_store_position(store).epoch, 2);
	/* Who leads now it has to be told: the one that it followed before may be sending its clients here. */
	repl->ops->leader(repl, url, sizeof(url));
	ck_assert_str_eq(url, "");
	repl->ops->follow(repl, LEADER);
	repl->ops->leader(repl, url, sizeof(url));
	ck_assert_str_eq(url, LEADER);
	buf_release(&feed);
}
END_TEST

/* A feed that waits for the writer while a promotion is being written: sent from within the promotion's commit, so that
 * it is the very next job. */
static struct repl_feed late_feed;

static void
send_late_feed(const struct position *now, void *arg)
{
	struct sp_error why;

	(void)arg;
	if (now->epoch == 2 && late_feed.done == NULL) {
		late_feed.done = feed_done;
		ck_assert_int_eq(repl->ops->apply(repl, &late_feed, &why), 0);
	}
}

START_TEST(repl_static__a_feed_behind_a_promotion_does_not_undo_it)
{
	struct committer_options o = { .store = store, .committed = send_late_feed };
	struct buf feed;

	committer_free(committer);
	committer = committer_new(&o, &err);
	ck_assert_ptr_nonnull(committer);
	start(false);
	make_feed(&feed, true);
	late_feed = (struct repl_feed){ .data = feed.data, .len = feed.len, .arg = dir };
	ck_assert_int_eq(feed_check(feed.data, feed.len, &late_feed.info, &err), 0);
	ck_assert_int_eq(repl->ops->set_role(repl, ROLE_LEADER, &err), 0);
	wait_one();
	ck_assert_int_eq(late_feed.code, SP_EDIVERGED);
	ck_assert_uint_eq(test_store_position(store).epoch, 2);
	ck_assert_uint_eq(test_store_position(store).seq, 0);
	buf_release(&feed);
}
END_TEST

/* A leader by configuration that was demoted knows of no other leader. */
START_TEST(repl_static__a_demoted_leader_names_nobody)
{
	char url[POSITION_URL_MAX] = "x";

	start(true);
	ck_assert_int_eq(repl->ops->set_role(repl, ROLE_FOLLOWER, &err), 0);
	repl->ops->leader(repl, url, sizeof(url));
	ck_assert_str_eq(url, "");
}
END_TEST

/* The store of a follower, opened by who leads by configuration: an epoch of its own. */
START_TEST(repl_static__leading_on_from_a_followers_store_begins_an_epoch)
{
	test_store_put(store, "a", "1");
	test_store_follow(store);
	start(true);
	ck_assert_uint_eq(test_store_position(store).epoch, 2);
	ck_assert_uint_eq(test_store_position(store).history[1].since, 1);
}
END_TEST

START_TEST(repl_static__a_role_that_cannot_be_written_is_not_taken)
{
	start(false);
	store_detach(store);
	ck_assert_int_eq(repl->ops->set_role(repl, ROLE_LEADER, &err), SP_EAGAIN);
	ck_assert_int_eq(err.code, SP_EAGAIN);
	ck_assert_int_eq(repl->ops->role(repl), ROLE_FOLLOWER);
	ck_assert_int_eq(repl->ops->attached(repl, &err), SP_EAGAIN);
	ck_assert_int_eq(store_attach(store, STORE_EXISTING, &err), 0);
	ck_assert_int_eq(repl->ops->set_role(repl, ROLE_LEADER, &err), 0);
	store_detach(store);
	ck_assert_int_eq(repl->ops->set_role(repl, ROLE_FOLLOWER, &err), SP_EAGAIN);
	ck_assert_int_eq(repl->ops->role(repl), ROLE_LEADER);
	ck_assert_int_eq(put("a", "1", REPL_ALWAYS, 0), SP_EAGAIN);
}
END_TEST

/* Nothing is taken once the writer has stopped; what refuses says why. */
START_TEST(repl_static__after_the_stop_all_is_refused)
{
	struct repl_op one = op(REPL_PUT, "a", "1");
	struct repl_batch b = { .ops = &one, .count = 1, .done = batch_done, .arg = dir };
	struct repl_feed f = { .done = feed_done, .arg = dir };

	start(true);
	committer_stop(committer);
	ck_assert_int_eq(repl->ops->submit(repl, &b, &err), SP_EAGAIN);
	ck_assert_int_eq(repl->ops->apply(repl, &f, &err), SP_EAGAIN);
	ck_assert_int_eq(repl->ops->set_role(repl, ROLE_FOLLOWER, &err), SP_EAGAIN);
	ck_assert_int_eq(repl->ops->role(repl), ROLE_LEADER);
	ck_assert_uint_eq(done_count, 0);
}
END_TEST

/* --- An order that comes while a release is on disk and not told yet: the release stands --- */

#define SUCCESSOR 2

static void (*order)(void);
static bool order_begun;
static pthread_t order_thread;
static pid_t order_tid;

static void *
give_order(void *arg)
{
	pthread_mutex_lock(&lock);
	order_tid = gettid();
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	order();
	return arg;
}

/* Whether that thread sleeps: its order waits for the writer, which is here. */
static bool
sleeps(pid_t tid)
{
	char path[64], line[256] = "";
	const char *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	f = fopen(path, "re");
	if (f == NULL)
		return true; /* it has ended: the order was refused at once */
	state = fgets(line, sizeof(line), f) != NULL ? strrchr(line, ')') : NULL;
	fclose(f);
	return state != NULL && state[2] == 'S';
}

static void
order_during_release(const struct position *now, void *arg)
{
	int64_t until_ms = clock_mono_ms() + 10000;

	(void)now;
	(void)arg;
	if (order == NULL || order_begun)
		return;
	order_begun = true;
	ck_assert_int_eq(pthread_create(&order_thread, NULL, give_order, NULL), 0);
	pthread_mutex_lock(&lock);
	while (order_tid == 0)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	while (!sleeps(order_tid) && clock_mono_ms() < until_ms)
		clock_sleep_ms(1);
}

static void
step_done(struct repl_handover *h)
{
	ck_assert_ptr_eq(h->arg, dir);
	count_done();
}

static void
hand_over(int step)
{
	struct repl_handover h = { .step = step, .to = SUCCESSOR, .by_hand = true, .done = step_done, .arg = dir };

	h.at = test_store_position(store);
	ck_assert_msg(repl->ops->handover(repl, &h, &err) == 0, "%s", err.text);
	wait_one();
	ck_assert_msg(h.code == 0, "%s", h.err.text);
}

/* Pod 1 leads by an operator's order, and pod 0 is named. */
static void
lead_by_order(void (*committed)(const struct position *now, void *arg))
{
	struct committer_options o = { .store = store, .committed = committed };
	struct repl_static_options r = {
		.store = store, .self_url = SELF, .leader_url = LEADER, .ordinal = 1, .named = 0
	};

	committer_free(committer);
	r.committer = committer = committer_new(&o, &err);
	ck_assert_ptr_nonnull(committer);
	repl = repl_static_new(&r, &err);
	ck_assert_ptr_nonnull(repl);
	ck_assert_int_eq(repl->ops->opened(repl, false, false, &err), 0);
	ck_assert_int_eq(repl->ops->attached(repl, &err), 0);
	ck_assert_int_eq(repl->ops->set_role(repl, ROLE_LEADER, &err), 0);
	ck_assert_int_eq(put("a", "1", REPL_ALWAYS, 0), 0);
}

/* It releases the lead to pod 2 while `during` is ordered. */
static void
release_during(void (*during)(void))
{
	struct lead l;

	lead_by_order(order_during_release);
	hand_over(REPL_PREPARE);
	order = during;
	hand_over(REPL_COMMIT);
	ck_assert(order_begun);
	pthread_join(order_thread, NULL);

	ck_assert_int_eq(repl->ops->role(repl), ROLE_FOLLOWER);
	ck_assert(!test_store_position(store).writer);
	ck_assert_uint_eq(test_store_position(store).epoch, 2);
	ck_assert_int_eq(store_lead(store, &l, &err), 0);
	ck_assert_int_eq(l.kind, LEAD_RELEASED);
	ck_assert_uint_eq(l.pod, 1);
	ck_assert_uint_eq(l.to, SUCCESSOR);
	hand_over(REPL_LED);
	ck_assert_int_eq(put("a", "2", REPL_ALWAYS, 0), SP_EAGAIN);
	test_store_expect(store, "a", "1");
}

static void
name_the_successor(void)
{
	repl->ops->named(repl, SUCCESSOR);
}

static void
order_to_lead(void)
{
	struct sp_error why;

	ck_assert_int_eq(repl->ops->set_role(repl, ROLE_LEADER, &why), SP_EAGAIN);
}

static void
order_to_follow(void)
{
	struct sp_error why;

	ck_assert_int_eq(repl->ops->set_role(repl, ROLE_FOLLOWER, &why), SP_EAGAIN);
}

START_TEST(repl_static__a_new_leader_ordinal_does_not_undo_a_release)
{
	release_during(name_the_successor);
}
END_TEST

START_TEST(repl_static__an_order_to_lead_does_not_undo_a_release)
{
	release_during(order_to_lead);
}
END_TEST

/* It would release the same position a second time, to another pod. */
START_TEST(repl_static__an_order_to_follow_does_not_change_a_release)
{
	release_during(order_to_follow);
}
END_TEST

START_TEST(repl_static__asking_again_does_not_prolong_the_hold)
{
	struct repl_handover_stats stats = { 0 };
	int64_t until_ms = clock_mono_ms() + 10000;

	lead_by_order(NULL);
	while (stats.failed == 0 && clock_mono_ms() < until_ms) {
		hand_over(REPL_PREPARE);
		clock_sleep_ms(20);
		repl->ops->handover_stats(repl, &stats);
	}
	ck_assert_uint_ge(stats.failed, 1);
}
END_TEST

/* Both sent from within a commit: the writer runs the step when the server stops already. */
static struct repl_handover late_prepare;

static void
prepare_and_stop(const struct position *now, void *arg)
{
	struct sp_error why;

	(void)arg;
	if (now->seq != 2 || late_prepare.done != NULL)
		return;
	late_prepare = (struct repl_handover){ .step = REPL_PREPARE, .to = SUCCESSOR, .by_hand = true, .arg = dir };
	late_prepare.done = step_done;
	late_prepare.at = *now;
	ck_assert_int_eq(repl->ops->handover(repl, &late_prepare, &why), 0);
	repl->ops->stop(repl);
}

START_TEST(repl_static__no_hold_begins_while_the_server_stops)
{
	struct repl_op one = op(REPL_PUT, "a", "2");
	struct repl_batch b = { .ops = &one, .count = 1, .condition = REPL_ALWAYS, .done = batch_done, .arg = dir };

	lead_by_order(prepare_and_stop);
	ck_assert_int_eq(repl->ops->submit(repl, &b, &err), 0);
	pthread_mutex_lock(&lock);
	while (done_count < 2)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	ck_assert_int_eq(b.code, 0);
	ck_assert_int_eq(late_prepare.code, SP_EAGAIN);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		repl_static__a_leader_writes,
		repl_static__feeds_in_a_list_are_one_commit_on_the_callers_thread,
		repl_static__a_wrong_feed_in_a_list_leaves_those_before_it,
		repl_static__conditions,
		repl_static__a_single_delete_of_nothing_is_not_found,
		repl_static__a_batch_with_a_bad_key_leaves_no_trace,
		repl_static__a_follower_writes_nothing,
		repl_static__a_follower_applies_feeds,
		repl_static__a_leader_takes_no_feed,
		repl_static__taking_over_begins_an_epoch,
		repl_static__a_feed_behind_a_promotion_does_not_undo_it,
		repl_static__a_demoted_leader_names_nobody,
		repl_static__leading_on_from_a_followers_store_begins_an_epoch,
		repl_static__a_role_that_cannot_be_written_is_not_taken,
		repl_static__after_the_stop_all_is_refused,
		repl_static__a_new_leader_ordinal_does_not_undo_a_release,
		repl_static__an_order_to_lead_does_not_undo_a_release,
		repl_static__an_order_to_follow_does_not_change_a_release,
		repl_static__asking_again_does_not_prolong_the_hold,
		repl_static__no_hold_begins_while_the_server_stops,
	};

	return suite_run_fixture("repl_static", tests, sizeof(tests) / sizeof(tests[0]), 30, setup, teardown);
}
