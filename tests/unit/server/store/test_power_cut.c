/*
 * Power cuts of a leader that writes, at hundreds of moments: whatever the disk holds then opens, is a state that the
 * store had, and has all that it must. SEEDPOD_TEST_CUTS says how many, SEEDPOD_TEST_SEED repeats the choices.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/net/http_client.h"
#include "server/store/journal_layout.h"
#include "server/store/store.h"
#include "tests/fault/power_cut.h"
#include "tests/lib/lone_server.h"
#include "tests/lib/suite.h"
#include "tests/lib/tempdir.h"

#define CUTS      200 /* with async; a quarter of them with sync */
#define WRITERS   3
#define KEYS      200
#define OPS_MAX   200000
#define RECORD_MS 2500
#define LARGE     (2500u << 10) /* goes past the journal */
#define VALUE_MAX 3000

/* What was answered, by seq. A value is its number, over and over. */
struct op {
	size_t answered; /* the moment; 0: no such change */
	unsigned key;
	uint32_t number;
	size_t len; /* 0: a delete */
};

static char dir[TEMPDIR_MAX];
static struct conf conf;
static struct sp_error err;
static struct op ops[OPS_MAX];
static atomic_uint_fast64_t last_seq;
static atomic_bool over;
static atomic_uint numbers;

static void
make_value(uint32_t number, size_t len, char *out)
{
	for (size_t i = 0; i < len; i += sizeof(number))
		memcpy(out + i, &number, len - i < sizeof(number) ? len - i : sizeof(number));
}

static void
note(uint64_t seq, const struct op *op)
{
	uint64_t last = atomic_load(&last_seq);

	ck_assert_uint_lt(seq, OPS_MAX);
	ck_assert_uint_eq(ops[seq].answered, 0);
	ops[seq] = *op;
	ops[seq].answered = power_moment() + 1;
	while (last < seq && !atomic_compare_exchange_weak(&last_seq, &last, seq))
		;
}

static void *
write_keys(void *arg)
{
	struct http_client *c = http_client_new(&(struct http_client_options){ .stall_timeout_ms = 20000 }, NULL);
	char *value = malloc(LARGE), url[CONF_TEXT_MAX + 64], seq[32];
	unsigned random = *(unsigned *)arg;
	struct http_reply reply;

	http_reply_init(&reply, 4096);
	for (unsigned n = 1; !atomic_load(&over); n++) {
		struct op op = { .key = (unsigned)rand_r(&random) % KEYS, .number = atomic_fetch_add(&numbers, 1) };
		bool large = *(unsigned *)arg % WRITERS == 0 && n % 300 == 0;

		if (rand_r(&random) % 8 != 0)
			op.len = large ? LARGE : 1 + (size_t)rand_r(&random) % VALUE_MAX;
		make_value(op.number, op.len, value);
		snprintf(url, sizeof(url), "http://%s/v1/kv/key-%u", conf.server_listen, op.key);
		struct http_request_out rq = {
			.method = op.len > 0 ? "PUT" : "DELETE", .url = url, .timeout_ms = 20000
		};

		if (op.len > 0) {
			rq.body = value;
			rq.body_len = op.len;
		}
		clock_sleep_ms(1); /* more changes show no more, and each cut goes through all of them */
		ck_assert_int_eq(http_call(c, &rq, &reply, NULL), 0);
		if (op.len == 0 && reply.status == 404)
			continue;
		ck_assert_int_eq(reply.status, 204);
		ck_assert(http_reply_header(&reply, "Seedpod-Seq", seq, sizeof(seq)));
		note(strtoull(seq, NULL, 10), &op);
	}
	http_reply_release(&reply);
	http_client_free(c);
	free(value);
	return NULL;
}

/* Let clients write to a leader, and record what comes to its disk. */
static void
record(const char *durability, unsigned seed)
{
	char more[64], data[TEMPDIR_MAX + 8];
	unsigned seeds[WRITERS];
	pthread_t writers[WRITERS];
	struct server *s;

	snprintf(more, sizeof(more), "durability = %s\n", durability);
	snprintf(data, sizeof(data), "%s/data", dir);
	s = lone_server_start(dir, more, &conf);
	power_record(data);
	for (unsigned i = 0; i < WRITERS; i++) {
		seeds[i] = seed * WRITERS + i;
		ck_assert_int_eq(pthread_create(&writers[i], NULL, write_keys, &seeds[i]), 0);
	}
	clock_sleep_ms(RECORD_MS);
	atomic_store(&over, true);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	power_stop();
	server_stop(s);
	for (uint64_t seq = 1; seq <= atomic_load(&last_seq); seq++)
		ck_assert_msg(ops[seq].answered > 0, "change %llu was not answered", (unsigned long long)seq);
}

/* --- Looking at what is left --- */

/* The machine has another life now. Whether there is a journal. */
static bool
begin_another_life(const char *store, bool async)
{
	char path[TEMPDIR_MAX + 64], noted[BOOT_ID_SIZE] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/" JOURNAL_NAME, store);
	f = fopen(path, "r+b");
	if (f == NULL)
		return false;
	if (fseek(f, JOURNAL_BOOT_AT, SEEK_SET) == 0 && fread(noted, 1, sizeof(noted), f) == sizeof(noted) &&
	    noted[0] != '\0') {
		ck_assert(async);
		ck_assert_int_eq(fseek(f, JOURNAL_BOOT_AT, SEEK_SET), 0);
		ck_assert_uint_eq(fwrite("another", 1, 8, f), 8);
	} else {
		noted[0] = '\0';
	}
	fclose(f);
	return noted[0] != '\0';
}

static struct store *
open_store(const char *path, enum store_attach how, uint64_t cut)
{
	struct store *s;
	int rc;

	/* Before LMDB trusts the pages. */
	rc = store_check_structure(path, true, &err);
	ck_assert_msg(rc == 0, "cut %llu: %s", (unsigned long long)cut, err.text);
	s = store_new(
	    &(struct store_options){
		.dir = path, .map_size = 256u << 20, .sync_later = true, .log = STORE_LOG_JOURNAL },
	    &err);
	ck_assert_ptr_nonnull(s);
	rc = store_attach(s, how, &err);
	ck_assert_msg(rc == 0, "cut %llu: %s", (unsigned long long)cut, err.text);
	return s;
}

/* What the answers up to a change lead to: for each key the last of them, 0 for none. */
static size_t
expect(uint64_t seq, uint64_t by_key[KEYS])
{
	size_t live = 0;

	memset(by_key, 0, KEYS * sizeof(by_key[0]));
	for (uint64_t i = 1; i <= seq; i++)
		by_key[ops[i].key] = i;
	for (unsigned k = 0; k < KEYS; k++)
		live += by_key[k] > 0 && ops[by_key[k]].len > 0;
	return live;
}

static void
compare(struct store *s, uint64_t seq, uint64_t cut)
{
	uint64_t by_key[KEYS];
	size_t live = expect(seq, by_key), found = 0;
	char *value = malloc(LARGE);
	struct store_cursor *c;
	struct store_record r;
	struct store_view *v;
	char name[32];

	ck_assert_int_eq(store_view_begin(s, &v, &err), 0);
	ck_assert_int_eq(store_cursor_keys(v, NULL, 0, &c, &err), 0);
	while (store_cursor_next(c, &r, &err) == 1) {
		ck_assert_uint_lt(r.key_len, sizeof(name));
		memcpy(name, r.key, r.key_len);
		name[r.key_len] = '\0';
		const struct op *op = &ops[by_key[strtoul(name + 4, NULL, 10) % KEYS]];

		make_value(op->number, op->len, value);
		ck_assert_msg(r.value_len == op->len && memcmp(r.value, value, op->len) == 0,
		    "cut %llu: %s at seq %llu is another value", (unsigned long long)cut, name,
		    (unsigned long long)seq);
		found++;
	}
	ck_assert_uint_eq(found, live);
	store_cursor_free(c);
	store_view_end(v);
	free(value);
}

/* Changes that must be there: what was answered before the last sync of the journal began, and with `sync` all. */
static uint64_t
must_have(size_t moment, bool async)
{
	size_t by = async ? power_synced("store/" JOURNAL_NAME, moment) : moment;
	uint64_t seq = atomic_load(&last_seq);

	while (seq > 0 && ops[seq].answered > by)
		seq--;
	return seq;
}

/* One cut: how many answered changes it lost. */
static uint64_t
cut_once(uint64_t cut, uint64_t seed, bool async)
{
	size_t moment = (size_t)(seed % (power_moment() + 1));
	char path[TEMPDIR_MAX + 16], store[TEMPDIR_MAX + 32];
	uint64_t least = must_have(moment, async), most = must_have(moment, false);
	struct position p, later;
	struct store_txn *txn;
	struct digest digest;
	struct store *s;
	bool doubt, began;

	snprintf(path, sizeof(path), "%s/cut", dir);
	snprintf(store, sizeof(store), "%s/store", path);
	power_image(moment, seed, path);
	doubt = begin_another_life(store, async);
	/* As init looks at it. */
	s = open_store(store, STORE_READONLY, cut);
	ck_assert(store_tail_lost(s) == doubt);
	ck_assert_int_eq(store_position(s, &p, &err), 0);
	store_free(s);
	ck_assert_msg(p.seq >= least, "cut %llu at %zu of %zu: seq %llu, on disk were %llu", (unsigned long long)cut,
	    moment, power_moment(), (unsigned long long)p.seq, (unsigned long long)least);
	ck_assert_uint_le(p.seq, atomic_load(&last_seq));
	/* As the server opens it. */
	s = open_store(store, STORE_EXISTING, cut);
	ck_assert_int_eq(store_position(s, &later, &err), 0);
	ck_assert_uint_eq(later.seq, p.seq);
	ck_assert(digest_equal(later.digest, p.digest));
	ck_assert_msg(store_verify(s, &digest, &err) == 0, "cut %llu: %s", (unsigned long long)cut, err.text);
	compare(s, p.seq, cut);
	/* What it lost, others may have: it leads on in another epoch, and only then. */
	ck_assert_int_eq(store_txn_begin(s, &txn, &err), 0);
	ck_assert_int_eq(store_txn_lead(txn, &began, &err), 0);
	ck_assert_int_eq(store_txn_commit(txn, &err), 0);
	ck_assert(began == doubt);
	store_free(s);
	return most > p.seq ? most - p.seq : 0;
}

static void
cut_often(const char *durability)
{
	const char *count = getenv("SEEDPOD_TEST_CUTS"), *given = getenv("SEEDPOD_TEST_SEED");
	uint64_t cuts = count != NULL ? strtoull(count, NULL, 10) : CUTS;
	uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
	bool async = strcmp(durability, "async") == 0;
	uint64_t lossy = 0, most = 0, lost;

	if (!async)
		cuts = (cuts + 3) / 4;
	printf("# power cuts, %s: SEEDPOD_TEST_SEED=%llu\n", durability, (unsigned long long)seed);
	fflush(stdout);
	record(durability, (unsigned)seed);
	log_configure(LOG_ERROR, LOG_LOGFMT);
	for (uint64_t cut = 0; cut < cuts; cut++) {
		lost = cut_once(cut, (seed + cut) * 0x9e3779b97f4a7c15u, async);
		lossy += lost > 0;
		most = lost > most ? lost : most;
	}
	printf("# %llu cuts of %llu changes in %zu writes and syncs: %llu lost some, at most %llu\n",
	    (unsigned long long)cuts, (unsigned long long)atomic_load(&last_seq), power_moment(),
	    (unsigned long long)lossy, (unsigned long long)most);
	if (async)
		ck_assert_uint_gt(lossy, 0); /* else the story would show nothing */
	else
		ck_assert_uint_eq(lossy, 0);
	power_release();
}

START_TEST(power_cut__with_sync_loses_nothing)
{
	cut_often("sync");
}
END_TEST

START_TEST(power_cut__with_async_loses_no_more_than_was_not_synced)
{
	cut_often("async");
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		power_cut__with_sync_loses_nothing,
		power_cut__with_async_loses_no_more_than_was_not_synced,
	};

	if (http_setup(&err) < 0)
		return 1;
	return suite_run_in_folder("power_cut", tests, sizeof(tests) / sizeof(tests[0]), 300, dir);
}
