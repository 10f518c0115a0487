#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lmdb.h>

#include "server/replication/committer.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

#define QUEUE_MAX 65536 /* server/replication/committer.c */

static char dir[TEMPDIR_MAX];
static struct store *store;
static struct committer *committer;
static struct sp_error err;

/* The gate that a job may wait at, and the count of what is done. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool gate_open, at_gate;
static unsigned done_count;

static struct position committed_last;
static atomic_uint committed_count;

struct test_job {
	struct commit_job job; /* first */
	bool waits;            /* at the gate */
	int fails;             /* with this code, */
	bool late;             /* having put its key */
	bool idle;             /* changes nothing */
	char key[16];
	size_t value_len;
	unsigned runs, dones;
	uint64_t seq, committed_at_done;
};

static void
setup(void)
{
	tempdir_make(dir);
}

static void
teardown(void)
{
	committer_free(committer);
	store_free(store);
	tempdir_remove(dir);
}

static void
committed(const struct position *now, void *arg)
{
	ck_assert_ptr_eq(arg, dir);
	committed_last = *now;
	atomic_fetch_add(&committed_count, 1);
}

static void
start(struct store *s, bool async)
{
	struct committer_options o = { .store = s, .async = async, .committed = committed, .arg = dir };

	store = s;
	committer = committer_new(&o, &err);
	ck_assert_ptr_nonnull(committer);
}

static int
run(struct commit_job *job, struct store_txn *txn)
{
	static char value[8 << 20];
	struct test_job *j = (struct test_job *)job;
	int rc;

	j->runs++;
	if (j->idle)
		return 0;
	pthread_mutex_lock(&lock);
	if (j->waits) {
		at_gate = true;
		pthread_cond_broadcast(&changed);
	}
	while (j->waits && !gate_open)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	if (j->fails != 0 && !j->late)
		return sp_error_set(&job->err, j->fails, "%s was told to", j->key);
	rc = store_txn_put(txn, j->key, strlen(j->key), value, j->value_len, &j->seq, &job->err);
	if (rc == 0 && j->fails != 0)
		return sp_error_set(&job->err, j->fails, "%s was told to", j->key);
	return rc;
}

static void
done(struct commit_job *job)
{
	struct test_job *j = (struct test_job *)job;

	pthread_mutex_lock(&lock);
	j->dones++;
	j->committed_at_done = committed_last.seq;
	done_count++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static struct test_job
make_job(const char *key, int fails)
{
	struct test_job j = { .job = { .run = run, .done = done }, .fails = fails, .value_len = 10 };

	snprintf(j.key, sizeof(j.key), "%s", key);
	return j;
}

static void
submit(struct test_job *j)
{
	ck_assert_msg(committer_submit(committer, &j->job, &err) == 0, "%s", err.text);
}

static void
wait_done(unsigned count)
{
	pthread_mutex_lock(&lock);
	while (done_count < count)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

/* Submit a job that keeps the writer busy until open_gate(). */
static void
submit_gate(struct test_job *j)
{
	j->waits = true;
	submit(j);
	pthread_mutex_lock(&lock);
	while (!at_gate)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static void
open_gate(void)
{
	pthread_mutex_lock(&lock);
	gate_open = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static struct committer_stats
stats(void)
{
	struct committer_stats s;

	committer_stats(committer, &s);
	return s;
}

START_TEST(committer_submit__a_job_is_committed_and_said_so)
{
	struct test_job j = make_job("a", 0);

	start(test_store_new(dir), false);
	submit(&j);
	wait_done(1);
	ck_assert_int_eq(j.job.code, 0);
	ck_assert_uint_eq(j.seq, 1);
	ck_assert_uint_eq(j.runs, 1);
	ck_assert_uint_eq(j.dones, 1);
	/* Whoever waits for the seq may go on before the writer is answered, never after. */
	ck_assert_uint_eq(j.committed_at_done, 1);
	ck_assert_uint_eq(stats().commits, 1);
	ck_assert_uint_eq(stats().jobs, 1);
	ck_assert_uint_eq(test_store_position(store).seq, 1);
	test_store_verify(store);
}
END_TEST

START_TEST(committer__those_who_wait_share_one_commit)
{
	struct test_job gate = make_job("gate", 0), jobs[64];

	start(test_store_new(dir), false);
	submit_gate(&gate);
	for (unsigned i = 0; i < 64; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key-%u", i);
		jobs[i] = make_job(key, 0);
		submit(&jobs[i]);
	}
	ck_assert_uint_eq(stats().commits, 0);
	open_gate();
	wait_done(65);
	ck_assert_uint_eq(stats().commits, 2);
	ck_assert_uint_eq(atomic_load(&committed_count), 2);
	ck_assert_uint_eq(stats().jobs, 65);
	for (unsigned i = 0; i < 64; i++) {
		ck_assert_int_eq(jobs[i].job.code, 0);
		ck_assert_uint_eq(jobs[i].seq, i + 2);
		ck_assert_uint_eq(jobs[i].committed_at_done, 65);
	}
	test_store_verify(store);
}
END_TEST

START_TEST(committer_submit_list__here_is_on_this_thread_and_else_waits_for_the_writer)
{
	struct test_job gate = make_job("gate", 0), here = make_job("here", 0), first = make_job("first", 0),
			second = make_job("second", 0);

	start(test_store_new(dir), false);
	ck_assert_int_eq(committer_submit_list(committer, &here.job, true, &err), 0);
	ck_assert_uint_eq(here.dones, 1);
	ck_assert_int_eq(here.job.code, 0);
	submit_gate(&gate);
	first.job.next = &second.job;
	ck_assert_int_eq(committer_submit_list(committer, &first.job, true, &err), 0);
	pthread_mutex_lock(&lock);
	ck_assert_uint_eq(done_count, 1);
	pthread_mutex_unlock(&lock);
	open_gate();
	wait_done(4);
	ck_assert_int_eq(first.job.code, 0);
	ck_assert_int_eq(second.job.code, 0);
	ck_assert_uint_eq(stats().commits, 3);
	ck_assert_uint_eq(test_store_position(store).seq, 4);
	test_store_verify(store);
}
END_TEST

static void *
submit_here(void *arg)
{
	struct test_job *j = arg;

	ck_assert_int_eq(committer_submit_list(committer, &j->job, true, NULL), 0);
	return NULL;
}

static void
write_here_while_others_wait(bool async)
{
	struct test_job gate = make_job("gate", 0), jobs[8];
	pthread_t thread;

	start(test_store_new(dir), async);
	gate.waits = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, submit_here, &gate), 0);
	pthread_mutex_lock(&lock);
	while (!at_gate)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	for (unsigned i = 0; i < 8; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key-%u", i);
		jobs[i] = make_job(key, 0);
		submit(&jobs[i]);
	}
	pthread_mutex_lock(&lock);
	ck_assert_uint_eq(done_count, 0);
	pthread_mutex_unlock(&lock);
	open_gate();
	pthread_join(thread, NULL);
	wait_done(9);
	ck_assert_uint_eq(stats().commits, 2);
	ck_assert_uint_eq(test_store_position(store).seq, 9);
	committer_stop(committer);
	test_store_verify(store);
}

START_TEST(committer_submit_list__while_it_writes_here_others_wait)
{
	write_here_while_others_wait(false);
}
END_TEST

START_TEST(committer_submit_list__while_it_writes_here_others_wait_async)
{
	write_here_while_others_wait(true);
}
END_TEST

START_TEST(committer__a_job_that_fails_leaves_the_others)
{
	struct test_job gate = make_job("gate", 0), a = make_job("a", 0), b = make_job("b", SP_EPRECOND),
			c = make_job("c", 0);

	start(test_store_new(dir), false);
	submit_gate(&gate);
	submit(&a);
	submit(&b);
	submit(&c);
	open_gate();
	wait_done(4);
	ck_assert_int_eq(a.job.code, 0);
	ck_assert_int_eq(b.job.code, SP_EPRECOND);
	ck_assert_str_eq(b.job.err.text, "b was told to");
	ck_assert_int_eq(c.job.code, 0);
	ck_assert_uint_eq(stats().commits, 2);
	ck_assert_uint_eq(stats().jobs, 3);
	ck_assert_uint_eq(stats().failed, 1);
	ck_assert_uint_eq(test_store_position(store).keys, 3);
	test_store_expect(store, "b", NULL);
}
END_TEST

START_TEST(committer__a_job_alone_is_undone_when_it_fails)
{
	struct test_job gate = make_job("gate", 0), a = make_job("a", 0), alone = make_job("alone", SP_EDIGEST),
			b = make_job("b", 0), fine = make_job("fine", 0);

	start(test_store_new(dir), false);
	alone.late = alone.job.alone = fine.job.alone = true;
	submit_gate(&gate);
	submit(&a);
	submit(&alone);
	submit(&b);
	submit(&fine);
	open_gate();
	wait_done(5);
	ck_assert_int_eq(alone.job.code, SP_EDIGEST);
	ck_assert_str_eq(alone.job.err.text, "alone was told to");
	test_store_expect(store, "alone", NULL);
	ck_assert_int_eq(a.job.code, 0);
	ck_assert_int_eq(b.job.code, 0);
	ck_assert_int_eq(fine.job.code, 0);
	/* gate; a; b; fine: each before and after stands by itself. */
	ck_assert_uint_eq(stats().commits, 4);
	ck_assert_uint_eq(test_store_position(store).seq, 4);
	test_store_verify(store);
}
END_TEST

START_TEST(committer_submit__too_many_are_refused)
{
	struct test_job gate = make_job("gate", 0), late = make_job("late", 0);
	struct test_job *jobs = calloc(QUEUE_MAX, sizeof(*jobs));

	ck_assert_ptr_nonnull(jobs);
	start(test_store_new(dir), false);
	submit_gate(&gate);
	for (unsigned i = 0; i < QUEUE_MAX; i++) {
		jobs[i] = make_job("key", 0);
		submit(&jobs[i]);
	}
	ck_assert_int_eq(committer_submit(committer, &late.job, &err), SP_EAGAIN);
	ck_assert_int_eq(err.code, SP_EAGAIN);
	open_gate();
	wait_done(QUEUE_MAX + 1);
	ck_assert_uint_eq(late.runs, 0);
	ck_assert_uint_eq(late.dones, 0);
	for (unsigned i = 0; i < QUEUE_MAX; i++)
		ck_assert_uint_eq(jobs[i].dones, 1);
	/* Groups are bounded, so that nobody waits long for the others. */
	ck_assert_uint_ge(stats().commits, 1 + QUEUE_MAX / 4096);
	submit(&late);
	wait_done(QUEUE_MAX + 2);
	ck_assert_uint_eq(test_store_position(store).seq, QUEUE_MAX + 2);
	free(jobs);
}
END_TEST

/* The map is too small for one of a group: it grows, and all of them are done, each once. */
START_TEST(committer__grows_the_map_and_tries_again)
{
	struct test_job gate = make_job("gate", 0), a = make_job("a", 0), big = make_job("big", 0),
			c = make_job("c", 0);

	start(test_store_open(dir, STORE_CREATE, 1 << 20), false);
	big.value_len = 5 << 20;
	submit_gate(&gate);
	submit(&a);
	submit(&big);
	submit(&c);
	open_gate();
	wait_done(4);
	ck_assert_int_eq(a.job.code, 0);
	ck_assert_msg(big.job.code == 0, "%s", big.job.err.text);
	ck_assert_int_eq(c.job.code, 0);
	ck_assert_uint_gt(a.runs, 1);
	ck_assert_uint_eq(a.dones + big.dones + c.dones, 3);
	ck_assert_uint_eq(a.seq, 2);
	ck_assert_uint_eq(big.seq, 3);
	ck_assert_uint_eq(c.seq, 4);
	ck_assert_uint_eq(stats().jobs, 4);
	ck_assert_uint_eq(stats().failed, 0);
	ck_assert(!stats().full);
	test_store_verify(store);
}
END_TEST

/* What the server does by itself every few seconds often changes nothing: that is no sign of room. */
START_TEST(committer__a_full_volume_is_full_until_something_was_written)
{
	struct test_job full = make_job("full", SP_ENOSPACE), idle = make_job("idle", 0), a = make_job("a", 0);

	idle.idle = true;
	start(test_store_new(dir), false);
	submit(&full);
	wait_done(1);
	ck_assert(stats().full);
	submit(&idle);
	wait_done(2);
	ck_assert_int_eq(idle.job.code, 0);
	ck_assert(stats().full);
	submit(&a);
	wait_done(3);
	ck_assert(!stats().full);
}
END_TEST

/* Make the record of `key` too short for its header. */
static void
damage(const char *key)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val k = { strlen(key), (void *)(uintptr_t)key }, v = { 5, "short" };

	ck_assert_int_eq(mdb_env_create(&env), 0);
	ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
	ck_assert_int_eq(mdb_env_open(env, tempdir_path(dir, "store"), 0, 0600), 0);
	ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
	ck_assert_int_eq(mdb_dbi_open(txn, "kv", 0, &dbi), 0);
	ck_assert_int_eq(mdb_put(txn, dbi, &k, &v, 0), 0);
	ck_assert_int_eq(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

/* One that spoils the transaction is found out, and the others are done without it. */
START_TEST(committer__one_that_spoils_the_transaction_is_alone_to_suffer)
{
	struct test_job gate = make_job("gate", 0), a = make_job("a", 0), b = make_job("b", 0), c = make_job("c", 0),
			d = make_job("d", SP_EPRECOND);
	struct store *s = test_store_new(dir);

	test_store_put(s, "b", "to be damaged");
	store_detach(s);
	damage("b");
	ck_assert_int_eq(store_attach(s, STORE_EXISTING, &err), 0);
	start(s, false);
	submit_gate(&gate);
	submit(&a);
	submit(&b);
	submit(&c);
	submit(&d);
	open_gate();
	wait_done(5);
	ck_assert_int_eq(a.job.code, 0);
	ck_assert_int_eq(b.job.code, SP_EBADDATA);
	ck_assert_ptr_nonnull(strstr(b.job.err.text, "\"b\""));
	ck_assert_int_eq(c.job.code, 0);
	ck_assert_int_eq(d.job.code, SP_EPRECOND);
	ck_assert_uint_eq(stats().jobs, 3);
	ck_assert_uint_eq(stats().failed, 2);
	ck_assert_uint_eq(test_store_position(store).seq, 4);
	ck_assert_uint_eq(test_store_position(store).keys, 4);
}
END_TEST

START_TEST(committer__without_a_store_all_are_told)
{
	struct test_job gate = make_job("gate", 0), a = make_job("a", 0), b = make_job("b", 0), c = make_job("c", 0);
	struct store_options o = { .dir = tempdir_path(dir, "store"), .map_size = 16u << 20 };
	struct store *s = store_new(&o, &err);

	start(s, false);
	submit(&a);
	wait_done(1);
	ck_assert_int_eq(a.job.code, SP_ENOTFOUND);
	ck_assert_uint_eq(a.runs, 0);
	ck_assert_int_eq(store_attach(s, STORE_CREATE, &err), 0);
	submit_gate(&gate);
	open_gate();
	wait_done(2);
	store_detach(s);
	submit(&b);
	submit(&c);
	wait_done(4);
	ck_assert_int_eq(b.job.code, SP_EAGAIN);
	ck_assert_int_eq(c.job.code, SP_EAGAIN);
	ck_assert_uint_eq(stats().failed, 3);
	ck_assert_uint_eq(stats().commits, 1);
}
END_TEST

START_TEST(committer_stop__finishes_what_was_submitted)
{
	struct test_job gate = make_job("gate", 0), jobs[100], late = make_job("late", 0);

	start(test_store_new(dir), false);
	submit_gate(&gate);
	for (unsigned i = 0; i < 100; i++) {
		jobs[i] = make_job("key", 0);
		submit(&jobs[i]);
	}
	open_gate();
	committer_stop(committer);
	ck_assert_uint_eq(done_count, 101);
	ck_assert_uint_eq(test_store_position(store).seq, 101);
	ck_assert_int_eq(committer_submit(committer, &late.job, &err), SP_EAGAIN);
	ck_assert_uint_eq(stats().jobs, 101);
	committer_free(NULL);
}
END_TEST

START_TEST(committer_free__finishes_what_was_submitted)
{
	struct test_job gate = make_job("gate", 0), a = make_job("a", 0);

	start(test_store_new(dir), false);
	submit_gate(&gate);
	submit(&a);
	open_gate();
	committer_free(committer);
	committer = NULL;
	ck_assert_int_eq(a.dones, 1);
	ck_assert_uint_eq(test_store_position(store).seq, 2);
}
END_TEST

/* durability = async: committed and readable when it is said so, on disk by the end of the second. */
START_TEST(committer_async__is_readable_when_it_is_done)
{
	struct store_options o = { .dir = tempdir_path(dir, "store"), .map_size = 64u << 20, .sync_later = true };
	struct test_job gate = make_job("gate", 0), a = make_job("a", 0), b = make_job("b", SP_EPRECOND), many[200];
	struct store *s = store_new(&o, &err);
	struct position before;

	ck_assert_int_eq(store_attach(s, STORE_CREATE, &err), 0);
	start(s, true);
	submit_gate(&gate);
	submit(&a);
	submit(&b);
	open_gate();
	wait_done(3);
	ck_assert_int_eq(a.job.code, 0);
	ck_assert_int_eq(b.job.code, SP_EPRECOND);
	ck_assert_uint_eq(test_store_position(s).seq, 2);
	ck_assert_uint_eq(a.committed_at_done, 2);
	for (unsigned i = 0; i < 200; i++) {
		many[i] = make_job("many", 0);
		submit(&many[i]);
		wait_done(4 + i);
		ck_assert_uint_eq(test_store_position(s).seq, 3 + i);
	}
	ck_assert_int_eq(store_sync(s, &err), 0);
	before = test_store_position(s);
	committer_stop(committer);
	store_detach(s);
	ck_assert_int_eq(store_sync(s, &err), SP_EAGAIN);
	ck_assert_int_eq(store_attach(s, STORE_EXISTING, &err), 0);
	ck_assert(digest_equal(test_store_position(s).digest, before.digest));
	test_store_verify(s);
}
END_TEST

#define THREADS 4
#define EACH    50

static struct test_job thread_jobs[THREADS][EACH];

static void *
submit_many(void *arg)
{
	struct test_job *jobs = arg;

	for (unsigned i = 0; i < EACH; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key-%u", (unsigned)(jobs - thread_jobs[0]) + i);
		jobs[i] = make_job(key, 0);
		submit(&jobs[i]);
	}
	return NULL;
}

START_TEST(committer__takes_jobs_from_any_thread)
{
	pthread_t threads[THREADS];

	start(test_store_new(dir), false);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, submit_many, thread_jobs[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	wait_done(THREADS * EACH);
	ck_assert_uint_eq(stats().jobs, THREADS * EACH);
	ck_assert_uint_eq(test_store_position(store).keys, THREADS * EACH);
	test_store_verify(store);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		committer_submit__a_job_is_committed_and_said_so,
		committer__those_who_wait_share_one_commit,
		committer__a_job_that_fails_leaves_the_others,
		committer_submit_list__here_is_on_this_thread_and_else_waits_for_the_writer,
		committer_submit_list__while_it_writes_here_others_wait,
		committer_submit_list__while_it_writes_here_others_wait_async,
		committer__a_job_alone_is_undone_when_it_fails,
		committer_submit__too_many_are_refused,
		committer__grows_the_map_and_tries_again,
		committer__a_full_volume_is_full_until_something_was_written,
		committer__one_that_spoils_the_transaction_is_alone_to_suffer,
		committer__without_a_store_all_are_told,
		committer_stop__finishes_what_was_submitted,
		committer_free__finishes_what_was_submitted,
		committer_async__is_readable_when_it_is_done,
		committer__takes_jobs_from_any_thread,
	};

	return suite_run_fixture("committer", tests, sizeof(tests) / sizeof(tests[0]), 60, setup, teardown);
}
