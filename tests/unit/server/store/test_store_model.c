/* A store against a model in memory, through thousands of random changes with fixed seeds. */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/test_store.h"

#define KEYS         300
#define TRANSACTIONS 400
#define OPS_MAX      25 /* in one transaction */
#define VALUE_MAX    20000
#define CHECK_EVERY  40

struct model_record {
	unsigned char key[STORE_KEY_MAX];
	size_t key_len;
	bool live, tombstone;
	uint64_t seq; /* of its last change */
	uint32_t value_seed;
	size_t value_len;
};

struct model {
	struct model_record records[KEYS]; /* sorted by key */
	uint64_t seq, horizon, keys;
	struct digest digest;
};

static char dir[TEMPDIR_MAX];
static struct sp_error err;
static uint64_t state;

/* Pseudo-random numbers (Marsaglia's xorshift), so that a failure can be had again. */
static uint32_t
draw(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 20) % below;
}

static const char *
value_of(uint32_t seed, size_t len)
{
	static char value[VALUE_MAX];

	for (size_t i = 0; i < len; i++)
		value[i] = (char)(seed * 31 + i * (seed | 1) + i / 256);
	return value;
}

static int
by_key(const void *a, const void *b)
{
	const struct model_record *x = a, *y = b;
	int diff = memcmp(x->key, y->key, x->key_len < y->key_len ? x->key_len : y->key_len);

	return diff != 0 ? diff : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

static int
by_seq(const void *a, const void *b)
{
	const struct model_record *x = *(const struct model_record *const *)a,
				  *y = *(const struct model_record *const *)b;

	return (x->seq > y->seq) - (x->seq < y->seq);
}

/* Keys of all lengths and bytes; the index in the first two keeps them apart. */
static void
model_init(struct model *m, uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	state = seed;
	for (unsigned i = 0; i < KEYS; i++) {
		struct model_record *r = &m->records[i];

		r->key_len = 2 + (draw(4) == 0 ? draw(STORE_KEY_MAX - 1) : draw(10));
		for (size_t k = 0; k < r->key_len; k++)
			r->key[k] = (unsigned char)draw(256);
		r->key[0] = (unsigned char)(i * 7);
		r->key[1] = (unsigned char)(i / 256);
	}
	qsort(m->records, KEYS, sizeof(m->records[0]), by_key);
}

static struct digest
hash_of(const struct model_record *r)
{
	return digest_of_record(r->key, r->key_len, r->seq, value_of(r->value_seed, r->value_len), r->value_len);
}

static void
model_forget(struct model *m, const struct model_record *r)
{
	if (!r->live)
		return;
	m->digest = digest_sub(m->digest, hash_of(r));
	m->keys--;
}

static void
put_one(struct model *m, struct model_record *r, struct store_txn *t)
{
	uint64_t seq;

	model_forget(m, r);
	r->value_seed = draw(1u << 31);
	r->value_len = draw(20) == 0 ? draw(VALUE_MAX) : draw(200);
	r->live = true;
	r->tombstone = false;
	r->seq = ++m->seq;
	m->digest = digest_add(m->digest, hash_of(r));
	m->keys++;
	ck_assert_msg(
	    store_txn_put(t, r->key, r->key_len, value_of(r->value_seed, r->value_len), r->value_len, &seq, &err) == 0,
	    "%s", err.text);
	ck_assert_uint_eq(seq, m->seq);
}

static void
delete_one(struct model *m, struct model_record *r, struct store_txn *t)
{
	uint64_t seq;
	int rc = store_txn_delete(t, r->key, r->key_len, &seq, &err);

	if (!r->live) {
		ck_assert_int_eq(rc, SP_ENOTFOUND);
		return;
	}
	ck_assert_msg(rc == 0, "%s", err.text);
	model_forget(m, r);
	r->live = false;
	r->tombstone = true;
	r->seq = ++m->seq;
	ck_assert_uint_eq(seq, m->seq);
}

/* Drop the oldest tombstones, whatever their age. */
static void
expire_some(struct model *m, struct store_txn *t)
{
	unsigned most = draw(10), dropped;

	ck_assert_msg(store_txn_expire(t, INT64_MAX, most, &dropped, &err) == 0, "%s", err.text);
	for (unsigned n = 0; n < most; n++) {
		struct model_record *oldest = NULL;

		for (unsigned i = 0; i < KEYS; i++)
			if (m->records[i].tombstone && (oldest == NULL || m->records[i].seq < oldest->seq))
				oldest = &m->records[i];
		if (oldest == NULL) {
			ck_assert_uint_eq(dropped, n);
			return;
		}
		oldest->tombstone = false;
		m->horizon = oldest->seq;
	}
	ck_assert_uint_eq(dropped, most);
}

static void
change_some(struct model *m, struct store_txn *t)
{
	unsigned ops = 1 + draw(OPS_MAX);

	for (unsigned i = 0; i < ops; i++) {
		struct model_record *r = &m->records[draw(KEYS)];

		if (draw(3) == 0)
			delete_one(m, r, t);
		else
			put_one(m, r, t);
	}
	if (draw(8) == 0)
		expire_some(m, t);
}

static void
check_keys(const struct model *m, struct store_view *v)
{
	struct store_cursor *c;
	struct store_record r;

	ck_assert_int_eq(store_cursor_keys(v, NULL, 0, &c, &err), 0);
	for (unsigned i = 0; i < KEYS; i++) {
		const struct model_record *want = &m->records[i];

		if (!want->live) {
			ck_assert_int_eq(store_view_get(v, want->key, want->key_len, &r, &err), SP_ENOTFOUND);
			continue;
		}
		ck_assert_msg(store_cursor_next(c, &r, &err) == 1, "%s", err.text);
		ck_assert_uint_eq(r.key_len, want->key_len);
		ck_assert_mem_eq(r.key, want->key, r.key_len);
		ck_assert_uint_eq(r.seq, want->seq);
		ck_assert_uint_eq(r.value_len, want->value_len);
		ck_assert_mem_eq(r.value, value_of(want->value_seed, want->value_len), r.value_len);
	}
	ck_assert_int_eq(store_cursor_next(c, &r, &err), 0);
	store_cursor_free(c);
}

/* Each key once, at its newest seq, in order; deletes too until they expire. */
static void
check_changes(struct model *m, struct store_view *v, uint64_t since)
{
	const struct model_record *order[KEYS];
	struct store_cursor *c;
	struct store_record r;
	size_t n = 0;

	for (unsigned i = 0; i < KEYS; i++)
		if ((m->records[i].live || m->records[i].tombstone) && m->records[i].seq > since)
			order[n++] = &m->records[i];
	qsort(order, n, sizeof(order[0]), by_seq);
	ck_assert_int_eq(store_cursor_changes(v, since, &c, &err), 0);
	for (size_t i = 0; i < n; i++) {
		ck_assert_msg(store_cursor_next(c, &r, &err) == 1, "%s", err.text);
		ck_assert_uint_eq(r.seq, order[i]->seq);
		ck_assert_int_eq(r.is_delete, order[i]->tombstone);
		ck_assert_uint_eq(r.key_len, order[i]->key_len);
		ck_assert_mem_eq(r.key, order[i]->key, r.key_len);
	}
	ck_assert_int_eq(store_cursor_next(c, &r, &err), 0);
	store_cursor_free(c);
}

static void
check_all(struct model *m, struct store *s)
{
	struct store_view *v;
	struct position p;

	ck_assert_int_eq(store_view_begin(s, &v, &err), 0);
	ck_assert_int_eq(store_view_position(v, &p, &err), 0);
	ck_assert_uint_eq(p.seq, m->seq);
	ck_assert_uint_eq(p.keys, m->keys);
	ck_assert_uint_eq(p.horizon, m->horizon);
	ck_assert(digest_equal(p.digest, m->digest));
	check_keys(m, v);
	check_changes(m, v, 0);
	check_changes(m, v, m->seq > 0 ? draw((uint32_t)m->seq) : 0);
	store_view_end(v);
	test_store_verify(s);
}

/* Transactions at random, some given up, the store closed and opened now and then. */
START_TEST(store__is_its_model_after_thousands_of_changes)
{
	static struct model model, before;
	struct store *s;
	struct store_txn *t;

	tempdir_make(dir);
	s = test_store_new(dir);
	model_init(&model, 0x9e3779b97f4a7c15u + (uint64_t)_i);
	for (unsigned n = 1; n <= TRANSACTIONS; n++) {
		before = model;
		ck_assert_int_eq(store_txn_begin(s, &t, &err), 0);
		change_some(&model, t);
		if (draw(6) == 0) {
			store_txn_abort(t);
			model = before;
		} else {
			ck_assert_msg(store_txn_commit(t, &err) == 0, "%s", err.text);
		}
		if (n % CHECK_EVERY == 0)
			check_all(&model, s);
		if (n % (TRANSACTIONS / 4) == 0) {
			store_detach(s);
			ck_assert_msg(store_attach(s, STORE_EXISTING, &err) == 0, "%s", err.text);
			check_all(&model, s);
		}
	}
	ck_assert_uint_gt(model.seq, 2000);
	store_free(s);
	tempdir_remove(dir);
}
END_TEST

/* A follower that applies feeds of random length holds, at each cut, exactly what its leader does. */
START_TEST(store__a_follower_is_its_leader_at_every_cut)
{
	static struct model model;
	char folder[TEMPDIR_MAX];
	struct store *l, *f;
	struct store_txn *t;
	unsigned cuts = 0;

	tempdir_make(dir);
	tempdir_make(folder);
	l = test_store_new(dir);
	store_detach(l);
	/* A follower begins as a copy of its leader's file. */
	test_store_copy(dir, folder);
	ck_assert_int_eq(store_attach(l, STORE_EXISTING, &err), 0);
	f = test_store_open(folder, STORE_EXISTING, 0);
	test_store_follow(f);
	model_init(&model, 4711 + (uint64_t)_i);
	for (unsigned n = 0; n < TRANSACTIONS; n++) {
		struct position pl, pf;
		struct buf feed;

		ck_assert_int_eq(store_txn_begin(l, &t, &err), 0);
		for (unsigned i = 0, ops = draw(OPS_MAX); i < ops; i++) {
			struct model_record *r = &model.records[draw(KEYS)];

			if (draw(3) == 0)
				delete_one(&model, r, t);
			else
				put_one(&model, r, t);
		}
		ck_assert_msg(store_txn_commit(t, &err) == 0, "%s", err.text);
		pf = test_store_position(f);
		test_store_feed(l, pf.seq, draw(2) == 0 ? 1 + draw(10) : UINT64_MAX, &feed);
		ck_assert_msg(test_store_apply(f, &feed, &err) == 0, "%s", err.text);
		buf_release(&feed);
		pl = test_store_position(l);
		pf = test_store_position(f);
		ck_assert_int_eq(position_relate(&pl, &pf, NULL, 0), pf.consistent ? RELATION_SAME : RELATION_BEHIND);
		if (!pf.consistent)
			continue;
		cuts++;
		ck_assert_uint_eq(pf.seq, model.seq);
		ck_assert(digest_equal(pf.digest, model.digest));
		if (cuts % CHECK_EVERY == 0)
			check_all(&model, f);
	}
	ck_assert_uint_gt(cuts, 50);
	store_free(l);
	store_free(f);
	tempdir_remove(dir);
	tempdir_remove(folder);
}
END_TEST

int
main(void)
{
	TCase *all = tcase_create("store_model");

	tcase_set_timeout(all, 60);
	tcase_add_loop_test(all, store__is_its_model_after_thousands_of_changes, 0, 3);
	tcase_add_loop_test(all, store__a_follower_is_its_leader_at_every_cut, 0, 2);
	return suite_run_case("store_model", all);
}
