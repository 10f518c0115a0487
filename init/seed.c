#include "init/seed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "init/stop.h"
#include "init/unpack.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/json_text.h"
#include "lib/base/log.h"
#include "lib/protocol/tar.h"

/* One seeding under way. */
struct seed {
	const struct seed_options *o;
	struct seed_report *report;
	struct download download;
	struct unpack unpack;
	struct progress progress;
	struct position checked; /* what the new store says of itself */
	int64_t begun_ms;
};

static int
step_connect(struct seed *s, struct sp_error *err)
{
	int rc;

	if ((rc = download_open(&s->download, err)) < 0)
		return rc;
	s->report->total = s->download.total;
	FAULT_POINT("init.connected");
	return s->download.total > 0 ? unpack_check_space(s->o->volume->data_dir, s->download.total, err) : 0;
}

/* Read the archive into store.incoming. */
static int
step_download(struct seed *s, struct sp_error *err)
{
	struct tar_reader *tar;
	int rc;

	if ((rc = volume_make_incoming(s->o->volume, err)) < 0) {
		s->report->phase = "extract";
		return rc;
	}
	if ((tar = tar_reader_new(download_read, &s->download, err)) == NULL)
		return SP_ENOMEM;
	FAULT_POINT("init.incoming_made");
	progress_begin(&s->progress, s->download.total);
	rc = unpack_run(&s->unpack, tar, err);
	progress_end(&s->progress);
	tar_reader_free(tar);
	s->report->bytes = s->download.bytes;
	FAULT_POINT("init.downloaded");
	if (rc == SP_ETRUNCATED && s->download.ended)
		err->code = rc = SP_EBADDATA; /* the donor sent all that it has: the same would come again */
	if (rc < 0 && s->unpack.writing)
		s->report->phase = "extract";
	else if (rc == SP_EBADDATA)
		s->report->phase = "verify"; /* it came, and it is not what a snapshot is */
	return rc;
}

static int
step_verify(struct seed *s, struct sp_error *err)
{
	struct unpack *u = &s->unpack;
	const char *cluster = u->manifest.position.cluster;
	struct sums_fault fault;
	int rc;

	if ((rc = sums_check(u->sums.data, u->sums.len, u->manifest_hash, u->data_hash, &fault, err)) < 0) {
		snprintf(s->report->expected, sizeof(s->report->expected), "%s", fault.expected);
		snprintf(s->report->found, sizeof(s->report->found), "%s", fault.found);
		return rc;
	}
	if (strcmp(cluster, s->o->cluster) != 0) {
		snprintf(s->report->expected, sizeof(s->report->expected), "%s", s->o->cluster);
		snprintf(s->report->found, sizeof(s->report->found), "%s", cluster);
		return sp_error_set(
		    err, SP_EDIVERGED, "the snapshot is of cluster %s, expected %s", cluster, s->o->cluster);
	}
	FAULT_POINT("init.verified");
	return 0;
}

static int
step_fsync(struct seed *s, struct sp_error *err)
{
	if (fsync(s->unpack.data_fd) < 0)
		return sp_error_errno(err, errno, "fsync %s/data.mdb", s->o->volume->incoming);
	FAULT_POINT("init.file_synced");
	return file_sync_dir(s->o->volume->incoming, err);
}

void
seed_show_position(const struct position *p, char *out, size_t size)
{
	char digest[DIGEST_HEX_SIZE];

	digest_to_hex(p->digest, digest);
	snprintf(out, size, "epoch %" PRIu64 " seq %" PRIu64 " keys %" PRIu64 " digest %s", p->epoch, p->seq, p->keys,
	    digest);
}

/* A snapshot may be shared with others that asked before: in mode raft it may be from before what
 * this member needs. */
static int
check_applied(const struct seed *s, struct sp_error *err)
{
	uint64_t applied = s->checked.raft.applied;

	if (applied >= s->o->min_applied)
		return 0;
	return sp_error_set(err, SP_EAGAIN,
	    "the snapshot is too old: it has applied index %" PRIu64 " of raft's log, needed is %" PRIu64, applied,
	    s->o->min_applied);
}

/* The donor may have become another between the plan and the download, and a snapshot may be shared. */
static int
check_floor(struct seed *s, struct sp_error *err)
{
	const struct position *floor = s->o->floor;

	if (floor == NULL || position_course(floor, &s->checked) == COURSE_ONWARD)
		return 0;
	seed_show_position(floor, s->report->expected, sizeof(s->report->expected));
	seed_show_position(&s->checked, s->report->found, sizeof(s->report->found));
	return sp_error_set(err, SP_EAGAIN,
	    "the snapshot is older than what it would replace, or of another history: expected %s or beyond, found %s",
	    s->report->expected, s->report->found);
}

/* The store itself must say what seedpod.json said. */
static int
step_check(struct seed *s, struct sp_error *err)
{
	const struct position *said = &s->unpack.manifest.position;
	int rc;

	if ((rc = s->o->check(s->o->check_arg, s->o->volume->incoming, &s->checked, err)) < 0)
		return rc;
	if (strcmp(said->cluster, s->checked.cluster) == 0 && said->epoch == s->checked.epoch &&
	    said->seq == s->checked.seq && said->keys == s->checked.keys &&
	    digest_equal(said->digest, s->checked.digest))
		return (rc = check_applied(s, err)) < 0 ? rc : check_floor(s, err);
	seed_show_position(said, s->report->expected, sizeof(s->report->expected));
	seed_show_position(&s->checked, s->report->found, sizeof(s->report->found));
	return sp_error_set(err, SP_EBADDATA, "the store is not what seedpod.json says: expected %s, found %s",
	    s->report->expected, s->report->found);
}

/*
 * A donor that leads at present (it was promoted) wrote its epoch itself, and its image says so: a
 * server that led on from that would write into the same epoch. If the snapshot's description lies
 * beside the store, as after a backup was unpacked, the server begins another one. Written before
 * the commit: without a store it means nothing.
 */
static int
leave_origin(struct seed *s, struct sp_error *err)
{
	char *text = position_to_json(&s->checked);
	int rc;

	if (text == NULL)
		return sp_error_set(err, SP_ENOMEM, "describe the new store: out of memory");
	rc = file_write_atomic(s->o->volume->origin, text, strlen(text), 0600, err);
	free(text);
	return rc;
}

static int
step_swap(struct seed *s, struct sp_error *err)
{
	int rc;

	FAULT_POINT("init.checked");
	if (s->o->own_history && (rc = leave_origin(s, err)) < 0)
		return rc;
	FAULT_POINT("init.origin_left");
	if ((rc = volume_commit(s->o->volume, err)) < 0)
		return rc;
	return volume_swap(s->o->volume, err);
}

/* data_dir/seed.json: for the sidecar's metrics. Its loss is no failure of the seed. */
static void
write_record(struct seed *s)
{
	char digest[DIGEST_HEX_SIZE], finished[CLOCK_RFC3339_SIZE], *text = NULL;
	struct sp_error err = { 0 };
	json_t *record;

	digest_to_hex(s->report->digest, digest);
	clock_format(clock_wall_ms(), finished, sizeof(finished));
	record = json_pack("{ss sI sf sI ss ss}", "donor", s->report->donor, "bytes", (json_int_t)s->report->bytes,
	    "seconds", s->report->seconds, "seq", (json_int_t)s->report->seq, "digest", digest, "finished", finished);
	if (record != NULL && (text = text_of_json(record, JSON_COMPACT | JSON_REAL_PRECISION(6))) != NULL &&
	    file_write_atomic(s->o->volume->seed_record, text, strlen(text), 0600, &err) < 0)
		log_warn("the seed's record was not written", LOG_STR("error", err.text));
	free(text);
	json_decref(record);
}

/* The new store is in place: an error here is reported and left to the next run. */
static int
step_cleanup(struct seed *s, struct sp_error *err)
{
	s->report->seq = s->checked.seq;
	s->report->digest = s->checked.digest;
	s->report->seconds = (double)(clock_mono_ms() - s->begun_ms) / 1000;
	FAULT_POINT("init.swapped");
	write_record(s);
	FAULT_POINT("init.recorded");
	if (volume_clean(s->o->volume, err) < 0) {
		log_warn("the former store was not removed", LOG_STR("error", err->text));
		memset(err, 0, sizeof(*err));
	}
	FAULT_POINT("init.cleaned");
	return 0;
}

static const struct {
	const char *phase;
	int (*run)(struct seed *s, struct sp_error *err);
} steps[] = {
	{ "connect", step_connect },
	{ "download", step_download },
	{ "verify", step_verify },
	{ "fsync", step_fsync },
	{ "check", step_check },
	{ "swap", step_swap },
	{ "cleanup", step_cleanup },
};

static int
run_steps(struct seed *s, struct sp_error *err)
{
	int rc;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		int64_t begun_ms = clock_mono_ms();

		s->report->phase = steps[i].phase;
		if (stop_requested() && steps[i].run != step_cleanup)
			return sp_error_set(err, SP_ECANCELED, "asked to stop");
		if ((rc = steps[i].run(s, err)) < 0)
			return rc;
		log_info("phase done", LOG_STR("phase", steps[i].phase),
		    LOG_I64("duration_ms", clock_mono_ms() - begun_ms), LOG_U64("bytes", s->download.bytes));
	}
	return 0;
}

int
seed_run(const struct seed_options *o, struct seed_report *report, struct sp_error *err)
{
	struct seed s = { .o = o, .report = report, .begun_ms = clock_mono_ms() };
	struct sp_error local = { 0 };
	int rc;

	if (err == NULL)
		err = &local;
	memset(report, 0, sizeof(*report));
	report->phase = "connect";
	snprintf(report->donor, sizeof(report->donor), "%s", o->donor);
	if ((rc = download_init(&s.download, &o->download, err)) < 0)
		return rc;
	unpack_init(&s.unpack, o->volume->incoming);
	s.unpack.bytes = &s.download.bytes;
	s.unpack.progress = &s.progress;
	s.unpack.relay = o->download.relay;
	rc = run_steps(&s, err);
	report->passed_on = s.download.passed_on;
	if (rc < 0) {
		/* Before the commit nothing but the download is lost; after it the next run goes forward. */
		file_remove_tree(o->volume->incoming, NULL);
		if (rc == SP_ENOTFOUND)
			rc = err->code = SP_EVOLUME; /* what was written here is not here any more */
		sp_error_wrap(err, "seed from %s", o->donor);
	}
	unpack_release(&s.unpack);
	download_release(&s.download);
	return rc;
}
