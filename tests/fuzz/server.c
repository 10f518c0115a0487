#include "tests/fuzz/server.h"

#include "lib/base/log.h"
#include "server/http/router.h"
#include "server/replication/committer.h"
#include "server/replication/static/repl_static.h"
#include "tests/fuzz/shared.h"

static struct api api;

static int
refuse(void *arg, struct sp_error *err)
{
	(void)arg;
	return sp_error_set(err, SP_EAGAIN, "not here");
}

void
fuzz_server_begin(void)
{
	struct committer_options committer = { .store = api.store };
	struct repl_static_options repl = { .leads = true, .self_url = "http://a", .leader_url = "http://a" };
	struct sp_error err = { 0 };

	fuzz_store_restore(api.store);
	api.snapshots = snapshots_new(api.store, &api.counters, "store-0", 1, &err);
	repl.committer = api.committer = committer_new(&committer, &err);
	api.repl = repl_static_new(&repl, &err);
	FUZZ_REQUIRE(api.snapshots != NULL && api.committer != NULL && api.repl != NULL);
	FUZZ_REQUIRE(api.repl->ops->attached(api.repl, &err) == 0);
}

void
fuzz_server_end(void)
{
	struct position p;
	struct sp_error err = { 0 };
	struct digest found;

	committer_stop(api.committer);
	committer_free(api.committer);
	snapshots_free(api.snapshots);
	api.repl->ops->free(api.repl);
	FUZZ_REQUIRE(store_verify(api.store, &found, &err) == 0 && store_position(api.store, &p, &err) == 0);
	FUZZ_REQUIRE(digest_equal(found, p.digest));
}

void
fuzz_server_new(void)
{
	struct sp_error err = { 0 };

	log_configure(LOG_ERROR, LOG_LOGFMT);
	api.store = fuzz_store_new();
	api.max_value = 256;
	memory_budgets_of(MEMORY_UNLIMITED, &api.budgets);
	api.release = api.open = refuse;
	api.waiters = waiters_new(&err);
	api.flush_waiters = waiters_new(&err);
	FUZZ_REQUIRE(api.waiters != NULL && api.flush_waiters != NULL);
	waiters_stop(api.waiters); /* whoever waits is told at once that the time is over */
	waiters_stop(api.flush_waiters);
	FUZZ_REQUIRE(http_serve(&api, "network", 0, &err) != NULL);
	FUZZ_REQUIRE(http_serve_control(&api, "control", &err) != NULL);
}
